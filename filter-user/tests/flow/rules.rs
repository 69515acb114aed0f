//! The rules of the stream, one test each, with where they come from.

use filter_user::flow::{Action, Continuity, DropReason, Flags, Segment, Seq, StreamLimits, TimeoutClass};

use crate::case::{Case, Dropped, FIRST, Forwarded, Held, ISN, SERVER, Scored, Server, limits, text};

/// RFC 9293 §3.10.7.4: segments are processed in sequence.
#[test]
fn segments_in_order_are_scored_in_order() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "GET "), [Scored("GET ")]);
    assert_eq!(case.continuity, Some(Continuity::Start));
    assert_eq!(case.data(4, "/ HTTP"), [Scored("/ HTTP")]);
    assert_eq!(case.continuity, Some(Continuity::Next));
    assert_eq!(case.stream.next(), Some(FIRST + 10));
    assert_eq!(case.server.looks, 0, "nobody asks about a stream in order");
}

/// Design rule 3: segments out of order are held until the gap closes.
#[test]
fn a_closed_gap_releases_the_held_segments_in_order() {
    let mut case = Case::opened();
    assert_eq!(case.data(6, "ghi"), [Held]);
    assert_eq!(case.data(3, "def"), [Held]);
    assert_eq!(case.data(10, "k"), [Held]);
    assert_eq!(case.data(0, "abc"), [Scored("abc"), Scored("def"), Scored("ghi")]);
    assert_eq!(case.data(9, "j"), [Scored("j"), Scored("k")]);
    assert_eq!(case.shared.hold.segments(), 0);
}

/// Design rule 2: the segment that completes an attack is dropped, and nothing of the flow goes on after it.
#[test]
fn a_rejected_segment_blocks_the_stream_and_what_it_holds() {
    let mut case = Case::opened();
    assert_eq!(case.data(2, "cd"), [Held]);
    assert_eq!(
        case.data(0, "a!"),
        [
            Dropped("a!", DropReason::Blocked),
            Dropped("cd", DropReason::Blocked)
        ]
    );
    assert_eq!(case.data(0, "ab"), [Dropped("ab", DropReason::Blocked)]);
    assert_eq!(
        case.send(FIRST, Flags::RST, ""),
        [Dropped("", DropReason::Blocked)]
    );
    assert_eq!(case.stream.class(), TimeoutClass::Closing);
}

/// Design rule 3: a retransmission goes on only when it is identical, however it is cut.
#[test]
fn retransmissions_are_compared_with_what_went_on() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "abcdef"), [Scored("abcdef")]);
    assert_eq!(case.data(0, "abcdef"), [Forwarded("abcdef")]);
    assert_eq!(case.data(2, "cd"), [Forwarded("cd")]);
    assert_eq!(
        case.data(2, "cX"),
        [Dropped("cX", DropReason::RetransmissionConflict)]
    );
    assert_eq!(case.data(4, "efgh"), [Scored("gh")]);
    assert_eq!(
        case.data(6, "gXij"),
        [Dropped("gXij", DropReason::RetransmissionConflict)]
    );
    assert_eq!(case.data(5, "fghij"), [Scored("ij")]);
}

/// RFC 9293 §3.10.7.4: the receiver trims what it has, so what it has may be sent with any bytes.
#[test]
fn below_the_acknowledgement_bytes_do_not_matter() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "abcdef"), [Scored("abcdef")]);
    case.server_acknowledges(FIRST + 4);
    assert_eq!(case.data(0, "XXXX"), [Forwarded("XXXX")]);
    assert_eq!(case.data(0, "XXXXef"), [Forwarded("XXXXef")]);
    assert_eq!(
        case.data(0, "XXXXXf"),
        [Dropped("XXXXXf", DropReason::RetransmissionConflict)]
    );
    assert_eq!(case.stream.evidence_bytes(), 2);
}

