//! The HTTP API: what programs ask a running engine.
//!
//! It has a thread and a runtime of its own: however many ask, the control socket, the supervisor and the queues' threads have
//! nothing to do with it but for the calls of [`Engine`] that answers take.

mod error;
mod exposition;
mod health;
mod metrics;
mod router;
mod server;

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    config,
    control::{ControlSocket, Engine},
};

/// Calls of the engine that may run at once; further ones wait.
const CALLS: usize = 4;
/// How long calls that have begun may go on when the API ends.
const ENDING: Duration = Duration::from_secs(1);

/// The running API. It ends when dropped.
#[derive(Debug)]
pub struct Api {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What answers are made of.
#[derive(Clone)]
pub(crate) struct Context {
    engine: Arc<dyn Engine>,
    /// A queue that has not shown itself for so long hangs.
    heartbeat_timeout: Duration,
}

impl Api {
    /// Answers the clients of `socket` for `engine`. A queue of it that has shown nothing for `heartbeat_timeout` counts as hung.
    ///
    /// # Errors
    ///
    /// When the thread, its runtime or the socket cannot be set up.
    pub fn start(
        socket: ControlSocket,
        settings: &config::Api,
        engine: Arc<dyn Engine>,
        heartbeat_timeout: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(CALLS)
            .thread_name("pc-api-call")
            .build()?;
        let listener = {
            let _within = runtime.enter();
            tokio::net::UnixListener::from_std(socket.listener()?)?
        };
        let limits = server::Limits {
            connections: settings.connections as usize,
            timeout: Duration::from_secs(settings.timeout_s.into()),
        };
        let router = router::new(
            Context {
                engine,
                heartbeat_timeout,
            },
            limits.timeout,
        );
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("pc-api".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = server::serve(listener, router, limits) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(ENDING);
            drop(socket);
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the API's thread did not end in order");
        }
    }
}

impl Context {
    /// Calls the engine, off the API's own thread.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Engine) -> T + Send + 'static,
    ) -> Result<T, error::Problem> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || call(&*engine))
            .await
            .map_err(|error| error::Problem::failed(&error))
    }
}

#[cfg(test)]
mod tests;
