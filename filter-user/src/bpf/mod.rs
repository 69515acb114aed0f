//! The kernel side as userspace sees it: loading and pinning the programs, and typed access to the maps.

mod attach;
mod kernel;
mod pins;
mod sweep;
mod tables;

pub use attach::{AttachError, Attachment, Place, XdpMode};
pub use kernel::{Kernel, LoadError, LoadOptions, Sizes};
pub use pins::{Pins, pinned_links};
pub use sweep::Sweeper;
pub use tables::{Prefix, TableError, Tables, Target, monotonic_ns};
