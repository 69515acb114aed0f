//! The Portcullis engine.

pub mod bpf;
pub mod flow;
pub mod ring;
