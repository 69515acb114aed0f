//! Flows.

pub mod checksum;
mod evidence;
mod hold;
mod index;
mod pending;
mod reason;
mod reassembly;
mod segment;
mod seq;
mod stream;
pub mod table;

pub use evidence::{Evidence, EvidencePool};
pub use hold::HoldPool;
pub use pending::{Continuity, Pending};
pub use reason::{DropCounters, DropReason};
pub use reassembly::{FailurePolicy, Reassembly, Replies, Reply, StreamLimits, SynAck, Unobserved};
pub use segment::{Flags, Segment};
pub use seq::Seq;
pub use stream::{Action, Stream};
pub use table::{FlowHandle, FlowTable, TimeoutClass};
