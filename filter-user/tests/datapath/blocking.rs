//! Blocks: of flows and sources, by the engine, by operators and by hand.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Address, Reason, block::Block};
use filter_user::{
    bpf::Tables,
    control::{BlockEntry, BlockOrigin, Page, Request, Response},
};
use xtask::lab::{
    RawTcp,
    address::{CLIENT_V4, CLIENT_V6},
    frame::flag,
    namespace::output_of,
    wait::{wait_for, wait_until},
};

use crate::support::{
    SOON,
    engine::{PINS, RunningEngine, with_tables},
    request::{Answer, curl},
    site::{self, Site},
};

const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
/// Three attacks are enough for a block however long they take here.
const SLOW_DECAY: &str = "reputation.half_life_s=86400";
/// An answer to a SYN comes in much less.
const SHORT: [&str; 2] = ["--connect-timeout", "2"];

fn visit(site: &Site, server: SocketAddr) -> Result<Answer> {
    curl(&site.lab, server, "/1k", &SHORT)
}

fn visit_from(site: &Site, server: SocketAddr, source: &str) -> Result<Answer> {
    curl(
        &site.lab,
        server,
        "/1k",
        &["--interface", source, SHORT[0], SHORT[1]],
    )
}

fn ensure_shut_out(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 0 && answer.error.is_some(), "{answer:?}");
    Ok(())
}

