//! Requests that wait for the second tier, with a pool that does as the test says.

use std::sync::Arc;

use filter_common::{FlowState, Reason};
use filter_score::{Mode, Policies, Policy};
use filter_user::{
    config::FailurePolicy,
    deep::{DeepCount, Job, Lanes, Port, Priority},
    engine::{Command, EngineDrop, WorkerConfig},
    flow::DropReason,
};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, GET, POST, SUSPICIOUS},
    site::{SECOND_NS, Site, TICK_NS, config, rules},
};

const ATTACK: &[u8] = ATTACKS[0].1;
const DEADLINE_NS: u64 = 20_000_000;
const POLICIES: [FailurePolicy; 2] = [FailurePolicy::Pass, FailurePolicy::Drop];

/// The other end of the port.
struct Pool(Arc<Lanes>);

impl Pool {
    fn take(&self) -> Box<Job> {
        [Priority::Suspect, Priority::Ordinary]
            .into_iter()
            .find_map(|priority| self.0.take(priority))
            .expect("a request was submitted")
    }

    fn give(&self, mut job: Box<Job>, block: bool) {
        job.verdict.block = block;
        job.verdict.score = 0.9;
        job.verdict.anomaly = 7;
        job.judged();
        self.0.answer(job);
    }

    fn answer(&self, block: bool) {
        self.give(self.take(), block);
    }

    fn is_idle(&self) -> bool {
        self.0.depth() == 0
    }
}

fn site_with(jobs: u32, policy: Policy, change: impl FnOnce(&mut WorkerConfig)) -> (Site, Pool) {
    let mut config = config(FailurePolicy::Drop);
    change(&mut config);
    config.stream.unverifiable = config.on_failure;
    let port = Port::alone(jobs, DEADLINE_NS).expect("a port");
    let pool = Pool(Arc::clone(port.lanes()));
    (Site::connected(config, policy, 256, Some(port)), pool)
}

fn site(on_failure: FailurePolicy) -> (Site, Pool) {
    site_with(8, Policy::default(), |config| config.on_failure = on_failure)
}

fn count(site: &mut Site, what: DeepCount) -> u64 {
    site.counters().deep[what as usize]
}

/// A client whose suspicious request waits.
fn waiting(site: &mut Site, port: u16) -> Client {
    let client = Client::v4(port);
    site.open(&client);
    site.send(client.data(0, SUSPICIOUS));
    client
}

#[test]
fn what_is_let_go_goes_on_in_order_with_all_behind_it() {
    let (mut site, pool) = site(FailurePolicy::Drop);
    let client = Client::v6(1);
    site.open(&client);
    let (start, end) = SUSPICIOUS.split_at(40);
    site.send(client.data(0, start));
    assert_eq!(
        site.server(&client).bytes,
        start,
        "only the segment that completes it waits"
    );
    site.send(client.data(40, end));
    assert_eq!(site.server(&client).bytes, start);
    assert_eq!((site.counters().held, site.counters().deep_waiting), (1, 1));
    // What follows waits behind it, in whatever order it comes; other flows go on.
    let at = SUSPICIOUS.len();
    site.send(client.data(at + GET.len(), POST));
    site.send(client.data(at, GET));
    let other = Client::v4(2);
    site.open(&other);
    site.send(other.data(0, GET));
    assert_eq!(site.server(&other).bytes, GET);
    assert_eq!((site.server(&client).bytes.len(), site.counters().held), (40, 3));
    assert_eq!(site.counters().requests, [1, 0, 0]);

    pool.answer(false);
    site.turn();
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, GET, POST].concat());
    let counters = site.counters();
    assert_eq!((counters.held, counters.deep_waiting), (0, 0));
    assert_eq!(counters.requests, [3, 1, 0]);
    assert_eq!(counters.dropped, [0; EngineDrop::ALL.len()]);
    assert_eq!(
        (
            count(&mut site, DeepCount::Submitted),
            count(&mut site, DeepCount::Answered)
        ),
        (1, 1)
    );
}

