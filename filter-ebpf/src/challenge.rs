//! The challenge to sources of SYNs, while too many come: see [`filter_common::challenge`].

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{
        bpf_xdp_adjust_tail,
        generated::{bpf_ktime_get_coarse_ns, bpf_xdp_get_buff_len},
    },
    programs::XdpContext,
};
use filter_common::{
    Address, FlowKey, Reason,
    challenge::{ChallengeState, Cookie, Proof, SynAck},
    settings::Settings,
};

use crate::{
    count,
    due::SharedDue,
    maps::{CHALLENGE, FLOWS, LEASES, PROVEN, SETTINGS},
    policy::{Decision, source_key},
};

const ETHERTYPE: usize = 12;
const TCP_HEADER: usize = 20;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Where the IP header starts at the latest: behind two VLAN tags.
const MAX_NETWORK: usize = 22;

/// What a segment is to the challenge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SYN.
    Opens,
    /// RST with a cookie: see [`is_answer`].
    Answers,
    /// RST without.
    Resets,
}

/// What is asked about a segment with SYN or RST, and without ACK, beside its flow.
pub(crate) struct Segment {
    pub(crate) kind: Kind,
    /// Whether the service's flows are all in `FLOWS`.
    pub(crate) is_tracked: bool,
    pub(crate) is_v4: bool,
}

/// Decides about a segment; `None` if the challenge has nothing to say of it. A function of its own, with a stack frame of
/// its own.
#[inline(never)]
pub(crate) fn judge(segment: &Segment, settings: &Settings, flow: &FlowKey) -> Option<Reason> {
    let state = CHALLENGE.get_ptr_mut(0)?;
    // To the kernel's tick, as in the limits.
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: a valid array entry.
    if !unsafe { is_up(state, settings, now, segment.kind == Kind::Opens) } {
        return None;
    }
    let key = source_key(&flow.source, segment.is_v4, settings);
    if segment.kind == Kind::Opens {
        return (!is_proven(&key, now)).then_some(Reason::Challenge);
    }
    if segment.kind == Kind::Answers {
        let proof = Proof {
            until_ns: now + settings.challenge.proof_ns,
        };
        // An LRU: there is always room.
        let _ = PROVEN.insert(key, proof, 0);
        return Some(Reason::ChallengeProved);
    }
    let fails = segment.is_tracked && FLOWS.get_ptr(flow).is_none() && !is_proven(&key, now);
    fails.then_some(Reason::ChallengeFailed)
}

/// Whether a reset with this sequence number answers a challenge, of this slot of time or the one before. Not a part of
/// [`judge`], so that the stack holds one of the two at a time.
#[inline(always)]
pub(crate) fn is_answer(settings: &Settings, flow: &FlowKey, sequence: u32) -> bool {
    // SAFETY: a helper without arguments.
    let slot = Cookie::slot(unsafe { bpf_ktime_get_coarse_ns() });
    Cookie::from_word(cookie(settings, flow, slot)).is_answered_by(sequence)
        || Cookie::from_word(cookie(settings, flow, slot.wrapping_sub(1))).is_answered_by(sequence)
}

/// Whether sources are challenged now. Counts the SYN: so many that a bucket runs empty put the challenge up, and keep it up
/// until they are fewer than the lower rate for the whole hold.
///
/// # Safety
///
/// `state` must point at the entry of the `CHALLENGE` map.
#[inline(always)]
unsafe fn is_up(state: *mut ChallengeState, settings: &Settings, now: u64, is_syn: bool) -> bool {
    // SAFETY: by contract; all CPUs write it, whole.
    let until = unsafe { (&raw const (*state).until_ns).read_volatile() };
    let is_up = now < until;
    if !is_syn {
        return is_up;
    }
    let challenge = &settings.challenge;
    let limit = if is_up { &challenge.keep } else { &challenge.above };
    let Some(leases) = LEASES.get_ptr_mut(0) else {
        return is_up;
    };
    // SAFETY: by contract, and the lease is this CPU's own.
    let is_within = unsafe {
        let due = SharedDue::new(&raw mut (*state).due_ns);
        limit.take(&due, &mut (*leases).challenge, now)
    };
    if is_within {
        return is_up;
    }
    // Not for each SYN of a flood: the line would go from CPU to CPU.
    if until < now + challenge.hold_ns - challenge.hold_ns / 8 {
        // SAFETY: as above.
        unsafe { (&raw mut (*state).until_ns).write_volatile(now + challenge.hold_ns) };
    }
    true
}

