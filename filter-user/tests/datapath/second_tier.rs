//! Requests that the first tier finds suspicious are decided by the pool.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::support::{
    engine::RunningEngine,
    request::curl,
    site::{self, Site},
};

/// A word that is suspicious, and one that counts half because the default paranoia level is below its own.
const PACK: &str = r#"
family = "custom"

[[rule]]
id = 1
message = "a doubtful word"
severity = "error"
targets = ["inputs"]
regex = 'doubtful'
samples.match = ["doubtful", "a doubtful one"]
samples.pass = ["clear", "sure"]

[[rule]]
id = 2
message = "a word that proves little"
severity = "warning"
paranoia = 2
targets = ["inputs"]
regex = 'perhaps'
samples.match = ["perhaps", "or perhaps"]
samples.pass = ["never", "always"]
"#;

const DOUBTFUL: &str = "/1k?q=doubtful";
const WORSE: &str = "/1k?q=doubtful+or+perhaps";

fn rules(site: &Site) -> Result<String> {
    let directory = site.lab.directory().join("rules");
    fs::create_dir_all(&directory).context("making a directory for rules")?;
    fs::write(directory.join("doubt.toml"), PACK).context("writing a rule pack")?;
    Ok(format!("scoring.rules={}", directory.display()))
}

/// Names of the engine's threads.
fn threads(engine: &RunningEngine) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", engine.pid()))? {
        names.push(fs::read_to_string(task?.path().join("comm"))?.trim().to_owned());
    }
    Ok(names)
}

#[test]
fn suspicious_requests_wait_for_the_pool_and_are_decided_by_it() -> Result<()> {
    let Some(site) = Site::plain()? else { return Ok(()) };
    let rules = rules(&site)?;
    // The machine may be busy: no deadline is to be missed for that.
    let settings = [
        rules.as_str(),
        "deep.deadline_ms=1000",
        "reputation.threshold=1000",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let workers = threads(&engine)?;
    let count = workers.iter().filter(|name| name.starts_with("pc-deep-")).count();
    ensure!(count == 2, "{workers:?}");
    for server in site::nginx() {
        for _ in 0..3 {
            let answer = curl(&site.lab, server, DOUBTFUL, &[])?;
            ensure!(answer.status == 200 && answer.body.len() == 1000, "{answer:?}");
        }
        let answer = curl(&site.lab, server, WORSE, &[])?;
        ensure!(
            answer.status == 403 && answer.request_id().is_some(),
            "{answer:?}"
        );
    }
    let status = engine.settled_status()?;
    ensure!(
        (status.requests.suspicious, status.requests.block) == (6, 2),
        "{:?}",
        status.requests
    );
    let deep = status.deep.context("there is a pool")?;
    let count = |what| deep.requests.get(what).copied();
    ensure!(
        (count("submitted"), count("answered"), count("blocked")) == (Some(8), Some(8), Some(2)),
        "{deep:?}"
    );
    ensure!(
        (deep.breaker.as_str(), deep.workers, deep.waiting) == ("closed", 2, 0),
        "{deep:?}"
    );
    let told = engine.tell(&["status"])?;
    ensure!(told.contains("2 workers, breaker closed"), "{told}");
    ensure!(engine.log().contains("on a second look: "), "{}", engine.log());

    // The same rules after a reload.
    engine.tell(&["reload"])?;
    let answer = curl(&site.lab, site::nginx()[0], WORSE, &[])?;
    ensure!(answer.status == 403, "{answer:?}");
    engine.stop()
}

#[test]
fn without_a_second_tier_suspicious_requests_go_on() -> Result<()> {
    let Some(site) = Site::plain()? else { return Ok(()) };
    let rules = rules(&site)?;
    let engine = RunningEngine::start(&site.lab, &[&rules, "deep.enabled=false"])?;
    let answer = curl(&site.lab, site::nginx()[0], WORSE, &[])?;
    ensure!(answer.status == 200, "{answer:?}");
    let status = engine.settled_status()?;
    ensure!(
        status.deep.is_none() && status.requests.suspicious == 1,
        "{status:?}"
    );
    engine.stop()
}
