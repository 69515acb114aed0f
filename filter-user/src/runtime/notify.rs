//! What a service manager is told (`sd_notify(3)`); nothing where there is none.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The engine filters.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The engine ends in order.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A reload, from when it is made to when it is dropped.
pub(super) struct Reloading;

impl Reloading {
    pub(super) fn begin() -> Self {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!("no time to tell the service manager: {error}"),
        }
        Self
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// Signs of life, if the service manager waits for them.
pub(super) struct Watchdog {
    /// Half of what it waits.
    every: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|patience| patience / 2),
            next: Instant::now(),
        }
    }

    /// Gives a sign if it is time for one and the engine is alive.
    pub(super) fn feed(&mut self, is_alive: impl FnOnce() -> bool) {
        let now = Instant::now();
        if let Some(every) = self.every
            && now >= self.next
            && is_alive()
        {
            tell(&[NotifyState::Watchdog]);
            self.next = now + every;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager {state:?}: {error}");
    }
}
