//! The counters add up: every packet that came in is found again, under one reason.

use std::{net::IpAddr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Action, Counters, Reason};
use filter_user::control::{QueueStatus, Status};
use xtask::lab::{
    Gateway, Offload, Options, RawTcp,
    address::{SERVER_V4, SERVER_V6},
    frame::{Checksum, Frame, TAG_8021Q, Transport, flag},
    namespace::{Namespace, output_of},
    nginx,
    wait::wait_for,
};

use crate::support::{
    SOON,
    engine::{INTERFACE, RunningEngine, SERVER_INTERFACE, counters},
    modes::in_both_modes,
    request::{curl, upload},
    site::{self, Site},
};

in_both_modes!(
    serial_every_packet_is_found_again,
    serial_every_joined_packet_and_fragment_is_found_again,
    serial_what_a_full_ring_refuses_is_found_again,
    an_engine_counts_what_was_redirected_to_itself,
);

const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n";
const BLOCKED: [u8; 4] = [10, 71, 0, 77];
const PATIENT: &str = "reputation.threshold=1000000";

/// Packets that the interface has received, and what the XDP program says became of them.
#[derive(Clone, Copy, Debug)]
struct Received {
    interface: u64,
    xdp: Counters,
}

impl Received {
    /// Both at a moment at which nothing comes in.
    fn now(gateway: &Namespace) -> Result<Self> {
        wait_for("a moment without packets", SOON, || {
            let interface = received_by_interfaces(gateway).ok()?;
            let xdp = counters(gateway).ok()?;
            let still = received_by_interfaces(gateway).ok()? == interface && counters(gateway).ok()? == xdp;
            still.then_some(Self { interface, xdp })
        })
    }

    fn ensure_accounted_since(&self, earlier: &Self) -> Result<()> {
        let all = [Action::Drop, Action::Pass, Action::Redirect, Action::Answer];
        let became = |received: &Self| all.map(|action| received.xdp.total(action)).iter().sum::<u64>();
        let (received, became) = (self.interface - earlier.interface, became(self) - became(earlier));
        ensure!(
            received == became && received > 0,
            "{received} packets came in, of {became} is known what became: {self:#?}"
        );
        Ok(())
    }
}

/// Behind generic XDP a bridge sees replies after the kernel has joined them, and the interface counts them before: what is compared
/// has to be one packet in both places.
fn without_joined_replies(gateway: &Namespace) -> Result<()> {
    if matches!(crate::GATEWAY, Gateway::Bridge) {
        output_of(
            gateway
                .command("ethtool")
                .args(["-K", SERVER_INTERFACE, "gro", "off"]),
        )?;
    }
    Ok(())
}

/// On a bridge what the servers send comes in, too.
fn received_by_interfaces(gateway: &Namespace) -> Result<u64> {
    let from_servers = match crate::GATEWAY {
        Gateway::Router => 0,
        Gateway::Bridge => received_by(gateway, SERVER_INTERFACE)?,
    };
    Ok(received_by(gateway, INTERFACE)? + from_servers)
}

fn received_by(gateway: &Namespace, interface: &str) -> Result<u64> {
    let text = output_of(
        gateway
            .command("ip")
            .args(["-json", "-stats", "link", "show", interface]),
    )?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    links[0]["stats64"]["rx"]["packets"]
        .as_u64()
        .with_context(|| format!("no count of packets in {text}"))
}

fn sum(status: &Status, count: impl Fn(&QueueStatus) -> u64) -> u64 {
    status.queues.iter().map(count).sum()
}

fn dropped(status: &Status) -> u64 {
    sum(status, |queue| queue.dropped.values().sum())
}

/// What was redirected was read or lost, and what was read was forwarded or dropped, or is held.
fn ensure_redirected_is_accounted(status: &Status) -> Result<()> {
    let (read, lost) = (sum(status, |queue| queue.read), sum(status, |queue| queue.lost));
    ensure!(status.redirected == read + lost, "redirected: {status:#?}");
    let received = sum(status, |queue| queue.received);
    let forwarded = sum(status, |queue| queue.forwarded);
    let held = sum(status, |queue| queue.held.used);
    ensure!(
        received == forwarded + dropped(status) + held,
        "received: {status:#?}"
    );
    Ok(())
}

/// The status when nothing is under way any more.
fn drained(engine: &RunningEngine) -> Result<Status> {
    engine.wait_for_status("every redirected frame read", |status| {
        status.queues.iter().all(|queue| queue.credits.used == 0)
    })?;
    engine.settled_status()
}

fn load(site: &Site) -> Result<()> {
    let load = site
        .lab
        .client()
        .command("wrk")
        .args(["-t1", "-c16", "-d1s"])
        .arg(format!("http://{SERVER_V4}/1k"))
        .stdin(Stdio::null())
        .output()
        .context("starting wrk")?;
    ensure!(load.status.success(), "{load:?}");
    for server in site::nginx() {
        ensure!(curl(&site.lab, server, "/100k", &[])?.status == 200);
        for _ in 0..5 {
            ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
        }
    }
    Ok(())
}

