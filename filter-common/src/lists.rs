//! What is known of sources without a look into the lists.

use crate::Address;

/// Value of the one entry of the `LISTS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// When user space changed the allow list, the block list, the source blocks or the settings last, nanoseconds of
    /// `CLOCK_MONOTONIC`. What was looked up before is looked up again.
    pub changed_ns: u64,
}

/// Value of the per-CPU `KNOWN` map: what was found of a source in the lists. All zero is of none.
///
/// It holds until the kernel's next tick, a few milliseconds at most, or until user space changes a list; so what somebody else
/// writes into a list is in force a tick later. Packets of a source mostly come several at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The source.
    pub source: Address,
    /// [`Lists::changed_ns`] before it was looked up.
    pub changed_ns: u64,
    /// The kernel's tick when it was looked up, and in the lowest bits one of the constants.
    pub tick: u64,
}

impl Known {
    /// Nothing: all lists have to be asked.
    pub const NOTHING: u64 = 0;
    /// On the allow list.
    pub const ALLOWED: u64 = 1;
    /// Not on the allow list. (Blocks count their hits, so that it is not enough to know of one.)
    pub const NOT_ALLOWED: u64 = 2;
    /// Neither on the allow list nor on the block list.
    pub const ON_NO_LIST: u64 = 3;
    /// Nor blocked as a source.
    pub const CLEAN: u64 = 4;
    /// Bits that the constants take.
    pub const BITS: u32 = 3;

    /// How many sources a CPU remembers. A power of two.
    pub const PLACES: u32 = 256;

    /// Where a source is remembered, of its two words: no secret, as who takes another's place costs that one the look-ups, no more.
    #[inline(always)]
    #[must_use]
    pub const fn place([high, low]: [u64; 2]) -> u32 {
        // The golden ratio's digits: all bits of the word have a part in the topmost ones of the product.
        let mixed = (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - Self::PLACES.ilog2())) as u32
    }
}

const _: () = assert!(size_of::<Lists>() == 8);
const _: () = assert!(size_of::<Known>() == 32);
const _: () = assert!(Known::PLACES.is_power_of_two());
