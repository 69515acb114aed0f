//! `[limits]`: the bounds of everything that grows.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::keyword;

/// The bounds of everything that grows. All memory they stand for is taken at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Tracked flows, over all queues.
    pub max_flows: u32,
    /// Sources with reputation, with rates, and with flood limits.
    pub max_sources: u32,
    /// Sources and flows blocked for a time.
    pub max_blocks: u32,
    /// Clients that `[[limit]]`s count at once, each for itself.
    pub max_counted: u32,
    /// Entries of each of the allow, block and watch lists.
    pub max_list_entries: u32,
    /// UMEM frames of each queue; a power of two.
    pub frames_per_queue: u32,
    /// Bytes of segments held out of order, over all flows.
    pub held_bytes: u64,
    /// Bytes of segments held out of order, for one flow.
    pub held_bytes_per_flow: u32,
    /// Seconds until a flow without a completed handshake is forgotten.
    pub half_open_timeout_s: u32,
    /// Seconds until a silent established flow is forgotten.
    pub established_timeout_s: u32,
    /// Seconds until a flow that saw FIN or RST is forgotten.
    pub closing_timeout_s: u32,
    /// Seconds that the head of a request may take, and the longest silence within a request; 0: any.
    pub request_timeout_s: u32,
    /// Least bytes of a body in a second, once it takes longer than `request_timeout_s`; 0: any.
    pub body_bytes_per_s: u32,
    /// Milliseconds without a heartbeat after which the failure policy holds.
    pub heartbeat_timeout_ms: u32,
    /// Frames of a queue that may be redirected and not yet read, of which a packet may take several; unset: half of
    /// `frames_per_queue`.
    pub credits: Option<u32>,
    /// Bytes of a request's body as it is sent; 0: any.
    pub body_bytes: u64,
    /// What happens to a body beyond `body_bytes`.
    pub body_overflow: Overflow,
    /// Bytes of a body after decompression.
    pub decoded_bytes: u32,
    /// How many times as long a body may become by decompression, after the first 64 KiB.
    pub decoded_ratio: u16,
    /// What happens to a body beyond `decoded_bytes` or `decoded_ratio`.
    pub decoded_overflow: Overflow,
    /// Bodies in gzip or deflate that a queue decompresses at once.
    pub inflaters: u16,
    /// Bodies in br that a queue decompresses at once.
    pub brotli_decoders: u16,
    /// How deep a JSON or XML body may be nested.
    pub body_depth: u8,
    /// Values of a JSON body, or tags of an XML body.
    pub body_values: u32,
}

keyword! {
    /// What happens to a body that exceeds a limit.
    Overflow {
        /// The request is blocked.
        Reject = "reject",
        /// What came before the limit was scored, the rest is not.
        Partial = "partial",
    }
}

impl Overflow {
    fn score(self) -> filter_score::Overflow {
        match self {
            Self::Reject => filter_score::Overflow::Reject,
            Self::Partial => filter_score::Overflow::Partial,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_sources: 65_536,
            max_blocks: 65_536,
            max_counted: 65_536,
            max_list_entries: 16_384,
            frames_per_queue: 4_096,
            held_bytes: 64 << 20,
            held_bytes_per_flow: 256 << 10,
            half_open_timeout_s: 10,
            established_timeout_s: 300,
            closing_timeout_s: 10,
            request_timeout_s: 40,
            body_bytes_per_s: 100,
            heartbeat_timeout_ms: 500,
            credits: None,
            body_bytes: 16 << 20,
            body_overflow: Overflow::Reject,
            decoded_bytes: 16 << 20,
            decoded_ratio: 100,
            decoded_overflow: Overflow::Reject,
            inflaters: 32,
            brotli_decoders: 2,
            body_depth: 64,
            body_values: 10_000,
        }
    }
}

impl Limits {
    /// The bounds of a request, as the scoring engine takes them.
    #[must_use]
    pub fn request(&self) -> filter_score::Limits {
        filter_score::Limits {
            depth: self.body_depth,
            values: self.body_values,
            body_bytes: self.body_bytes,
            body_overflow: self.body_overflow.score(),
            decoded_bytes: self.decoded_bytes,
            decoded_ratio: self.decoded_ratio,
            decoded_overflow: self.decoded_overflow.score(),
            inflaters: self.inflaters,
            brotli_decoders: self.brotli_decoders,
            ..filter_score::Limits::default()
        }
    }

    /// Frames of a queue that may be redirected and not yet read.
    #[must_use]
    pub fn credits_per_queue(&self) -> u32 {
        self.credits.unwrap_or(self.frames_per_queue / 2)
    }
}
