//! The engine's loop: frames from a ring to verdicts on requests.
//!
//! ```text
//! Rings::receive ─► inspect (headers, checksums) ─► FlowTable ─► Stream::offer ─┬─ forward ──────► Rings::forward
//!                                                                               ├─ hold
//!                                                                               ├─ drop ─────────► Rings::release
//!                                                                               └─ score: Scorer::feed
//!                                                                                    ├─ accept ──► Rings::forward
//!                                                                                    ├─ block ───► KernelMaps,
//!                                                                                    │             page and reset
//!                                                                                    └─ undecided: the segment waits,
//!                                                                                       and all behind it, for deep::Port
//! ```
//!
//! A packet that comes in parts, in fragments, or is too large to go on, is put together (`joined`, `fragments`) and cut into
//! segments ([`cut`]) before it is inspected (`whole`).
//!
//! A packet of a flow that the thread of another queue knows goes there ([`Handover`]).
//!
//! The loop reaches rings, maps and the clock only through the traits of [`environment`], statically dispatched:
//! the same code runs on `AF_XDP`, on [memory] in tests, and over capture files.

mod arrival;
pub mod counters;
pub mod cut;
pub mod environment;
mod flow;
mod fragments;
mod greeting;
mod handover;
pub mod inspect;
mod joined;
pub mod live;
pub mod memory;
mod pace;
pub mod page;
mod reception;
mod records;
mod refusal;
mod reports;
pub mod respond;
mod rulings;
mod second_tier;
mod spin;
mod verdict;
mod whole;
pub mod worker;

pub use counters::{EngineCounters, EngineDrop, SharedCounters};
pub use environment::{Clock, KernelMaps, Rings};
pub use handover::{Handover, Mailbox};
pub use pace::PaceLimits;
pub use records::{FlowRecords, Share};
pub use reports::Event;
pub use second_tier::Undecided;
pub use worker::{Command, Worker, WorkerConfig};
