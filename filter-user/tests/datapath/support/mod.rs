//! What the tests are made of.
//!
//! | module | what it holds |
//! |---|---|
//! | [`browser`] | Chromium in the gateway |
//! | [`engine`] | the engine as a process: start, signals, status, counters |
//! | [`load`] | load that notices what is lost |
//! | [`modes`] | native and generic XDP |
//! | [`request`] | requests by curl |
//! | [`site`] | the lab with its servers, and where they are |
//! | [`trick`] | tricks that are played without the engine, then with it |

pub(crate) mod engine;
pub(crate) mod load;
pub(crate) mod modes;
pub(crate) mod request;
pub(crate) mod site;
pub(crate) mod trick;

use std::time::Duration;

/// Deadline for what takes milliseconds on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