#[test]
fn what_is_blocked_dies_as_any_attack_does() {
    let (mut site, pool) = site(FailurePolicy::Pass);
    let client = Client::v4(1);
    site.open(&client);
    site.send(client.data(0, GET));
    let (start, end) = SUSPICIOUS.split_at(40);
    let at = GET.len();
    site.send(client.data(at, start));
    site.send(client.data(at + 40, end));
    site.send(client.data(at + SUSPICIOUS.len(), POST));
    assert!(site.answers.is_empty());
    pool.answer(true);
    site.turn();
    let server = site.server(&client);
    assert_eq!(server.bytes, [GET, start].concat());
    assert_eq!(server.reset, Some(client.seq(at + 40)), "the reset is in order");
    let page = String::from_utf8(site.answers[0].tcp().expect("TCP").payload.clone()).expect("text");
    assert!(page.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{page}");
    assert!(
        !site
            .answers
            .iter()
            .any(|frame| frame.tcp().expect("TCP").has(flag::RST))
    );
    assert_eq!(
        site.answers[0].tcp().expect("TCP").acknowledgement,
        client.seq(at + SUSPICIOUS.len())
    );
    assert_eq!(
        site.worker.maps_mut().flows[&client.key()].path,
        FlowState::PATH_BLOCK
    );
    assert_eq!(site.dropped(EngineDrop::Attack), 1);
    assert_eq!(
        site.stream_dropped(DropReason::Blocked),
        1,
        "what waited behind it goes, too"
    );
    let counters = site.counters();
    assert_eq!((counters.requests, counters.held), ([1, 0, 1], 0));
    let event = site
        .events
        .try_iter()
        .last()
        .expect("it is reported, and counts as an offence");
    assert!(page.contains(&format!("X-Request-Id: {:016x}\r\n", event.request_id)));
    assert_eq!((event.decision.score, event.decision.anomaly), (0.9, 7));
    assert_eq!(event.decision.decision, filter_score::Verdict::Block);
    assert_eq!(count(&mut site, DeepCount::Blocked), 1);
}

#[test]
fn at_the_deadline_the_failure_policy_decides_and_the_late_answer_changes_nothing() {
    for policy in POLICIES {
        let (mut site, pool) = site(policy);
        let client = waiting(&mut site, 1);
        site.send(client.data(SUSPICIOUS.len(), GET));
        site.advance(DEADLINE_NS - 1);
        assert!(site.server(&client).bytes.is_empty());
        site.advance(1);
        let expected = match policy {
            FailurePolicy::Pass => [SUSPICIOUS, GET].concat(),
            FailurePolicy::Drop => Vec::new(),
        };
        assert_eq!(site.server(&client).bytes, expected);
        pool.answer(true);
        site.turn();
        assert_eq!(site.server(&client).bytes, expected, "{policy:?}");
        assert_eq!(
            (
                count(&mut site, DeepCount::Missed),
                count(&mut site, DeepCount::Late)
            ),
            (1, 1)
        );
        assert_eq!(count(&mut site, DeepCount::Blocked), 0);
        // No offence comes of it.
        assert_eq!(site.counters().requests[2], 0);
        let verdicts: Vec<_> = site
            .events
            .try_iter()
            .map(|event| event.decision.decision)
            .collect();
        assert!(!verdicts.contains(&filter_score::Verdict::Block));
        match policy {
            FailurePolicy::Pass => {
                assert!(site.answers.is_empty());
                site.send(client.data(SUSPICIOUS.len() + GET.len(), ATTACK));
                assert_eq!(site.dropped(EngineDrop::Attack), 1, "what follows is scored");
            }
            FailurePolicy::Drop => {
                assert_eq!(site.dropped(EngineDrop::DeepDeadline), 1);
                assert!(
                    site.answers[0].tcp().expect("TCP").has(flag::RST),
                    "the client can try anew"
                );
                assert_eq!(site.server(&client).reset, Some(client.seq(0)));
            }
        }
    }
}

#[test]
fn without_a_free_job_the_failure_policy_decides_at_once() {
    for policy in POLICIES {
        let (mut site, pool) = site_with(1, Policy::default(), |config| config.on_failure = policy);
        let first = waiting(&mut site, 1);
        let second = waiting(&mut site, 2);
        match policy {
            FailurePolicy::Pass => assert_eq!(site.server(&second).bytes, SUSPICIOUS),
            FailurePolicy::Drop => {
                assert_eq!(site.dropped(EngineDrop::DeepFull), 1);
                assert!(site.server(&second).bytes.is_empty());
            }
        }
        assert_eq!(site.counters().requests, [0, 1, 0], "{policy:?}");
        assert_eq!(count(&mut site, DeepCount::Full), 1);
        pool.answer(false);
        site.turn();
        assert_eq!(site.server(&first).bytes, SUSPICIOUS);
    }
}

#[test]
fn without_room_to_hold_the_segment_the_failure_policy_decides_at_once() {
    for policy in POLICIES {
        let (mut site, pool) = site_with(8, Policy::default(), |config| {
            config.on_failure = policy;
            config.held_segments = 1;
        });
        let first = waiting(&mut site, 1);
        let second = waiting(&mut site, 2);
        assert_eq!(
            site.server(&second).bytes.is_empty(),
            policy == FailurePolicy::Drop
        );
        // Nor is there room for what follows: it is sent again.
        site.send(first.data(SUSPICIOUS.len(), GET));
        assert_eq!(site.stream_dropped(DropReason::HoldBudget), 1);
        pool.answer(false);
        site.turn();
        site.send(first.data(SUSPICIOUS.len(), GET));
        assert_eq!(site.server(&first).bytes, [SUSPICIOUS, GET].concat());
        assert!(pool.is_idle());
    }
}

#[test]
fn what_waits_has_the_bounds_of_a_flow() {
    let (mut site, pool) = site_with(8, Policy::default(), |config| config.stream.held_segments = 3);
    let client = waiting(&mut site, 1);
    let at = SUSPICIOUS.len();
    for byte in 0..5 {
        site.send(client.data(at + byte, &GET[byte..=byte]));
    }
    assert_eq!(
        (
            site.counters().held,
            site.stream_dropped(DropReason::HoldSegments)
        ),
        (3, 3)
    );
    pool.answer(false);
    site.turn();
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, &GET[..2]].concat());
    site.send(client.data(at + 2, &GET[2..]));
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, GET].concat());
}

