//! What is no attack arrives as it was sent.

use anyhow::{Result, ensure};
use filter_common::Reason;
use filter_user::{config::XdpMode, control::QueueStatus};
use xtask::lab::{Offload, Options, RawTcp, engine_config, nginx, origin::digest};

use crate::support::{
    SOON,
    engine::RunningEngine,
    modes::in_both_modes,
    request::{command, curl, upload},
    site::{self, Site},
};

/// A page, a large download, and 10 MiB up with a length and in chunks, over both address families.
pub(crate) fn everything_passes(options: &Options, settings: &[&str]) -> Result<()> {
    let Some(site) = Site::start(options)? else {
        return Ok(());
    };
    let settings = [&["engine.on_failure=drop"], settings].concat();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let body = nginx::document(10 << 20);
    let file = upload(&site.lab, &body)?;
    for server in site::nginx() {
        for (path, length) in nginx::DOCUMENTS {
            let answer = curl(&site.lab, server, path, &[])?;
            ensure!(answer.status == 200, "{server}{path}: {answer:?}");
            ensure!(
                answer.body == nginx::document(length),
                "{path} of {server} differs"
            );
        }
        for coding in ["Expect:", "Transfer-Encoding: chunked"] {
            let answer = curl(
                &site.lab,
                server,
                nginx::SINK,
                &[
                    "-H",
                    coding,
                    "-H",
                    "Content-Type: text/plain",
                    "--data-binary",
                    &file,
                ],
            )?;
            ensure!(
                answer.text().trim() == body.len().to_string(),
                "{coding}: {answer:?}"
            );
        }
    }
    for server in site::origin() {
        let answer = curl(
            &site.lab,
            server,
            "/upload",
            &["-H", "Content-Type: text/plain", "--data-binary", &file],
        )?;
        let expected = format!("{} {:016x}", body.len(), digest(&body));
        ensure!(answer.text().trim() == expected, "{server}: {answer:?}");
    }
    // Documents, two uploads to nginx and one to the origin.
    let requests = (site::nginx().len() * (nginx::DOCUMENTS.len() + 2) + site::origin().len()) as u64;
    engine.wait_for_status("every request scored", |status| {
        status.requests.total() == requests
    })?;
    let status = engine.status()?;
    ensure!(
        status.requests.block == 0 && status.requests.suspicious == 0,
        "{status:#?}"
    );
    ensure!(
        status.queues.iter().all(|queue| queue.unscored.is_empty()),
        "{status:#?}"
    );
    let queue = |count: fn(&QueueStatus) -> u64| status.queues.iter().map(count).sum::<u64>();
    ensure!(queue(|queue| queue.lost) == 0, "{status:#?}");
    // Only a stack that has hardware complete its checksums leaves cutting to it, too.
    let is_cut = site.lab.is_bridged()
        || options.client_segmentation == Offload::Off
        || options.client_offload == Offload::Off;
    let arrives_joined = options.mtu > 3800 || status.xdp_mode == XdpMode::Generic && !is_cut;
    ensure!((queue(|queue| queue.joined) > 0) == arrives_joined, "{status:#?}");
    ensure!(queue(|queue| queue.received) > 1000, "{status:#?}");
    ensure!(engine.counter(Reason::ServiceAll)? >= requests);
    engine.stop()
}

#[test]
fn with_checksums_on_the_wire() -> Result<()> {
    everything_passes(
        &Options {
            client_offload: Offload::Off,
            ..Options::default()
        },
        &[],
    )
}

#[test]
fn in_generic_mode_with_segments_cut_by_the_client() -> Result<()> {
    let options = Options {
        client_segmentation: Offload::Off,
        ..Options::default()
    };
    everything_passes(&options, &["engine.xdp_mode=generic"])
}

/// What is not inspected stays joined on its way through the stack.
#[test]
fn joined_packets_of_other_services_pass() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let services = engine_config::nginx_services();
    let engine = RunningEngine::start_with(&site.lab, &services, &["engine.xdp_mode=generic"])?;
    let body = nginx::document(4 << 20);
    let file = upload(&site.lab, &body)?;
    let expected = format!("{} {:016x}", body.len(), digest(&body));
    for server in site::origin() {
        let arguments = ["-H", "Content-Type: text/plain", "--data-binary", &file];
        let answer = curl(&site.lab, server, "/upload", &arguments)?;
        ensure!(answer.text().trim() == expected, "{server}: {answer:?}");
    }
    ensure!(engine.settled_status()?.queues[0].received == 0);
    engine.stop()
}

/// On a virtual cable the faster mode is chosen, and why is said.
#[test]
fn auto_is_generic_on_a_veth() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.xdp_mode=auto"])?;
    ensure!(engine.status()?.xdp_mode == XdpMode::Generic);
    ensure!(
        engine.log().contains("(generic XDP: a veth copies every packet"),
        "{}",
        engine.log()
    );
    // The next engine takes the link over, in the mode it is in, and knows which that is.
    engine.kill()?;
    let engine = RunningEngine::start(&site.lab, &["engine.xdp_mode=native"])?;
    ensure!(engine.status()?.xdp_mode == XdpMode::Generic);
    ensure!(engine.log().contains("taken over"), "{}", engine.log());
    engine.stop()
}

