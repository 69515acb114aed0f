//! Several queues, each with a thread of its own.

use anyhow::{Context as _, Result, ensure};
use filter_common::FlowKey;
use xtask::lab::{Options, RawTcp, namespace::output_of};

use crate::support::{
    SOON,
    engine::{RunningEngine, with_tables},
    modes::in_both_modes,
    request::command,
    site::{self, Site},
};

fn with_queues(queues: u32) -> Result<Option<Site>> {
    Site::start(&Options {
        queues,
        ..Options::default()
    })
}

/// 400 connections over two queues. In native mode: for generic XDP a veth takes its peer's first and second queue for one, as
/// the number that says which queue sent a packet becomes one more than that of a queue which received it (`skb_get_rx_queue`).
#[test]
fn two_queues_share_the_load() -> Result<()> {
    let Some(site) = with_queues(2)? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.xdp_mode=native", "engine.on_failure=drop"])?;
    for server in site::nginx() {
        let mut burst = command(&site.lab, server, "/1k", &["-o", "/dev/null"]);
        burst.args(["--parallel", "--parallel-max", "32", "--no-progress-meter"]);
        burst.args(["-H", "Connection: close"]);
        for _ in 1..200 {
            burst.args(["-o", "/dev/null"]).arg(format!("http://{server}/1k"));
        }
        let output = burst.output()?;
        ensure!(output.status.success(), "{output:?}");
    }
    let status = engine.wait_for_status("every request scored", |status| status.requests.total() >= 400)?;
    let received: Vec<_> = status.queues.iter().map(|queue| queue.received).collect();
    let total: u64 = received.iter().sum();
    ensure!(
        received.len() == 2 && received.iter().all(|count| 10 * count >= 3 * total),
        "{received:?}"
    );
    engine.stop()
}

/// Connects until a flow comes in by the second queue, as its entry in the map says.
fn client_of_second_queue(site: &Site, server: std::net::SocketAddr) -> Result<RawTcp> {
    let mut others = Vec::new();
    for _ in 0..64 {
        let client = RawTcp::connect(&site.lab, server)?;
        let local = client.local();
        let key = FlowKey::tcp(local.ip().into(), local.port(), server.ip().into(), server.port());
        let queue = with_tables(site.lab.gateway(), |tables| Ok(tables.flows.get(&key, 0)?.queue))?;
        if queue == 1 {
            return Ok(client);
        }
        others.push(client);
    }
    anyhow::bail!("no flow came in by the second queue")
}

/// In the middle of a request the client's end is left with one queue: the rest comes in by the first one. The attack is
/// recognised from both halves, and its benign twin is answered.
fn a_flow_that_changes_its_queue_keeps_its_state(mode: &str) -> Result<()> {
    let Some(site) = with_queues(3)? else {
        return Ok(());
    };
    let engine = RunningEngine::start(
        &site.lab,
        &[mode, "engine.on_failure=drop", "reputation.threshold=1000000"],
    )?;
    let channels = |count: &str| {
        let client = site.lab.client();
        output_of(client.command("ethtool").args(["-L", "eth0", "tx", count]))
            .with_context(|| format!("setting {count} queues"))
    };
    for server in site::nginx() {
        for (middle, status) in [(["UNI", "ON SELECT"], 403), (["ONI", "ONS SALAD"], 200)] {
            let mut client = client_of_second_queue(&site, server)?;
            let [one, other] = middle.map(|text| text.replace(' ', "+"));
            client.send(format!("GET /1k?id=1+{one}").as_bytes())?;
            engine.settled_status()?;
            channels("1")?;
            let rest =
                format!("{other}+password+FROM+users HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
            client.send(rest.as_bytes())?;
            let answer = client.response(SOON)?;
            ensure!(answer.status == status, "{server}: {answer:?}");
            channels("3")?;
        }
    }
    let status = engine.settled_status()?;
    let handed_over: u64 = status.queues.iter().map(|queue| queue.handed_over).sum();
    ensure!(handed_over >= 4, "{status:#?}");
    ensure!(status.requests.block == 2, "{status:#?}");
    ensure!(
        status.queues.iter().all(|queue| queue.unscored.is_empty()),
        "{status:#?}"
    );
    engine.stop()
}

in_both_modes!(a_flow_that_changes_its_queue_keeps_its_state);
