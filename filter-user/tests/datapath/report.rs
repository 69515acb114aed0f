//! What operators see: status, latencies, the log.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use filter_user::{
    control::{Request, Response},
    latency::Stage,
};

use crate::support::{
    engine::RunningEngine,
    request::curl,
    site::{self, Site},
};

#[test]
fn latencies_are_reported_and_written() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    for server in site::nginx() {
        for _ in 0..5 {
            ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
        }
    }
    engine.wait_for_status("every request scored", |status| status.requests.total() == 10)?;
    let directory = site.lab.directory().join("report");
    let printed = engine.tell(&["report", "--output", &directory.to_string_lossy()])?;
    for word in [
        "driver_to_dequeued",
        "dequeued_to_verdict",
        "driver_to_forwarded",
        "p50",
        "p99",
    ] {
        ensure!(printed.contains(word), "{word} in {printed}");
    }
    let files: Vec<_> = fs::read_dir(&directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    for ending in [".hgrm", ".json", ".html"] {
        ensure!(
            files.iter().any(|name| name.ends_with(ending)),
            "{ending} in {files:?}"
        );
    }
    let html = fs::read_to_string(directory.join("latency.html"))?;
    ensure!(html.contains("<svg"), "{html:.300}");
    for outside in ["<link", "src=", "@import", "url("] {
        ensure!(!html.contains(outside), "self-contained, and yet `{outside}`");
    }

    // What was written is read back without an engine, and says the same.
    let json = directory.join("latency.json").to_string_lossy().into_owned();
    let again = engine.tell(&["report", "--from", &json, "--json"])?;
    let value: serde_json::Value = serde_json::from_str(&again).context("the report's JSON")?;
    ensure!(value.to_string().contains("driver_to_forwarded"), "{value}");

    // Every forwarded packet was measured.
    let Response::Latency(latencies) = engine.ask(&Request::Latency { reset: true })? else {
        bail!("not latencies");
    };
    let forwarded: Vec<_> = latencies
        .stages
        .iter()
        .filter(|entry| entry.stage == Stage::DriverToForwarded)
        .collect();
    ensure!(forwarded.len() == 1, "one queue");
    let (measured, p50, p99) = (
        forwarded[0].histogram.len(),
        forwarded[0].histogram.value_at_quantile(0.5),
        forwarded[0].histogram.value_at_quantile(0.99),
    );
    // Of each of the ten connections at least the SYN, the handshake's end and the request.
    ensure!(
        measured >= 30 && p50 > 0 && p50 <= p99,
        "{measured} packets, {p50} and {p99} ns"
    );
    // An engine that was told to start new ones has none of before.
    let Response::Latency(latencies) = engine.ask(&Request::Latency { reset: false })? else {
        bail!("not latencies");
    };
    let kept: u64 = latencies.stages.iter().map(|entry| entry.histogram.len()).sum();
    ensure!(kept < measured, "{kept} of {measured}");
    engine.stop()
}

#[test]
fn status_and_log_level_by_command() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.ebpf_log=debug", "engine.log=debug"])?;
    ensure!(curl(&site.lab, site::nginx()[0], "/1k", &[])?.status == 200);
    let text = engine.tell(&["status"])?;
    for word in ["outside", "generic", "on failure pass", "queue 0", "redirect"] {
        ensure!(text.contains(word), "{word} in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&engine.tell(&["status", "--json"])?)?;
    ensure!(json["pid"] == engine.pid(), "{json}");
    engine.tell(&["log", "--engine", "warn"])?;
    engine.stop()
}