/// A form whose value, behind as much harmless text as makes many segments, is an attack: sent by a stack that does not
/// cut it.
#[test]
fn an_attack_inside_a_joined_packet_is_blocked() -> Result<()> {
    let Some(site) = Site::with_offloads()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(
        &site.lab,
        &["engine.xdp_mode=generic", "reputation.threshold=1000000"],
    )?;
    let text = "word+".repeat(8000);
    for server in site::nginx() {
        for (end, status) in [("harmless", 200), ("1'+UNION+SELECT+password+FROM+users--", 403)] {
            let file = upload(&site.lab, format!("text={text}&id={end}").as_bytes())?;
            let answer = curl(
                &site.lab,
                server,
                nginx::SINK,
                &["-H", "Expect:", "--data-binary", &file],
            )?;
            ensure!(answer.status == status, "{server} {end}: {answer:?}");
        }
    }
    let status = engine.settled_status()?;
    ensure!(status.queues[0].joined > 0, "{status:#?}");
    ensure!(status.requests.block == 2, "{status:#?}");
    let log = site.nginx.access_log()?;
    ensure!(log.iter().filter(|entry| entry.complete).count() == 2, "{log:?}");
    engine.stop()
}

/// More than fits into a page.
fn large_packets(mode: &str) -> Result<()> {
    let options = Options {
        mtu: 9000,
        ..Options::default()
    };
    everything_passes(&options, &[mode])
}

in_both_modes!(large_packets);

/// Rings with room for three packets of the client's: most of what it sends at once is dropped, and comes again.
#[test]
fn joined_packets_that_exceed_the_ring_slow_an_upload_down_and_break_nothing() -> Result<()> {
    let Some(site) = Site::with_offloads()? else {
        return Ok(());
    };
    let settings = [
        "engine.xdp_mode=generic",
        "engine.on_failure=drop",
        "limits.frames_per_queue=256",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let body = nginx::document(4 << 20);
    let file = upload(&site.lab, &body)?;
    let expected = format!("{} {:016x}", body.len(), digest(&body));
    for server in site::origin() {
        let arguments = ["-H", "Content-Type: text/plain", "--data-binary", &file];
        let answer = curl(&site.lab, server, "/upload", &arguments)?;
        ensure!(answer.text().trim() == expected, "{server}: {answer:?}");
    }
    // What is still out comes back: as many credits as ever, for requests of any size.
    let status = engine.wait_for_status("every frame accounted for", |status| {
        status.queues[0].credits.used == 0
    })?;
    ensure!(status.queues[0].joined > 0, "{status:#?}");
    ensure!(status.queues[0].unscored.is_empty(), "{status:#?}");
    for server in site::nginx() {
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
    }
    eprintln!(
        "ring full: {}, lost: {}, dropped: {:?}",
        engine.counter(Reason::RingFullDrop)?,
        status.queues[0].lost,
        status.queues[0].dropped
    );
    engine.stop()
}

#[test]
fn pipelined_and_kept_alive_requests_are_answered_in_order() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop"])?;
    for server in site::nginx() {
        let mut client = RawTcp::connect(&site.lab, server)?;
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n").into_bytes();
        client.send(&[request("/1k"), request("/"), request("/1k")].concat())?;
        for length in [Some(1000), None, Some(1000)] {
            let response = client.response(SOON)?;
            ensure!(response.status == 200);
            ensure!(length.is_none_or(|length| response.body == nginx::document(length)));
        }
        for _ in 0..20 {
            client.send(&request("/1k"))?;
            let response = client.response(SOON)?;
            ensure!((response.status, response.body) == (200, nginx::document(1000)));
        }
        client.close()?;
        client.wait_for_end(SOON)?;
    }
    let status = engine.wait_for_status("every request scored", |status| status.requests.total() >= 46)?;
    ensure!(status.requests.allow == 46, "{status:#?}");
    engine.stop()
}

#[test]
fn many_connections_at_once_over_four_queues() -> Result<()> {
    let options = xtask::lab::Options {
        queues: 4,
        ..xtask::lab::Options::default()
    };
    let Some(site) = Site::start(&options)? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop"])?;
    ensure!(engine.status()?.queues.len() == 4);
    for server in site::nginx() {
        let mut burst = command(&site.lab, server, "/1k", &["-o", "/dev/null"]);
        burst.args(["--parallel", "--parallel-max", "64", "--no-progress-meter"]);
        burst.args(["-H", "Connection: close"]);
        for _ in 1..200 {
            burst.args(["-o", "/dev/null"]).arg(format!("http://{server}/1k"));
        }
        let output = burst.output()?;
        let answered = String::from_utf8_lossy(&output.stdout).matches("\n200").count();
        ensure!(
            output.status.success() && answered == 200,
            "{answered}: {output:?}"
        );
    }
    let status = engine.wait_for_status("every request scored", |status| status.requests.total() >= 400)?;
    let busy = status.queues.iter().filter(|queue| queue.received > 0).count();
    ensure!(busy > 1, "connections spread over queues: {status:#?}");
    let log = site.nginx.access_log()?;
    ensure!(
        log.iter()
            .all(|entry| entry.complete && entry.body_bytes_sent == 1000)
    );
    engine.stop()
}
