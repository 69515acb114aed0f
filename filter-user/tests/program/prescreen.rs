//! The pre-screen gives in the kernel what it gives in userspace.

use filter_common::{FlowState, Reason, prescreen, service::Service, settings::Settings};
use proptest::prelude::*;
use xtask::lab::frame::flag;

use crate::{
    bed::Bed,
    packets::{Family, PLAIN, SERVER_PORT, request, segment},
};

#[path = "../../../filter-common/src/prescreen/samples.rs"]
mod samples;

fn bed() -> Option<Bed> {
    let mut bed = Bed::new()?;
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_SUSPICIOUS);
    bed.configure(|settings| settings.triggers = Settings::TRIGGER_PRESCREEN);
    Some(bed)
}

/// Judges a payload on a flow of its own.
fn passes(bed: &mut Bed, family: Family, payload: &[u8]) -> bool {
    // Gone already is as good.
    let _ = bed.tables.flows.remove(&family.flow());
    match bed.receive(&segment(family, flag::ACK, payload).to_bytes()) {
        Reason::NotSuspicious => true,
        Reason::SuspectPrescreen => false,
        other => panic!("{other:?} has nothing to do with the pre-screen"),
    }
}

#[test]
fn the_table_of_the_unit_tests() {
    let Some(mut bed) = bed() else { return };
    for family in Family::ALL {
        for (payload, expected) in samples::TABLE {
            // A segment without payload is not judged.
            if !payload.is_empty() {
                assert_eq!(
                    passes(&mut bed, family, payload.as_bytes()),
                    *expected,
                    "{payload:?}"
                );
            }
        }
    }
}

#[test]
fn payloads_up_to_the_longest() {
    let Some(mut bed) = bed() else { return };
    for length in [
        prescreen::MAX_LENGTH - 1,
        prescreen::MAX_LENGTH,
        prescreen::MAX_LENGTH + 1,
        3000,
    ] {
        let mut payload = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
        payload.resize(length - 4, b'a');
        payload.extend_from_slice(b"\r\n\r\n");
        assert_eq!(prescreen::passes(&payload), length <= prescreen::MAX_LENGTH);
        assert_eq!(
            passes(&mut bed, Family::V4, &payload),
            length <= prescreen::MAX_LENGTH,
            "{length}"
        );
        // A fault in the very last place it can be.
        payload[length - 5] = b'<';
        assert!(!passes(&mut bed, Family::V4, &payload));
    }
}

#[test]
fn a_flow_changes_over_at_any_of_its_requests() {
    let Some(mut bed) = bed() else { return };
    for family in Family::ALL {
        for _ in 0..3 {
            assert_eq!(bed.receive(&request(family).to_bytes()), Reason::NotSuspicious);
        }
        let attack = segment(family, flag::ACK, b"GET /?q=%27 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(bed.receive(&attack.to_bytes()), Reason::SuspectPrescreen);
        let state = bed
            .tables
            .flows
            .get(&family.flow(), 0)
            .expect("the flow is entered");
        assert_eq!(state.path, FlowState::PATH_INSPECT);
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::FlowInspect);
    }
}

/// Payloads that are nearly plain requests: a sample, changed in a few places, cut, or two in one.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "HEAD ",
        "/",
        "a",
        "..",
        ".",
        "=",
        "//",
        "?x=1",
        "&",
        " HTTP/1.1",
        "\r\n",
        "\r",
        "\n",
        "Host: a",
        "Tr",
        "up",
        "Content-",
        ":",
        "*/*",
        "\"",
        "<",
        "%2e",
        "\0",
        "\r\n\r\n",
    ]);
    let grammar = prop::collection::vec(piece, 1..16).prop_map(|pieces| pieces.concat().into_bytes());
    let sample = prop::sample::select(samples::TABLE).prop_map(|(text, _)| text.as_bytes().to_vec());
    let base = prop_oneof![2 => Just(PLAIN.to_vec()), 2 => sample, 2 => grammar.clone(), 1 => prop::collection::vec(any::<u8>(), 1..200)];
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n ./=:aT".to_vec())];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..3);
    (base, changes, prop::option::of(grammar)).prop_map(|(mut payload, changes, tail)| {
        payload.extend(tail.filter(|tail| tail.len() % 3 == 0).unwrap_or_default());
        if payload.is_empty() {
            payload.push(b'G');
        }
        for (at, value) in changes {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        payload.truncate(1460);
        payload
    })
}

#[test]
fn both_compilations_agree_on_any_payload() {
    let Some(bed) = bed() else { return };
    let bed = std::cell::RefCell::new(bed);
    let agreed_to_pass = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(2000), |(payload in payloads(), v6: bool)| {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let expected = prescreen::passes(&payload);
        agreed_to_pass.set(agreed_to_pass.get() + u32::from(expected));
        prop_assert_eq!(passes(&mut bed.borrow_mut(), family, &payload), expected);
    });
    assert!(
        agreed_to_pass.get() > 50,
        "the payloads are too wild to tell anything"
    );
}
