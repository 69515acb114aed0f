//! Embeds the eBPF object that `cargo xtask build` leaves in `target/bpf/`.
//!
//! Without the object (a plain `cargo check`, an editor) an empty one is embedded: everything compiles, and
//! `portcullis run` says what is missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("portcullis-bpf.o");
    let object = object_path();
    println!("cargo::rerun-if-env-changed=PORTCULLIS_BPF_OBJECT");
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        fs::copy(&object, &out).unwrap_or_else(|error| panic!("cannot copy {}: {error}", object.display()));
    } else {
        println!(
            "cargo::warning=no eBPF object at {}; run `cargo xtask build`",
            object.display()
        );
        fs::write(&out, []).unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
    }
}

fn object_path() -> PathBuf {
    if let Some(path) = env::var_os("PORTCULLIS_BPF_OBJECT") {
        return path.into();
    }
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    Path::new(&manifest).join("../target/bpf/portcullis-bpf.o")
}