/// Segments that are no attack and yet do not all go on. One is held at the end, in front of its gap.
fn oddities(site: &Site) -> Result<Vec<RawTcp>> {
    let mut clients = Vec::new();
    for server in site::nginx() {
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.send(REQUEST)?;
        ensure!(client.response(SOON)?.status == 200);
        let sent = REQUEST.len() as u32;
        // The same again, other bytes in its place, too far ahead, without its checksum, without ACK.
        client.send_segment(0, REQUEST, flag::PSH)?;
        client.send_segment(0, &REQUEST.to_ascii_lowercase(), flag::PSH)?;
        client.send_segment(0x4000_0000, REQUEST, flag::PSH)?;
        client.checksum = Checksum::Wrong;
        client.send_segment(sent, REQUEST, flag::PSH)?;
        client.checksum = Checksum::Valid;
        let mut bare = client.segment(sent, REQUEST, flag::PSH);
        bare.flags = flag::PSH;
        client.send_tcp(bare)?;
        // Out of order, twice, with other bytes, and then what was missing.
        for at in [10, 20, 10] {
            client.send_segment(sent + at, &REQUEST[at as usize..][..10], flag::PSH)?;
        }
        client.send_segment(sent + 10, &REQUEST.to_ascii_lowercase()[10..20], flag::PSH)?;
        client.send_segment(sent, &REQUEST[..10], flag::PSH)?;
        client.send_segment(sent + 30, &REQUEST[30..], flag::PSH)?;
        client.receive_for(Duration::from_millis(200))?;
        client.send_segment(2 * sent + 10, &REQUEST[10..], flag::PSH)?;
        clients.push(client);

        let mut attacker = RawTcp::connect(&site.lab, server)?;
        let attack = format!("GET {ATTACK} HTTP/1.1\r\nHost: lab\r\n\r\n");
        attacker.send(attack.as_bytes())?;
        attacker.receive_for(Duration::from_millis(200))?;
        attacker.send(REQUEST)?;
        clients.push(attacker);
    }
    Ok(clients)
}

/// Packets that never get as far as the engine.
fn others(site: &Site, client: &RawTcp) -> Result<()> {
    for (server, kind) in [(IpAddr::from(SERVER_V4), "-4"), (SERVER_V6.into(), "-6")] {
        let ping = ["-q", kind, "-c3", "-i0.05", &server.to_string()];
        output_of(site.lab.client().command("ping").args(ping))?;
    }
    let plain = client.frame(client.segment(0, REQUEST, flag::PSH));
    let change = |change: &dyn Fn(&mut Frame)| {
        let mut frame = plain.clone();
        change(&mut frame);
        frame
    };
    let udp = change(&|frame| {
        frame.transport = Transport::Udp {
            source_port: 4000,
            destination_port: 4001,
            payload: b"datagram".to_vec(),
        };
    });
    let flags = |flags: u8| {
        change(&move |frame| {
            if let Transport::Tcp(tcp) = &mut frame.transport {
                tcp.flags = flags;
            }
        })
    };
    let blocked = change(&|frame| frame.source = BLOCKED.into());
    let unknown = change(&|frame| {
        if let Transport::Tcp(tcp) = &mut frame.transport {
            tcp.source_port = 999;
        }
    });
    let odd = [
        udp,
        flags(0),
        flags(0xff),
        flags(flag::SYN | flag::FIN),
        blocked,
        change(&|frame| frame.source = frame.destination),
        change(&|frame| frame.source = [127, 0, 0, 1].into()),
        plain.clone().tagged(TAG_8021Q, 7),
        unknown.tagged(TAG_8021Q, 7),
    ];
    let bytes = plain.to_bytes();
    for _ in 0..20 {
        for frame in &odd {
            client.send_frame(frame)?;
        }
        // Inside the IP header, inside the TCP header, less than the length field says, no IP.
        for length in [20, 40, bytes.len() - 1] {
            client.send_bytes(&bytes[..length])?;
        }
        client.send_bytes(&[&bytes[..12], &[0x88, 0xb5], &bytes[14..]].concat())?;
    }
    Ok(())
}

/// Every kind of packet, each in a frame of its own.
fn everything(site: &Site, engine: &RunningEngine) -> Result<Vec<RawTcp>> {
    engine.tell(&["block", &IpAddr::from(BLOCKED).to_string()])?;
    load(site)?;
    let clients = oddities(site)?;
    others(site, clients.first().context("there are some")?)?;
    Ok(clients)
}

