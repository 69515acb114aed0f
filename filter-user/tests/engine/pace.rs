//! Clients that take too long for a request, and such that only have much to send.

use filter_common::FlowState;
use filter_score::{Mode, Policy};
use filter_user::{
    config::FailurePolicy,
    engine::{EngineDrop, PaceLimits},
};

use crate::{
    client::Client,
    requests::GET,
    site::{SECOND_NS, Site, config},
};

const PATIENCE_S: u64 = 40;
const HEAD: &[u8] =
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n";

fn site(on_failure: FailurePolicy, mode: Mode) -> Site {
    let mut config = config(on_failure);
    config.pace = PaceLimits {
        patience_ns: PATIENCE_S * SECOND_NS,
        body_bytes_per_s: 100,
    };
    config.table.requesting.timeout = PATIENCE_S * SECOND_NS;
    let policy = Policy {
        mode,
        ..Policy::default()
    };
    Site::configured(config, policy, 256)
}

fn path(site: &mut Site, client: &Client) -> Option<u32> {
    let flows = &site.worker.maps_mut().flows;
    flows.get(&client.key()).map(|state| state.path)
}

/// Sends `bytes` one by one, `pause_s` seconds apart; returns how many came to the server.
fn drip(site: &mut Site, client: &Client, from: usize, bytes: &[u8], pause_s: u64) -> usize {
    for (at, byte) in bytes.iter().enumerate() {
        site.send(client.data(from + at, &[*byte]));
        site.advance(pause_s * SECOND_NS);
    }
    site.server(client).bytes.len()
}

#[test]
fn a_head_that_comes_in_drops_is_cut_off() {
    for on_failure in [FailurePolicy::Pass, FailurePolicy::Drop] {
        let mut site = site(on_failure, Mode::Block);
        let client = Client::v4(1);
        site.open(&client);
        let arrived = drip(&mut site, &client, 0, HEAD, 10);
        // At 0, 10, 20, 30 and 40 seconds.
        assert_eq!(arrived, 5);
        assert_eq!(site.dropped(EngineDrop::SlowRequest), 1);
        assert_eq!(path(&mut site, &client), Some(FlowState::PATH_BLOCK));
    }
}

#[test]
fn a_body_below_the_rate_is_cut_off_and_one_above_it_is_not() {
    for (bytes, is_fast) in [(900, false), (1_100, true)] {
        let mut site = site(FailurePolicy::Pass, Mode::Block);
        let client = Client::v6(1);
        site.open(&client);
        site.send(client.data(0, HEAD));
        let part = vec![b'a'; bytes];
        for number in 0..12 {
            site.advance(10 * SECOND_NS);
            site.send(client.data(HEAD.len() + number * bytes, &part));
        }
        assert_eq!(site.dropped(EngineDrop::SlowRequest) > 0, !is_fast, "{bytes}");
        let whole = HEAD.len() + 12 * bytes;
        assert_eq!(site.server(&client).bytes.len() == whole, is_fast);
    }
}

#[test]
fn silence_in_the_middle_of_a_request_ends_it() {
    let mut site = site(FailurePolicy::Pass, Mode::Block);
    let client = Client::v4(1);
    site.open(&client);
    site.send(client.data(0, &GET[..GET.len() - 2]));
    site.advance((PATIENCE_S + 2) * SECOND_NS);
    assert_eq!(site.counters().stalled, 1);
    assert_eq!(site.counters().flows, 0);
    // What comes later would be scored without what came before: the map has the flow dropped.
    assert_eq!(path(&mut site, &client), Some(FlowState::PATH_BLOCK));
}

#[test]
fn who_waits_between_requests_has_all_the_time() {
    let mut site = site(FailurePolicy::Pass, Mode::Block);
    let client = Client::v4(1);
    site.open(&client);
    let mut at = 0;
    for _ in 0..4 {
        site.send(client.data(at, GET));
        at += GET.len();
        site.advance(3 * PATIENCE_S * SECOND_NS);
    }
    // Pipelined: every segment ends in the middle of a request, and each request has its own time.
    let pipeline = GET.repeat(20);
    for part in pipeline.chunks(GET.len() - 1) {
        site.send(client.data(at, part));
        at += part.len();
        site.advance(PATIENCE_S * SECOND_NS / 4);
    }
    assert_eq!(
        (site.dropped(EngineDrop::SlowRequest), site.counters().stalled),
        (0, 0)
    );
    assert_eq!(site.server(&client).bytes.len(), at);
}

#[test]
fn detection_cuts_nobody_off() {
    let mut site = site(FailurePolicy::Pass, Mode::Detect);
    let client = Client::v4(1);
    site.open(&client);
    assert_eq!(drip(&mut site, &client, 0, HEAD, 10), HEAD.len());
    assert_eq!(
        (site.dropped(EngineDrop::SlowRequest), site.counters().stalled),
        (0, 0)
    );
}
