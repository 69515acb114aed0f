//! Map keys that begin as zeros: the kernel hashes and compares all of their bytes, padding and all.

use core::{hint::black_box, mem::MaybeUninit};

use filter_common::{FlowKey, service::ServiceKey};

/// A key of whole words.
///
/// # Safety
///
/// The size is a multiple of eight bytes, so is the alignment, and all zeros is a valid value.
pub(crate) unsafe trait Words: Copy {}

// SAFETY: integers only, sizes and alignments below.
unsafe impl Words for FlowKey {}
// SAFETY: integers only, sizes and alignments below.
unsafe impl Words for ServiceKey {}

const _: () = assert!(size_of::<FlowKey>() == 40 && align_of::<FlowKey>() == 8);
const _: () = assert!(size_of::<ServiceKey>() == 24 && align_of::<ServiceKey>() == 8);

/// A key of zeros, written word by word with a zero that the compiler does not see through: otherwise it makes a call of a
/// `memset` that goes byte by byte, which costs more than the look-up.
#[inline(always)]
pub(crate) fn zeroed<K: Words>() -> K {
    let zero = black_box(0_u64);
    let mut key = MaybeUninit::<K>::uninit();
    let words: *mut u64 = key.as_mut_ptr().cast();
    for word in 0..size_of::<K>() / 8 {
        // SAFETY: inside the key and aligned, by the trait's contract.
        unsafe { words.add(word).write(zero) };
    }
    // SAFETY: every byte is written, and zeros are a valid value by the trait's contract.
    unsafe { key.assume_init() }
}
