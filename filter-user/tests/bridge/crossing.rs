//! What crosses a bridge.

use std::time::Instant;

use anyhow::{Result, ensure};
use filter_common::Reason;
use xtask::lab::{
    Options, PacketSocket, RawTcp, Trunk,
    frame::{TAG_8021AD, TAG_8021Q},
    namespace::output_of,
    nginx,
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::{INTERFACE, PROGRAM, RunningEngine, SERVER_INTERFACE, links},
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

/// Address resolution and neighbour discovery cross, and with them pages: there is nothing but the engine between client and
/// server, and nothing reaches the gateway's own stack.
fn pages_come_through(site: &Site, mode: &str) -> Result<()> {
    let engine = RunningEngine::start(&site.lab, &[mode])?;
    for namespace in [site.lab.client(), site.lab.server()] {
        namespace.ip("neigh flush dev eth0\n")?;
    }
    for server in site::nginx() {
        for (path, length) in nginx::DOCUMENTS {
            let answer = curl(&site.lab, server, path, &["--max-time", "20"])?;
            ensure!(
                answer.status == 200 && answer.body.len() == length,
                "{path}: {} of {}",
                answer.status,
                answer.body.len()
            );
        }
    }
    let status = engine.settled_status()?;
    ensure!(status.packets("drop") == 0, "{status:#?}");
    ensure!(
        status.requests.total() == 2 * nginx::DOCUMENTS.len() as u64,
        "{status:#?}"
    );
    ensure!(engine.counter(Reason::Reply)? > 0);
    engine.stop()?;
    let links = links(site.lab.gateway())?;
    ensure!(!links.contains("PROMISC"), "something is left: {links}");
    Ok(())
}

fn neighbours_find_each_other(mode: &str) -> Result<()> {
    match Site::plain()? {
        Some(site) => pages_come_through(&site, mode),
        None => Ok(()),
    }
}

in_both_modes!(neighbours_find_each_other);

#[test]
fn sums_that_are_left_to_hardware_cross_in_generic_mode() -> Result<()> {
    match Site::with_offloads()? {
        Some(site) => pages_come_through(&site, "engine.xdp_mode=generic"),
        None => Ok(()),
    }
}

/// Sends a frame into one end of the bridge and waits for it at the other.
fn cross(frame: &[u8], from: &PacketSocket, to: &mut PacketSocket) -> Result<()> {
    from.send(frame)?;
    let deadline = Instant::now() + SOON;
    while let Some(received) = to.receive(deadline)? {
        if received == frame {
            return Ok(());
        }
    }
    anyhow::bail!("{frame:02x?} did not cross")
}

/// Frames of protocols for neighbours only, which a bridge of the kernel keeps to itself: LLDP (IEEE 802.1AB §7.1) and spanning
/// tree (IEEE 802.1D §7.12.3). Both ways.
fn frames_for_neighbours(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[mode])?;
    let mut client = PacketSocket::open(site.lab.client(), "eth0")?;
    let mut server = PacketSocket::open(site.lab.server(), "eth0")?;
    let mut lldp = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc];
    let mut tree = vec![0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 38, 0x42, 0x42, 3];
    for frame in [&mut lldp, &mut tree] {
        frame.resize(60, 0);
        cross(frame, &client, &mut server)?;
        cross(frame, &server, &mut client)?;
    }
    engine.stop()
}

in_both_modes!(frames_for_neighbours);

