//! The Portcullis engine: `AF_XDP` rings, TCP streams, decisions, control plane and command line.

pub mod api;
pub mod bpf;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod corpus;
pub mod deep;
pub mod engine;
pub mod flow;
pub mod host;
pub mod latency;
pub mod limit;
pub mod model;
pub mod processor;
pub mod replay;
pub mod report;
pub mod reputation;
pub mod ring;
pub mod rules;
pub mod runtime;
pub mod saved;
pub mod scan;
pub mod summary;
pub mod tuning;
