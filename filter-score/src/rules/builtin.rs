//! The packs that travel inside the binary.

use super::pack::PackSource;

macro_rules! packs {
    ($($name:literal),+ $(,)?) => {
        &[$(PackSource { name: $name, text: include_str!(concat!("../../../rules/", $name)) }),+]
    };
}

/// The packs of the `rules` folder as they were when the program was built.
#[must_use]
pub fn builtin_packs() -> &'static [PackSource<'static>] {
    packs![
        "sqli.toml",
        "xss.toml",
        "traversal.toml",
        "cmdi.toml",
        "log4shell.toml",
        "injection.toml",
        "scanners.toml",
        "protocol.toml"
    ]
}