/// Design rule 3: overlaps with other bytes are dropped, the later one, and nothing is lost by it.
#[test]
fn an_overlap_with_other_bytes_than_held_is_dropped() {
    let mut case = Case::opened();
    assert_eq!(case.data(3, "defg"), [Held]);
    assert_eq!(case.data(5, "fX"), [Dropped("fX", DropReason::OverlapConflict)]);
    assert_eq!(
        case.data(0, "abcX"),
        [Dropped("abcX", DropReason::OverlapConflict)]
    );
    assert_eq!(case.data(4, "efghi"), [Held]);
    assert_eq!(case.data(3, "defghi"), [Dropped("defghi", DropReason::Duplicate)]);
    assert_eq!(
        case.data(0, "abcd"),
        [Scored("abcd"), Scored("efg"), Scored("hi")]
    );
}

/// A held segment that a longer one has overtaken brings nothing new.
#[test]
fn a_held_segment_that_was_covered_meanwhile_is_a_duplicate() {
    let mut case = Case::opened();
    assert_eq!(case.data(2, "cd"), [Held]);
    assert_eq!(
        case.data(0, "abcdef"),
        [Scored("abcdef"), Dropped("cd", DropReason::Duplicate)]
    );
}

/// RFC 9293 §3.8.4 keep-alives and window updates carry nothing that could be scored; RFC 1122 §4.2.3.6 allows one
/// garbage byte, which is safe only when the server has the real one.
#[test]
fn probes_and_pure_acknowledgements_go_on() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.data(2, ""), [Forwarded("")]);
    assert_eq!(case.data(1, ""), [Forwarded("")]);
    assert_eq!(
        case.data(1, "\0"),
        [Dropped("\0", DropReason::RetransmissionConflict)]
    );
    case.server_acknowledges(FIRST + 2);
    assert_eq!(case.data(1, "\0"), [Forwarded("\0")]);
    assert_eq!(case.stream.next(), Some(FIRST + 2));
}

/// RFC 9293 §3.8.1: a SYN is retransmitted like anything else.
#[test]
fn a_repeated_syn_goes_on_without_effect() {
    let mut case = Case::unseen(limits());
    assert_eq!(case.send(ISN, Flags::SYN, ""), [Forwarded("")]);
    assert_eq!(case.send(ISN, Flags::SYN, ""), [Forwarded("")]);
    assert_eq!(case.stream.next(), Some(FIRST));
}

/// RFC 7413 §4.1.3: a client whose data on the SYN are not taken sends them again after the handshake.
#[test]
fn data_on_a_syn_are_dropped() {
    let mut case = Case::unseen(limits());
    assert_eq!(
        case.send(ISN, Flags::SYN, "GET"),
        [Dropped("GET", DropReason::SynData)]
    );
    assert_eq!(case.send(ISN, Flags::SYN, ""), [Forwarded("")]);
    assert_eq!(case.data(0, "GET"), [Scored("GET")]);
}

/// RFC 9293 §3.10.7.4: in a live connection a SYN only provokes a challenge; the old stream goes on.
#[test]
fn a_syn_that_the_server_does_not_take_changes_nothing() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.send(FIRST + 300, Flags::SYN, ""), [Forwarded("")]);
    assert_eq!(case.data(2, "cd"), [Scored("cd")]);
    assert_eq!(
        case.data(0, "aX"),
        [Dropped("aX", DropReason::RetransmissionConflict)]
    );
    // Once the server has gone on with the old connection, nobody asks any more.
    case.server_acknowledges(FIRST + 4);
    assert_eq!(case.data(4, "ef"), [Scored("ef")]);
    let looks = case.server.looks;
    assert_eq!(case.data(6, "gh"), [Scored("gh")]);
    assert_eq!(case.server.looks, looks);
}

/// RFC 9293 §3.6.1: a port pair may be used again; the server's SYN-ACK says when.
#[test]
fn a_confirmed_syn_begins_a_new_stream() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.fin(2, ""), [Scored("")]);
    let isn = FIRST + 1;
    assert_eq!(case.send(isn, Flags::SYN, ""), [Forwarded("")]);
    case.server_opens(SERVER + 9, isn + 1);
    assert_eq!(case.send(isn + 1, Flags::ACK, "new"), [Scored("new")]);
    assert_eq!(case.continuity, Some(Continuity::Start));
    assert_eq!(case.stream.class(), TimeoutClass::Established);
    assert_eq!(case.stream.next(), Some(isn + 4));
}

