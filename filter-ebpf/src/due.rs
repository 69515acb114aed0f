//! The word of a token bucket that CPUs share.

use core::arch::asm;

use filter_common::limit::Due;

/// When a bucket is full again, in a map's value.
pub(crate) struct SharedDue(*mut u64);

impl SharedDue {
    /// The time at `word`.
    ///
    /// # Safety
    ///
    /// `word` is aligned, lies in a map's value and stays valid as long as this is used.
    #[inline(always)]
    pub(crate) unsafe fn new(word: *mut u64) -> Self {
        Self(word)
    }
}

impl Due for SharedDue {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: valid by the contract of `new`; loads of aligned words are atomic.
        unsafe { self.0.read_volatile() }
    }

    /// The instruction itself (BPF's `BPF_CMPXCHG`, Linux 5.12): the language gives this target no atomic type that has it.
    #[inline(always)]
    fn exchange(&self, seen: u64, next: u64) -> Result<(), u64> {
        let found: u64;
        // SAFETY: valid by the contract of `new`; the instruction compares with r0 and leaves there what it has found.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {next})",
                word = in(reg) self.0,
                next = in(reg) next,
                inout("r0") seen => found,
            );
        }
        if found == seen { Ok(()) } else { Err(found) }
    }
}
