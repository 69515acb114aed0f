//! Lists of blocks: loaded, listed, in force, ended.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::address::CLIENT_V4;

use crate::support::{
    engine::RunningEngine,
    request::curl,
    site::{self, Site},
};

/// More than one request or page holds, of sources and of prefixes of both families, and the client at the end.
const EACH: u16 = 1200;

fn targets() -> BTreeSet<String> {
    let mut targets = BTreeSet::from([CLIENT_V4.to_string()]);
    for number in 0..EACH {
        let [high, low] = number.to_be_bytes();
        targets.extend([
            format!("198.18.{high}.{low}"),
            format!("100.{}.{low}.0/24", 64 + high),
            format!("2001:db8:{:x}::/48", number + 1),
        ]);
    }
    targets
}

fn write_list(site: &Site, targets: &BTreeSet<String>) -> Result<String> {
    let file = site.lab.directory().join("list");
    let mut text = String::from("# a list\n");
    for target in targets {
        writeln!(text, "{target}")?;
    }
    fs::write(&file, text)?;
    Ok(file.to_str().context("a path in text")?.to_owned())
}

/// What `portcullis blocks` lists, in its order.
fn listed(engine: &RunningEngine) -> Result<Vec<String>> {
    let text = engine.tell(&["blocks"])?;
    let source = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    Ok(text.lines().skip(1).map(source).collect())
}

#[test]
fn a_list_holds_is_listed_and_ends() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let targets = targets();
    let file = write_list(&site, &targets)?;
    let said = engine.tell(&["block", "--file", &file, "--reason", "listed"])?;
    ensure!(
        said.starts_with(&format!("{} blocked, 0 refused", targets.len())),
        "{said}"
    );
    let shut_out = curl(&site.lab, site::nginx()[0], "/1k", &["--connect-timeout", "2"])?;
    ensure!(shut_out.status == 0, "{shut_out:?}");
    ensure!(engine.status()?.blocks.used == u64::from(EACH) + 1);
    let text = engine.tell(&["blocks"])?;
    ensure!(text.matches(" listed").count() == targets.len());
    let all = listed(&engine)?;
    ensure!(all.len() == targets.len(), "{} are listed", all.len());
    ensure!(all.into_iter().collect::<BTreeSet<_>>() == targets);

    // The same again, for a time: replaced and not doubled, and all gone when it is over.
    engine.tell(&["block", "--file", &file, "--for", "1s"])?;
    ensure!(engine.status()?.blocks.used <= u64::from(EACH) + 1);
    engine.wait_for_status("the blocks ending", |status| status.blocks.used == 0)?;
    let served = curl(&site.lab, site::nginx()[0], "/1k", &[])?;
    ensure!(served.status == 200, "{served:?}");
    ensure!(listed(&engine)?.is_empty());
    engine.stop()
}

#[test]
fn a_list_that_is_too_long_names_its_place_and_the_setting() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(
        &site.lab,
        &["limits.max_blocks=64", "limits.max_list_entries=100"],
    )?;
    for (last, limit, setting) in [
        ("", 64, "limits.max_blocks"),
        (".0/24", 100, "limits.max_list_entries"),
    ] {
        let targets: BTreeSet<_> = (0..200)
            .map(|number| format!("198.18.{number}{}", if last.is_empty() { ".1" } else { last }))
            .collect();
        let file = write_list(&site, &targets)?;
        let (code, said) = engine.refuse(&["block", "--file", &file])?;
        ensure!(code == 5, "{code}");
        // A comment is in the first line.
        let place = format!("{file}:{}: ", limit + 2);
        for part in [
            &place,
            "is full",
            &format!("{limit} entries before it are blocked"),
            &format!("raise {setting} "),
        ] {
            ensure!(said.contains(part), "{part}: {said}");
        }
        let (code, said) = engine.refuse(&[
            "block",
            if last.is_empty() {
                "203.0.113.1"
            } else {
                "203.0.113.0/24"
            },
        ])?;
        ensure!(code == 5 && said.contains(setting), "{said}");
    }
    // What is there can be blocked anew.
    engine.tell(&["block", "198.18.0.1", "--for", "1h"])?;
    ensure!(engine.status()?.blocks.used == 64);
    engine.tell(&["unblock", "198.18.0.1"])?;
    ensure!(engine.status()?.blocks.used == 63);
    engine.stop()
}
