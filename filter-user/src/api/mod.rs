//! The HTTP API: what programs ask a running engine.
//!
//! It has a thread and a runtime of its own: however many ask, the control socket, the supervisor and the queues' threads have
//! nothing to do with it but for the calls of [`Engine`] that answers take.

mod access;
mod allows;
mod blocks;
mod check;
mod credentials;
mod dashboard;
mod error;
mod events;
mod exclusions;
mod exposition;
mod feeds;
mod health;
mod history;
mod listener;
mod metrics;
mod openapi;
mod origin;
mod reload;
mod requests;
mod router;
mod server;
mod stall;
mod tcp;

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use crate::{
    config,
    control::{Engine, Protected, Request, Response, dispatch},
};
use access::Access;

pub use check::checks;
pub use credentials::{CredentialError, Credentials, Kind, Reread};
pub use listener::{ListenError, Listeners};

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

/// What was asked is done.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct Done {
    message: String,
}

/// What answers are made of.
#[derive(Clone)]
pub(crate) struct Context {
    engine: Arc<dyn Engine>,
    protected: Arc<Protected>,
    /// A queue that has not shown itself for so long hangs.
    heartbeat_timeout: Duration,
}

impl Api {
    /// Answers those who connect to `listeners` for `engine`, by TCP with those `credentials` that are in force when they come. A queue of
    /// it that has shown nothing for `heartbeat_timeout` counts as hung.
    ///
    /// # Errors
    ///
    /// When the thread, its runtime or a listener cannot be set up.
    pub fn start(
        listeners: Listeners,
        credentials: watch::Receiver<Arc<Credentials>>,
        settings: &config::Api,
        events: &config::Events,
        engine: Arc<dyn Engine>,
        protected: Arc<Protected>,
        heartbeat_timeout: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(CALLS)
            .thread_name("pc-api-call")
            .build()?;
        let listening = {
            let _within = runtime.enter();
            listeners.listen(&credentials)?
        };
        let limits = server::Limits {
            connections: settings.connections as usize,
            timeout: Duration::from_secs(settings.timeout_s.into()),
            stall: server::STALL,
        };
        let context = Context {
            engine,
            protected,
            heartbeat_timeout,
        };
        let judging = Arc::clone(&context.engine);
        let policies: Arc<check::InForce> = Arc::new(move || judging.policies());
        let checks = check::router(&settings.check, &policies)?;
        let live = events::Live::new(context.engine.chronicle().hub, events);
        let router = router::new(context, checks, live, limits.timeout);
        let bearers = Access::Bearers(credentials);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("pc-api".into()).spawn(move || {
            runtime.block_on(async {
                let mut servers = tokio::task::JoinSet::new();
                // Who can open the socket is root, and may do everything.
                let access = Access::Everyone;
                servers.spawn(server::serve(
                    listening.unix,
                    origin::guard_names(with_page(access.guard(router.clone()))),
                    limits.clone(),
                ));
                for listener in listening.tcp {
                    servers.spawn(server::serve(
                        listener,
                        with_page(bearers.clone().guard(router.clone())),
                        limits.clone(),
                    ));
                }
                // They end with it.
                let _ = stopped.await;
            });
            runtime.shutdown_timeout(ENDING);
            drop(listeners);
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// The API and the page that shows it, which takes no token, for pages of no other origin.
fn with_page(router: axum::Router) -> axum::Router {
    origin::guard(router.merge(dashboard::router()))
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
    /// Has the engine do what an operator could ask on the control socket, too.
    async fn ask(&self, request: Request) -> Result<Response, error::Problem> {
        let protected = Arc::clone(&self.protected);
        self.call(move |engine| dispatch(engine, &protected, request))
            .await?
            .map_err(error::Problem::from)
    }

    /// Has it do what has no other answer than that it is done.
    async fn tell(&self, request: Request) -> Result<axum::Json<Done>, error::Problem> {
        match self.ask(request).await? {
            Response::Done { message } => Ok(axum::Json(Done { message })),
            _ => Err(error::Problem::confused()),
        }
    }

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
