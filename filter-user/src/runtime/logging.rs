//! Log lines on standard error, at a level that can be changed while the engine runs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _, filter::LevelFilter, fmt::layer, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::{config::Level, journal};

/// Changes the level.
#[derive(Debug, Clone)]
pub(super) struct Handle(reload::Handle<LevelFilter, tracing_subscriber::Registry>);

/// Starts logging. A second start in one process changes nothing.
pub(super) fn start(level: Level) -> Handle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = layer().with_writer(io::stderr);
    let lines = if journal::has_standard_error() {
        lines.event_format(journal::Lines).boxed()
    } else {
        lines
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed()
    };
    if let Err(error) = tracing_subscriber::registry().with(filter).with(lines).try_init() {
        tracing::debug!("logging is set up already: {error}");
    }
    Handle(handle)
}

impl Handle {
    /// Logs from `level` on.
    pub(super) fn set(&self, level: Level) -> Result<(), reload::Error> {
        self.0.reload(filter(level))
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// The level as the eBPF programs know it.
pub(super) fn ebpf_level(level: Level) -> u8 {
    match level {
        Level::Off => 0,
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}
