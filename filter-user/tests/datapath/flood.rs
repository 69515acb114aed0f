//! Floods: a good client is served while others send what they can, each kind alone and all together.

use std::{net::SocketAddrV4, thread, time::Duration};

use anyhow::{Result, ensure};
use filter_common::Reason;
use xtask::lab::{
    Flood, FloodKind, RequestFlood, Visit,
    address::{NGINX_PORT, SERVER_V4, VISITORS},
};

use crate::{
    challenge::let_answers_in,
    support::{
        engine::{RunningEngine, both_services},
        modes::in_both_modes,
        site::Site,
    },
};

in_both_modes!(serial_a_good_client_is_served_while_others_flood);

/// Frames a second of each flood: a small part of what one thread sends, as one CPU may have to do for all.
const FRAMES: u32 = 20_000;
/// HTTP requests a second of the flood; its sources together may send a tenth of that unpunished.
const REQUESTS: u32 = 500;
/// Of the good client, in a second and in all.
const GOOD: (u32, u32) = (50, 75);

/// Nothing passes unseen, and each flood is far above its limit.
const SETTINGS: [&str; 4] = [
    "engine.on_failure=drop",
    "flood.challenge.syns=1000",
    "flood.total.udp={rate=1000}",
    "flood.strays={rate=1000}",
];
/// The good client is below it, with a delay of half a second, too.
const LIMIT: &str = "[[limit]]\nname = \"client\"\nrequests = 100\nwindow_s = 1\naction = \"block\"\n\n";

struct Kind {
    name: &'static str,
    frames: &'static [FloodKind],
    requests: bool,
    /// What has to show in the counters afterwards.
    ends: &'static [Reason],
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "SYNs",
        frames: &[FloodKind::Syn],
        requests: false,
        ends: &[Reason::Challenge, Reason::ChallengeProved],
    },
    Kind {
        name: "UDP",
        frames: &[FloodKind::Udp],
        requests: false,
        ends: &[Reason::TotalUdp],
    },
    Kind {
        name: "ACKs",
        frames: &[FloodKind::Ack],
        requests: false,
        ends: &[Reason::Strays],
    },
    Kind {
        name: "HTTP",
        frames: &[],
        requests: true,
        ends: &[Reason::SourceBlock],
    },
    Kind {
        name: "all",
        frames: &FloodKind::ALL,
        requests: true,
        ends: &[Reason::Challenge, Reason::TotalUdp, Reason::Strays],
    },
];

fn serial_a_good_client_is_served_while_others_flood(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    site.lab.add_internet()?;
    let _receiver = let_answers_in(&site)?;
    let settings = [SETTINGS.as_slice(), &[mode]].concat();
    let engine =
        RunningEngine::start_with(&site.lab, &(LIMIT.to_owned() + &both_services("all")), &settings)?;
    let target = SocketAddrV4::new(SERVER_V4, NGINX_PORT);
    let (router, device) = site.lab.next_hop();
    let hop = router.mac(device)?;
    let client = site.lab.client();
    for (number, kind) in (1..).zip(KINDS) {
        let before: Vec<u64> = kind
            .ends
            .iter()
            .map(|reason| engine.counter(*reason))
            .collect::<Result<_>>()?;
        let floods = kind
            .frames
            .iter()
            .map(|frames| Flood::start(client, "eth0", hop, *frames, target, Some(FRAMES)))
            .collect::<Result<Vec<_>>>()?;
        let requests = kind
            .requests
            .then(|| RequestFlood::start(client, target, Some(REQUESTS)))
            .transpose()?;
        thread::sleep(Duration::from_millis(500));
        // From an address that is new to all of this.
        let [a, b, c, _] = VISITORS.0.octets();
        let visits = Visit {
            source: [a, b, c, number].into(),
            target,
            rate: GOOD.0,
            requests: GOOD.1,
            patience: Duration::from_secs(5),
            attacks: 0,
        }
        .run(client)?;
        let sent: Vec<_> = floods.into_iter().map(Flood::stop).collect::<Result<_>>()?;
        let asked = requests.map(RequestFlood::stop).transpose()?;
        println!(
            "{}: {:.1} % answered, p50 {:?}, p99 {:?}; {sent:?} {asked:?}",
            kind.name,
            visits.completed() * 1e2,
            visits.percentile(50),
            visits.percentile(99)
        );
        ensure!(visits.completed() >= 0.99, "{}: {visits:?}", kind.name);
        ensure!(sent.iter().all(|sent| sent.frames > 0), "{}: {sent:?}", kind.name);
        if let Some(asked) = asked {
            ensure!(
                asked.answered > 0 && asked.refused > 0,
                "{}: {asked:?}",
                kind.name
            );
        }
        for (reason, before) in kind.ends.iter().zip(before) {
            ensure!(engine.counter(*reason)? > before, "{}: {reason:?}", kind.name);
        }
    }
    let status = engine.settled_status()?;
    let unscored: u64 = status
        .queues
        .iter()
        .flat_map(|queue| queue.unscored.values())
        .sum();
    ensure!(unscored == 0, "{:?}", status.queues);
    engine.stop()
}
