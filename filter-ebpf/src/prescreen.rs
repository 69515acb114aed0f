//! Runs the pre-screen over packet memory, a word at a time in `bpf_loop`: the verifier then looks at one step
//! instead of at every path through hundreds of them.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use filter_common::{
    Bytes,
    prescreen::{MAX_LENGTH, Prescreen, WORD},
};

use crate::frame::Frame;

/// Furthest payload start, so that the verifier knows a bound.
const MAX_OFFSET: usize = 640;

/// What the steps share.
struct Scan {
    frame: Frame,
    /// Where the next word is.
    at: usize,
    /// How many bytes of it lie before the payload, in the headers.
    padding: usize,
    state: Prescreen,
    failed: bool,
}

/// Whether the payload, which lies between `payload` and `end`, is one plain, complete request without a body.
#[inline(always)]
#[expect(
    clippy::manual_range_contains,
    reason = "the compiler makes one comparison of a range, from which the verifier learns no bound"
)]
pub(crate) fn passes(frame: Frame, payload: u16, end: u32) -> bool {
    let start = usize::from(payload);
    let length = end as usize - start;
    if start < WORD || start > MAX_OFFSET || length > MAX_LENGTH {
        return false;
    }
    let Some(state) = frame.u32(start).and_then(Prescreen::start) else {
        return false;
    };
    let padding = Prescreen::padding(length);
    let mut scan = Scan {
        frame,
        at: start - padding,
        padding,
        state,
        failed: false,
    };
    let words = (padding + length) / WORD;
    // SAFETY: `step` is a BPF function of the type the helper calls, and `scan` outlives the call.
    unsafe { bpf_loop(words as u32, step as *mut c_void, (&raw mut scan).cast(), 0) };
    !scan.failed && scan.state.passes()
}

/// Looks at one word; a result of 1 ends the loop.
#[inline(never)]
extern "C" fn step(_index: u32, scan: *mut c_void) -> i64 {
    // SAFETY: the helper passes on the pointer it was given, and nothing else uses the value meanwhile.
    let scan = unsafe { &mut *scan.cast::<Scan>() };
    let (at, padding) = (scan.at, scan.padding);
    (scan.at, scan.padding) = (at + WORD, 0);
    let word = if at > MAX_OFFSET + MAX_LENGTH {
        None
    } else {
        scan.frame.word(at)
    };
    let takes = word.is_some_and(|word| scan.state.take(Prescreen::pad(word, padding)));
    scan.failed = !takes;
    i64::from(!takes)
}
