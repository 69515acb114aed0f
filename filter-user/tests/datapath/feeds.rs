//! Feeds come and go in the maps, and nobody else's blocks with them; and so do countries.

#[path = "../../src/geo/testing.rs"]
mod mmdb;

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use filter_user::control::{BlockOrigin, FeedStatus, Page, Request, Response, Status};
use xtask::lab::{address::CLIENT_V4, wait::wait_until};

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services, with_tables},
    request::curl,
    site::{self, Site},
};

fn feed(engine: &RunningEngine) -> Result<FeedStatus> {
    match engine.ask(&Request::Feeds {})? {
        Response::Feeds { feeds } => feeds.into_iter().next().context("no feed"),
        other => bail!("no feeds: {other:?}"),
    }
}

/// What is blocked, and by whom.
fn blocked(engine: &RunningEngine) -> Result<Vec<(String, BlockOrigin)>> {
    match engine.ask(&Request::Blocks(Page::default()))? {
        Response::Blocks { blocks } => Ok(blocks
            .iter()
            .map(|block| (block.target.to_string(), block.origin))
            .collect()),
        other => bail!("not a list: {other:?}"),
    }
}

fn wait_for_feed(engine: &RunningEngine, what: &str, holds: impl Fn(&FeedStatus) -> bool) -> Result<()> {
    wait_until(what, SOON, || feed(engine).is_ok_and(|feed| holds(&feed)))
        .with_context(|| format!("{:#?}\n{}", feed(engine), engine.log()))
}

#[test]
fn entries_come_and_go_with_their_feed() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let file = site.lab.directory().join("drop.txt");
    let watch = site.lab.directory().join("watch.txt");
    fs::write(&watch, "198.51.100.9\n")?;
    let watched = || {
        with_tables(site.lab.gateway(), |tables| {
            Ok(tables
                .watched()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>())
        })
    };
    let services = both_services("all");
    let configuration = format!(
        "{services}\n[[feed]]\nname = 'drop'\nsource = '{}'\n[[feed]]\nname = 'watch'\nsource = '{}'\naction = 'watch'\n[lists]\nnever_block = ['192.0.2.0/24']\n",
        file.display(),
        watch.display()
    );
    let [server, _] = site::nginx();
    let visit = || curl(&site.lab, server, "/1k", &["--connect-timeout", "1"]);
    fs::write(
        &file,
        format!("{CLIENT_V4}\n198.51.100.0/24\n203.0.113.0/24\n192.0.2.7\n0.0.0.0/0\n"),
    )?;
    let engine = RunningEngine::start_with(&site.lab, &configuration, &["scoring.model=off"])?;
    wait_for_feed(&engine, "the feed", |feed| {
        feed.entries == 3 && feed.protected == 1 && feed.too_wide == 1
    })?;
    ensure!(visit()?.status == 0, "the client is listed");
    wait_until("the watched source", SOON, || {
        watched().is_ok_and(|all| all == ["198.51.100.9/32"])
    })?;
    ensure!(
        engine.tell(&["blocks"])?.contains("drop"),
        "its name is the reason"
    );
    // What an operator blocks is the operator's.
    engine.tell(&["block", "203.0.113.0/24"])?;

    fs::write(&file, "198.51.100.0/24\n")?;
    engine.tell(&["feeds", "--refresh"])?;
    wait_for_feed(&engine, "the shorter feed", |feed| feed.entries == 1)?;
    ensure!(visit()?.status == 200, "the client is listed no more");
    let expected = [
        ("198.51.100.0/24".to_owned(), BlockOrigin::Feed),
        ("203.0.113.0/24".to_owned(), BlockOrigin::Operator),
    ];
    ensure!(blocked(&engine)? == expected, "{:?}", blocked(&engine)?);

    fs::write(&file, "<html>\n")?;
    engine.tell(&["feeds", "--refresh", "drop"])?;
    wait_for_feed(&engine, "the refusal", |feed| feed.error.is_some())?;
    ensure!(blocked(&engine)? == expected);
    let status = engine.status()?;
    ensure!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("feed drop is not taken: line 1")),
        "{status:#?}"
    );

    let job = |status: &Status| {
        let job = status.jobs.iter().find(|job| job.name == "feed:drop");
        job.and_then(|job| Some((job.failures, job.last_result.clone()?)))
    };
    let (failures, result) = job(&status).with_context(|| format!("{:#?}", status.jobs))?;
    ensure!(failures == 1 && result.starts_with("failed: line 1"), "{result}");

    // The copy of the last good one holds for the next engine.
    engine.kill()?;
    fs::remove_file(&file)?;
    let engine = RunningEngine::start_with(&site.lab, &configuration, &["scoring.model=off"])?;
    wait_for_feed(&engine, "the missing file", |feed| {
        feed.error.is_some() && feed.entries == 1
    })?;
    ensure!(blocked(&engine)? == expected, "{:?}", blocked(&engine)?);

    // And goes with it.
    engine.configure(&services)?;
    let said = engine.tell(&["reload"])?;
    ensure!(said.contains("feed[drop]: "), "{said}");
    wait_until("the watched source gone", SOON, || {
        watched().is_ok_and(|all| all.is_empty())
    })?;
    wait_until("its entries gone", SOON, || {
        blocked(&engine).is_ok_and(|blocked| blocked == expected[1..])
    })?;
    ensure!(job(&engine.status()?).is_none(), "its job has gone, too");
    engine.stop()
}

#[test]
fn a_country_is_blocked_by_its_networks() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let file = site.lab.directory().join("countries.mmdb");
    let country = |code| mmdb::Value::Map(vec![("country_code", mmdb::Value::Text(code))]);
    let client = format!("{CLIENT_V4}/32");
    fs::write(
        &file,
        mmdb::database(&[(&client, country("AQ")), ("198.51.100.0/24", country("NL"))]),
    )?;
    let services = both_services("all");
    let geo = |codes: &str| format!("{services}\n[geo]\ndatabase = '{}'\n{codes}\n", file.display());
    let engine = RunningEngine::start_with(
        &site.lab,
        &geo("block_countries = ['AQ']"),
        &["scoring.model=off"],
    )?;
    let blocks = |expected: &str| {
        wait_until("the country's networks", SOON, || {
            blocked(&engine).is_ok_and(|blocked| blocked == [(expected.to_owned(), BlockOrigin::Geo)])
        })
        .with_context(|| format!("{:?}\n{}", blocked(&engine), engine.log()))
    };
    let [server, _] = site::nginx();
    let visit = || curl(&site.lab, server, "/1k", &["--connect-timeout", "1"]);
    blocks(&client)?;
    ensure!(visit()?.status == 0);
    engine.configure(&geo("allow_countries = ['AQ']"))?;
    engine.tell(&["reload"])?;
    blocks("198.51.100.0/24")?;
    ensure!(visit()?.status == 200);
    fs::write(&file, "no database")?;
    engine.tell(&["feeds", "--refresh", "geo"])?;
    wait_for_feed(&engine, "the refusal", |feed| {
        feed.error.is_some() && feed.entries == 1
    })?;
    blocks("198.51.100.0/24")?;
    engine.stop()
}
