//! Tagged and malformed frames, sent raw.

use anyhow::{Context as _, Result, ensure};
use filter_common::Reason;
use xtask::lab::{
    RawTcp,
    frame::{Frame, TAG_8021AD, TAG_8021Q, flag},
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::RunningEngine,
    site::{self, Site},
};

/// A frame with a SYN, from an address of its own.
fn syn(client: &RawTcp) -> Frame {
    let mut tcp = client.segment(0, b"", flag::SYN);
    tcp.flags = flag::SYN;
    tcp.acknowledgement = 0;
    client.frame(tcp)
}

fn sent_counts(engine: &RunningEngine, reason: Reason, send: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = engine.counter(reason)?;
    send()?;
    wait_until(reason.name(), SOON, || {
        engine.counter(reason).is_ok_and(|now| now == before + 1)
    })
}

fn tagged_frames_follow(policy: &str, reason: Reason) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [
        format!("engine.vlan={policy}"),
        // Raw clients have addresses from .100 on.
        "lists.block=[\"10.71.0.32/28\"]".into(),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let [v4, v6] = site::nginx().map(|server| RawTcp::new(&site.lab, server));
    // Kept to the end: a client that goes sends a reset.
    let clients = [v4?, v6?];
    for client in &clients {
        let once = syn(client).tagged(TAG_8021Q, 100);
        let twice = syn(client).tagged(TAG_8021AD, 7).tagged(TAG_8021Q, 100);
        for frame in [&once, &twice] {
            sent_counts(&engine, reason, || client.send_frame(frame))?;
        }
        let thrice = twice.tagged(TAG_8021Q, 1);
        sent_counts(&engine, Reason::VlanDepth, || client.send_frame(&thrice))?;
        // The addresses behind the tags count: blocks hold, and other ports are nobody's business.
        let mut other = once.clone();
        if let xtask::lab::frame::Transport::Tcp(tcp) = &mut other.transport {
            tcp.destination_port = 2222;
        }
        sent_counts(&engine, Reason::NoService, || client.send_frame(&other))?;
        if client.local().is_ipv4() {
            let mut blocked = once.clone();
            blocked.source = "10.71.0.40".parse()?;
            sent_counts(&engine, Reason::BlockList, || client.send_frame(&blocked))?;
        }
    }
    ensure!(engine.counter(Reason::ServiceAll)? == 0, "nothing was redirected");
    ensure!(engine.settled_status()?.queues[0].received == 0);
    engine.stop()
}

#[test]
fn tagged_frames_pass_by_policy() -> Result<()> {
    tagged_frames_follow("pass", Reason::VlanPass)
}

#[test]
fn tagged_frames_are_dropped_by_policy() -> Result<()> {
    tagged_frames_follow("drop", Reason::Vlan)
}

/// Where the IP header begins.
const IP: usize = 14;

/// Changes to a well-formed SYN, and what each is counted under.
type Damage = (Reason, fn(&mut Vec<u8>, usize));

/// `tcp` is where the TCP header begins.
const DAMAGES: &[Damage] = &[
    (Reason::Truncated, |frame, _| frame.truncate(IP + 12)),
    (Reason::BadLength, |frame, tcp| frame.truncate(tcp + 10)),
    (Reason::BadTcp, |frame, tcp| frame[tcp + 12] = 0x40),
    (Reason::TcpNoFlags, |frame, tcp| frame[tcp + 13] = 0),
    (Reason::TcpAllFlags, |frame, tcp| frame[tcp + 13] = 0x3f),
    (Reason::TcpSynFin, |frame, tcp| {
        frame[tcp + 13] = flag::SYN | flag::FIN;
    }),
    (Reason::TcpSynFin, |frame, tcp| {
        frame[tcp + 13] = flag::SYN | flag::RST;
    }),
];

const DAMAGES_V4: &[Damage] = &[
    (Reason::BadIpv4, |frame, _| frame[IP] = 0x55),
    (Reason::BadIpv4, |frame, _| frame[IP] = 0x44),
    (Reason::BadLength, |frame, _| frame[IP + 2] = 0x40),
    (Reason::BadLength, |frame, _| frame[IP + 3] = 10),
    (Reason::SameAddress, |frame, _| {
        frame.copy_within(IP + 16..IP + 20, IP + 12);
    }),
    (Reason::MartianSource, |frame, _| frame[IP + 12] = 127),
    (Reason::MartianSource, |frame, _| frame[IP + 12] = 224),
];

const DAMAGES_V6: &[Damage] = &[
    (Reason::BadIpv6, |frame, _| frame[IP] = 0x50),
    (Reason::BadLength, |frame, _| frame[IP + 4] = 0x40),
    (Reason::SameAddress, |frame, _| {
        frame.copy_within(IP + 24..IP + 40, IP + 8);
    }),
    (Reason::MartianSource, |frame, _| frame[IP + 8] = 0xff),
];

#[test]
fn malformed_frames_are_dropped_and_counted_by_reason() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[])?;
    let socket = xtask::lab::PacketSocket::open(site.lab.client(), "eth0")?;
    let [v4, v6] = site::nginx().map(|server| RawTcp::new(&site.lab, server));
    let (v4, v6) = (v4?, v6?);
    for (client, own, tcp) in [(&v4, DAMAGES_V4, IP + 20), (&v6, DAMAGES_V6, IP + 40)] {
        let whole = syn(client).to_bytes();
        for (reason, damage) in DAMAGES.iter().chain(own) {
            let mut frame = whole.clone();
            damage(&mut frame, tcp);
            sent_counts(&engine, *reason, || socket.send(&frame))
                .with_context(|| format!("{} from {}", reason.name(), client.local()))?;
        }
    }
    // A chain of more extension headers than any sender makes.
    let mut repeated = syn(&v6);
    repeated.extension_headers = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0]); 7];
    sent_counts(&engine, Reason::BadExtension, || v6.send_frame(&repeated))?;
    ensure!(engine.counter(Reason::ServiceAll)? == 0, "nothing was redirected");
    engine.stop()
}
