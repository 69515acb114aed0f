//! The observer of replies.

use filter_common::FlowState;
use xtask::lab::frame::{TAG_8021Q, Tcp, flag};

use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, reply, request, syn},
};

/// The server's initial sequence number, three short of the wrap, and the client's next.
const ISN: u32 = u32::MAX - 2;
const CLIENT: u32 = 1001;
const OPENED: u8 = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;

pub(crate) fn tcp(sequence: u32, acknowledgement: u32, flags: u8, payload: &[u8]) -> Tcp {
    Tcp {
        sequence,
        acknowledgement,
        flags,
        window: 500,
        payload: payload.to_vec(),
        ..Tcp::default()
    }
}

fn syn_ack(options: &[u8]) -> Tcp {
    Tcp {
        options: options.to_vec(),
        ..tcp(ISN, CLIENT, flag::SYN | flag::ACK, b"")
    }
}

fn bed(family: Family) -> Option<Bed> {
    let mut bed = Bed::new()?;
    enter(&mut bed, family, FlowState::PATH_INSPECT);
    Some(bed)
}

fn enter(bed: &mut Bed, family: Family, path: u32) {
    bed.know(family.flow(), FlowState::on(path, 0));
}

fn state(bed: &Bed, family: Family) -> FlowState {
    bed.tables
        .flows
        .get(&family.flow(), 0)
        .expect("the flow is there")
}

#[test]
fn a_connection_from_its_syn_ack_to_its_end() {
    for family in Family::ALL {
        let Some(mut bed) = bed(family) else { return };
        let mut send = |tcp: Tcp| {
            bed.send(&reply(family, tcp).to_bytes());
            state(&bed, family)
        };
        // Maximum segment size, SACK permitted, NOP, window scale 7: as Linux lays them out.
        let options = [2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7];
        let opened = FlowState {
            server_ack: CLIENT,
            server_next: ISN + 1,
            // Not scaled in a SYN (RFC 7323 §2.2).
            server_window: 500,
            server_opened: CLIENT,
            server_isn: ISN,
            server_scale: 7,
            server_mss: 1460,
            server_flags: OPENED,
            ..FlowState::inspect(0)
        };
        assert_eq!(send(syn_ack(&options)), opened);
        // Data over the wrap of the sequence numbers.
        let data = FlowState {
            server_ack: CLIENT + 100,
            server_next: 8,
            server_window: 500 << 7,
            ..opened
        };
        let segment = tcp(ISN + 1, CLIENT + 100, flag::ACK | flag::PSH, b"0123456789");
        assert_eq!(send(segment.clone()), data);
        // Sent again, or overtaken: neither number moves back.
        let earlier = Tcp {
            acknowledgement: CLIENT,
            payload: b"01".to_vec(),
            ..segment
        };
        assert_eq!(send(earlier), data);
        let finished = FlowState {
            server_next: 12,
            server_flags: OPENED | FlowState::SERVER_FIN,
            ..data
        };
        assert_eq!(
            send(tcp(8, CLIENT + 100, flag::FIN | flag::ACK, b"end")),
            finished
        );
        let reset = FlowState {
            server_flags: finished.server_flags | FlowState::SERVER_RST,
            server_window: 0,
            ..finished
        };
        let rst = Tcp {
            window: 0,
            ..tcp(12, 0, flag::RST, b"")
        };
        assert_eq!(send(rst), reset);
        // The ports are used again: nothing of the old connection stays.
        let again = FlowState {
            server_scale: 0,
            server_mss: 0,
            ..opened
        };
        assert_eq!(send(syn_ack(&[])), again);
    }
}

#[test]
fn acknowledgements_over_the_wrap() {
    let Some(mut bed) = bed(Family::V4) else { return };
    let mut ack = |number: u32| {
        bed.send(&reply(Family::V4, tcp(1, number, flag::ACK, b"")).to_bytes());
        state(&bed, Family::V4).server_ack
    };
    assert_eq!(ack(u32::MAX - 10), u32::MAX - 10);
    assert_eq!(ack(20), 20);
    assert_eq!(ack(u32::MAX - 5), 20);
    // Half the number space ahead is behind.
    assert_eq!(ack(20 + (1 << 31)), 20);
    assert_eq!(ack(19 + (1 << 31)), 19 + (1 << 31));
}

