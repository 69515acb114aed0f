//! Runs the pre-screen over packet memory.

use filter_common::{
    Bytes, Packet,
    prescreen::{CLASSES, MAX_LENGTH, Prescreen},
};

use crate::frame::Frame;

/// Furthest payload start, so that the verifier knows a bound.
const MAX_OFFSET: usize = 640;

/// Whether the payload is one plain, complete request without a body.
#[inline(always)]
pub(crate) fn passes(frame: &Frame, packet: &Packet) -> bool {
    let start = usize::from(packet.payload);
    let length = usize::from(packet.end - packet.payload);
    if start > MAX_OFFSET || length > MAX_LENGTH {
        return false;
    }
    let Some(mut state) = frame.u32(start).and_then(Prescreen::start) else { return false };
    for index in 0..MAX_LENGTH {
        if index >= length {
            break;
        }
        let Some(byte) = frame.u8(start + index) else { return false };
        if !state.step(byte, CLASSES[usize::from(byte)]) {
            return false;
        }
    }
    state.passes()
}
