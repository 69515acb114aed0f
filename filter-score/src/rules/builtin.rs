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
        "code.toml",
        "webshell.toml",
        "log4shell.toml",
        "ssti.toml",
        "ssrf.toml",
        "xxe.toml",
        "nosqli.toml",
        "ldapi.toml",
        "crlf.toml",
        "prototype.toml",
        "deserialisation.toml",
        "exploits.toml",
        "scanners.toml",
        "protocol.toml"
    ]
}
