//! `[limits]`: the bounds of everything that grows.

use serde::{Deserialize, Serialize};

/// The bounds of everything that grows. All memory they stand for is taken at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Tracked flows, over all queues.
    pub max_flows: u32,
    /// Sources with reputation or rates.
    pub max_sources: u32,
    /// Sources and flows blocked for a time.
    pub max_blocks: u32,
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
    /// Milliseconds without a heartbeat after which the failure policy holds.
    pub heartbeat_timeout_ms: u32,
    /// Frames of a queue that may be redirected and not yet read, of which a packet may take several; unset: half of
    /// `frames_per_queue`.
    pub credits: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_sources: 65_536,
            max_blocks: 65_536,
            max_list_entries: 16_384,
            frames_per_queue: 4_096,
            held_bytes: 64 << 20,
            held_bytes_per_flow: 256 << 10,
            half_open_timeout_s: 10,
            established_timeout_s: 300,
            closing_timeout_s: 10,
            heartbeat_timeout_ms: 500,
            credits: None,
        }
    }
}

impl Limits {
    /// Frames of a queue that may be redirected and not yet read.
    #[must_use]
    pub fn credits_per_queue(&self) -> u32 {
        self.credits.unwrap_or(self.frames_per_queue / 2)
    }
}