/// The client may use its initial sequence number again: only the server's own tells the connections apart.
#[test]
fn a_new_connection_with_the_old_sequence_number_is_scored_anew() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "good"), [Scored("good")]);
    case.server_acknowledges(FIRST + 4);
    assert_eq!(case.send(FIRST + 4, Flags::RST, ""), [Forwarded("")]);
    assert_eq!(case.send(ISN, Flags::SYN, ""), [Forwarded("")]);
    case.server_opens(SERVER + 9, FIRST);
    assert_eq!(case.data(0, "evil"), [Scored("evil")]);
    assert_eq!(case.continuity, Some(Continuity::Start));
}

/// A segment held for the connection before must not become part of the next one.
#[test]
fn what_a_replaced_connection_held_is_dropped() {
    let mut case = Case::opened();
    assert_eq!(case.data(6, "gh"), [Held]);
    assert_eq!(case.send(FIRST, Flags::RST, ""), [Forwarded("")]);
    assert_eq!(case.send(FIRST + 4, Flags::SYN, ""), [Forwarded("")]);
    case.server_opens(SERVER + 9, FIRST + 5);
    assert_eq!(
        case.data(5, "x"),
        [Scored("x"), Dropped("gh", DropReason::Superseded)]
    );
}

/// Without an observer nobody can tell; the failure policy decides.
#[test]
fn an_unobserved_syn_on_a_live_flow_follows_the_policy() {
    for (limits, expected) in [
        (limits(), Dropped("", DropReason::UnconfirmableSyn)),
        (Case::passing(), Forwarded("")),
    ] {
        let mut case = Case::opened_with(limits);
        case.server = Server {
            reply: None,
            observed: false,
            looks: 0,
        };
        assert_eq!(case.data(0, "ab"), [Scored("ab")]);
        assert_eq!(case.send(FIRST + 50, Flags::SYN, ""), [expected]);
        // Not over, so it goes on.
        assert_eq!(case.data(2, "cd"), [Scored("cd")]);
    }
}

/// RFC 9293 §3.4: a FIN occupies a sequence number, and comes in its turn.
#[test]
fn a_fin_is_taken_in_order() {
    let mut case = Case::opened();
    assert_eq!(case.fin(2, "c"), [Held]);
    assert_eq!(case.data(0, "ab"), [Scored("ab"), Scored("c")]);
    assert_eq!(case.stream.next(), Some(FIRST + 4));
    assert_eq!(case.stream.class(), TimeoutClass::Closing);
    assert_eq!(case.fin(2, "c"), [Forwarded("c")]);
    assert_eq!(case.fin(3, ""), [Forwarded("")]);
}

/// RFC 9293 §3.10.7.4: nothing comes after a FIN; a receiver that has not seen this one must not take other data.
#[test]
fn data_behind_a_fin_are_dropped() {
    let mut case = Case::opened();
    assert_eq!(case.fin(0, "ab"), [Scored("ab")]);
    assert_eq!(case.data(2, "c"), [Dropped("c", DropReason::DataAfterFin)]);
    assert_eq!(case.data(3, "d"), [Dropped("d", DropReason::DataAfterFin)]);
    assert_eq!(case.data(0, "abc"), [Dropped("abc", DropReason::DataAfterFin)]);
    assert_eq!(case.fin(3, ""), [Dropped("", DropReason::DataAfterFin)]);
}

