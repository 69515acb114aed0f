//! IP fragments, put back together before anything in them is judged (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! The server never sees the fragments: what goes on is the whole packet, cut into segments if it is too large. So no two
//! readings of overlapping fragments are possible. A fragment that repeats what is there is ignored; one that overlaps it
//! in part ends its packet, as in Linux (RFC 5722 §4; `inet_frag_queue_insert` in `net/ipv4/inet_fragment.c`).

use filter_common::{
    Address, Bytes, Packet,
    packet::{MAX_HEADERS, protocol},
};

use crate::flow::checksum;

/// Packets that may be incomplete at once. TCP hardly ever sends fragments, so few are enough; when all are in use the
/// oldest is given up.
const PACKETS: usize = 16;
/// The largest payload of an IP packet, bytes.
const LARGEST: usize = 65_535;
/// Runs of bytes of an incomplete packet: more gaps than that are an attack.
const RUNS: usize = 64;
/// How long a packet may stay incomplete, nanoseconds (as Linux's `ipfrag_time`).
const PATIENCE_NS: u64 = 30_000_000_000;
const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;

/// What fragments of a packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: Address,
    destination: Address,
    vlan: [u8; 3],
    identification: u32,
    protocol: u8,
}

/// One fragment of a packet.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    key: Key,
    is_v4: bool,
    /// Where the IP header begins.
    network: usize,
    /// Bytes of the frame in front of the IP payload, without the fragment header.
    headers: usize,
    /// IPv6: where it says that a fragment header follows.
    named_at: usize,
    /// Where the fragment's payload lies in the frame.
    start: usize,
    end: usize,
    /// Where it belongs in the packet's.
    offset: usize,
    is_last: bool,
}

impl Fragment {
    /// `None` if it can be part of no packet.
    fn of(frame: &[u8], packet: &Packet) -> Option<Self> {
        let (network, start, end) = (
            usize::from(packet.network),
            usize::from(packet.transport),
            packet.end as usize,
        );
        // The offset, in bytes, with the bit for more fragments in the place of its lowest.
        let (headers, named_at, identification, field, protocol) = if packet.is_v4 {
            let field = frame.u16(network + 6)?;
            let identification = frame.u16(network + 4)?.into();
            (
                start,
                0,
                identification,
                field << 3 | (field >> 13 & 1),
                packet.protocol,
            )
        } else {
            let header = start.checked_sub(FRAGMENT_HEADER)?;
            let named_at = naming_header(frame, network, header)?;
            (
                header,
                named_at,
                frame.u32(header + 4)?,
                frame.u16(header + 2)?,
                0,
            )
        };
        let is_last = field & 1 == 0;
        let offset = usize::from(field & !7);
        let length = end.checked_sub(start)?;
        let is_sound = length > 0 && (is_last || length % 8 == 0) && offset + length <= LARGEST;
        (is_sound && headers <= MAX_HEADERS).then_some(Self {
            key: Key {
                source: packet.source,
                destination: packet.destination,
                vlan: packet.vlan(frame),
                identification,
                protocol,
            },
            is_v4: packet.is_v4,
            network,
            headers,
            named_at,
            start,
            end,
            offset,
            is_last,
        })
    }
}

