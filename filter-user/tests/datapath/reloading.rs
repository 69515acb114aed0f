//! Reloads under load.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, ensure};

use crate::support::{
    engine::RunningEngine,
    load::{ensure_undisturbed, upload_meanwhile, wrk},
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

const RELOADS: usize = 100;

/// A pack with one rule, whose word changes with every reload.
fn pack(word: &str) -> String {
    format!(
        "family = \"sqli\"\n\n[[rule]]\nid = 100\nmessage = \"A word\"\nseverity = \"critical\"\nparanoia = 1\n\
         targets = [\"query\"]\nregex = '{word}'\nliterals = [\"{word}\"]\n\
         samples.match = [\"{word}\", \"a {word}\"]\nsamples.pass = [\"another\", \"none\"]\n"
    )
}

/// No connection ends, no byte is lost, and after each reload the new rules hold.
fn serial_a_hundred_reloads_under_load(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let rules = site.lab.directory().join("rules");
    fs::create_dir(&rules)?;
    let file = rules.join("pack.toml");
    fs::write(&file, pack("word0"))?;
    let from = format!("scoring.rules={}", rules.display());
    let engine = RunningEngine::start(
        &site.lab,
        &[
            mode,
            &from,
            "scoring.model=off",
            "reputation.threshold=1000000",
            "engine.on_failure=drop",
        ],
    )?;
    let (goes_on, uploads) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        let upload = scope.spawn(|| upload_meanwhile(&site, &goes_on, &uploads));
        let reloads = || -> Result<()> {
            let mut load = wrk(&site, 10)?;
            for number in 1..=RELOADS {
                fs::write(&file, pack(&format!("word{number}x")))?;
                engine.tell(&["reload"])?;
                if number % 20 == 0 {
                    let [server, _] = site::nginx();
                    let answer = curl(&site.lab, server, &format!("/1k?q=word{number}x"), &[])?;
                    ensure!(answer.status == 403, "after reload {number}: {answer:?}");
                }
                if load.try_wait()?.is_some() {
                    ensure_undisturbed(std::mem::replace(&mut load, wrk(&site, 10)?))?;
                }
            }
            ensure_undisturbed(load)
        };
        let result = reloads();
        goes_on.store(false, Ordering::Relaxed);
        upload.join().expect("a panic there is one here")?;
        result
    })?;
    ensure!(uploads.load(Ordering::Relaxed) > 0);
    let status = engine.settled_status()?;
    ensure!(status.rules.reloads == RELOADS as u64, "{status:#?}");
    ensure!(
        status.queues.iter().all(|queue| queue.unscored.is_empty()),
        "{status:#?}"
    );
    engine.stop()
}

in_both_modes!(serial_a_hundred_reloads_under_load);