/// A FIN inside the accepted stream would end it early at a server that lost the rest.
#[test]
fn a_fin_elsewhere_is_a_conflict() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "abcd"), [Scored("abcd")]);
    assert_eq!(case.fin(0, "ab"), [Dropped("ab", DropReason::FinConflict)]);
    case.server_acknowledges(FIRST + 3);
    assert_eq!(case.fin(0, "ab"), [Forwarded("ab")]);
    assert_eq!(case.data(8, "ij"), [Held]);
    assert_eq!(case.fin(4, "efg"), [Dropped("efg", DropReason::OverlapConflict)]);
}

/// RFC 5961 §3.2: only a reset at exactly the next sequence number closes.
#[test]
fn only_an_exact_reset_closes() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.send(FIRST + 3, Flags::RST, ""), [Forwarded("")]);
    assert_eq!(case.stream.class(), TimeoutClass::Established);
    assert_eq!(
        case.send(FIRST + 1003, Flags::RST, ""),
        [Dropped("", DropReason::ResetOutOfWindow)]
    );
    assert_eq!(
        case.send(FIRST - 1, Flags::RST, ""),
        [Dropped("", DropReason::ResetOutOfWindow)]
    );
    assert_eq!(case.send(FIRST + 2, Flags::RST, ""), [Forwarded("")]);
    assert_eq!(case.stream.class(), TimeoutClass::Closing);
}

/// A forged reset or FIN that never reaches the server must not blind anyone.
#[test]
fn after_a_reset_bytes_are_checked_as_before() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.send(FIRST + 2, Flags::RST, ""), [Forwarded("")]);
    assert_eq!(
        case.data(0, "aX"),
        [Dropped("aX", DropReason::RetransmissionConflict)]
    );
    assert_eq!(case.data(4, "ef"), [Held]);
    assert_eq!(case.data(2, "cd"), [Scored("cd"), Scored("ef")]);
    assert_eq!(
        case.stream.class(),
        TimeoutClass::Established,
        "it lives, so it gets its time"
    );
}

/// RFC 9293 §3.10.7.4: what has no ACK bit is not processed by a server, so it must not be here either.
#[test]
fn a_segment_without_the_ack_bit_is_not_scored() {
    let mut case = Case::opened();
    assert_eq!(
        case.send(FIRST, Flags::PSH, "ab"),
        [Dropped("ab", DropReason::NoAck)]
    );
    assert_eq!(
        case.send(FIRST, Flags::SYN.with(Flags::RST), ""),
        [Dropped("", DropReason::BadFlags)]
    );
    assert_eq!(
        case.send(FIRST, Flags::SYN.with(Flags::FIN), ""),
        [Dropped("", DropReason::BadFlags)]
    );
}

/// RFC 7323 §2.3: no window is larger than 2³⁰; a configured bound is usually far below.
#[test]
fn a_segment_outside_any_window_is_dropped() {
    let mut case = Case::opened();
    assert_eq!(case.data(1001, "x"), [Dropped("x", DropReason::OutOfWindow)]);
    assert_eq!(case.data(999, "xy"), [Dropped("xy", DropReason::OutOfWindow)]);
    assert_eq!(
        case.send(FIRST - 1001, Flags::ACK, "x"),
        [Dropped("x", DropReason::OutOfWindow)]
    );
    assert_eq!(case.data(999, "x"), [Held]);
}

/// Design rule 3: holding is bounded per flow and in all; what is beyond is retransmitted by TCP.
#[test]
fn holding_is_bounded() {
    let mut case = Case::opened();
    assert_eq!(case.data(1, "b"), [Held]);
    assert_eq!(case.data(2, "c"), [Held]);
    assert_eq!(case.data(3, "d"), [Held]);
    assert_eq!(case.data(4, "e"), [Dropped("e", DropReason::HoldSegments)]);
    assert_eq!(
        case.data(0, "a"),
        [Scored("a"), Scored("b"), Scored("c"), Scored("d")]
    );
    assert_eq!(case.data(5, "0123456789abcdefghij"), [Held]);
    assert_eq!(case.data(40, "x"), [Dropped("x", DropReason::HoldBytes)]);

    // Another flow of the same thread: 20 of 40 bytes and 1 of 4 segments are taken.
    let mut other = Case::opened_with(StreamLimits {
        held_bytes: 100,
        ..limits()
    });
    std::mem::swap(&mut other.shared.hold, &mut case.shared.hold);
    assert_eq!(
        other.data(1, "0123456789abcdefghijk"),
        [Dropped("0123456789abcdefghijk", DropReason::HoldBudget)]
    );
    assert_eq!(other.data(1, "0123456789abcdefghij"), [Held]);
}