/// Where the chain of headers names the fragment header that begins at `fragment`.
fn naming_header(frame: &[u8], network: usize, fragment: usize) -> Option<usize> {
    let (mut named_at, mut at) = (network + 6, network + IPV6_HEADER);
    while at < fragment {
        let units = usize::from(*frame.get(at + 1)?);
        let length = match *frame.get(named_at)? {
            protocol::AUTHENTICATION => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        named_at = at;
        at += length;
    }
    (at == fragment).then_some(named_at)
}

/// A packet that is being put together.
#[derive(Debug)]
struct Incomplete {
    /// `None`: the place is free.
    key: Option<Key>,
    since_ns: u64,
    /// Fragments in it.
    fragments: u64,
    /// Room for headers, and behind it the payload.
    bytes: Vec<u8>,
    /// The first fragment, once it is there. Its headers end where the payload begins.
    head: Option<Fragment>,
    /// What is there of the payload: runs in order that do not touch.
    runs: Vec<(usize, usize)>,
    /// Length of the payload, once the last fragment is there.
    length: Option<usize>,
}

impl Incomplete {
    fn new() -> Self {
        Self {
            key: None,
            since_ns: 0,
            fragments: 0,
            bytes: vec![0; MAX_HEADERS + LARGEST],
            head: None,
            runs: Vec::with_capacity(RUNS),
            length: None,
        }
    }

    fn begin(&mut self, key: Key, now_ns: u64) {
        self.key = Some(key);
        self.since_ns = now_ns;
        self.fragments = 0;
        self.head = None;
        self.runs.clear();
        self.length = None;
    }

    fn is_overdue(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) > PATIENCE_NS
    }

    /// Adds a fragment. False if it contradicts those that are there.
    fn add(&mut self, frame: &[u8], fragment: &Fragment) -> bool {
        let payload = &frame[fragment.start..fragment.end];
        let (from, to) = (fragment.offset, fragment.offset + payload.len());
        let highest = self.runs.last().map_or(0, |run| run.1);
        let end = if fragment.is_last { Some(to) } else { self.length };
        let fits = end.is_none_or(|end| to <= end && highest <= end);
        if !fits || self.length.is_some_and(|length| end != Some(length)) {
            return false;
        }
        match self.insert(from, to) {
            Inserted::New => {}
            Inserted::Known => return true,
            Inserted::Refused => return false,
        }
        self.length = end;
        self.bytes[MAX_HEADERS + from..MAX_HEADERS + to].copy_from_slice(payload);
        if from == 0 {
            let headers = &mut self.bytes[MAX_HEADERS - fragment.headers..MAX_HEADERS];
            headers.copy_from_slice(&frame[..fragment.headers]);
            if !fragment.is_v4 {
                headers[fragment.named_at] = frame[fragment.headers];
            }
            self.head = Some(*fragment);
        }
        true
    }

    /// Notes that `from..to` is there.
    fn insert(&mut self, from: usize, to: usize) -> Inserted {
        // The first run that ends at `from` or behind it.
        let at = self.runs.partition_point(|run| run.1 < from);
        let joins = self.runs.get(at).is_some_and(|run| run.1 == from);
        let behind = at + usize::from(joins);
        match self.runs.get(behind).copied() {
            Some((start, stop)) if start <= from && to <= stop => return Inserted::Known,
            Some((start, _)) if start < to => return Inserted::Refused,
            Some((start, stop)) if start == to && joins => {
                self.runs[at].1 = stop;
                self.runs.remove(behind);
            }
            Some((start, _)) if start == to => self.runs[behind].0 = from,
            _ if joins => self.runs[at].1 = to,
            _ if self.runs.len() == RUNS => return Inserted::Refused,
            _ => self.runs.insert(behind, (from, to)),
        }
        Inserted::New
    }

    /// The first fragment, once all are there.
    fn complete(&self) -> Option<Fragment> {
        let head = self.head?;
        (self.runs == [(0, self.length?)]).then_some(head)
    }

    /// Whether the packet that has begun with `head` would be larger than a packet can be. Of IPv6 the length that counts is that
    /// behind the fixed header.
    fn is_too_large(&self, head: &Fragment) -> bool {
        let fixed = if head.is_v4 { 0 } else { IPV6_HEADER };
        let headers = head.headers - head.network - fixed;
        self.length.is_some_and(|length| headers + length > LARGEST)
    }

    /// The whole packet as one frame, whose headers say so; its place is free then.
    fn finish(&mut self, head: &Fragment) -> Option<&mut [u8]> {
        let length = self.length?;
        self.key = None;
        let frame = &mut self.bytes[MAX_HEADERS - head.headers..MAX_HEADERS + length];
        let ip = &mut frame[head.network..];
        let total = ip.len();
        if head.is_v4 {
            ip[2..4].copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
            // Neither offset nor more fragments.
            ip[6..8].fill(0);
            checksum::complete_ipv4_header(&mut ip[..head.headers - head.network]);
        } else {
            let payload = u16::try_from(total - IPV6_HEADER).ok()?;
            ip[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        Some(frame)
    }
}

enum Inserted {
    New,
    /// All of it is there already.
    Known,
    /// It overlaps what is there, or there are too many gaps.
    Refused,
}

/// The incomplete packets of one queue: about a megabyte, taken at the start.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: Vec<Incomplete>,
    /// Fragments given up since they were last asked for.
    given_up: u64,
}

impl Fragments {
    /// Takes all the memory it will use.
    pub(super) fn new() -> Self {
        Self {
            packets: std::iter::repeat_with(Incomplete::new).take(PACKETS).collect(),
            given_up: 0,
        }
    }

    /// Takes a fragment in, and gives the whole packet if it was the last one missing.
    pub(super) fn take(&mut self, frame: &[u8], packet: &Packet, now_ns: u64) -> Option<&mut [u8]> {
        let fragment = match Fragment::of(frame, packet) {
            // Linux checks no more than this before it keeps one.
            Some(fragment) if !packet.is_v4 || header_is_valid(frame, packet) => fragment,
            _ => {
                self.given_up += 1;
                return None;
            }
        };
        let index = self.place(fragment.key, now_ns)?;
        self.packets[index].fragments += 1;
        if !self.packets[index].add(frame, &fragment) {
            self.give_up(index);
            return None;
        }
        let head = self.packets[index].complete()?;
        if self.packets[index].is_too_large(&head) {
            self.give_up(index);
            return None;
        }
        self.packets[index].finish(&head)
    }

    /// Gives up what waits for too long.
    pub(super) fn expire(&mut self, now_ns: u64) {
        for index in 0..self.packets.len() {
            if self.packets[index].is_overdue(now_ns) {
                self.give_up(index);
            }
        }
    }

    /// How many fragments were given up since the last call.
    pub(super) fn given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    fn give_up(&mut self, index: usize) {
        let incomplete = &mut self.packets[index];
        if incomplete.key.take().is_some() {
            self.given_up += incomplete.fragments;
        }
    }

    /// The place of the packet with this key: its own, or a free one, or the one that has waited longest.
    fn place(&mut self, key: Key, now_ns: u64) -> Option<usize> {
        let known = |incomplete: &Incomplete| incomplete.key == Some(key) && !incomplete.is_overdue(now_ns);
        if let Some(index) = self.packets.iter().position(known) {
            return Some(index);
        }
        let age = |index: &usize| {
            let incomplete = &self.packets[*index];
            (incomplete.key.is_some(), incomplete.since_ns)
        };
        let index = (0..self.packets.len()).min_by_key(age)?;
        self.give_up(index);
        self.packets[index].begin(key, now_ns);
        Some(index)
    }
}

fn header_is_valid(frame: &[u8], packet: &Packet) -> bool {
    checksum::ipv4_header_is_valid(&frame[usize::from(packet.network)..usize::from(packet.transport)])
}

#[cfg(test)]
mod tests;
