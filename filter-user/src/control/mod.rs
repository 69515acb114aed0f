//! The control plane: a Unix socket on which a running engine is asked and told.

mod client;
mod engine;
mod exclusion;
mod protected;
mod protocol;
mod server;
mod socket;
mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use engine::Engine;
pub use exclusion::{ExclusionEntry, MAX_EXCLUDED_RULES, MAX_EXCLUSIONS, NewExclusion};
pub use protected::{Protected, Why};
pub use protocol::{
    BlockEntry, BlockOrigin, Blocked, HandedOver, MAX_PAGE, MAX_REASON_BYTES, MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES, MAX_TARGETS, Page, Refusal, RefusalCode, RefusedTarget, Reloaded, Request, Response,
    Successor, TRIAL_S, VERSION, Versioned,
};
pub(crate) use server::dispatch;
pub use server::{ServerLimits, serve};
pub use socket::{ControlSocket, SocketError};
pub use status::{
    BaselineStatus, DeepStatus, EventsStatus, FeedStatus, Fill, InterfaceStatus, ModelStatus, PacketCounter,
    QueueStatus, RequestCounters, RulesStatus, SourceRisk, Status,
};
