//! Set-up, builds, the lab and the tests of Portcullis.
//!
//! `cargo xtask VERB` is the front door; each verb is one file under [`verb`]. The lab is a library as
//! well, so that integration tests stand on the very namespaces that `cargo xtask run` shows.
//!
//! | module | what it holds |
//! |---|---|
//! | [`verb`] | the verbs: `setup`, `build`, `run`, `test`, `clippy`, `lab`, `package` and more |
//! | [`workspace`] | where things are: root, target directory, the eBPF object, the engine |
//! | [`toolchain`] | finding a Rust that can compile for eBPF |
//! | [`bpf_linker`] | finding or installing the linker that fits that Rust's LLVM |
//! | [`requirements`] | the programs and headers needed, and their packages |
//! | [`peers`] | programs that benchmarks put beside Portcullis |
//! | [`distribution`] | which system this is, and its package manager |
//! | [`recorded`] | the folder of recorded requests, for benchmarks and training |
//! | [`progress`] | long steps: elapsed time, a log file, the end of the log on failure |
//! | [`privilege`] | being root, or becoming it through sudo |
//! | [`lab`] | network namespaces with a client, a gateway and a real HTTP server |

pub mod bpf_linker;
pub mod distribution;
pub mod lab;
pub mod peers;
pub mod privilege;
pub mod progress;
pub mod recorded;
pub mod requirements;
pub mod toolchain;
pub mod verb;
pub mod workspace;
