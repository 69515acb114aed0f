//! Portcullis userspace.
pub mod bpf;
pub mod ring;
