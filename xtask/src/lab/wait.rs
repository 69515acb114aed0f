//! Waiting for conditions with a deadline.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A deadline passed before what was waited for came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// What was waited for, or how far it got.
    pub what: String,
    /// How long it was waited for.
    pub after: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: not within {} ms",
            self.what,
            self.after.as_millis()
        )
    }
}

impl std::error::Error for Elapsed {}

/// Calls `probe` until it gives a value, with growing pauses.
///
/// # Errors
/// [`Elapsed`] if it has given none when `deadline` has passed since the call; the text names `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            return Err(Elapsed {
                what: what.to_owned(),
                after: deadline,
            }
            .into());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until `condition` holds.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, deadline, || condition().then_some(()))
}

#[cfg(test)]
mod tests {
    use super::{wait_for, wait_until};
    use std::time::Duration;

    #[test]
    fn a_value_ends_the_wait_and_a_deadline_names_it() {
        let mut calls = 0;
        let value = wait_for("third call", Duration::from_secs(5), || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(value.ok(), Some(3));
        let error =
            wait_until("the end of time", Duration::from_millis(3), || false).map_err(|e| e.to_string());
        assert_eq!(error, Err("the end of time: not within 3 ms".to_owned()));
    }
}
