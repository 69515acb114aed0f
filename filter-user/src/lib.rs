//! The Portcullis engine.

pub mod flow;
