//! Look-ups of addresses in the lists of prefixes.

use aya_ebpf::{btf_maps::LpmTrie, helpers::generated::bpf_map_lookup_elem};
use filter_common::Address;

use crate::key;

/// A list for each address family.
pub(crate) struct List<V: 'static, const N: usize, const FLAGS: usize> {
    pub(crate) v4: &'static LpmTrie<[u8; 4], V, N, FLAGS>,
    pub(crate) v6: &'static LpmTrie<[u8; 16], V, N, FLAGS>,
}

/// The trie's key: how many bits count, then the address.
#[repr(C, align(8))]
struct V4 {
    bits: u32,
    address: u32,
}

/// The address is aligned, as the kernel reads it in halves; so the key begins in the middle of a word.
#[repr(C, align(8))]
struct V6 {
    before: u32,
    bits: u32,
    address: [u64; 2],
}

impl<V, const N: usize, const FLAGS: usize> List<V, N, FLAGS> {
    /// The entry of the longest prefix that holds the address. (`LpmTrie::get` has no mutable form, for an entry's hit count, and its
    /// keys are not aligned.)
    #[inline(always)]
    pub(crate) fn find(&self, address: &Address, is_v4: bool) -> Option<*mut V> {
        let [high, low] = key::words(address);
        let entry = if is_v4 {
            let key = V4 {
                bits: 32,
                address: (low >> 32) as u32,
            };
            // SAFETY: a map, whose address the loader replaces with the map, and a key of its key type.
            unsafe { bpf_map_lookup_elem((&raw const *self.v4).cast_mut().cast(), (&raw const key).cast()) }
        } else {
            let key = V6 {
                before: 0,
                bits: 128,
                address: [high, low],
            };
            // SAFETY: as above.
            unsafe {
                bpf_map_lookup_elem(
                    (&raw const *self.v6).cast_mut().cast(),
                    (&raw const key.bits).cast(),
                )
            }
        };
        (!entry.is_null()).then_some(entry.cast())
    }
}
