//! The programs in the kernel: the verifier takes them, and each check gives its verdict on real packets.
use std::path::Path;

use filter_user::bpf::{Kernel, LoadOptions, Sizes, Tables};

fn load() -> (Kernel, Tables) {
    let pin_dir = format!("/sys/fs/bpf/portcullis-test-{}", std::process::id());
    let sizes = Sizes {
        flows: 1024,
        sources: 1024,
        blocks: 1024,
        prefixes: 1024,
        services: 64,
    };
    let options = LoadOptions {
        pin_dir: pin_dir.clone().into(),
        sizes,
        log_level: 0,
    };
    let kernel = match Kernel::load(&options) {
        Ok(k) => k,
        Err(e) => {
            let mut s: Option<&dyn std::error::Error> = Some(&e);
            while let Some(x) = s {
                eprintln!("{x}");
                s = x.source();
            }
            panic!()
        }
    };
    let tables = Tables::open(Path::new(&pin_dir)).unwrap();
    (kernel, tables)
}

#[test]
fn verifier_accepts() {
    let (_k, t) = load();
    println!("{:?}", t.counters().unwrap());
}