#[test]
fn an_open_breaker_lets_the_first_tiers_verdict_stand() {
    let (mut site, pool) = site(FailurePolicy::Drop);
    let mut port = 0;
    while count(&mut site, DeepCount::Refused) == 0 {
        port += 1;
        assert!(port < 100);
        let client = waiting(&mut site, port);
        if count(&mut site, DeepCount::Refused) == 1 {
            assert_eq!(
                site.server(&client).bytes,
                SUSPICIOUS,
                "on it goes, whatever the policy"
            );
        } else {
            site.advance(DEADLINE_NS);
            pool.answer(true);
            site.turn();
        }
    }
    assert_eq!(count(&mut site, DeepCount::Openings), 1);
    // After a pause some are tried again; they are answered, and all is as before.
    site.advance(SECOND_NS);
    for probe in 0..4 {
        let client = waiting(&mut site, 200 + probe);
        pool.answer(false);
        site.turn();
        assert_eq!(site.server(&client).bytes, SUSPICIOUS);
    }
    let client = waiting(&mut site, 300);
    assert!(site.server(&client).bytes.is_empty());
    pool.answer(true);
    site.turn();
    assert_eq!(count(&mut site, DeepCount::Blocked), 1);
}

#[test]
fn retransmissions_of_what_waits_are_dropped_and_changed_ones_too() {
    let (mut site, pool) = site(FailurePolicy::Drop);
    let client = waiting(&mut site, 1);
    for _ in 0..3 {
        site.send(client.data(0, SUSPICIOUS));
        site.send(client.data(10, &SUSPICIOUS[10..30]));
    }
    assert_eq!(site.stream_dropped(DropReason::Duplicate), 6);
    let mut other = SUSPICIOUS.to_vec();
    other[5] ^= 1;
    site.send(client.data(0, &other));
    assert_eq!(site.stream_dropped(DropReason::OverlapConflict), 1);
    // One that brings something new as well waits with it.
    site.send(client.data(20, &[&SUSPICIOUS[20..], GET].concat()));
    pool.answer(false);
    site.turn();
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, GET].concat());
    assert_eq!(site.counters().requests, [1, 1, 0], "nothing is scored twice");
    assert!(pool.is_idle());
}

