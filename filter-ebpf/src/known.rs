//! What the lists said of a source a moment ago: its next packets need no look-up.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use filter_common::{Address, lists::Known};

use crate::{
    key,
    maps::{KNOWN, LISTS},
};

/// What this CPU remembers of a source.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Points at a value of the map, which is this CPU's own.
    entry: *mut Known,
    changed_ns: u64,
    tick: u64,
    /// One of [`Known`]'s constants.
    pub(crate) known: u64,
}

impl Memory {
    /// Asked for before the lists are: what changes while they are looked at is looked at again.
    #[inline(always)]
    pub(crate) fn of(source: &Address) -> Option<Self> {
        let entry = KNOWN.get_ptr_mut(Known::place(key::words(source)))?;
        let lists = LISTS.get(0)?;
        // SAFETY: user space writes it at any time.
        let changed_ns = unsafe { (&raw const lists.changed_ns).read_volatile() };
        // SAFETY: a helper without arguments, of which the verifier makes a load.
        let tick = unsafe { bpf_jiffies64() } << Known::BITS;
        // SAFETY: a valid entry.
        let last = unsafe { &*entry };
        let ([a, b], [c, d]) = (key::words(&last.source), key::words(source));
        let known = last.tick.wrapping_sub(tick);
        // Without a branch for each.
        let differs = (a ^ c) | (b ^ d) | (last.changed_ns ^ changed_ns) | (known >> Known::BITS);
        Some(Self {
            entry,
            changed_ns,
            tick,
            known: if differs == 0 { known } else { Known::NOTHING },
        })
    }

    /// Remembers one of [`Known`]'s constants of this source.
    #[inline(always)]
    pub(crate) fn keep(&self, source: &Address, known: u64) {
        if known == self.known {
            return;
        }
        // SAFETY: by the field's contract.
        unsafe {
            *self.entry = Known {
                source: *source,
                changed_ns: self.changed_ns,
                tick: self.tick | known,
            };
        }
    }
}
