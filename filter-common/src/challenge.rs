//! The challenge to sources of SYNs: a cookie that only a source that exists can send back.
//!
//! The answer to a SYN is a SYN-ACK that acknowledges what was never sent. A client in SYN-SENT answers such an acknowledgement
//! with a reset whose sequence number is that acknowledgement number, and goes on waiting (RFC 9293 §3.10.7.3, first
//! check). The number is a keyed hash of the addresses, the ports and the time, so the reset proves that its source has
//! received it, without anything being remembered of sources that do not exist. The client sends its SYN again.

use crate::{
    Address, FlowKey,
    limit::SharedLimit,
    packet::{protocol, tcp_flag},
    siphash::siphash,
};

/// How the challenge is made, part of the XDP program's settings. All zero is no challenge.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChallengeSettings {
    /// SYNs a second to inspected services above which sources are challenged.
    pub above: SharedLimit,
    /// SYNs a second that keep the challenge up.
    pub keep: SharedLimit,
    /// How long it stays up without, nanoseconds.
    pub hold_ns: u64,
    /// How long a source stays proven, nanoseconds.
    pub proof_ns: u64,
    /// The cookies' key.
    pub key: [u64; 2],
}

impl ChallengeSettings {
    /// Whether there is a challenge at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.above.limit.is_on()
    }
}

/// Value of the `CHALLENGE` map. All zero is a challenge that is not up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChallengeState {
    /// When the bucket of SYNs is full again, nanoseconds of `CLOCK_MONOTONIC`, to the kernel's tick.
    pub due_ns: u64,
    /// Until when sources are challenged, in the same time.
    pub until_ns: u64,
}

/// Value of the `PROVEN` map, keyed by the masked source address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Until when it counts, nanoseconds of `CLOCK_MONOTONIC`, to the kernel's tick.
    pub until_ns: u64,
}

/// Slots of time that a cookie is made of: 2³² ns, 4.3 s. It counts in its own slot and in the next.
const SLOT_BITS: u32 = 32;
/// Acknowledgement numbers up to here behind the SYN's own number could be acceptable to a client that has sent data with it.
const MOST_SENT: u32 = 1 << 16;
/// What is changed in a cookie that would be acceptable.
const FLIP: u32 = 1 << 31;

/// What a challenge is made of: the hash for one flow in one slot of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(u64);

impl Cookie {
    /// The slot of time that a cookie made at `now_ns` belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn slot(now_ns: u64) -> u32 {
        (now_ns >> SLOT_BITS) as u32
    }

    /// The cookie for a flow, from client to server.
    #[inline(always)]
    #[must_use]
    pub fn new(key: [u64; 2], flow: &FlowKey, slot: u32) -> Self {
        let [a, b] = flow.source.halves();
        let [c, d] = flow.destination.halves();
        let ports = u64::from(flow.source_port) << 16 | u64::from(flow.destination_port);
        Self(siphash(key, &[a, b, c, d, ports << 32 | u64::from(slot)]))
    }

    /// The cookie as one word.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// The cookie of a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The acknowledgement number for a SYN with the sequence number `syn`: never an acceptable one.
    #[inline(always)]
    #[must_use]
    pub const fn acknowledgement(self, syn: u32) -> u32 {
        let number = self.0 as u32;
        if number.wrapping_sub(syn) <= MOST_SENT {
            number ^ FLIP
        } else {
            number
        }
    }

    /// A sequence number to go with it.
    #[inline(always)]
    #[must_use]
    pub const fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether a reset with the sequence number `reset` answers the challenge.
    #[inline(always)]
    #[must_use]
    pub const fn is_answered_by(self, reset: u32) -> bool {
        let number = self.0 as u32;
        reset == number || reset == number ^ FLIP
    }
}

