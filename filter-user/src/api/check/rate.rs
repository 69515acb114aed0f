//! How many requests a client, and all together, may have judged.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::config::CheckApi;

/// The buckets.
pub(super) struct Rates {
    client: f64,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    total: Bucket,
    /// By name: there are no others than the socket and the tokens of the configuration.
    clients: HashMap<Box<str>, Bucket>,
}

/// A bucket that holds what comes in a second.
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Rates {
    pub(super) fn new(settings: &CheckApi) -> Self {
        Self {
            client: settings.client_rate.into(),
            buckets: Mutex::new(Buckets {
                total: Bucket::new(settings.total_rate.into(), Instant::now()),
                clients: HashMap::new(),
            }),
        }
    }

    /// Takes `count` requests of a client, or says how many seconds to wait. What one may not take is not taken from all.
    pub(super) fn take(&self, client: &str, count: u32, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { total, clients } = &mut *buckets;
        let own = clients
            .entry(client.into())
            .or_insert_with(|| Bucket::new(self.client, now));
        own.fill(now);
        total.fill(now);
        let count = f64::from(count);
        own.check(count)?;
        total.check(count)?;
        own.take(count);
        total.take(count);
        Ok(())
    }
}

impl Bucket {
    /// A full one; with a rate of 0 there is no limit.
    fn new(rate: f64, now: Instant) -> Self {
        Self {
            rate,
            tokens: rate,
            filled: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * self.rate).min(self.rate);
        self.filled = now;
    }

    /// More than a second's worth is let in when the bucket is full, and paid off afterwards.
    fn check(&self, count: f64) -> Result<(), u64> {
        let missing = count.min(self.rate) - self.tokens;
        if self.rate == 0.0 || missing <= 0.0 {
            return Ok(());
        }
        #[expect(
            clippy::cast_sign_loss,
            reason = "what is missing is positive, and the cast saturates"
        )]
        Err(((missing / self.rate).ceil() as u64).max(1))
    }

    fn take(&mut self, count: f64) {
        if self.rate > 0.0 {
            self.tokens -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_client_and_all_together_have_their_rate() {
        let rates = Rates::new(&CheckApi {
            client_rate: 10,
            total_rate: 25,
            ..CheckApi::default()
        });
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(rates.take("a", 10, now), Ok(()));
        assert_eq!(rates.take("a", 1, now), Err(1));
        assert_eq!(rates.take("b", 10, now), Ok(()));
        // Five are left for all.
        assert_eq!(rates.take("c", 6, now), Err(1));
        assert_eq!(rates.take("c", 5, now), Ok(()));
        assert_eq!(rates.take("a", 5, after(400)), Err(1));
        assert_eq!(rates.take("a", 5, after(500)), Ok(()));
        // A batch above the rate takes a full bucket, and all of the seconds after it.
        assert_eq!(rates.take("d", 1000, after(2000)), Ok(()));
        assert_eq!(rates.take("d", 1, after(3000)), Err(99));
        let free = Rates::new(&CheckApi {
            client_rate: 0,
            total_rate: 0,
            ..CheckApi::default()
        });
        assert!((0..100).all(|_| free.take("a", u32::MAX, now).is_ok()));
    }
}
