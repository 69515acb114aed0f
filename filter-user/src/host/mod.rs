//! The host's network configuration: the filtered interfaces, what an engine changes about them, and the way accepted packets
//! take from there: the devices they re-enter the stack through, or the other side of a bridge.

mod bridge;
mod changes;
mod channels;
mod claim;
mod features;
mod foreign;
mod interface;
mod leftovers;
mod offload;
mod record;
mod reinjection;
mod sysctl;
mod way;

pub use bridge::{Bridge, BridgeError};
pub use changes::{Changes, PromiscuousError};
pub use channels::set_queues;
pub use claim::{Claim, ClaimError, DIRECTORY as RUN_DIRECTORY, run_directory};
pub use foreign::take_off_program;
pub use interface::{Interface, InterfaceError};
pub use leftovers::remove_leftovers;
pub use offload::{Hindrance, hindrances};
pub use reinjection::{Reinjection, ReinjectionError};
pub use way::{Way, WayError};
