//! The audit log: decisions that matter, blocks, changes of what is in force and alerts, a JSON object a line, in files that take turns.
//!
//! Lines are the messages of [`crate::live`], without secrets. Whoever has one to write never waits: what finds no room in the queue before
//! the disk is counted, and gone.

mod files;
mod log;
mod search;

pub use log::{Counts, Log};
pub use search::{Query, SearchError, search};