#[test]
fn picked_up_in_mid_stream_there_is_no_scale_and_no_opening() {
    let Some(mut bed) = bed(Family::V6) else { return };
    bed.send(&reply(Family::V6, tcp(77, 88, flag::ACK, b"x")).to_bytes());
    let expected = FlowState {
        server_ack: 88,
        server_next: 78,
        server_window: 500,
        server_flags: FlowState::SERVER_SEEN,
        ..FlowState::inspect(0)
    };
    assert_eq!(state(&bed, Family::V6), expected);
}

#[test]
fn a_first_segment_without_ack_acknowledges_nothing() {
    let Some(mut bed) = bed(Family::V4) else { return };
    bed.send(&reply(Family::V4, tcp(77, 0xdead, flag::RST, b"")).to_bytes());
    let seen = state(&bed, Family::V4);
    assert_eq!(seen.server_ack, 0, "the field means nothing without the flag");
    assert_eq!(seen.server_flags & FlowState::SERVER_RST, FlowState::SERVER_RST);
}

#[test]
fn window_scale_options_in_any_form() {
    let Some(mut bed) = bed(Family::V4) else { return };
    let nops = |count: usize, tail: &[u8]| [&vec![1; count][..], tail].concat();
    for (options, scale) in [
        (vec![3, 3, 5], 5),
        (vec![3, 3, 14], 14),
        (vec![3, 3, 200], 14),
        (nops(9, &[3, 3, 6]), 6),
        (vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 9], 9),
        (vec![0, 3, 3, 5], 0),
        // Lengths that lie: no loop without end, nothing beyond the header.
        (vec![5, 0, 3, 3, 4], 4),
        (vec![5, 200, 3, 3, 4], 0),
        (vec![5, 1, 3, 3, 4], 4),
        (vec![1; 40], 0),
        (vec![], 0),
    ] {
        bed.send(&reply(Family::V4, syn_ack(&options)).to_bytes());
        assert_eq!(state(&bed, Family::V4).server_scale, scale, "{options:?}");
    }
    // Payload that looks like an option is none.
    let mut tcp = syn_ack(&[1, 1, 1, 1]);
    tcp.payload = vec![3, 3, 9, 0];
    bed.send(&reply(Family::V4, tcp).to_bytes());
    assert_eq!(state(&bed, Family::V4).server_scale, 0);
}

#[test]
fn only_inspected_flows_are_observed() {
    let Some(mut bed) = Bed::new() else { return };
    let packet = reply(Family::V4, tcp(1, 2, flag::ACK, b"x")).to_bytes();
    bed.send(&packet);
    assert!(
        bed.tables.flows.get(&Family::V4.flow(), 0).is_err(),
        "a reply enters no flow"
    );
    for path in [FlowState::PATH_PASS, FlowState::PATH_BLOCK] {
        enter(&mut bed, Family::V4, path);
        bed.send(&packet);
        assert_eq!(state(&bed, Family::V4), FlowState::on(path, 0));
    }
}

#[test]
fn what_is_no_reply_changes_nothing() {
    let Some(mut bed) = bed(Family::V4) else { return };
    // The client's own direction, a fragment, garbage, a malformed reply.
    bed.send(&request(Family::V4).to_bytes());
    bed.send(&syn(Family::V4).to_bytes());
    let good = reply(Family::V4, tcp(1, 2, flag::ACK, b"x"));
    let mut fragment = good.to_bytes();
    fragment[20] = 0x20;
    bed.send(&fragment);
    bed.send(&[0; 60]);
    let mut bad_offset = good.to_bytes();
    bad_offset[46] = 0x10;
    bed.send(&bad_offset);
    let mut other_port = good.clone();
    crate::packets::tcp_mut(&mut other_port).source_port = SERVER_PORT + 1;
    bed.send(&other_port.to_bytes());
    let tagged = good.tagged(TAG_8021Q, 0x6007);
    bed.send(&tagged.to_bytes());
    assert_eq!(state(&bed, Family::V4), FlowState::inspect(0));
    // It is a flow of its own.
    let in_vlan = Family::V4.flow().in_vlan([0, 0, 7]);
    let enter = bed.tables.flows.insert(in_vlan, FlowState::inspect(0), 0);
    enter.expect("there is room");
    bed.send(&tagged.to_bytes());
    let state = bed.tables.flows.get(&in_vlan, 0).expect("it is there");
    assert_eq!(state.server_ack, 2);
}
