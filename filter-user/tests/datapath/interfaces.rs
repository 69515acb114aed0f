//! One engine for two interfaces that clients come in by.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use filter_common::Reason;
use filter_user::{
    bpf::{Attachment, Place, XdpMode},
    control::{Page, Request, Response, Status, Successor},
    engine::FlowRecords,
};
use xtask::lab::{Options, RawTcp, frame::flag, namespace::output_of, topology, wait::wait_until};

use crate::{
    mistakes,
    support::{
        SOON,
        engine::{INTERFACE, PINS, RunningEngine, links},
        modes::in_both_modes,
        request::curl,
        site::{self, Site},
    },
};

in_both_modes!(
    clients_of_both_are_served_and_their_attacks_answered,
    a_flow_that_changes_its_interface_is_judged_whole,
    who_attacks_by_one_interface_is_blocked_on_the_other,
    an_engine_takes_over_both_from_a_running_and_from_a_killed_one,
    both_get_as_many_queues_as_they_are_told,
    one_that_goes_ends_the_engine_by_its_name,
);

const PATIENT: &str = "reputation.threshold=1000000";
const DROP: &str = "engine.on_failure=drop";
const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
/// The two halves of an attack and of its benign twin, and what is answered.
const HALVES: [([&str; 2], u16); 2] = [(["UNI", "ON+SELECT"], 403), (["ONI", "ONS+SALAD"], 200)];

fn two_cables(queues: u32) -> Result<Option<Site>> {
    Site::start(&Options {
        queues,
        second_cable: true,
        ..Options::default()
    })
}

/// A page and an attack by each cable, to each address of the server.
fn ensure_filtered(site: &Site) -> Result<()> {
    for end in topology::CLIENT_ENDS {
        for server in site::nginx() {
            for (path, status) in [("/1k", 200), (ATTACK, 403)] {
                let answer = curl(&site.lab, server, path, &["--interface", end])?;
                ensure!(answer.status == status, "by {end}: {answer:?}");
            }
        }
    }
    Ok(())
}

/// Every packet that was redirected was read, and every packet read went on or was dropped.
fn ensure_counted(status: &Status) -> Result<()> {
    let mut read = 0;
    for queue in &status.queues {
        read += queue.read + queue.lost;
        let dropped: u64 = queue.dropped.values().sum();
        ensure!(
            queue.received == queue.forwarded + dropped + queue.held.used,
            "{queue:#?}"
        );
    }
    ensure!(
        status.redirected == read,
        "{} redirected, {read} read",
        status.redirected
    );
    Ok(())
}

fn links_in_pins(site: &Site) -> Result<Vec<String>> {
    let listing = output_of(site.lab.gateway().command("ls").arg(PINS))?;
    Ok(listing
        .lines()
        .filter(|name| name.starts_with("link_"))
        .map(str::to_owned)
        .collect())
}

/// What is set of both interfaces.
fn features(site: &Site) -> Result<Vec<String>> {
    let of = |name| output_of(site.lab.gateway().command("ethtool").args(["-k", name]));
    topology::OUTSIDES.into_iter().map(of).collect()
}

fn clients_of_both_are_served_and_their_attacks_answered(mode: &str) -> Result<()> {
    let Some(site) = two_cables(2)? else {
        return Ok(());
    };
    let before = features(&site)?;
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, DROP])?;
    for (now, before) in features(&site)?.iter().zip(&before) {
        ensure!(now != before, "no offload is off: {now}");
    }
    ensure_filtered(&site)?;
    let status = engine.settled_status()?;
    ensure!(status.interface == "outside,outside2", "{}", status.interface);
    let names: Vec<_> = status.interfaces.iter().map(|each| each.name.as_str()).collect();
    ensure!(names == topology::OUTSIDES, "{names:?}");
    let places: Vec<_> = status
        .queues
        .iter()
        .map(|queue| (queue.queue, queue.interface.as_str(), queue.rx_queue))
        .collect();
    let expected = [
        (0, "outside", 0),
        (1, "outside", 1),
        (2, "outside2", 0),
        (3, "outside2", 1),
    ];
    ensure!(places == expected, "{places:?}");
    for name in topology::OUTSIDES {
        let its = status.queues.iter().filter(|queue| queue.interface == name);
        let forwarded: u64 = its.map(|queue| queue.forwarded).sum();
        ensure!(forwarded > 0, "nothing came by {name}: {status:#?}");
    }
    ensure!(
        status.requests.allow == 4 && status.requests.block == 4,
        "{status:#?}"
    );
    ensure_counted(&status)?;
    let shown = engine.tell(&["status"])?;
    ensure!(
        shown.contains("on outside,outside2") && shown.contains("queue 3   outside2 queue 1"),
        "{shown}"
    );
    ensure!(links_in_pins(&site)?.len() == 4, "{:?}", links_in_pins(&site)?);
    engine.stop()?;
    ensure!(links_in_pins(&site)?.is_empty(), "{:?}", links_in_pins(&site)?);
    // The links are as they were.
    ensure!(features(&site)? == before);
    for end in topology::CLIENT_ENDS {
        let answer = curl(&site.lab, site::nginx()[0], ATTACK, &["--interface", end])?;
        ensure!(answer.status == 200, "by {end}: {answer:?}");
    }
    Ok(())
}