fn serial_every_packet_is_found_again(mode: &str) -> Result<()> {
    let options = Options {
        client_segmentation: Offload::Off,
        ..Options::default()
    };
    let Some(site) = Site::start(&options)? else {
        return Ok(());
    };
    without_joined_replies(site.lab.gateway())?;
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, "engine.vlan=pass"])?;
    let before = Received::now(site.lab.gateway())?;
    let clients = everything(&site, &engine)?;

    let status = drained(&engine)?;
    let after = Received::now(site.lab.gateway())?;
    after.ensure_accounted_since(&before)?;
    ensure_redirected_is_accounted(&status)?;
    // Nothing was joined and nothing in fragments, so that one packet is one all the way.
    let (read, received) = (
        sum(&status, |queue| queue.read),
        sum(&status, |queue| queue.received),
    );
    ensure!(read == received, "{status:#?}");

    ensure!(sum(&status, |queue| queue.held.used) == 2, "{status:#?}");
    for reason in [
        "attack",
        "bad_tcp_checksum",
        "no_ack",
        "duplicate",
        "overlap_conflict",
    ] {
        ensure!(engine.dropped(reason)? >= 2, "{reason}: {status:#?}");
    }
    for reason in [
        Reason::SourceBlock,
        Reason::FlowBlock,
        Reason::NoService,
        Reason::Acknowledgement,
        Reason::NotIp,
        Reason::Truncated,
        Reason::BadLength,
        Reason::TcpNoFlags,
        Reason::TcpSynFin,
        Reason::SameAddress,
        Reason::MartianSource,
        Reason::VlanPass,
    ] {
        let count = after.xdp.get(reason) - before.xdp.get(reason);
        ensure!(count > 0, "{}: {after:#?}", reason.name());
    }
    drop(clients);
    engine.stop()
}

fn serial_every_joined_packet_and_fragment_is_found_again(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    without_joined_replies(site.lab.gateway())?;
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT])?;
    let before = Received::now(site.lab.gateway())?;
    let file = upload(&site.lab, &nginx::document(4 << 20))?;
    for server in site::nginx() {
        let sent = curl(
            &site.lab,
            server,
            nginx::SINK,
            &["-H", "Content-Type: text/plain", "--data-binary", &file],
        )?;
        ensure!(sent.status == 200, "{sent:?}");
        let mut client = RawTcp::connect(&site.lab, server)?;
        let frame = client.frame(client.segment(0, REQUEST, flag::PSH));
        for fragment in frame.fragments(&[24, 32], 1) {
            client.send_bytes(&fragment)?;
        }
        client.receive_until(SOON, |client| !client.received().is_empty())?;
        // One that stays alone, and two that contradict each other.
        client.send_bytes(&frame.fragments(&[24], 2)[0])?;
        for fragment in [&frame.fragments(&[32], 3)[0], &frame.fragments(&[24, 40], 3)[1]] {
            client.send_bytes(fragment)?;
        }
    }
    let clients = everything(&site, &engine)?;

    let status = drained(&engine)?;
    let after = Received::now(site.lab.gateway())?;
    after.ensure_accounted_since(&before)?;
    ensure_redirected_is_accounted(&status)?;
    ensure!(sum(&status, |queue| queue.fragments) >= 12, "{status:#?}");
    ensure!(engine.dropped("fragment")? >= 4, "{status:#?}");
    drop(clients);
    engine.stop()
}

/// A ring of 128 places with credits for twice as many packets, behind an engine that stands still: the kernel cannot deliver
/// some of them, and the failure policy has the rest.
fn serial_what_a_full_ring_refuses_is_found_again(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [
        mode,
        PATIENT,
        "engine.on_failure=drop",
        "limits.frames_per_queue=256",
        "limits.credits=256",
        "limits.heartbeat_timeout_ms=20000",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let before = Received::now(site.lab.gateway())?;
    let client = RawTcp::new(&site.lab, site::nginx()[0])?;
    engine.pause()?;
    for number in 0..1000 {
        let mut syn = client.syn();
        syn.source_port = 1000 + number;
        client.send_tcp(syn)?;
    }
    engine.resume()?;
    let status = drained(&engine)?;
    let after = Received::now(site.lab.gateway())?;
    after.ensure_accounted_since(&before)?;
    ensure_redirected_is_accounted(&status)?;
    // More credits than the ring has places: the kernel itself could not deliver the rest.
    ensure!(sum(&status, |queue| queue.lost) > 0, "{status:#?}");
    engine.stop()
}

/// The maps outlive engines, and their counters with them.
fn an_engine_counts_what_was_redirected_to_itself(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [mode, PATIENT, "engine.on_failure=pass"];
    for round in 0..3 {
        let engine = RunningEngine::start(&site.lab, &settings)?;
        for server in site::nginx() {
            ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
            ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
        }
        let status = drained(&engine)?;
        ensure_redirected_is_accounted(&status)?;
        ensure!(status.redirected > 0, "{status:#?}");
        ensure!(
            (status.packets("redirect") > status.redirected) == (round > 0),
            "{status:#?}"
        );
        engine.kill()?;
        // What passes without an engine is redirected to none.
        ensure!(curl(&site.lab, site::nginx()[0], "/1k", &[])?.status == 200);
    }
    Ok(())
}
