//! `AF_XDP`: the UMEM, its rings and the memory shared with the XDP program. The only unsafe code of the engine.
//!
//! Who owns a frame of the UMEM at any time is in the types:
//!
//! ```text
//!            fill ring                RX ring
//!   free ───────────────► kernel ───────────────► Frame ──┬─ forward() ──► TX ring of the output device ─┐
//!    ▲                                                    ├─ transmit() ─► TX ring of the NIC ───────────┤
//!    │                                                    ├─ hold (the engine keeps the Frame)           │
//!    │◄──────────────────────────────────── release() ────┘                                              │
//!    │◄──────────────────────────────────────────────────────── completion rings ────────────────────────┘
//! ```
//!
//! A [`Frame`] cannot be copied, is made only by the RX ring or [`QueueRings::allocate`], and is consumed by
//! `forward`, `transmit` or `release`; dropping one in any other way is a bug that debug builds stop at and
//! release builds count.
#![expect(
    unsafe_code,
    reason = "descriptors, rings and the mapped queue states are memory shared with the kernel; some system calls have no safe wrapper"
)]

mod busy_poll;
mod frame;
mod queue_rings;
mod scheduling;
mod shared;

pub use frame::{Frame, leaked_frames};
pub use queue_rings::{BindError, CopyMode, QueueRings, RingConfig};
pub use scheduling::batch_this_thread;
pub use shared::{QueueHandle, SharedQueues};