/// A connection over the cable `from`, in the middle of a request.
fn in_the_middle(site: &Site, server: SocketAddr, from: usize, half: &str) -> Result<RawTcp> {
    let mut client = RawTcp::new(&site.lab, server)?;
    client.move_to_cable(&site.lab, from)?;
    client.open()?;
    client.send(format!("GET /1k?id=1+{half}").as_bytes())?;
    Ok(client)
}

/// The rest of that request, and its answer.
fn finish(client: &mut RawTcp, half: &str, status: u16) -> Result<()> {
    let rest = format!("{half}+password+FROM+users HTTP/1.1\r\nHost: lab\r\n\r\n");
    client.send(rest.as_bytes())?;
    let answer = client.response(SOON)?;
    ensure!(answer.status == status, "{answer:?}");
    Ok(())
}

fn a_flow_that_changes_its_interface_is_judged_whole(mode: &str) -> Result<()> {
    let Some(site) = two_cables(1)? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, DROP])?;
    for server in site::nginx() {
        for (from, to) in [(0, 1), (1, 0)] {
            for (halves, status) in HALVES {
                let what = || format!("{server} from cable {from} to {to}, {halves:?}: {}", engine.log());
                let mut client = in_the_middle(&site, server, from, halves[0])?;
                engine.settled_status()?;
                client.move_to_cable(&site.lab, to)?;
                finish(&mut client, halves[1], status).with_context(what)?;
                if status == 200 {
                    // And back again, in the middle of the next one.
                    client.send(b"GET /1k?id=1+UNI")?;
                    engine.settled_status()?;
                    client.move_to_cable(&site.lab, from)?;
                    finish(&mut client, "ON+SELECT", 403).with_context(what)?;
                }
            }
        }
    }
    let status = engine.settled_status()?;
    ensure!(
        status.requests.allow == 4 && status.requests.block == 8,
        "{status:#?}"
    );
    for queue in &status.queues {
        ensure!(queue.handed_over > 0 && queue.unscored.is_empty(), "{queue:#?}");
    }
    ensure_counted(&status)?;
    engine.stop()
}

fn who_attacks_by_one_interface_is_blocked_on_the_other(mode: &str) -> Result<()> {
    let Some(site) = two_cables(1)? else {
        return Ok(());
    };
    // The gateway itself is in the network that a prefix of 64 bits stands for.
    let settings = [mode, DROP, "reputation.threshold=1", "reputation.ipv6_prefix=128"];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    for (server, (from, to)) in site::nginx().into_iter().zip([(0, 1), (1, 0)]) {
        let mut client = in_the_middle(&site, server, from, HALVES[0].0[0])?;
        finish(&mut client, HALVES[0].0[1], 403)?;
        wait_until("a block by reputation", SOON, || {
            let answer = engine.ask(&Request::Blocks(Page::default()));
            matches!(answer, Ok(Response::Blocks { blocks })
                if blocks.iter().any(|block| block.target.contains(&client.local().ip())))
        })
        .with_context(|| engine.log())?;
        client.move_to_cable(&site.lab, to)?;
        let before = engine.counter(Reason::SourceBlock)?;
        let mut syn = client.segment(0, b"", 0);
        syn.flags = flag::SYN;
        client.send_tcp(syn)?;
        wait_until("the block holding on the other interface", SOON, || {
            engine
                .counter(Reason::SourceBlock)
                .is_ok_and(|now| now == before + 1)
        })?;
    }
    engine.stop()
}

