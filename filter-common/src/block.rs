//! Blocks by address: single sources and CIDR prefixes.

/// Value of the block maps. All zero is a block that never expires, so that one written by hand with
/// `bpftool map update … value hex 00 …` holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// When the block ends, in nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    pub until_ns: u64,
    /// Packets dropped by this entry. Approximate: CPUs do not synchronise.
    pub hits: u64,
    /// When the block was written, in nanoseconds of `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// Why, one of the `reason` constants.
    pub reason: u32,
    /// How often the source has been blocked before.
    pub strikes: u32,
}

impl Block {
    /// Written by hand.
    pub const REASON_OPERATOR: u32 = 0;
    /// Reputation passed the threshold.
    pub const REASON_REPUTATION: u32 = 1;
    /// From the configuration's block list.
    pub const REASON_CONFIGURATION: u32 = 2;
    /// From a feed.
    pub const REASON_FEED: u32 = 3;
    /// From the map of countries and network operators.
    pub const REASON_GEO: u32 = 4;

    /// Whether the block is in force at `now_ns`.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, now_ns: u64) -> bool {
        self.until_ns == 0 || now_ns < self.until_ns
    }
}

const _: () = assert!(size_of::<Block>() == 32);