#[test]
fn a_gap_and_a_wait_end_one_after_the_other() {
    let (mut site, pool) = site(FailurePolicy::Drop);
    let client = Client::v4(1);
    site.open(&client);
    let (start, end) = SUSPICIOUS.split_at(40);
    let at = SUSPICIOUS.len();
    // Backwards: the gap closes, then the request waits, with another gap behind it.
    site.send(client.data(at + GET.len(), POST));
    site.send(client.data(40, end));
    site.send(client.data(0, start));
    assert_eq!((site.server(&client).bytes.len(), site.counters().held), (40, 2));
    pool.answer(false);
    site.turn();
    assert_eq!((site.server(&client).bytes.len(), site.counters().held), (at, 1));
    site.send(client.data(at, GET));
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, GET, POST].concat());
}

#[test]
fn pipelined_requests_are_decided_one_by_one() {
    let stream = [SUSPICIOUS, GET, SUSPICIOUS, GET, ATTACK].concat();
    // In one segment, and cut anywhere.
    for at in (1..stream.len()).step_by(7) {
        let (mut site, pool) = site(FailurePolicy::Drop);
        let client = Client::v4(1);
        site.open(&client);
        site.send(client.data(0, &stream[..at]));
        site.send(client.data(at, &stream[at..]));
        for _ in 0..2 {
            pool.answer(false);
            site.turn();
        }
        assert!(pool.is_idle());
        assert_eq!(site.counters().requests, [2, 2, 1], "cut at {at}");
        assert_eq!(site.dropped(EngineDrop::Attack), 1);
        assert_eq!(site.counters().held, 0);
        // The second one blocked: nothing of that segment goes on.
        let (mut site, pool) = self::site(FailurePolicy::Drop);
        site.open(&client);
        site.send(client.data(0, &stream[..at]));
        site.send(client.data(at, &stream[at..]));
        pool.answer(false);
        site.turn();
        pool.answer(true);
        site.turn();
        assert_eq!(site.counters().requests, [1, 1, 1], "cut at {at}");
        let end = 2 * SUSPICIOUS.len() + GET.len();
        assert!(site.server(&client).bytes.len() < end);
    }
}

/// Nothing is left of a flow that waited: frames, jobs, buffers.
fn nothing_is_left(site: &mut Site, pool: &Pool, jobs: u32) {
    let counters = site.counters();
    assert_eq!(
        (counters.held, counters.held_bytes, counters.deep_waiting),
        (0, 0, 0)
    );
    while !pool.is_idle() {
        pool.answer(true);
    }
    site.turn();
    assert_eq!(site.counters().requests[2], 0, "a late verdict blocks nobody");
    // All jobs are there again.
    for port in 0..jobs as u16 {
        let client = waiting(site, 1000 + port);
        assert!(site.server(&client).bytes.is_empty(), "{port}");
    }
}

#[test]
fn flows_that_end_while_they_wait_leave_nothing_behind() {
    type EndOf = fn(&mut Site, &Client);
    let ends: [(&str, EndOf); 3] = [
        ("expiry", |site, _| {
            // Not by its deadline: the loop did not run meanwhile.
            site.advance(400 * SECOND_NS);
        }),
        ("a new connection on the same ports", |site, client| {
            let again = Client {
                isn: client.isn + 100_000,
                ..client.clone()
            };
            site.open(&again);
            site.send(again.data(0, GET));
            assert_eq!(site.server(client).bytes, GET);
        }),
        ("a refusal", |site, client| {
            let mut other = client.data(SUSPICIOUS.len(), b"GET / HTTP/1.1\r\n");
            // Not even TCP any more: nothing happens to the flow.
            other[23] = 17;
            site.send(other);
            site.advance(DEADLINE_NS);
        }),
    ];
    for (name, end) in ends {
        let (mut site, pool) = site_with(2, Policy::default(), |_| ());
        let client = waiting(&mut site, 1);
        site.send(client.data(SUSPICIOUS.len(), &GET[..10]));
        assert_eq!(site.counters().held, 2, "{name}");
        end(&mut site, &client);
        nothing_is_left(&mut site, &pool, 2);
    }
}

