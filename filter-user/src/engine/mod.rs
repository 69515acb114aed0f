//! The engine's loop: frames from a ring to verdicts on requests.
//!
//! ```text
//! Rings::receive ─► inspect (headers, checksums) ─► FlowTable ─► Stream::offer ─┬─ forward ──────► Rings::forward
//!                                                                               ├─ hold
//!                                                                               ├─ drop ─────────► Rings::release
//!                                                                               └─ score: Scorer::feed
//!                                                                                    ├─ accept ──► Rings::forward
//!                                                                                    └─ block ───► KernelMaps,
//!                                                                                                  page and reset
//! ```
//!
//! A packet that comes in parts, or is too large to go on, is put together (`joined`) and cut into segments ([`cut`])
//! before it is inspected.
//!
//! The loop reaches rings, maps and the clock only through the traits of [`environment`], statically dispatched:
//! the same code runs on `AF_XDP`, on [memory] in tests, and over capture files.

mod arrival;
pub mod counters;
pub mod cut;
pub mod environment;
mod flow;
pub mod inspect;
mod joined;
pub mod live;
pub mod memory;
pub mod page;
mod refusal;
pub mod respond;
mod spin;
mod verdict;
pub mod worker;

pub use counters::{EngineCounters, EngineDrop, SharedCounters};
pub use environment::{Clock, KernelMaps, Rings};
pub use verdict::Event;
pub use worker::{Command, Worker, WorkerConfig};
