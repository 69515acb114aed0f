//! The egress observer: notes what a server's replies say into the flow's map entry.
//!
//! Replies do not pass the engine, yet the stream layer has to know what the server has
//! acknowledged (older bytes need no comparison), what it has sent (the sequence number of an injected page)
//! and whether it has closed.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::helpers::bpf_loop;
use filter_common::{
    Bytes, FlowState, Packet,
    packet::{MAX_HEADERS, protocol, tcp_flag},
};

use crate::{frame::Frame, key, maps::FLOWS};

const TCP_HEADER: usize = 20;
/// Maximum segment size (RFC 9293 §3.2).
const OPTION_MSS: u8 = 2;
/// Window scale (RFC 7323 §2).
const OPTION_WINDOW_SCALE: u8 = 3;
const OPTION_NOP: u8 = 1;
const OPTION_END: u8 = 0;
/// Options looked at in a SYN+ACK; ten NOPs and kinds fill the 40 bytes there are.
const MAX_OPTIONS: u32 = 10;
/// Largest scale (RFC 7323 §2.3).
const MAX_SCALE: u8 = 14;

/// Notes one reply. `outer_tag`: the control field of a VLAN tag that is not in the frame any more.
#[inline(always)]
pub(crate) fn reply(frame: &Frame, outer_tag: Option<u16>) {
    let Ok(Some(packet)) = Packet::parse(frame) else {
        return;
    };
    if packet.protocol != protocol::TCP || packet.fragment {
        return;
    }
    let vlan = if packet.vlan_tags > 0 || outer_tag.is_some() {
        packet.vlan_behind(outer_tag, frame)
    } else {
        [0; 3]
    };
    let key = key::flow(
        (&packet.destination, packet.destination_port),
        (&packet.source, packet.source_port),
        protocol::TCP,
        vlan,
    );
    let Some(flow) = FLOWS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: the map returned a valid entry. This program is the only writer of the `server_*` fields while
    // a connection lasts; the engine reads them as hints that only ever trail the truth.
    let flow = unsafe { &mut *flow };
    if flow.path == FlowState::PATH_INSPECT {
        let _ = note(frame, &packet, flow);
    }
}

#[inline(always)]
fn note(frame: &Frame, packet: &Packet, flow: &mut FlowState) -> Option<()> {
    // Not seen through: the compiler would leave out the checks of reads that the parser has made, which the verifier does not remember.
    let transport = usize::from(black_box(packet.transport));
    if transport > 512 {
        return None;
    }
    let sequence = frame.u32(transport + 4)?;
    let acknowledgement = frame.u32(transport + 8)?;
    let window = u32::from(frame.u16(transport + 14)?);
    let flags = packet.tcp_flags;
    let seen = flow.server_flags & FlowState::SERVER_SEEN != 0;

    let opens = flags & tcp_flag::SYN != 0;
    let closes = flags & tcp_flag::FIN != 0;
    let next = sequence
        .wrapping_add(packet.payload_length() as u32)
        .wrapping_add(u32::from(opens))
        .wrapping_add(u32::from(closes));
    let mut bits = flow.server_flags | FlowState::SERVER_SEEN;
    if opens {
        // A new connection, perhaps on the ports of an old one: what was known is of the old one.
        bits = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
        flow.server_opened = acknowledgement;
        flow.server_isn = sequence;
        (flow.server_mss, flow.server_scale) = mss_and_scale(frame, packet);
    }
    if flags & tcp_flag::ACK != 0 && (!seen || opens || after(acknowledgement, flow.server_ack)) {
        flow.server_ack = acknowledgement;
    }
    if !seen || opens || after(next, flow.server_next) {
        flow.server_next = next;
    }
    flow.server_window = if opens {
        window
    } else {
        window << (flow.server_scale & 15)
    };
    if closes {
        bits |= FlowState::SERVER_FIN;
    }
    if flags & tcp_flag::RST != 0 {
        bits |= FlowState::SERVER_RST;
    }
    flow.server_flags = bits;
    Some(())
}

/// RFC 9293 §3.4: comparison modulo 2³².
#[inline(always)]
fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// What the steps through the options share.
struct Options {
    frame: Frame,
    /// Where the next one begins and where they end, in bytes from the start of the frame.
    at: usize,
    end: usize,
    mss: u16,
    scale: u8,
}

/// The largest segment that the sender of a SYN takes, and its window scale; 0 where it does not say.
#[inline(always)]
fn mss_and_scale(frame: &Frame, packet: &Packet) -> (u16, u8) {
    let mut options = Options {
        frame: *frame,
        at: usize::from(packet.transport) + TCP_HEADER,
        end: usize::from(packet.payload),
        mss: 0,
        scale: 0,
    };
    // SAFETY: `step` is a BPF function of the type the helper calls, and `options` outlives the call.
    unsafe { bpf_loop(MAX_OPTIONS, step as *mut c_void, (&raw mut options).cast(), 0) };
    (options.mss, options.scale)
}

/// Looks at one option; a result of 1 ends the loop. The verifier looks at one step instead of at every sequence of them.
#[inline(never)]
extern "C" fn step(_index: u32, options: *mut c_void) -> i64 {
    // SAFETY: the helper passes on the pointer it was given, and nothing else uses the value meanwhile.
    let options = unsafe { &mut *options.cast::<Options>() };
    let at = options.at;
    if at > MAX_HEADERS || at + 3 > options.end {
        return 1;
    }
    let Some(head) = options.frame.u16(at) else {
        return 1;
    };
    let [kind, length] = head.to_be_bytes();
    match kind {
        OPTION_END => return 1,
        OPTION_NOP => {
            options.at = at + 1;
            return 0;
        }
        OPTION_MSS => options.mss = options.frame.u16(at + 2).unwrap_or(0),
        OPTION_WINDOW_SCALE => {
            let [_, value] = options.frame.u16(at + 1).unwrap_or(0).to_be_bytes();
            options.scale = value.min(MAX_SCALE);
        }
        _ => {}
    }
    options.at = at + usize::from(length).max(2);
    0
}