/// Words of the headers of the answer, in host byte order.
const TCP_WORDS: usize = 5;
/// As above.
const IPV4_WORDS: usize = 5;
/// As above.
const IPV6_WORDS: usize = 10;
const TCP_BYTES: u32 = 20;
const IPV4_BYTES: u32 = 20;
/// The recommended default (RFC 1700, and what stacks use).
const TIME_TO_LIVE: u32 = 64;

/// The SYN-ACK that challenges a client: no options, no payload.
#[derive(Clone, Copy, Debug)]
pub struct SynAck<'a> {
    /// The flow, from client to server.
    pub flow: &'a FlowKey,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgement: u32,
}

impl SynAck<'_> {
    /// The TCP header, its checksum included (RFC 9293 §3.1).
    #[inline(always)]
    #[must_use]
    pub fn tcp(&self, is_v4: bool) -> [u32; TCP_WORDS] {
        /// Of any size: no client sends anything on the strength of it.
        const WINDOW: u32 = 0xffff;
        let flow = self.flow;
        let ports = u32::from(flow.destination_port) << 16 | u32::from(flow.source_port);
        let flags = u32::from(tcp_flag::SYN | tcp_flag::ACK);
        let meaning = (TCP_BYTES / 4) << 28 | flags << 16 | WINDOW;
        // The pseudo-headers of both families have the same sum but for the addresses.
        let sum = addresses(flow, is_v4)
            + u64::from(protocol::TCP)
            + u64::from(TCP_BYTES)
            + halfwords(ports)
            + halfwords(self.sequence)
            + halfwords(self.acknowledgement)
            + halfwords(meaning);
        [
            ports,
            self.sequence,
            self.acknowledgement,
            meaning,
            u32::from(checksum(sum)) << 16,
        ]
    }

    /// The IPv4 header (RFC 791 §3.1), "don't fragment" with identification 0 (RFC 6864 §4.1).
    #[inline(always)]
    #[must_use]
    pub fn ipv4(&self) -> [u32; IPV4_WORDS] {
        const DONT_FRAGMENT: u32 = 0x4000;
        let first = 0x4500 << 16 | (IPV4_BYTES + TCP_BYTES);
        let third = TIME_TO_LIVE << 24 | u32::from(protocol::TCP) << 16;
        let sum = halfwords(first) + u64::from(DONT_FRAGMENT) + halfwords(third) + addresses(self.flow, true);
        let [.., server] = words(&self.flow.destination);
        let [.., client] = words(&self.flow.source);
        [
            first,
            DONT_FRAGMENT,
            third | u32::from(checksum(sum)),
            server,
            client,
        ]
    }

    /// The IPv6 header (RFC 8200 §3).
    #[inline(always)]
    #[must_use]
    pub fn ipv6(&self) -> [u32; IPV6_WORDS] {
        let second = TCP_BYTES << 16 | u32::from(protocol::TCP) << 8 | TIME_TO_LIVE;
        let mut header = [0x6000_0000, second, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..6].copy_from_slice(&words(&self.flow.destination));
        header[6..].copy_from_slice(&words(&self.flow.source));
        header
    }
}

#[inline(always)]
fn words(address: &Address) -> [u32; 4] {
    let [high, low] = address.halves();
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
}

#[inline(always)]
fn addresses(flow: &FlowKey, is_v4: bool) -> u64 {
    let sum = |address: &Address| {
        let [a, b, c, d] = words(address).map(halfwords);
        if is_v4 { d } else { a + b + c + d }
    };
    sum(&flow.source) + sum(&flow.destination)
}

#[inline(always)]
fn halfwords(word: u32) -> u64 {
    u64::from(word >> 16) + u64::from(word & 0xffff)
}

/// The Internet checksum of a sum of less than 2³² (RFC 1071).
#[inline(always)]
fn checksum(sum: u64) -> u16 {
    let once = (sum >> 16) + (sum & 0xffff);
    !(((once >> 16) + once) as u16)
}

const _: () = assert!(size_of::<ChallengeSettings>() == 80);
const _: () = assert!(size_of::<ChallengeState>() == 16);

#[cfg(test)]
mod tests;
