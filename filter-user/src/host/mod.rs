//! The host's network configuration: the filtered interface, and the devices accepted packets re-enter the
//! stack through.

mod claim;
mod interface;
mod reinjection;
mod sysctl;

pub use claim::{Claim, ClaimError};
pub use interface::{Interface, InterfaceError};
pub use reinjection::{Reinjection, ReinjectionError};