fn ensure_served(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

fn blocks(engine: &RunningEngine) -> Result<Vec<BlockEntry>> {
    match engine.ask(&Request::Blocks(Page::default()))? {
        Response::Blocks { blocks } => Ok(blocks),
        other => anyhow::bail!("not a list: {other:?}"),
    }
}

#[test]
fn the_second_packet_of_a_blocked_flow_dies_in_the_driver() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    for server in site::origin() {
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.acknowledging = false;
        let request = format!("GET {ATTACK} HTTP/1.1\r\nHost: lab\r\n\r\n");
        client.send(request.as_bytes())?;
        ensure!(client.response(SOON)?.status == 403);
        ensure!(client.wait_for_end(SOON)? == xtask::lab::raw_tcp::End::Fin);
        let before = engine.counter(Reason::FlowBlock)?;
        let received = engine.settled_status()?.queues[0].received;
        client.send(b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        wait_until("the packet counted", SOON, || {
            engine
                .counter(Reason::FlowBlock)
                .is_ok_and(|now| now == before + 1)
        })?;
        ensure!(
            engine.settled_status()?.queues[0].received == received,
            "the engine saw nothing of it"
        );
        let record = site.origin.wait_for_end(client.local(), SOON)?;
        ensure!(record.bytes.is_empty(), "{record:?}");
    }
    engine.stop()
}

fn block_of(site: &Site, source: IpAddr) -> Result<Option<Block>> {
    with_tables(site.lab.gateway(), |tables: &mut Tables| {
        Ok(tables.source_blocks.get(&Address::from(source), 0).ok())
    })
}

/// Sends attacks until the source is blocked, and returns its block.
fn provoke(site: &Site, server: SocketAddr, source: IpAddr) -> Result<Block> {
    for _ in 0..3 {
        let answer = curl(&site.lab, server, ATTACK, &[])?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    wait_for("the source's block", SOON, || {
        block_of(site, source).ok().flatten()
    })
}

/// The first block is short, the second twice as long; after each the source is served again.
#[test]
fn a_source_is_blocked_after_repeated_attacks_comes_back_and_relapses() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    // Single IPv6 addresses: the lab's gateway is in the client's network, and is never blocked.
    let settings = [
        "reputation.first_block_s=4",
        "reputation.ipv6_prefix=128",
        SLOW_DECAY,
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    for (server, source) in site::nginx()
        .into_iter()
        .zip([CLIENT_V4.into(), CLIENT_V6.into()])
    {
        for (strike, seconds) in [(1, 4), (2, 8)] {
            let block = provoke(&site, server, source)?;
            ensure!(
                block.until_ns - block.since_ns == seconds * 1_000_000_000,
                "{block:?}"
            );
            ensure!(
                (block.reason, block.strikes) == (Block::REASON_REPUTATION, strike),
                "{block:?}"
            );
            let listed = blocks(&engine)?;
            ensure!(
                listed.iter().any(|entry| entry.target.addr() == source
                    && entry.origin == BlockOrigin::Reputation
                    && entry.remaining_s.is_some()),
                "{listed:?}"
            );
            let before = engine.counter(Reason::SourceBlock)?;
            ensure_shut_out(&visit(&site, server)?)?;
            ensure!(engine.counter(Reason::SourceBlock)? > before);
            wait_until("the source being served again", SOON, || {
                visit(&site, server).is_ok_and(|answer| answer.status == 200)
            })?;
            ensure!(blocks(&engine)?.is_empty());
            // Userspace sweeps what has ended.
            wait_until("the entry being swept", SOON, || {
                block_of(&site, source).is_ok_and(|block| block.is_none())
            })?;
        }
    }
    engine.stop()
}

/// Another address of the same /64 is the same source; the next /64 is not.
#[test]
fn an_ipv6_network_is_blocked_as_one_source() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let addresses = ["fd79::2/64", "fd79::abcd/64", "fd79:0:0:1::2/64"];
    for address in addresses {
        site.lab
            .client()
            .ip(&format!("addr add {address} dev eth0 nodad\n"))?;
    }
    let (hop, device) = site.lab.next_hop();
    hop.ip(&format!("route add fd79::/32 via {CLIENT_V6} dev {device}\n"))?;
    let engine = RunningEngine::start(&site.lab, &[SLOW_DECAY])?;
    let [_, server] = site::nginx();
    for _ in 0..3 {
        let answer = curl(&site.lab, server, ATTACK, &["--interface", "fd79::2"])?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    wait_until("the network's block", SOON, || {
        blocks(&engine).is_ok_and(|blocks| blocks.iter().any(|entry| entry.target.to_string() == "fd79::/64"))
    })?;
    ensure_shut_out(&visit_from(&site, server, "fd79::2")?)?;
    ensure_shut_out(&visit_from(&site, server, "fd79::abcd")?)?;
    ensure_served(&visit_from(&site, server, "fd79:0:0:1::2")?)?;
    engine.tell(&["unblock", "fd79::/64"])?;
    ensure_served(&visit_from(&site, server, "fd79::abcd")?)?;
    engine.stop()
}

#[test]
fn operators_block_and_allow_addresses_and_networks() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let [v4, v6] = site::nginx();
    for (target, server) in [
        ("10.71.0.2", v4),
        ("10.71.0.2/31", v4),
        ("fd71::2/128", v6),
        ("fd71::2/127", v6),
    ] {
        ensure_served(&visit(&site, server)?)?;
        engine.tell(&["block", target, "--for", "1h", "--reason", "a test"])?;
        ensure_shut_out(&visit(&site, server)?).context(target)?;
        let listing = engine.tell(&["blocks"])?;
        ensure!(
            listing.contains("operator") && listing.contains("a test"),
            "{listing}"
        );
        engine.tell(&["unblock", target])?;
        ensure_served(&visit(&site, server)?).context(target)?;
    }
    ensure!(engine.counter(Reason::BlockList)? > 0);

    // What is allowed passes whatever it is, blocked or not.
    engine.tell(&["block", "10.71.0.2"])?;
    engine.tell(&["allow", "10.71.0.2/31"])?;
    ensure!(curl(&site.lab, v4, ATTACK, &[])?.status == 200);
    ensure!(engine.counter(Reason::AllowList)? > 0);
    engine.tell(&["allow", "10.71.0.2/31", "--remove"])?;
    ensure_shut_out(&visit(&site, v4)?)?;
    engine.tell(&["unblock", "10.71.0.2"])?;
    ensure_served(&visit(&site, v4)?)?;
    let (code, text) = engine.refuse(&["unblock", "10.71.0.2"])?;
    ensure!(code == 5 && text.contains("not blocked"), "{text}");
    engine.stop()
}

#[test]
fn a_block_by_an_operator_ends_in_time() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    for (target, server) in [("10.71.0.2", site::nginx()[0]), ("fd71::2/127", site::nginx()[1])] {
        engine.tell(&["block", target, "--for", "4s"])?;
        ensure_shut_out(&visit(&site, server)?)?;
        wait_until("the block's end", SOON, || {
            visit(&site, server).is_ok_and(|answer| answer.status == 200)
        })?;
    }
    engine.stop()
}

