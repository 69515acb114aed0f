//! The challenge to sources of SYNs: forged ones get no further than XDP, a real client connects through it.

use std::{net::IpAddr, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use filter_common::Reason;
use filter_user::bpf::{Attachment, Kernel, LoadOptions, Place, Sizes, XdpMode};
use xtask::lab::{
    RawTcp,
    frame::{Frame, flag},
    mounts::BPFFS,
    namespace::output_of,
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::RunningEngine,
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

in_both_modes!(
    a_client_connects_and_forged_syns_do_not_get_through,
    it_goes_off_by_itself
);

/// Above one SYN a second.
const SENSITIVE: [&str; 2] = ["flood.challenge.syns=1", "flood.challenge.keep_syns=1"];

/// A SYN from an address that nobody has.
fn forged(client: &RawTcp, number: u16) -> Frame {
    let mut tcp = client.segment(0, b"", flag::SYN);
    tcp.flags = flag::SYN;
    tcp.acknowledgement = 0;
    let mut frame = client.frame(tcp);
    frame.source = match frame.source {
        IpAddr::V4(_) => IpAddr::from([10, 71, 1 + (number >> 8) as u8, number as u8]),
        IpAddr::V6(_) => IpAddr::from([0xfd71, 0, 0, 7 + number, 0, 0, 0, 1]),
    };
    frame
}

/// Sends forged SYNs until they are challenged.
fn provoke(engine: &RunningEngine, client: &RawTcp) -> Result<()> {
    wait_until("the challenge", SOON, || {
        client.send_frame(&forged(client, 9999)).is_ok()
            && engine.counter(Reason::Challenge).is_ok_and(|count| count > 0)
    })
}

/// Segments that the client's kernel has sent again.
fn retransmissions(site: &Site) -> Result<u64> {
    let text = output_of(site.lab.client().command("cat").arg("/proc/net/snmp"))?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = names.split(' ').position(|name| name == "RetransSegs");
    let value = at.and_then(|at| values.split(' ').nth(at));
    Ok(value.context("the kernel counts retransmissions")?.parse()?)
}

/// Lets the client's end of the cable take what native XDP sends back: a veth driver wakes a receiver only if that has an XDP
/// program itself (`veth_xdp_flush`, drivers/net/veth.c). This one is not configured, and passes everything.
pub(crate) fn let_answers_in(site: &Site) -> Result<(Kernel, Attachment)> {
    site.lab.client().enter(|| {
        let options = LoadOptions {
            shared: false,
            pin_dir: Path::new(BPFFS).join("client"),
            sizes: Sizes {
                flows: 64,
                sources: 64,
                blocks: 64,
                prefixes: 64,
                services: 64,
            },
            log_level: 0,
        };
        let mut kernel = Kernel::load(&options)?;
        let attachment = Attachment::new(&mut kernel, Place::Host("eth0"), &[XdpMode::Native])?;
        Ok((kernel, attachment))
    })?
}

fn a_client_connects_and_forged_syns_do_not_get_through(mode: &str) -> Result<()> {
    const FORGED: u16 = 300;
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let _receiver = let_answers_in(&site)?;
    let settings = [SENSITIVE.as_slice(), &["flood.challenge.hold_s=3600", mode]].concat();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let [v4, v6] = site::nginx().map(|server| RawTcp::new(&site.lab, server));
    let forgers = [v4?, v6?];
    provoke(&engine, &forgers[0])?;

    let inspected = engine.counter(Reason::ServiceAll)?;
    let status = engine.settled_status()?;
    let (challenged, received) = (status.packets("tx"), status.queues[0].received);
    for number in 0..FORGED {
        for forger in &forgers {
            forger.send_frame(&forged(forger, number))?;
        }
    }
    let all = challenged + 2 * u64::from(FORGED);
    wait_until("answers to all", SOON, || {
        engine.counter(Reason::Challenge).is_ok_and(|count| count == all)
    })?;
    ensure!(
        engine.counter(Reason::ServiceAll)? == inspected,
        "nothing was redirected"
    );
    let status = engine.settled_status()?;
    ensure!(
        status.queues[0].received == received,
        "and the engine has seen nothing"
    );
    ensure!(status.packets("tx") == all);
    ensure!(engine.counter(Reason::ChallengeProved)? == 0);

    for (number, server) in (1..).zip(site::nginx()) {
        let before = retransmissions(&site)?;
        let answer = curl(&site.lab, server, "/1k", &[])?;
        ensure!(answer.status == 200, "{server}: {answer:?}");
        let again = retransmissions(&site)? - before;
        ensure!(
            (1..=2).contains(&again),
            "{server}: connected after {again} retransmissions"
        );
        ensure!(engine.counter(Reason::ChallengeProved)? >= number, "{server}");
        // From then on it is left alone.
        let challenged = engine.counter(Reason::Challenge)?;
        let before = retransmissions(&site)?;
        let answer = curl(&site.lab, server, "/1k", &[])?;
        ensure!(answer.status == 200, "{server}: {answer:?}");
        ensure!(engine.counter(Reason::Challenge)? == challenged);
        ensure!(retransmissions(&site)? == before);
    }
    ensure!(engine.counter(Reason::ChallengeFailed)? == 0);
    engine.stop()
}

fn it_goes_off_by_itself(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [SENSITIVE.as_slice(), &["flood.challenge.hold_s=1", mode]].concat();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let client = RawTcp::new(&site.lab, site::nginx()[0])?;
    provoke(&engine, &client)?;
    let inspected = engine.counter(Reason::ServiceAll)?;
    let mut number = 0;
    wait_until("a SYN going through", SOON, || {
        // Longer than the hold, and than a token takes to come back.
        thread::sleep(Duration::from_secs(3));
        number += 1;
        client.send_frame(&forged(&client, number)).is_ok()
            && wait_until("its way", Duration::from_millis(500), || {
                engine
                    .counter(Reason::ServiceAll)
                    .is_ok_and(|count| count > inspected)
            })
            .is_ok()
    })?;
    engine.stop()
}
