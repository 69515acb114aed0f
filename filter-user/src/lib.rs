//! The Portcullis engine: `AF_XDP` rings, TCP streams, decisions, control plane and command line.

pub mod cli;
pub mod config;
pub mod control;
pub mod latency;
pub mod report;
pub mod reputation;
pub mod rules;
pub mod scan;
pub mod summary;