#[test]
fn protected_addresses_are_not_blocked_by_mistake() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = ["lists.never_block=[\"10.71.0.2\", \"fd71::2\"]"];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    // A bridge has no addresses.
    let of_host = (!site.lab.is_bridged()).then_some(("10.71.0.1", "an address of this host"));
    for (target, why) in of_host.into_iter().chain([
        ("10.71.0.0/24", "overlaps"),
        ("fd71::/64", "overlaps"),
        ("10.71.0.2", "never_block"),
        ("0.0.0.0/0", "overlaps"),
    ]) {
        let (code, text) = engine.refuse(&["block", target])?;
        ensure!(code == 5 && text.contains(why) && text.contains("fix:"), "{text}");
    }
    // Nor does reputation block them, however often they attack.
    for server in site::nginx() {
        for _ in 0..5 {
            ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
        }
        ensure_served(&visit(&site, server)?)?;
    }
    wait_for("the refusals in the log", SOON, || {
        let log = engine.log();
        (log.contains("10.71.0.2 is not blocked") && log.contains("fd71::/64 is not blocked")).then_some(())
    })?;
    ensure!(blocks(&engine)?.is_empty());
    engine.stop()
}

/// The bytes of the maps' address key, as bpftool takes them.
fn key(address: IpAddr) -> Vec<String> {
    let octets = Address::from(address).octets;
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn bpftool_shows_named_fields_and_its_blocks_hold() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let [server, _] = site::nginx();
    let map = |name: &str| format!("{PINS}/{name}");
    let bpftool = |arguments: &[&str]| output_of(site.lab.gateway().command("bpftool").args(arguments));

    // An open connection, so that there is a flow.
    let mut client = RawTcp::connect(&site.lab, server)?;
    client.send(b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    client.response(SOON)?;
    let flows = bpftool(&["map", "dump", "pinned", &map("FLOWS")])?;
    for field in [
        "source_port",
        "destination_port",
        "path",
        "until_ns",
        "server_ack",
    ] {
        ensure!(flows.contains(&format!("\"{field}\"")), "{field} in {flows}");
    }
    ensure!(
        flows.contains(&format!("\"source_port\": {}", client.local().port())),
        "{flows}"
    );

    ensure_served(&visit(&site, server)?)?;
    let mut update = vec!["map", "update", "pinned"];
    let blocked = map("SOURCE_BLOCKS");
    let key = key(CLIENT_V4.into());
    update.extend([blocked.as_str(), "key", "hex"]);
    update.extend(key.iter().map(String::as_str));
    update.extend(["value", "hex"]);
    update.extend(["00"; 32]);
    bpftool(&update)?;
    ensure_shut_out(&visit(&site, server)?)?;
    let entries = bpftool(&["map", "dump", "pinned", &blocked])?;
    for field in ["octets", "until_ns", "hits", "since_ns", "reason", "strikes"] {
        ensure!(entries.contains(&format!("\"{field}\"")), "{field} in {entries}");
    }
    let listed = blocks(&engine)?;
    ensure!(
        listed.len() == 1 && listed[0].origin == BlockOrigin::Map && listed[0].packets > 0,
        "{listed:?}"
    );
    engine.tell(&["unblock", "10.71.0.2"])?;
    ensure_served(&visit(&site, server)?)?;
    engine.stop()
}

/// A blocked source has its packets dropped on connections that are open already, and they go on afterwards.
#[test]
fn open_connections_of_a_blocked_source_stand_still() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let [server, _] = site::nginx();
    let mut client = RawTcp::connect(&site.lab, server)?;
    let source = client.local().ip().to_string();
    engine.tell(&["block", &source])?;
    let request = b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n";
    let before = engine.counter(Reason::SourceBlock)?;
    client.send(request)?;
    wait_until("the packet dropped", SOON, || {
        engine.counter(Reason::SourceBlock).is_ok_and(|now| now > before)
    })?;
    client.receive_for(Duration::from_millis(100))?;
    ensure!(client.acknowledged() == 0);
    engine.tell(&["unblock", &source])?;
    client.send_segment(0, request, flag::PSH)?;
    ensure!(client.response(SOON)?.status == 200);
    engine.stop()
}