#[test]
fn an_evicted_flow_leaves_nothing_behind() {
    let (mut site, pool) = site_with(2, Policy::default(), |config| config.table.capacity = 4);
    // Picked up at a request line, and confirmed by nobody: it makes room for others.
    site.observed = false;
    let client = Client::v4(1);
    site.push_for(Reason::SuspectPrescreen, client.data(0, SUSPICIOUS));
    site.turn();
    assert_eq!(site.counters().deep_waiting, 1);
    for port in 10..20 {
        site.open(&Client::v6(port));
    }
    assert_eq!(site.counters().deep_waiting, 0);
    assert_eq!(count(&mut site, DeepCount::Withdrawn), 1);
    assert_eq!(site.counters().requests, [0, 1, 0], "it is told of all the same");
    pool.answer(true);
    site.turn();
    assert_eq!(count(&mut site, DeepCount::Late), 1);
    assert_eq!((site.counters().held, site.counters().requests[2]), (0, 0));
}

#[test]
fn a_reset_or_an_end_while_a_request_waits_changes_nothing_for_it() {
    for block in [false, true] {
        let (mut site, pool) = site(FailurePolicy::Drop);
        let client = waiting(&mut site, 1);
        let at = SUSPICIOUS.len();
        site.send(client.segment(at, flag::ACK | flag::FIN, b"").to_bytes());
        assert_eq!(site.counters().held, 2, "the end waits for its turn");
        pool.answer(block);
        site.turn();
        assert_eq!(site.server(&client).finished, !block);
        assert_eq!(site.counters().held, 0);

        let (mut site, pool) = self::site(FailurePolicy::Drop);
        let client = waiting(&mut site, 1);
        // Ahead of what the server has: it is asked about, and closes nothing (RFC 5961 §3.2).
        site.send(client.segment(at, flag::RST, b"").to_bytes());
        pool.answer(block);
        site.turn();
        assert_eq!(site.server(&client).bytes.is_empty(), block);
        assert_eq!(
            (site.counters().held, site.counters().requests),
            (0, [0, u64::from(!block), u64::from(block)])
        );
        site.advance(400 * SECOND_NS);
        assert_eq!(site.counters().flows, 0);
    }
}

#[test]
fn a_request_cut_short_by_the_end_of_the_stream_waits_as_well() {
    for block in [false, true] {
        // That it is cut short is suspicious, too.
        let policy = Policy {
            anomaly: 100,
            block: 0.99,
            ..Policy::default()
        };
        let (mut site, pool) = site_with(8, policy, |_| ());
        let client = Client::v4(1);
        site.open(&client);
        let most = &SUSPICIOUS[..SUSPICIOUS.len() - 3];
        site.send(client.data(0, most));
        site.send(client.segment(most.len(), flag::ACK | flag::FIN, b"").to_bytes());
        assert!(!site.server(&client).finished);
        pool.answer(block);
        site.turn();
        assert_eq!(site.server(&client).finished, !block);
        assert!(pool.is_idle());
        assert_eq!(site.counters().requests, [0, u64::from(!block), u64::from(block)]);
    }
}

#[test]
fn told_to_stop_while_requests_wait_the_loop_gives_all_frames_back() {
    let (mut site, _pool) = site(FailurePolicy::Drop);
    let client = waiting(&mut site, 1);
    site.send(client.data(SUSPICIOUS.len(), GET));
    assert_eq!(site.counters().held, 2);
    let counters = site.stop();
    assert_eq!((counters.held, counters.flows, counters.deep_waiting), (0, 0, 0));
    assert_eq!(counters.stream_dropped[DropReason::Released as usize], 2);
    assert_eq!(counters.requests, [0, 1, 0]);
    assert_eq!(counters.received, counters.forwarded + 2);
}

