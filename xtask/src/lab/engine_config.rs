//! The engine's configuration for this lab and its environment, in one place for `cargo xtask run`, tests and benchmarks.

use std::{env, process::Command};

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

/// Has an engine's allocator keep to two arenas, as the package's unit does, unless the environment says otherwise.
pub fn with_few_arenas(command: &mut Command) -> &mut Command {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if env::var_os(ARENAS).is_none() {
        command.env(ARENAS, "2");
    }
    command
}
