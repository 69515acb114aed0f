//! Map keys, written in whole words. The kernel hashes and compares all of their bytes, padding and all, four or eight at a
//! time; what was stored in smaller pieces a moment before is read back late (the processor does not forward it), which costs as
//! much as the look-up itself.

use core::mem::MaybeUninit;

use filter_common::{Address, FlowKey, service::ServiceKey};

const _: () = assert!(size_of::<Address>() == 16 && align_of::<Address>() == 8);
const _: () = assert!(size_of::<FlowKey>() == 40 && align_of::<FlowKey>() == 8);
const _: () = assert!(size_of::<ServiceKey>() == 24 && align_of::<ServiceKey>() == 8);

/// What words can be written as.
///
/// # Safety
///
/// The size is that of `WORDS` times eight bytes, the alignment eight, and any bits are a valid value.
unsafe trait Key<const WORDS: usize>: Copy {}

// SAFETY: octets, aligned to eight.
unsafe impl Key<2> for Address {}
// SAFETY: integers only, sizes and alignments above.
unsafe impl Key<5> for FlowKey {}
// SAFETY: integers only, sizes and alignments above.
unsafe impl Key<3> for ServiceKey {}

#[inline(always)]
fn of<K: Key<WORDS>, const WORDS: usize>(words: [u64; WORDS]) -> K {
    let mut key = MaybeUninit::<K>::uninit();
    let to: *mut u64 = key.as_mut_ptr().cast();
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: inside the key and aligned, by the trait's contract.
        unsafe { to.add(index).write(word) };
    }
    // SAFETY: every byte is written, and any are valid by the trait's contract.
    unsafe { key.assume_init() }
}

/// An address as it lies there.
#[inline(always)]
pub(crate) fn words(address: &Address) -> [u64; 2] {
    // SAFETY: sixteen octets, aligned to eight.
    unsafe { *(&raw const *address).cast() }
}

/// Stores an address as its two words, whatever pieces the compiler has it in.
#[inline(always)]
pub(crate) fn store_whole(address: &mut Address) {
    let words = words(address);
    let to: *mut u64 = (&raw mut *address).cast();
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: one of the address's two words, aligned to eight.
        unsafe { to.add(index).write_volatile(word) };
    }
}

/// The bits of an address that are set in `mask`.
#[inline(always)]
pub(crate) fn masked(address: &Address, mask: &Address) -> Address {
    let ([a, b], [c, d]) = (words(address), words(mask));
    of([a & c, b & d])
}

/// A flow from client to server.
#[inline(always)]
pub(crate) fn flow(
    (source, source_port): (&Address, u16),
    (destination, destination_port): (&Address, u16),
    protocol: u8,
    vlan: [u8; 3],
) -> FlowKey {
    let ([a, b], [c, d]) = (words(source), words(destination));
    let [high, middle, low] = vlan.map(u64::from);
    let ports = u64::from(source_port) | u64::from(destination_port) << 16;
    let rest = u64::from(protocol) | high << 8 | middle << 16 | low << 24;
    of([a, b, c, d, (ports | rest << 32).to_le()])
}

/// A flow whose words are all this one.
#[inline(always)]
pub(crate) fn flow_of(word: u64) -> FlowKey {
    of([word; 5])
}

/// A service at an address.
#[inline(always)]
pub(crate) fn service(address: &Address, port: u16) -> ServiceKey {
    let [a, b] = words(address);
    of([a, b, u64::from(port).to_le()])
}