#[test]
fn a_reload_while_a_request_waits_changes_nothing_for_it() {
    for block in [false, true] {
        let (mut site, pool) = site(FailurePolicy::Drop);
        let client = waiting(&mut site, 1);
        let command = Command::Policies(Arc::new(Policies::single(rules(), Policy::default())));
        site.commands.send(command).expect("the loop listens");
        site.advance(TICK_NS);
        site.send(client.data(SUSPICIOUS.len(), GET));
        assert_eq!(site.counters().held, 2);
        pool.answer(block);
        site.turn();
        assert_eq!(site.server(&client).bytes.is_empty(), block);
        assert_eq!(
            site.counters().requests,
            [u64::from(!block), u64::from(!block), u64::from(block)]
        );
    }
}

#[test]
fn what_the_server_has_got_by_another_way_is_not_waited_for() {
    let (mut site, pool) = site_with(8, Policy::default(), |config| {
        config.on_failure = FailurePolicy::Pass;
        // Behind what waits there is room for nothing: the server is asked whether it has it.
        config.stream.held_segments = 1;
    });
    let client = waiting(&mut site, 1);
    // It went past while nobody looked, and the server has acknowledged it.
    let at = SUSPICIOUS.len();
    site.observed = false;
    site.trusts = false;
    let flow = site
        .worker
        .maps_mut()
        .flows
        .get_mut(&client.key())
        .expect("it is observed");
    flow.server_ack = client.seq(at);
    site.send(client.data(at + 5000, b"x"));
    site.send(client.data(at, GET));
    pool.answer(true);
    site.turn();
    assert_eq!(
        site.counters().requests,
        [1, 1, 0],
        "what follows is scored as ever"
    );
    assert_eq!(count(&mut site, DeepCount::Withdrawn), 1);
    assert_eq!(site.dropped(EngineDrop::Attack), 0);
    site.send(client.data(at + GET.len(), ATTACK));
    assert_eq!(site.dropped(EngineDrop::Attack), 1);
}

#[test]
fn where_nothing_is_blocked_nothing_waits_but_the_verdict_is_told() {
    let policy = Policy {
        mode: Mode::Detect,
        ..Policy::default()
    };
    let (mut site, pool) = site_with(8, policy, |_| ());
    let client = waiting(&mut site, 1);
    assert_eq!(site.server(&client).bytes, SUSPICIOUS);
    site.send(client.data(SUSPICIOUS.len(), GET));
    assert_eq!(site.server(&client).bytes, [SUSPICIOUS, GET].concat());
    pool.answer(true);
    site.turn();
    assert_eq!(site.counters().requests, [1, 0, 1]);
    assert!(site.answers.is_empty());
    // Nobody answers, and nobody minds.
    site.send(client.data(SUSPICIOUS.len() + GET.len(), SUSPICIOUS));
    site.advance(DEADLINE_NS);
    assert_eq!(site.counters().requests, [1, 1, 1]);
}

#[test]
fn flows_and_sources_under_suspicion_come_first() {
    let (mut site, pool) = site(FailurePolicy::Drop);
    let ordinary = waiting(&mut site, 1);
    let suspect = Client::v4(2);
    site.push_for(Reason::SuspectReputation, suspect.syn());
    site.push_for(Reason::SuspectReputation, suspect.data(0, SUSPICIOUS));
    site.turn();
    pool.answer(false);
    site.turn();
    assert_eq!(site.server(&suspect).bytes, SUSPICIOUS);
    assert!(site.server(&ordinary).bytes.is_empty());
    pool.answer(false);
    site.turn();
    // Once suspicious, a flow stays so.
    let third = waiting(&mut site, 3);
    site.send(ordinary.data(SUSPICIOUS.len(), SUSPICIOUS));
    pool.answer(false);
    site.turn();
    assert_eq!(site.server(&ordinary).bytes.len(), 2 * SUSPICIOUS.len());
    assert!(site.server(&third).bytes.is_empty());
}

#[test]
fn without_a_pool_suspicious_requests_go_on() {
    let mut site = Site::new();
    let client = waiting(&mut site, 1);
    assert_eq!(site.server(&client).bytes, SUSPICIOUS);
    assert_eq!(site.counters().requests, [0, 1, 0]);
}
