//! The programs in the kernel, packet by packet through `BPF_PROG_TEST_RUN`.
//!
//! Each test loads its own copy into a pin directory of its own on `/sys/fs/bpf` and removes it at the end. Needs
//! root: without, each test says that it was skipped.

mod bed;
mod bridge;
mod challenge;
mod classes;
mod egress;
mod failure;
mod interfaces;
mod limits;
mod lists;
mod packets;
mod parser;
mod prescreen;
mod suspicion;
mod verdicts;
