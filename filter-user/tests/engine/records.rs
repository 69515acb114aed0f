//! Flows that another loop goes on with.

use filter_common::FlowState;
use filter_user::engine::{EngineDrop, FlowRecords, Share};
use filter_user::flow::DropReason;

use crate::{
    client::Client,
    requests::{ATTACKS, BENIGN, GET, POST},
    site::{SECOND_NS, Site},
};

/// The loop that takes over, with servers and maps as they are; and what was decided before.
fn hand_over(mut from: Site) -> (Site, Vec<String>) {
    let decisions = from.decisions();
    let records = from.worker.suspend();
    assert_eq!(from.counters().flows, 0, "the table is empty");
    let mut to = Site::new();
    take_over(&mut to, &mut from, &records);
    (to, decisions)
}

fn take_over(to: &mut Site, from: &mut Site, records: &FlowRecords) {
    let share = Share::SameQueue;
    to.worker.maps_mut().flows = std::mem::take(&mut from.worker.maps_mut().flows);
    to.servers = std::mem::take(&mut from.servers);
    to.worker.resume(records, share);
}

#[test]
fn a_conversation_goes_on_between_any_two_segments() {
    for (client, first) in [(Client::v4(40_000), 0), (Client::v6(40_000), 8)] {
        for request in BENIGN.into_iter().chain(ATTACKS.map(|(_, request)| request)) {
            let stream = [GET, request, GET].concat();
            let mut whole = Site::new();
            whole.open(&client);
            whole.send(client.data(0, &stream));
            let decided = whole.decisions();
            let is_attack = decided.last().is_some_and(|last| last.starts_with("Block"));
            for cut in (first..stream.len()).step_by(17) {
                let mut site = Site::new();
                site.open(&client);
                if cut > 0 {
                    site.send(client.data(0, &stream[..cut]));
                }
                let (mut site, mut decisions) = hand_over(site);
                site.send(client.data(cut, &stream[cut..]));
                decisions.extend(site.decisions());
                assert_eq!(decisions, decided, "{} at {cut}", request.escape_ascii());
                if !is_attack {
                    assert_eq!(site.server(&client).bytes, stream);
                }
            }
        }
    }
}

#[test]
fn what_went_on_and_is_not_acknowledged_may_not_be_sent_otherwise() {
    let client = Client::v4(40_000);
    let mut site = Site::new();
    site.open(&client);
    site.observed = false;
    site.send(client.data(0, &POST[..40]));
    let (mut site, _) = hand_over(site);
    site.observed = false;
    let mut other = POST[..40].to_vec();
    other[30] ^= 1;
    site.send(client.data(0, &other));
    assert_eq!(site.stream_dropped(DropReason::RetransmissionConflict), 1);
    site.send(client.data(0, &POST[..40]));
    site.send(client.data(40, &POST[40..]));
    assert_eq!(site.server(&client).bytes, POST);
}

#[test]
fn what_was_held_is_sent_again() {
    let client = Client::v6(40_000);
    let mut site = Site::new();
    site.open(&client);
    site.send(client.data(20, &POST[20..]));
    assert_eq!(site.counters().held, 1);
    let (mut site, _) = hand_over(site);
    site.send(client.data(0, &POST[..20]));
    assert_eq!(site.server(&client).bytes, POST[..20]);
    site.send(client.data(20, &POST[20..]));
    assert_eq!(site.server(&client).bytes, POST);
}

#[test]
fn a_blocked_flow_stays_blocked() {
    let client = Client::v4(40_000);
    let mut site = Site::new();
    site.open(&client);
    let attack = ATTACKS[0].1;
    site.send(client.data(0, attack));
    let (mut site, decisions) = hand_over(site);
    assert_eq!(decisions.len(), 1);
    site.send(client.data(attack.len(), GET));
    assert!(site.decisions().is_empty());
    assert_eq!(site.stream_dropped(DropReason::Blocked), 1);
}

#[test]
fn flows_of_another_queue_are_known_as_this_ones() {
    let client = Client::v4(40_000);
    let mut from = Site::new();
    from.open(&client);
    let records = from.worker.suspend();
    let mut to = Site::with(|config| config.queue = 0);
    let flows = std::mem::take(&mut from.worker.maps_mut().flows);
    assert_eq!(flows[&client.key()].queue, 3);
    to.worker.maps_mut().flows = flows;
    to.worker.resume(&records, Share::Spread(1));
    assert_eq!(to.worker.maps_mut().flows[&client.key()].queue, 0);
}

#[test]
fn who_stops_in_a_request_is_found_out_by_the_next_loop_too() {
    const PATIENCE: u64 = 40 * SECOND_NS;
    let client = Client::v4(40_000);
    let patient = || {
        Site::with(|config| {
            config.pace.patience_ns = PATIENCE;
            config.table.requesting.timeout = PATIENCE;
        })
    };
    let mut from = patient();
    from.open(&client);
    from.send(client.data(0, &POST[..40]));
    let records = from.worker.suspend();
    let mut to = patient();
    take_over(&mut to, &mut from, &records);
    to.advance(PATIENCE / 2);
    assert_eq!(to.counters().stalled, 0);
    to.advance(PATIENCE);
    assert_eq!(to.counters().stalled, 1);
    assert_eq!(
        to.worker.maps_mut().flows[&client.key()].path,
        FlowState::PATH_BLOCK
    );
}

#[test]
fn each_flow_is_taken_by_one_of_all_loops() {
    let clients: Vec<_> = (0..40).map(|number| Client::v6(40_000 + number)).collect();
    let mut from = Site::new();
    for client in &clients {
        from.open(client);
    }
    let records = from.worker.suspend();
    let taken: Vec<_> = (0..4)
        .map(|queue| {
            let mut to = Site::with(|config| config.queue = queue);
            to.worker.resume(&records, Share::Spread(4));
            to.counters().flows
        })
        .collect();
    assert_eq!(taken.iter().sum::<u64>(), 40, "{taken:?}");
    assert!(taken.iter().all(|flows| *flows > 0), "{taken:?}");
}

#[test]
fn flows_for_which_there_is_no_room_are_as_if_never_seen() {
    let clients: Vec<_> = (0..20).map(|number| Client::v4(40_000 + number)).collect();
    let mut from = Site::new();
    for client in &clients {
        from.open(client);
        from.send(client.data(0, &GET[..30]));
    }
    let records = from.worker.suspend();
    assert_eq!(records.flows, 20);
    let mut to = Site::with(|config| config.table.capacity = 8);
    take_over(&mut to, &mut from, &records);
    assert_eq!(to.counters().flows, 8);
    for client in &clients {
        to.send(client.data(30, &GET[30..]));
    }
    let known = to.decisions().len() as u64;
    assert!((1..=8).contains(&known), "{known}");
    assert!(to.dropped(EngineDrop::Unsynced) + to.dropped(EngineDrop::TableFull) > 0);
}

#[test]
fn records_that_cannot_be_read_do_no_harm() {
    let client = Client::v4(40_000);
    let mut from = Site::new();
    from.open(&client);
    from.send(client.data(0, &POST[..100]));
    let records = from.worker.suspend();
    for length in 0..records.bytes.len() {
        let cut = FlowRecords {
            bytes: records.bytes[..length].to_vec(),
            ..records.clone()
        };
        let mut to = Site::new();
        to.worker.resume(&cut, Share::SameQueue);
        assert_eq!(to.counters().flows, 0);
    }
}
