//! What is fuzzed: each target is a function of arbitrary bytes that must return, whatever they are. The test suite
//! runs them over the seeds in `corpus/`; `cargo xtask fuzz` looks for other inputs with libFuzzer.

mod model;
mod pack;
mod packet;
mod stream;

/// What must return, whatever the bytes are.
pub type Target = fn(&[u8]);

/// The targets by name, which is that of their folders in `corpus/`.
pub const TARGETS: [(&str, Target); 4] = [
    ("model", model::model),
    ("pack", pack::pack),
    ("packet", packet::packet),
    ("stream", stream::stream),
];

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, target)| *target)
}

/// The program of one target: libFuzzer's, or without `--cfg fuzzing` one that runs the files it is given.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(
            init: {
                // What is made once is made before the clock runs.
                $crate::target($name).expect("the target is there")(&[0; 3]);
            },
            |data: &[u8]| {
                $crate::target($name).expect("the target is there")(data);
            }
        );

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            let target = $crate::target($name).expect("the target is there");
            std::env::args_os()
                .skip(1)
                .try_for_each(|file| std::fs::read(file).map(|data| target(&data)))
        }
    };
}