/// Design rule 4: with `drop`, bytes that could not be checked later do not go on now; TCP sends them again.
#[test]
fn full_evidence_drops_new_bytes_until_the_server_acknowledges() {
    let mut case = Case::opened();
    assert_eq!(
        case.data(0, "0123456789abcdef0123456789abcdef"),
        [Scored("0123456789abcdef0123456789abcdef")]
    );
    assert_eq!(
        case.data(32, "0123456789abcdef0123456789abcdef"),
        [Scored("0123456789abcdef0123456789abcdef")]
    );
    assert_eq!(case.data(64, "x"), [Dropped("x", DropReason::EvidenceFull)]);
    case.server_acknowledges(FIRST + 1);
    assert_eq!(case.data(64, "x"), [Scored("x")]);
    assert_eq!(case.data(65, "yz"), [Dropped("yz", DropReason::EvidenceFull)]);
    assert_eq!(case.data(0, "X12"), [Forwarded("X12")]);
}

/// Design rule 4: with `pass`, they go on, and so do retransmissions of what was not kept, but of nothing else.
#[test]
fn full_evidence_passes_new_bytes_and_then_cannot_compare_them() {
    let mut case = Case::opened_with(Case::passing());
    assert_eq!(
        case.data(0, "0123456789abcdef0123456789abcdef"),
        [Scored("0123456789abcdef0123456789abcdef")]
    );
    assert_eq!(
        case.data(32, "0123456789abcdef0123456789abcde"),
        [Scored("0123456789abcdef0123456789abcde")]
    );
    assert_eq!(case.data(63, "xy"), [Scored("xy")]);
    assert_eq!(case.data(63, "??"), [Forwarded("??")]);
    assert_eq!(
        case.data(62, "X??"),
        [Dropped("X??", DropReason::RetransmissionConflict)]
    );
    case.server_acknowledges(FIRST + 65);
    assert_eq!(case.data(65, "z"), [Scored("z")]);
    assert!(case.stream.acknowledge(&mut case.shared, FIRST + 65));
    assert_eq!(case.data(66, "yz"), [Scored("yz")]);
    assert_eq!(
        case.data(66, "YZ"),
        [Dropped("YZ", DropReason::RetransmissionConflict)]
    );
    assert_eq!(
        case.data(65, "Zy"),
        [Forwarded("Zy")],
        "z went on while the old evidence was still there"
    );
}

/// The server's acknowledgement is looked up when enough bytes have gone on, not for each packet.
#[test]
fn the_acknowledgement_is_looked_up_every_so_many_bytes() {
    let mut case = Case::opened();
    for (at, looks) in [
        (0, 0),
        (30, 0),
        (60, 0),
        (90, 1),
        (120, 1),
        (150, 1),
        (180, 2),
        (210, 2),
    ] {
        assert_eq!(
            case.data(at, "0123456789abcdef0123456789abcd"),
            [Scored("0123456789abcdef0123456789abcd")]
        );
        assert_eq!(case.server.looks, looks, "at {at}");
        // The owner may also bring what it learnt elsewhere.
        case.server_acknowledges(FIRST + at + 10);
        case.stream.acknowledge(&mut case.shared, FIRST + at + 10);
    }
}

/// Design rule 1: a flow seen first in mid-stream is picked up where the server is.
#[test]
fn mid_stream_begins_at_the_servers_acknowledgement() {
    let mut case = Case::unseen(limits());
    assert_eq!(case.send(FIRST, Flags::ACK, ""), [Forwarded("")]);
    assert_eq!(case.stream.next(), None);
    case.server_acknowledges(FIRST + 2);
    assert_eq!(case.data(4, "ef"), [Held]);
    assert_eq!(case.data(0, "ab"), [Forwarded("ab")]);
    assert_eq!(case.data(2, "cd"), [Scored("cd"), Scored("ef")]);
    assert_eq!(case.continuity, Some(Continuity::Next));
}