fn an_engine_takes_over_both_from_a_running_and_from_a_killed_one(mode: &str) -> Result<()> {
    let Some(site) = two_cables(1)? else {
        return Ok(());
    };
    let settings = [mode, PATIENT, DROP];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    // Not one that filters the first alone.
    let alone = Successor {
        pid: std::process::id(),
        interface: INTERFACE.to_owned(),
        server_interface: None,
        format: FlowRecords::FORMAT,
    };
    ensure!(engine.ask(&Request::HandOver(alone)).is_err());
    let mut clients = Vec::new();
    for server in site::nginx() {
        for cable in [0, 1] {
            for (halves, status) in HALVES {
                let client = in_the_middle(&site, server, cable, halves[0])?;
                clients.push((client, halves[1], status));
            }
        }
    }
    engine.settled_status()?;
    let engine = engine.replace(&site.lab, &settings)?;
    for (client, half, status) in &mut clients {
        finish(client, half, *status).with_context(|| engine.log())?;
    }
    let status = engine.settled_status()?;
    ensure!(
        status.requests.block == 4 && status.requests.allow == 4,
        "{status:#?}"
    );
    ensure_filtered(&site)?;
    let links = links_in_pins(&site)?;
    engine.kill()?;
    for end in topology::CLIENT_ENDS {
        let answer = curl(
            &site.lab,
            site::nginx()[0],
            "/1k",
            &["--interface", end, "--max-time", "2"],
        )?;
        ensure!(answer.status == 0, "nothing is inspected by {end}: {answer:?}");
    }
    let engine = RunningEngine::start(&site.lab, &settings)?;
    ensure!(links_in_pins(&site)? == links, "{:?}", links_in_pins(&site)?);
    ensure_filtered(&site)?;
    engine.stop()
}

fn both_get_as_many_queues_as_they_are_told(mode: &str) -> Result<()> {
    let Some(site) = two_cables(2)? else {
        return Ok(());
    };
    // A veth with a native program reads as many queues as its other end sends by, at least.
    for end in topology::CLIENT_ENDS {
        output_of(site.lab.client().command("ethtool").args(["-L", end, "tx", "1"]))?;
    }
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, DROP])?;
    let mut clients = Vec::new();
    for server in site::nginx() {
        for cable in [0, 1] {
            clients.push(in_the_middle(&site, server, cable, HALVES[0].0[0])?);
        }
    }
    engine.settled_status()?;
    for count in [1, 2] {
        engine.tell(&["queues", &count.to_string()])?;
        let status = engine.status()?;
        ensure!(status.queues.len() == 2 * count, "{status:#?}");
        ensure_filtered(&site)?;
    }
    for client in &mut clients {
        finish(client, HALVES[0].0[1], 403).with_context(|| engine.log())?;
    }
    let (_, why) = engine.refuse(&["queues", "40"])?;
    ensure!(why.contains("80 RX queues"), "{why}");
    ensure_filtered(&site)?;
    engine.stop()
}

fn one_that_goes_ends_the_engine_by_its_name(mode: &str) -> Result<()> {
    let Some(site) = two_cables(1)? else {
        return Ok(());
    };
    let mut engine = RunningEngine::start(&site.lab, &[mode, PATIENT, "engine.on_failure=pass"])?;
    let [_, second] = topology::OUTSIDES;
    output_of(site.lab.gateway().command("ip").args(["link", "del", second]))?;
    let status = engine.wait()?;
    let log = engine.log();
    ensure!(!status.success() && !log.contains("panicked"), "{status}: {log}");
    ensure!(log.contains(&format!("the interface {second} has gone")), "{log}");
    // By the other one the failure policy holds.
    let answer = curl(&site.lab, site::nginx()[0], "/1k", &[])?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[test]
fn a_foreign_program_on_one_of_two_interfaces_keeps_the_engine_off_both() -> Result<()> {
    let Some(site) = two_cables(1)? else {
        return Ok(());
    };
    let [first, second] = topology::OUTSIDES;
    let gateway = site.lab.gateway();
    let _attached = gateway.enter(|| -> Result<_> {
        let mut kernel = mistakes::foreign_program()?;
        let place = Place::Host(second);
        Ok(Attachment::new(&mut kernel, place, &[XdpMode::Native])?)
    })??;
    let before = links(gateway)?;
    let (code, error) = mistakes::run(&site, &["--iface", first, "--iface", second])?;
    ensure!(
        code == 1 && error.contains("another XDP program is attached to outside2"),
        "{code}: {error}"
    );
    ensure!(links_in_pins(&site)?.is_empty());
    ensure!(
        links(gateway)? == before,
        "the program is still there, and nothing else"
    );
    // Nor is one interface taken for two.
    output_of(
        gateway
            .command("ip")
            .args(["link", "property", "add", "dev", first, "altname", "front"]),
    )?;
    let (code, error) = mistakes::run(&site, &["--iface", first, "--iface", "front"])?;
    ensure!(
        code == 1 && error.contains("are the same interface"),
        "{code}: {error}"
    );
    Ok(())
}
