//! What a running engine tells as it happens: messages with a topic and a sequence number, kept for a while, for whoever listens.
//!
//! ```text
//! events thread, supervisor, control calls ──► Hub (the last messages) ◄── a Subscription each: only a place in it
//! ```
//!
//! A listener that is slow costs nothing: it holds a place among the messages, and when those behind it are gone, it is told how many.

mod chronicle;
mod evidence;
mod filter;
mod hub;
mod message;
mod secrets;
mod topic;
mod verdict;

pub use chronicle::Chronicle;
pub use filter::{Filter, FilterError};
pub use hub::{Hub, Next, Subscription};
pub use message::Message;
pub use topic::Topic;
pub use verdict::Told;
