//! The second tier: requests that the first one finds suspicious, looked at again with more time.
//!
//! ```text
//! Scorer ── Suspicious ─► Decision::copy_doubts ─► DeepJob ─► DeepScorer::score ─► DeepVerdict: block, or let go
//!                              (the doubtful fields, as sent)      every reading, every rule, weighed
//! ```
//!
//! The first tier runs the rules that err rarely over the likeliest readings of a field. Of a suspicious request the
//! fields that made it so are kept, and the second tier runs *all* rules over *every* reading that up to three
//! decodings in any order make of them. Rules above the policy's paranoia level err more often, so they count for less.

mod doubts;
mod job;
mod known;
mod readings;
mod scorer;

pub(crate) use doubts::Doubts;
pub use doubts::{DOUBT_BYTES, DOUBT_FIELDS};
pub use job::DeepJob;
pub use scorer::{DeepScorer, DeepVerdict};
