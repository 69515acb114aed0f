//! The deep-inspection pool: the second tier's threads, and the way there and back.
//!
//! ```text
//!  ring thread (one a queue)                              pool (2..8 threads)
//!  ─────────────────────────                              ───────────────────
//!  Port::submit ── breaker closed, a job free? ──► Lanes: two bounded queues ──► Worker: a batch, each job to a
//!      │  the ticket and its deadline in the Book       (suspects first)           filter_score::DeepScorer
//!      ▼                                                                            │
//!  Port::next ◄── a verdict, or the deadline ◄──── Lanes: answers, and the Bell ◄──┘
//! ```
//!
//! Jobs are made at the start, as many as a queue may have open, and go round: from the port to a worker and back. So no
//! queue can ever be full, a port without a free job refuses, and the ring thread allocates nothing. A job that is with a
//! worker that hangs is missing until that comes back; its ticket ends with the deadline all the same.
//!
//! [`Breaker`], [`Scaling`] and [`Book`] are pure state machines: the time comes in with every call.

mod bell;
mod book;
mod breaker;
mod counts;
mod job;
mod lanes;
mod pool;
mod port;
mod priority;
mod scaling;
mod supervisor;
mod worker;

pub use bell::{Bell, Sleeper};
pub use book::{Book, Ticket};
pub use breaker::{Breaker, BreakerState};
pub use counts::DeepCount;
pub use job::Job;
pub use lanes::Lanes;
pub use pool::{Notice, Pool, PoolCounters, Settings};
pub use port::{Port, Refusal};
pub use priority::Priority;
pub use scaling::{Scaling, Step};
pub use worker::JobScorer;
