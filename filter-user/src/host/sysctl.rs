//! Network settings of single interfaces, below `/proc/sys/net`.

use std::{fs, io};

/// Reads `net.FAMILY.conf.INTERFACE.KEY`.
pub(super) fn read(family: &str, interface: &str, key: &str) -> io::Result<String> {
    fs::read_to_string(path(family, interface, key)).map(|value| value.trim().to_owned())
}

/// Writes `net.FAMILY.conf.INTERFACE.KEY`.
pub(super) fn write(family: &str, interface: &str, key: &str, value: &str) -> io::Result<()> {
    fs::write(path(family, interface, key), value).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("net.{family}.conf.{interface}.{key} = {value}: {error}"),
        )
    })
}

fn path(family: &str, interface: &str, key: &str) -> String {
    // A dot in an interface's name is a dot here, too.
    format!("/proc/sys/net/{family}/conf/{interface}/{key}")
}
