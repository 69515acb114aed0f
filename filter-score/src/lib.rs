//! HTTP/1 stream parsing, decoding, rules and verdicts: bytes in, decisions out.
//!
//! ```text
//! bytes ─► Scorer::feed ─► inspect (parser) ─► evaluate (decodings, prefilter, patterns) ─► findings ─► verdict
//!              │                  units: request line, header line, parameter, JSON string, window
//!              └ Stream: a few words a flow; a request in progress is in the scorer's pool
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `policy` | thresholds, mode, limits |
//! | `allowance` | methods and content types that a service takes |
//! | `exclusion` | hits that operators do not want to count |
//! | `policies` | rules and the policies of services, compiled together |
//! | `target` | the places of a request that rules look at |
//! | `rules` | packs in TOML, compiled: prefilter and automata |
//! | `decode` | the decodings attackers hide behind |
//! | `detect` | detectors: fields read as their targets would |
//! | `coding` | content codings: gzip, deflate, br |
//! | `http` | request line, header lines, chunks, body kinds, violations |
//! | `inspect` | the incremental parser: cuts the stream into units |
//! | `reception` | who sends requests, and whether they are let in: what the caller knows |
//! | `gather` | the head of a request whose client is named in it |
//! | `subject` | source, method and path of a request |
//! | `evaluate` | rules against one unit under every decoding |
//! | `model` | the learned model: n-grams, trees, calibration |
//! | `baseline` | what the parameters of a service usually hold |
//! | `findings` | hits of one request |
//! | `pending` | hits that wait for their conditions |
//! | `verdict` | score, decision, explanation |
//! | `deep` | the second tier: suspicious requests, looked at again with more time |
//! | `cache` | requests and header lines that were found clean before |
//! | `scorer` | streams and the pool of requests in progress |
//! | `offline` | single recorded requests |
//! | `train` | trains the model, offline |
//!
//! A pure library: no files, sockets, threads or clocks. Feeding allocates nothing, takes linear time
//! and gives the same decision for any segmentation.
#![forbid(unsafe_code)]

mod allowance;
mod baseline;
mod cache;
mod coding;
mod decode;
mod deep;
mod detect;
mod evaluate;
mod excerpt;
mod exclusion;
mod findings;
mod gather;
mod glob;
mod http;
mod inspect;
mod model;
mod offline;
mod pending;
mod policies;
mod policy;
mod reception;
mod request;
mod rules;
mod scorer;
mod subject;
mod target;
pub mod train;
mod verdict;

pub use allowance::Allowance;
pub use baseline::{BaselineFill, Deviation};
pub use decode::DecodingSet;
pub use deep::{DOUBT_BYTES, DOUBT_FIELDS, DeepJob, DeepScorer, DeepVerdict};
pub use excerpt::Excerpt;
pub use exclusion::{Exclusion, ExclusionError};
pub use findings::{ExcludedHit, Hit};
pub use glob::{Glob, PathPattern};
pub use http::{Violation, parse_field_line};
pub use model::{Contribution, Inference, Model, ModelError, OwnedContribution, OwnedInference, Training};
pub use offline::{OfflineScorer, RequestParts, SecondLook, percent_encode};
pub use policies::{Policies, Tuning};
pub use policy::{BaselineUse, Limits, Mode, ModelUse, Overflow, Policy, PolicyError};
pub use reception::{Asks, Reception, RequestHead};
pub use rules::{Family, PackError, PackSource, RuleDescription, RuleInfo, RuleSet, Severity, builtin_packs};
pub use scorer::{Continuation, Scorer, Stream, Underway};
pub use target::{Target, TargetSet};
pub use verdict::{
    Decision, Disposition, Explanation, OpaqueKind, OwnedDecision, OwnedExclusion, OwnedHit, Verdict, score,
};
