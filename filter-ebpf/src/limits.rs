//! Token buckets: what a source, and all sources together, may send.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use filter_common::{
    Address, Bytes, Packet, Reason,
    flood::{CLASSES, Class, PerClass, SourceRates, reflects},
    limit::{Limit, SharedLimit},
    packet::{protocol, tcp_flag},
    settings::Settings,
};

use crate::{
    due::SharedDue,
    frame::Frame,
    key,
    maps::{LEASES, RATES, SETTINGS, TOTALS},
};

/// The buckets of a source that is new. Not on the stack, which is small.
static FULL: SourceRates = SourceRates {
    due_ns: PerClass {
        packets: 0,
        syns: 0,
        flows: 0,
        inspected: 0,
        udp: 0,
        icmp: 0,
        reflection: 0,
    },
    drops: 0,
};

/// Another CPU may have entered the source meanwhile: its tokens count.
const BPF_NOEXIST: u64 = 1;

/// The result of [`take`] for a packet within all limits.
const WITHIN: u32 = 0;
/// Added to the class for a limit of a source.
const SOURCE: u32 = 0x100;
/// Added to the class for a limit of all sources.
const TOTAL: u32 = 0x200;

/// The classes that a packet belongs to by its headers alone.
#[inline(always)]
pub(crate) fn classes(frame: &Frame, packet: &Packet, settings: &Settings) -> u32 {
    let on = settings.flood.source_on | settings.flood.total_on;
    let mut classes = Class::Packets.bit();
    match packet.protocol {
        protocol::TCP => {
            if packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN {
                classes |= Class::Syns.bit();
            }
        }
        protocol::UDP => {
            classes |= Class::Udp.bit();
            if on & Class::Reflection.bit() != 0 && reflects(packet.source_port) {
                classes |= Class::Reflection.bit();
            }
        }
        protocol::ICMP => classes |= Class::Icmp.bit(),
        protocol::ICMP_V6 if on & Class::Icmp.bit() != 0 && !is_neighbour_discovery(frame, packet) => {
            classes |= Class::Icmp.bit();
        }
        _ => {}
    }
    classes
}

/// Neighbour discovery, without which no packet arrives at all. It comes from the link itself: no router lets a hop limit
/// of 255 through (RFC 4861 §7.1).
#[inline(always)]
fn is_neighbour_discovery(frame: &Frame, packet: &Packet) -> bool {
    /// Router solicitation to redirect.
    const TYPES: core::ops::RangeInclusive<u16> = 133..=137;
    let (network, transport) = (usize::from(packet.network), usize::from(packet.transport));
    if packet.fragment || network > 64 || transport > 512 {
        return false;
    }
    let (Some(hops), Some(kind)) = (frame.u16(network + 6), frame.u16(transport)) else {
        return false;
    };
    hops & 0xff == 0xff && TYPES.contains(&(kind >> 8))
}

/// Takes a token of each of `classes` that are limited. Returns the limit that the packet is over, if it is; the tokens that
/// were taken before are spent.
#[inline(always)]
pub(crate) fn exceeded(packet: &Packet, settings: &Settings, classes: u32) -> Option<Reason> {
    let source = classes & settings.flood.source_on;
    let total = classes & settings.flood.total_on;
    if source | total == 0 {
        return None;
    }
    let mask = if packet.is_v4 {
        &settings.flood.v4_mask
    } else {
        &settings.source_mask
    };
    let result = take(settings, &packet.source, mask, source, total);
    let class = *Class::ALL.get((result & 0xff) as usize)?;
    if result & SOURCE != 0 {
        Some(Reason::source_limit(class))
    } else if result & TOTAL != 0 {
        Some(Reason::total_limit(class))
    } else {
        None
    }
}

/// A function of its own, with a stack frame of its own. Returns [`WITHIN`], or the number of a class and where it is
/// exceeded.
#[inline(never)]
fn take(settings: &Settings, address: &Address, mask: &Address, source: u32, total: u32) -> u32 {
    // To the kernel's tick: cheaper than the exact time, and a burst is longer than a tick.
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if source != 0
        && let Some(rates) = rates(&key::masked(address, mask))
    {
        // SAFETY: a valid entry, which the kernel keeps until the program ends.
        let due = unsafe { (&raw mut (*rates).due_ns).cast::<u64>() };
        let limits = (&raw const settings.flood.source).cast::<Limit>();
        for class in 0..CLASSES {
            if source & 1 << class == 0 {
                continue;
            }
            // SAFETY: `PerClass` is an array in the order of the classes (asserted beside it).
            let admitted = unsafe { (*limits.add(class)).take(&SharedDue::new(due.add(class)), now, 1) };
            if !admitted {
                // SAFETY: as above; CPUs race on `drops`, which is documented as approximate.
                unsafe { (*rates).drops += 1 };
                return SOURCE | class as u32;
            }
        }
    }
    if total != 0
        && let (Some(totals), Some(leases)) = (TOTALS.get_ptr_mut(0), LEASES.get_ptr_mut(0))
    {
        // SAFETY: a valid entry.
        let leased = unsafe { (&raw mut (*leases).total).cast::<u64>() };
        // SAFETY: as above.
        let due = unsafe { (&raw mut (*totals).due_ns).cast::<u64>() };
        let limits = (&raw const settings.flood.total).cast::<SharedLimit>();
        for class in 0..CLASSES {
            if total & 1 << class == 0 {
                continue;
            }
            // SAFETY: as above, and the leases are this CPU's own.
            let admitted = unsafe {
                (*limits.add(class)).take(&SharedDue::new(due.add(class)), &mut *leased.add(class), now)
            };
            if !admitted {
                return TOTAL | class as u32;
            }
        }
    }
    WITHIN
}

/// Whether a stray is over the limit, if there is one. A function of its own, with a stack frame of its own.
#[inline(never)]
pub(crate) fn too_many_strays() -> bool {
    let (Some(settings), Some(totals), Some(leases)) =
        (SETTINGS.get(0), TOTALS.get_ptr_mut(0), LEASES.get_ptr_mut(0))
    else {
        return false;
    };
    let strays = &settings.flood.strays;
    if !strays.limit.is_on() {
        return false;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: valid entries, and the lease is this CPU's own.
    let admitted = unsafe {
        let due = SharedDue::new(&raw mut (*totals).strays_ns);
        strays.take(&due, &mut (*leases).strays, now)
    };
    !admitted
}

/// The source's buckets; new ones are full. `None` if the map has no room for a moment, as it can happen while all CPUs
/// enter sources at once: then the source is not limited.
#[inline(always)]
fn rates(key: &Address) -> Option<*mut SourceRates> {
    if let Some(rates) = RATES.get_ptr_mut(key) {
        return Some(rates);
    }
    let full: &SourceRates = &FULL;
    let _ = RATES.insert(key, full, BPF_NOEXIST);
    RATES.get_ptr_mut(key)
}
