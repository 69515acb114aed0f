//! Rule packs: read from TOML, compiled once, shared between threads.

mod builtin;
pub(crate) mod candidates;
pub(crate) mod classes;
mod condition;
mod description;
mod error;
mod lint;
mod literals;
mod overrides;
mod pack;
mod pattern;
pub(crate) mod prefilter;
mod samples;
mod set;
mod sieve;

pub use builtin::builtin_packs;
pub use description::RuleDescription;
pub use error::PackError;
pub use pack::{Family, PackSource, Severity};
pub use set::{RuleInfo, RuleSet};

pub(crate) use condition::{Part, When};
pub(crate) use set::{Check, RuleBits};
