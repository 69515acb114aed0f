//! The HTTP API of a running engine, as curl and Prometheus use it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{Lab, namespace::output_of};

use crate::support::{
    engine::RunningEngine,
    request::curl,
    site::{self, Site},
};

/// What the API answers, if it does so with a 2xx.
fn ask(lab: &Lab, path: &str) -> Result<String> {
    let socket = lab.directory().join("control.http.sock");
    output_of(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--unix-socket"])
            .arg(socket)
            .arg(format!("http://localhost{path}")),
    )
}

/// The value of one series.
fn value<'a>(metrics: &'a str, series: &str) -> Result<&'a str> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.with_context(|| format!("no {series} in {metrics}"))
}

/// What Prometheus' own checker says of metrics: nothing, if they are right.
fn promtool(metrics: &str) -> Result<String> {
    let mut checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool")?;
    let mut input = checker.stdin.take().context("it was piped")?;
    input.write_all(metrics.as_bytes())?;
    drop(input);
    let output = checker.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

#[test]
fn prometheus_reads_what_the_engine_does() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["reputation.threshold=1000000"])?;
    for server in site::nginx() {
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
        ensure!(curl(&site.lab, server, "/1k?q=1+UNION+SELECT+password+FROM+users", &[])?.status == 403);
    }
    engine.wait_for_status("every request scored", |status| status.requests.total() == 4)?;
    for path in ["/health", "/ready"] {
        let health = ask(&site.lab, path)?;
        ensure!(health.contains(r#""status":"ok""#), "{path}: {health}");
    }
    let metrics = ask(&site.lab, "/metrics")?;
    let status = engine.settled_status()?;
    for (series, expected) in [
        (r#"portcullis_requests_total{decision="allow"}"#, 2),
        (r#"portcullis_requests_total{decision="block"}"#, 2),
        (r#"portcullis_attacks_total{family="sqli"}"#, 2),
        ("portcullis_rules", status.rules.count),
    ] {
        let found = value(&metrics, series)?;
        ensure!(found == expected.to_string(), "{series}: {found}");
    }
    let scored = value(
        &metrics,
        r#"portcullis_latency_seconds_count{stage="dequeued_to_verdict"}"#,
    )?;
    ensure!(scored != "0", "{metrics}");
    let said = promtool(&metrics)?;
    ensure!(said.is_empty(), "{said}");

    // What programs show is judged as on the wire, and counts nowhere.
    let socket = site.lab.directory().join("control.http.sock");
    let judged = output_of(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--unix-socket"])
            .arg(&socket)
            .args([
                "--json",
                r#"{"path":"/1k","query_params":{"q":"1 UNION SELECT password FROM users"}}"#,
            ])
            .arg("http://localhost/v1/check"),
    )?;
    ensure!(judged.contains(r#""prediction":"malicious""#), "{judged}");
    ensure!(engine.settled_status()?.requests.total() == 4);

    let engine = engine.replace(&site.lab, &["reputation.threshold=1000000"])?;
    xtask::lab::wait::wait_until("the successor's API", crate::support::SOON, || {
        ask(&site.lab, "/v1/stats").is_ok_and(|stats| stats.contains(&format!(r#""pid":{}"#, engine.pid())))
    })?;
    engine.stop()?;
    ensure!(!site.lab.directory().join("control.http.sock").exists());

    let engine = RunningEngine::start(&site.lab, &["api.enabled=false"])?;
    ensure!(ask(&site.lab, "/health").is_err());
    engine.stop()
}
