//! The egress observer: notes what a server's replies say into the flow's map entry.
//!
//! Replies do not pass the engine in `host` forwarding, yet the stream layer has to know what the server has
//! acknowledged (older bytes need no comparison), what it has sent (the sequence number of an injected page)
//! and whether it has closed.

use aya_ebpf::programs::TcContext;
use filter_common::{
    Bytes, FlowKey, FlowState, Packet,
    packet::{protocol, tcp_flag},
};

use crate::{frame::Frame, key, maps::FLOWS};

const TCP_HEADER: usize = 20;
/// Window scale (RFC 7323 §2).
const OPTION_WINDOW_SCALE: u8 = 3;
const OPTION_NOP: u8 = 1;
const OPTION_END: u8 = 0;
/// Options looked at in a SYN+ACK; ten NOPs and kinds fill the 40 bytes there are.
const MAX_OPTIONS: usize = 10;
/// Largest scale (RFC 7323 §2.3).
const MAX_SCALE: u8 = 14;

/// Notes one reply.
#[inline(always)]
pub(crate) fn reply(ctx: &TcContext) {
    let frame = Frame::sent(ctx);
    let Ok(Some(packet)) = Packet::parse(&frame) else {
        return;
    };
    if packet.protocol != protocol::TCP || packet.fragment {
        return;
    }
    let mut key: FlowKey = key::zeroed();
    key.source = packet.destination;
    key.source_port = packet.destination_port;
    key.destination = packet.source;
    key.destination_port = packet.source_port;
    key.protocol = protocol::TCP;
    let Some(flow) = FLOWS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: the map returned a valid entry. This program is the only writer of the `server_*` fields while
    // a connection lasts; the engine reads them as hints that only ever trail the truth.
    let flow = unsafe { &mut *flow };
    if flow.path == FlowState::PATH_INSPECT {
        let _ = note(&frame, &packet, flow);
    }
}

#[inline(always)]
fn note(frame: &Frame, packet: &Packet, flow: &mut FlowState) -> Option<()> {
    let transport = usize::from(packet.transport);
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
        .wrapping_add(u32::from(packet.end - packet.payload))
        .wrapping_add(u32::from(opens))
        .wrapping_add(u32::from(closes));
    let mut bits = flow.server_flags | FlowState::SERVER_SEEN;
    if opens {
        // A new connection, perhaps on the ports of an old one: what was known is of the old one.
        bits = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
        flow.server_opened = acknowledgement;
        flow.server_isn = sequence;
        flow.server_scale = window_scale(frame, packet).unwrap_or(0);
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

#[inline(always)]
fn window_scale(frame: &Frame, packet: &Packet) -> Option<u8> {
    let transport = usize::from(packet.transport);
    if transport > 512 {
        return None;
    }
    let mut at = TCP_HEADER;
    let end = usize::from(packet.payload) - transport;
    for _ in 0..MAX_OPTIONS {
        if at + 3 > end || at > 60 {
            return None;
        }
        let [kind, length] = frame.u16(transport + at)?.to_be_bytes();
        match kind {
            OPTION_END => return None,
            OPTION_NOP => at += 1,
            OPTION_WINDOW_SCALE => {
                let [_, scale] = frame.u16(transport + at + 1)?.to_be_bytes();
                return Some(scale.min(MAX_SCALE));
            }
            _ => at += usize::from(length).max(2),
        }
    }
    None
}