/// Flows with one VLAN tag and with two are inspected like others.
fn tagged_flows_are_inspected(mode: &str, tags: &[(u16, u16)]) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let trunk = Trunk::start(&site.lab, tags)?;
    let engine = RunningEngine::start(&site.lab, &[mode, "reputation.threshold=1000000"])?;
    for server in site::nginx() {
        for (path, status) in [
            ("/100k", 200),
            ("/1k?id=1'+UNION+SELECT+password+FROM+users--", 403),
        ] {
            let mut client = RawTcp::behind(&site.lab, server, &trunk)?;
            client.open()?;
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").as_bytes())?;
            let answer = client.response(SOON)?;
            ensure!(answer.status == status, "{server}: {answer:?}");
        }
    }
    let status = engine.settled_status()?;
    ensure!(
        status.requests.block == 2 && status.requests.total() == 4,
        "{status:#?}"
    );
    let arrived = site.nginx.access_log()?;
    let arrived = arrived.iter().filter(|entry| entry.complete).count();
    ensure!(arrived == 2, "{arrived} requests arrived");
    engine.stop()
}

fn flows_with_one_tag(mode: &str) -> Result<()> {
    tagged_flows_are_inspected(mode, &[(TAG_8021Q, 100)])
}

fn flows_with_two_tags(mode: &str) -> Result<()> {
    tagged_flows_are_inspected(mode, &[(TAG_8021AD, 7), (TAG_8021Q, 0x6064)])
}

in_both_modes!(flows_with_one_tag, flows_with_two_tags);

/// The same addresses and ports in different VLANs are different flows: a block of one is not one of the other.
#[test]
fn flows_in_different_vlans_are_kept_apart() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let trunk = Trunk::start(&site.lab, &[(TAG_8021Q, 100)])?;
    let engine = RunningEngine::start(&site.lab, &["reputation.threshold=1000000"])?;
    let [server, _] = site::nginx();
    let mut client = RawTcp::behind(&site.lab, server, &trunk)?;
    client.open()?;
    client.send(b"GET /1k?id=1'+UNION+SELECT+password+FROM+users-- HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    ensure!(client.response(SOON)?.status == 403);
    let drops = |reason| engine.counter(reason);
    let mut frame = client.frame(client.segment(0, b"", 0));
    let before = (drops(Reason::FlowBlock)?, drops(Reason::ServiceAll)?);
    client.send_frame(&frame)?;
    wait_until("the blocked flow's drop", SOON, || {
        drops(Reason::FlowBlock).is_ok_and(|now| now > before.0)
    })?;
    frame.tags = vec![(TAG_8021Q, 101)];
    client.send_frame(&frame)?;
    wait_until("the other flow's inspection", SOON, || {
        drops(Reason::ServiceAll).is_ok_and(|now| now > before.1)
    })?;
    engine.stop()
}

#[test]
fn what_cannot_be_bridged_is_refused_with_the_remedy() -> Result<()> {
    let Some(site) = Site::start(&Options {
        queues: 2,
        ..Options::default()
    })?
    else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    site.lab.cut_wire()?;
    let refused = |servers: &str, words: [&str; 2]| {
        let mut command = gateway.command(PROGRAM);
        command.args(["run", "--iface", INTERFACE, "--bridge", servers]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{text}");
        ensure!(words.iter().all(|word| text.contains(word)), "{text}");
        let links = links(gateway)?;
        ensure!(
            !links.contains("xdp") && !links.contains("PROMISC"),
            "something is left: {links}"
        );
        anyhow::Ok(())
    };
    refused("nowhere", ["no interface `nowhere`", "ip link"])?;
    refused(INTERFACE, ["clients come in by", "the other one"])?;
    gateway.ip(&format!("link set {SERVER_INTERFACE} mtu 1400\n"))?;
    refused(SERVER_INTERFACE, ["MTU of 1500", "mtu BYTES"])?;
    gateway.ip(&format!("link set {SERVER_INTERFACE} mtu 1500 down\n"))?;
    refused(SERVER_INTERFACE, ["is down", "ip link set dev inside up"])?;
    gateway.ip(&format!("link set {SERVER_INTERFACE} up\n"))?;
    let channels = ["-L", SERVER_INTERFACE, "rx", "1", "tx", "1"];
    output_of(gateway.command("ethtool").args(channels))?;
    refused(SERVER_INTERFACE, ["has 1 queues", "ethtool -L inside"])
}
