//! Every seed goes through its target.

use std::{fs, path::Path};

use targets::TARGETS;

#[test]
fn every_seed_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder can be read").path();
            let data = fs::read(&path).expect("the seed can be read");
            // The test's output names the seed that fails.
            println!("{}", path.display());
            target(&data);
            seeds += 1;
        }
        assert!(seeds > 0, "no seed in {}", folder.display());
    }
}
