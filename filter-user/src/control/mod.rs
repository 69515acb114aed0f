//! The control plane: a Unix socket on which a running engine is asked and told.

mod engine;
mod protocol;
mod status;

pub use engine::Engine;
pub use protocol::{
    BlockEntry, BlockOrigin, MAX_PAGE, MAX_REASON_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Page,
    Refusal, RefusalCode, Request, Response, VERSION, Versioned,
};
pub use status::{Fill, PacketCounter, QueueStatus, RequestCounters, RulesStatus, Status};
