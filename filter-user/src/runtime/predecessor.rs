//! The running engine that this one takes over from.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{flow_file, process};
use crate::{
    config::Config,
    control::{Client, ClientError, HandedOver, Request, Response, Status, Successor},
    engine::FlowRecords,
};

/// How long it has to end in order, once it has handed over; and then to end at all.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A connection to it.
#[derive(Debug)]
pub(super) struct Predecessor {
    client: Client,
    pid: u32,
    handed_over: bool,
}

impl Predecessor {
    /// Looks for one on the configured control socket.
    ///
    /// # Errors
    ///
    /// When the one there cannot be asked, or filters other interfaces.
    pub(super) fn find(config: &Config) -> anyhow::Result<Option<Self>> {
        let path = &config.engine.control_socket;
        let mut client = match Client::connect(path) {
            Ok(client) => client,
            Err(ClientError::NotRunning { .. }) => {
                tracing::info!("no engine to replace on {}", path.display());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let Response::Status(status) = client.ask(&Request::Status {})? else {
            bail!("the running engine does not say what it is");
        };
        check(&status, config)?;
        Ok(Some(Self {
            client,
            pid: status.pid,
            handed_over: false,
        }))
    }

    /// Has it stop filtering, and takes its flows.
    pub(super) fn take_over(&mut self, config: &Config) -> anyhow::Result<Vec<FlowRecords>> {
        let successor = Successor {
            pid: std::process::id(),
            interface: config.interfaces()?.to_string(),
            server_interface: config.engine.server_interface.clone(),
            format: FlowRecords::FORMAT,
        };
        let answer = self.client.ask(&Request::HandOver(successor))?;
        let Response::HandedOver(HandedOver { records, flows }) = answer else {
            bail!("the running engine does not hand over");
        };
        self.handed_over = true;
        let records =
            flow_file::take(&records).with_context(|| format!("cannot read {}", records.display()))?;
        tracing::info!("taking over {flows} flows from process {}", self.pid);
        Ok(records)
    }

    /// Something went wrong: it goes on as before.
    pub(super) fn give_back(mut self) {
        if !self.handed_over {
            return;
        }
        match self.client.ask(&Request::TakeBack {}) {
            Ok(_) => tracing::warn!("the engine of process {} goes on", self.pid),
            Err(error) => tracing::error!("the engine of process {} may not go on: {error}", self.pid),
        }
    }

    /// Lets it end. It holds its locks until it has; [`Predecessor::wait_for`] them.
    ///
    /// # Errors
    ///
    /// When it has gone on by itself.
    pub(super) fn retire(&mut self) -> anyhow::Result<()> {
        match self.client.ask(&Request::Retire {}) {
            Err(refusal @ ClientError::Refused(_)) => Err(refusal.into()),
            // It may have ended before it could answer.
            _ => Ok(()),
        }
    }

    /// Tries until it succeeds, which it does when the engine has ended. One that hangs is killed: it filters nothing any more.
    pub(super) fn wait_for<T, E: std::fmt::Display>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let begin = Instant::now();
        let mut killed = false;
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let waited = begin.elapsed();
            if waited > 2 * PATIENCE {
                return Err(error);
            }
            if waited > PATIENCE && !killed {
                killed = true;
                tracing::warn!("process {} does not end ({error})", self.pid);
                process::kill_engine(self.pid);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Whether the engines filter the same.
fn check(status: &Status, config: &Config) -> anyhow::Result<()> {
    let interface = config.interfaces()?.to_string();
    anyhow::ensure!(
        status.interface == interface,
        "the running engine filters {}, not {interface}; --replace takes over the same interfaces: stop that engine, or give this \
         one its own engine.control_socket and engine.pin_dir",
        status.interface
    );
    anyhow::ensure!(
        status.forward == config.engine.forward,
        "the running engine forwards in another way ({}): stop it and start this one without --replace",
        status.forward
    );
    Ok(())
}
