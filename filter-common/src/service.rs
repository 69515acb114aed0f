//! Which services are inspected.

use crate::Address;

/// Key of the `SERVICES` map. The zero address stands for any address; port 0 marks an address that has at
/// least one inspected service (fragments carry no ports).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    /// Destination address.
    pub address: Address,
    /// Destination port, host byte order.
    pub port: u16,
    /// Explicit padding.
    pub reserved: [u8; 6],
}

impl ServiceKey {
    /// Key of the service at `address` and `port`.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: u16) -> Self {
        Self {
            address,
            port,
            reserved: [0; 6],
        }
    }
}

/// Value of the `SERVICES` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// One of the `INSPECT` constants.
    pub inspect: u32,
    /// Position in the configuration.
    pub index: u32,
}

impl Service {
    /// Only the address and packet checks.
    pub const INSPECT_NONE: u32 = 0;
    /// Flows that a trigger of [`crate::settings`] fires on.
    pub const INSPECT_SUSPICIOUS: u32 = 1;
    /// Every flow.
    pub const INSPECT_ALL: u32 = 2;
}

const _: () = assert!(size_of::<ServiceKey>() == 24);
