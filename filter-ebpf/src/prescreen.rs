//! Runs the pre-screen over packet memory, a byte at a time in `bpf_loop`: the verifier then looks at one step
//! instead of at every path through 1460 of them.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use filter_common::{
    Bytes,
    prescreen::{CLASSES, MAX_LENGTH, Prescreen},
};

use crate::frame::Frame;

/// Furthest payload start, so that the verifier knows a bound.
const MAX_OFFSET: usize = 640;

/// What the steps share.
struct Scan {
    frame: Frame,
    /// One before the payload's start: kept so, because the verifier takes no negative offsets from a pointer.
    before: usize,
    state: Prescreen,
    failed: bool,
}

/// Whether the payload, which lies between `payload` and `end`, is one plain, complete request without a body.
#[inline(always)]
pub(crate) fn passes(frame: Frame, payload: u16, end: u32) -> bool {
    let start = usize::from(payload);
    let length = end as usize - start;
    if start == 0 || start > MAX_OFFSET || length > MAX_LENGTH {
        return false;
    }
    let Some(state) = frame.u32(start).and_then(Prescreen::start) else {
        return false;
    };
    let mut scan = Scan {
        frame,
        before: start - 1,
        state,
        failed: false,
    };
    // SAFETY: `step` is a BPF function of the type the helper calls, and `scan` outlives the call.
    unsafe { bpf_loop(length as u32, step as *mut c_void, (&raw mut scan).cast(), 0) };
    !scan.failed && scan.state.passes()
}

/// Looks at one byte; a result of 1 ends the loop.
#[inline(never)]
extern "C" fn step(index: u32, scan: *mut c_void) -> i64 {
    // SAFETY: the helper passes on the pointer it was given, and nothing else uses the value meanwhile.
    let scan = unsafe { &mut *scan.cast::<Scan>() };
    let index = index as usize;
    if index >= MAX_LENGTH || scan.before > MAX_OFFSET {
        scan.failed = true;
        return 1;
    }
    // The byte and the one before it, which is part of the TCP header at first.
    let Some(pair) = scan.frame.u16(scan.before + index) else {
        scan.failed = true;
        return 1;
    };
    let [_, byte] = pair.to_be_bytes();
    if scan.state.step(byte, CLASSES[usize::from(byte)]) {
        0
    } else {
        scan.failed = true;
        1
    }
}
