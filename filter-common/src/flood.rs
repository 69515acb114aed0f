//! Limits against floods: what is limited, the limits in force, and the buckets of sources.

use crate::{
    Address,
    limit::{Limit, SharedLimit},
};

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $variant:ident $field:ident,)*) => {
        /// What is limited. A packet belongs to several classes.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Class {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Class {
            /// All classes, in the order of the [`PerClass`] fields.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The class as a bit of a set.
            #[inline(always)]
            #[must_use]
            pub const fn bit(self) -> u32 {
                1 << self as u32
            }
        }

        /// Something for each class; laid out as an array in the order of [`Class::ALL`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PerClass<T> {
            $($(#[doc = $doc])+ pub $field: T,)*
        }

        impl<T> PerClass<T> {
            /// Something else for each class.
            #[must_use]
            pub fn map<U>(self, mut to: impl FnMut(T) -> U) -> PerClass<U> {
                PerClass {
                    $($field: to(self.$field),)*
                }
            }

            /// Calls `with` the name of each class and what there is for it.
            pub fn each(&self, mut with: impl FnMut(&'static str, &T)) {
                $(with(stringify!($field), &self.$field);)*
            }

            /// The set of classes for which `holds`.
            #[must_use]
            pub fn set(&self, holds: impl Fn(&T) -> bool) -> u32 {
                let mut set = 0;
                $(if holds(&self.$field) {
                    set |= Class::$variant.bit();
                })*
                set
            }
        }
    };
}

classes! {
    /// Every packet.
    Packets packets,
    /// TCP segments that open a connection: SYN without ACK.
    Syns syns,
    /// Flows that the engine has not seen before.
    Flows flows,
    /// Packets that go to the engine.
    Inspected inspected,
    /// UDP, whatever its ports.
    Udp udp,
    /// ICMP of both kinds, but not IPv6's neighbour discovery.
    Icmp icmp,
    /// UDP from a port that reflectors answer from: see [`reflects`].
    Reflection reflection,
}

/// How many classes there are.
pub const CLASSES: usize = 7;

/// Limits in force, part of the XDP program's settings. All zero is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloodLimits {
    /// Classes limited for each source: a set of [`Class::bit`].
    pub source_on: u32,
    /// Classes limited for all sources together: a set of [`Class::bit`].
    pub total_on: u32,
    /// Mask on an IPv4 source, in its mapped form, before its buckets are looked up.
    pub v4_mask: Address,
    /// For each source.
    pub source: PerClass<Limit>,
    /// For all sources together.
    pub total: PerClass<SharedLimit>,
    /// For strays of all sources together: segments to a service all of whose flows are inspected, that neither open one nor
    /// belong to one that is known.
    pub strays: SharedLimit,
    /// The class that strays do not belong to, as a set: [`Class::Inspected`] if they have a limit, none else.
    pub not_of_strays: u32,
    /// Always zero.
    pub padding: u32,
}

impl FloodLimits {
    /// Limits for each source, which is an IPv4 address up to `v4_prefix` bits, and for all together; none
    /// for strays.
    ///
    /// # Panics
    ///
    /// If `v4_prefix` is more than 32.
    #[must_use]
    pub fn new(v4_prefix: u8, source: PerClass<Limit>, total: PerClass<SharedLimit>) -> Self {
        assert!(v4_prefix <= 32, "an IPv4 address has 32 bits");
        let mask = u128::MAX << (32 - u32::from(v4_prefix));
        Self {
            source_on: source.set(Limit::is_on),
            total_on: total.set(|shared| shared.limit.is_on()),
            v4_mask: Address::v6(mask.to_be_bytes()),
            source,
            total,
            strays: SharedLimit::default(),
            not_of_strays: 0,
            padding: 0,
        }
    }

    /// With a limit for strays, in place of the limits of inspected packets.
    #[must_use]
    pub const fn with_strays(mut self, strays: SharedLimit) -> Self {
        self.strays = strays;
        self.not_of_strays = if strays.limit.is_on() {
            Class::Inspected.bit()
        } else {
            0
        };
        self
    }
}

/// Value of the `RATES` map: the buckets of one source, keyed by its masked address. All zero is full buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRates {
    /// When each bucket is full again, nanoseconds of `CLOCK_MONOTONIC`, to the kernel's tick.
    pub due_ns: PerClass<u64>,
    /// Packets dropped because one was empty. Approximate: CPUs do not synchronise.
    pub drops: u64,
}

/// Value of the one entry of the `TOTALS` map: the buckets of all sources together. All zero is full buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// When each bucket is full again, nanoseconds of `CLOCK_MONOTONIC`, to the kernel's tick.
    pub due_ns: PerClass<u64>,
    /// The same for strays.
    pub strays_ns: u64,
}

/// Value of the per-CPU `LEASES` map: tokens of the buckets of all sources that a CPU has taken beforehand.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Of each class.
    pub total: PerClass<u64>,
    /// Of the SYNs that are counted for the challenge.
    pub challenge: u64,
    /// Of strays.
    pub strays: u64,
}

/// Whether UDP from `port` is what reflectors send: answers of services that give large ones to small questions with a forged
/// source.
///
/// The ports of US-CERT's alert TA14-017A, and of what has been found to reflect since.
#[inline(always)]
#[must_use]
pub const fn reflects(port: u16) -> bool {
    matches!(
        port,
        // qotd, chargen, DNS, TFTP, portmapper, NTP, NetBIOS name service, SNMP, CLDAP
        17 | 19 | 53 | 69 | 111 | 123 | 137 | 161 | 389
        // RIPv1, OpenVPN, SSDP, ARMS, WS-Discovery, CoAP, mDNS, memcached, Ubiquiti discovery
        | 520 | 1194 | 1900 | 3283 | 3702 | 5683 | 5353 | 11211 | 10001
    )
}

const _: () = assert!(Class::ALL.len() == CLASSES);
const _: () = assert!(size_of::<PerClass<u64>>() == CLASSES * 8);
const _: () = assert!(size_of::<SourceRates>() == 64);
const _: () = assert!(size_of::<Totals>() == 64);
const _: () = assert!(size_of::<Leases>() == 72);
const _: () = assert!(size_of::<FloodLimits>() == 24 + CLASSES * (16 + 24) + 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_fields_are_in_the_same_order() {
        for (number, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, number);
        }
        let numbers = PerClass {
            packets: 0,
            syns: 1,
            flows: 2,
            inspected: 3,
            udp: 4,
            icmp: 5,
            reflection: 6,
        };
        for class in Class::ALL {
            assert_eq!(numbers.set(|number| *number == *class as u32), class.bit());
        }
    }

    #[test]
    fn limits_say_which_of_them_are_on() {
        let source = PerClass {
            syns: Limit::per_second(10, 10),
            ..PerClass::default()
        };
        let total = PerClass {
            reflection: SharedLimit::per_second(10, 10, 2),
            udp: SharedLimit::per_second(0, 10, 2),
            ..PerClass::default()
        };
        let limits = FloodLimits::new(24, source, total);
        assert_eq!(limits.source_on, Class::Syns.bit());
        assert_eq!(limits.total_on, Class::Reflection.bit());
        let source_of = |prefix| {
            let mask = FloodLimits::new(prefix, source, total).v4_mask;
            Address::v4([192, 0, 2, 7]).masked(&mask)
        };
        assert_eq!(source_of(32), Address::v4([192, 0, 2, 7]));
        assert_eq!(source_of(24), Address::v4([192, 0, 2, 0]));
        assert_eq!(source_of(0), Address::v4([0; 4]));
    }
}