/// A SYN in front of it stays open, until the server has said which connection it means.
#[test]
fn a_syn_before_mid_stream_data_is_still_settled_by_the_server() {
    let mut case = Case::unseen(limits());
    case.server_acknowledges(Seq(1000));
    assert_eq!(case.send(Seq(1500), Flags::SYN, ""), [Forwarded("")]);
    assert_eq!(case.stream.class(), TimeoutClass::HalfOpen);
    assert_eq!(case.send(Seq(1000), Flags::ACK, "ab"), [Scored("ab")]);
    assert_eq!(case.send(Seq(1002), Flags::ACK, "cd"), [Scored("cd")]);
    case.server_opens(SERVER, Seq(1501));
    assert_eq!(case.send(Seq(1501), Flags::ACK, "new"), [Scored("new")]);
    assert_eq!(case.continuity, Some(Continuity::Start));
}

/// Without the server's word it begins at the first data, and what lies before follows the failure policy.
#[test]
fn mid_stream_without_an_acknowledgement_begins_at_the_first_data() {
    for (limits, before) in [
        (limits(), Dropped("ab", DropReason::Unverifiable)),
        (Case::passing(), Forwarded("ab")),
    ] {
        let mut case = Case::unseen(limits);
        assert_eq!(case.data(2, "cd"), [Scored("cd")]);
        assert_eq!(case.continuity, Some(Continuity::AfterGap));
        assert_eq!(case.data(0, "ab"), [before]);
        assert_eq!(
            case.data(2, "cX"),
            [Dropped("cX", DropReason::RetransmissionConflict)]
        );
    }
}

/// Design rule 4: what became of a flow with an unscored gap is defined.
#[test]
fn bytes_that_went_round_the_engine_leave_a_gap_that_the_policy_decides() {
    let mut case = Case::opened_with(Case::passing());
    assert_eq!(case.data(4, "ef"), [Held]);
    case.server_acknowledges(FIRST + 4);
    // The client repeats what it gets no acknowledgement for; only then is it known that the gap will not close.
    assert_eq!(
        case.data(4, "ef"),
        [Scored("ef"), Dropped("ef", DropReason::Duplicate)]
    );
    assert_eq!(case.continuity, Some(Continuity::AfterGap));

    let mut case = Case::opened();
    case.server_acknowledges(FIRST + 4);
    assert_eq!(case.data(4, "ef"), [Dropped("ef", DropReason::UnscoredGap)]);
}

/// A frame whose header lies about its payload is not read beyond its end.
#[test]
fn a_payload_outside_the_frame_is_malformed() {
    let mut case = Case::opened();
    let segment = Segment {
        seq: FIRST,
        flags: Flags::ACK,
        offset: 2,
        len: 2,
    };
    let action = case
        .stream
        .offer(&mut case.shared, segment, b"abc", &mut case.server);
    assert!(matches!(action, Action::Drop(b"abc", DropReason::Malformed)));
}

/// The end of a flow gives back every held frame and every chunk.
#[test]
fn release_gives_everything_back() {
    let mut case = Case::opened();
    assert_eq!(case.data(0, "ab"), [Scored("ab")]);
    assert_eq!(case.data(4, "ef"), [Held]);
    assert_eq!(case.data(8, "ij"), [Held]);
    let mut frames = Vec::new();
    case.stream
        .release(&mut case.shared, |frame| frames.push(text(frame)));
    assert_eq!(frames, ["ef", "ij"]);
    assert_eq!(case.shared.drops[DropReason::Released], 2);
    assert_eq!(
        (case.shared.hold.segments(), case.shared.evidence.free_chunks()),
        (0, 8)
    );
}
