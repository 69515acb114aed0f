//! Snapshots: how the engine has done, written now and then for those who come later.

mod files;
mod snapshot;

pub use files::write;
pub use snapshot::{Recorder, Snapshot};
