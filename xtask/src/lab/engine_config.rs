//! The engine's configuration for this lab, in one place for `cargo xtask run` and for tests.

use super::address::{NGINX_PORT, ORIGIN_PORT, SERVER_V4, SERVER_V6};

/// The `[[service]]` tables for nginx, both address families, every request inspected.
#[must_use]
pub fn nginx_services() -> String {
    services(NGINX_PORT, "all")
}

/// The `[[service]]` tables for the recording origin, both address families, every request inspected.
#[must_use]
pub fn origin_services() -> String {
    services(ORIGIN_PORT, "all")
}

/// The `[[service]]` tables for a port of the server; `inspect` is `all`, `suspicious` or `none`.
#[must_use]
pub fn services(port: u16, inspect: &str) -> String {
    format!(
        "[[service]]\naddress = \"{SERVER_V4}\"\nport = {port}\ninspect = \"{inspect}\"\n\n\
         [[service]]\naddress = \"{SERVER_V6}\"\nport = {port}\ninspect = \"{inspect}\"\n"
    )
}