/// A function of its own, with a stack frame of its own.
#[inline(never)]
fn cookie(settings: &Settings, flow: &FlowKey, slot: u32) -> u64 {
    Cookie::new(settings.challenge.key, flow, slot).to_word()
}

#[inline(always)]
fn is_proven(key: &Address, now: u64) -> bool {
    // SAFETY: the map returned a valid entry.
    PROVEN
        .get_ptr(key)
        .is_some_and(|proof| now < unsafe { (*proof).until_ns })
}

/// Makes of the SYN its answer, and sends it back. VLAN tags stay; IP and TCP options and a payload go.
#[inline(always)]
pub(crate) fn answer(ctx: &XdpContext, decision: &Decision) -> u32 {
    let network = usize::from(decision.network);
    let answer = rewrite(
        ctx,
        &decision.flow,
        decision.sequence,
        network,
        decision.is_v4 != 0,
    );
    if answer.is_none() {
        // No such SYN gets through the parser.
        count::packet(Reason::Truncated);
        return xdp_action::XDP_DROP;
    }
    count::packet(Reason::Challenge);
    xdp_action::XDP_TX
}

/// A function of its own, with a stack frame of its own.
#[inline(never)]
fn rewrite(ctx: &XdpContext, flow: &FlowKey, sequence: u32, network: usize, is_v4: bool) -> Option<()> {
    if network > MAX_NETWORK {
        return None;
    }
    let header = if is_v4 { IPV4_HEADER } else { IPV6_HEADER };
    let length = network + header + TCP_HEADER;
    // SAFETY: helpers on the program's own context. Packet pointers are invalid after the second; there are none yet.
    let now = unsafe {
        let received = bpf_xdp_get_buff_len(ctx.ctx);
        let tail = (length as u32).wrapping_sub(received as u32).cast_signed();
        if tail < 0 && bpf_xdp_adjust_tail(ctx.ctx, tail) != 0 {
            return None;
        }
        bpf_ktime_get_coarse_ns()
    };
    let cookie = Cookie::from_word(cookie(SETTINGS.get(0)?, flow, Cookie::slot(now)));
    let answer = SynAck {
        flow,
        sequence: cookie.sequence(),
        acknowledgement: cookie.acknowledgement(sequence),
    };
    let packet = Writer {
        start: ctx.data(),
        end: ctx.data_end(),
    };
    packet.exchange_macs()?;
    if is_v4 {
        packet.put(network, answer.ipv4())?;
        packet.put(network + IPV4_HEADER, answer.tcp(true))
    } else {
        packet.put(network, answer.ipv6())?;
        packet.put(network + IPV6_HEADER, answer.tcp(false))
    }
}

/// Packet memory to write to.
struct Writer {
    start: usize,
    end: usize,
}

impl Writer {
    /// Writes words in network byte order.
    #[inline(always)]
    fn put<const N: usize>(&self, at: usize, words: [u32; N]) -> Option<()> {
        let address = self.start + at;
        if address + N * 4 > self.end {
            return None;
        }
        let to = address as *mut u32;
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: the words lie between `data` and `data_end`, checked right above; unaligned as in `Frame::read`.
            unsafe { to.add(index).write_unaligned(word.to_be()) };
        }
        Some(())
    }

    #[inline(always)]
    fn exchange_macs(&self) -> Option<()> {
        if self.start + ETHERTYPE > self.end {
            return None;
        }
        let macs = self.start as *mut [u16; 3];
        // SAFETY: both addresses lie between `data` and `data_end`, checked right above.
        unsafe {
            let (destination, source) = (macs.read_unaligned(), macs.add(1).read_unaligned());
            macs.write_unaligned(source);
            macs.add(1).write_unaligned(destination);
        }
        Some(())
    }
}
