//! Feeds: lists of addresses that others keep. A feed is taken whole or not at all, and the last good one stays.

mod copy;
mod fetch;
mod text;

use std::{io, path::PathBuf};

pub use copy::{Copies, Copy};
pub use fetch::{Fetched, Fetcher, Validators};
pub use text::{Entries, parse};

/// Why a feed is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The server could not be asked, or said no.
    #[error("{0}")]
    Http(String),
    /// It is larger than it may be.
    #[error("it has more than max_bytes = {0} bytes; raise it if that is right")]
    TooLarge(u32),
    /// It has more entries than it may have.
    #[error("it has more than max_entries = {0} entries; raise it if that is right")]
    TooMany(u32),
    /// It is not what was pinned.
    #[error(
        "its sha256 is {0}, not the one in the configuration; if the new list is right, write that one there"
    )]
    Checksum(String),
    /// A line is no entry.
    #[error("line {line}: `{text}` is no address, CIDR block or comment")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// There is nothing in it.
    #[error("it has no entries; if that is right, take the feed out of the configuration")]
    Empty,
    /// All of its entries are too wide.
    #[error(
        "all its {0} entries are wider than min_prefix_ipv4 and min_prefix_ipv6; lower these if that is right"
    )]
    TooWide(u64),
    /// A copy is not what was written.
    #[error("{0}: the copy is not whole")]
    Copy(PathBuf),
}
