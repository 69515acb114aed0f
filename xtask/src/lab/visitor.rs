//! A well-behaved client: requests at fixed times, whether or not those before are answered.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::{TimeSpec, TimeValLike as _},
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use super::{
    Namespace,
    exchange::{Exchange, Progress},
};

const REQUEST: &[u8] =
    b"GET /1k HTTP/1.1\r\nHost: lab\r\nUser-Agent: visitor\r\nAccept: */*\r\nConnection: close\r\n\r\n";
/// Several hundred bytes, as tools send them.
const ATTACK: &[u8] = concat!(
    "GET /1k?q=1'/**/UNION/**/ALL/**/SELECT/**/CONCAT(0x7171627071,IFNULL(CAST(username/**/AS/**/CHAR),0x20),0x6b7a6b65,",
    "IFNULL(CAST(password/**/AS/**/CHAR),0x20),0x7171627671),NULL,NULL,NULL,NULL,NULL,NULL/**/FROM/**/shop.customers/**/",
    "WHERE/**/1=1/**/ORDER/**/BY/**/1/**/LIMIT/**/0,1--%20-&page=1&sort=price&category=garden%20chairs&colour=blue&from=",
    "newsletter-2026-11 HTTP/1.1\r\nHost: lab\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 ",
    "Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;",
    "q=0.7,fr;q=0.3\r\nReferer: http://lab/garden\r\nConnection: close\r\n\r\n"
)
.as_bytes();
/// What the timer's events are told by.
const TIMER: u64 = u64::MAX;
/// How often deadlines are looked at, milliseconds.
const LOOK_MS: u8 = 20;

/// What a visitor does. Each request has a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The address it comes from, one of its namespace.
    pub source: Ipv4Addr,
    /// The server.
    pub target: SocketAddrV4,
    /// Requests a second.
    pub rate: u32,
    /// How many.
    pub requests: u32,
    /// How long it waits for an answer, from when the request was due.
    pub patience: Duration,
    /// Of so many requests the last is an attack, which is to be answered with 403; 0: none is.
    pub attacks: u32,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Visits {
    /// Times from when the request was due to the end of its answer, of those that were no attack and answered with 200; ascending.
    pub latencies: Vec<Duration>,
    /// Attacks that were answered with 403.
    pub caught: u32,
    /// Answers with another status.
    pub refused: u32,
    /// Connections that failed, or ended without a whole answer.
    pub broken: u32,
    /// Requests without an answer in time.
    pub late: u32,
}

impl Visits {
    /// The part of the requests that was answered in time as it should be, 0..1.
    #[must_use]
    pub fn completed(&self) -> f64 {
        let good = self.latencies.len() as u32 + self.caught;
        f64::from(good) / f64::from(good + self.lost())
    }

    /// Requests that were not.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.refused + self.broken + self.late
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.latencies.extend(&other.latencies);
        self.latencies.sort_unstable();
        self.caught += other.caught;
        self.refused += other.refused;
        self.broken += other.broken;
        self.late += other.late;
    }

    /// The time within which so many percent of the answered requests were; zero if there are none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        let at = rank.saturating_sub(1);
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

impl Visit {
    /// Makes the visit from this namespace, and waits until it is over.
    ///
    /// # Errors
    /// If sockets cannot be made.
    pub fn run(&self, namespace: &Namespace) -> Result<Visits> {
        namespace.enter(|| self.run_here())?
    }

    fn run_here(&self) -> Result<Visits> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        epoll.add(
            &timer,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
        )?;
        let start = Instant::now();
        let due = |number: u32| start + Duration::from_secs(1) * number / self.rate;
        let is_attack = |number: u32| self.attacks > 0 && number % self.attacks == self.attacks - 1;
        let mut visits = Visits::default();
        let mut open: Vec<Option<(Exchange, u32)>> = Vec::new();
        let (mut begun, mut over) = (0, 0);
        while over < self.requests {
            while begun < self.requests && due(begun) <= Instant::now() {
                let slot = open.iter().position(Option::is_none).unwrap_or_else(|| {
                    open.push(None);
                    open.len() - 1
                });
                let request = if is_attack(begun) { ATTACK } else { REQUEST };
                let exchange = Exchange::open(self.source, self.target, request, &epoll, slot)?;
                open[slot] = Some((exchange, begun));
                begun += 1;
            }
            if begun < self.requests {
                let left = due(begun).saturating_duration_since(Instant::now());
                // Zero would disarm it.
                let left = TimeSpec::nanoseconds((left.as_nanos() as i64).max(1));
                timer.set(Expiration::OneShot(left), TimerSetTimeFlags::empty())?;
            }
            let mut events = [EpollEvent::empty(); 64];
            let count = match epoll.wait(&mut events, EpollTimeout::from(LOOK_MS)) {
                Err(nix::errno::Errno::EINTR) => 0,
                other => other?,
            };
            let now = Instant::now();
            for event in &events[..count] {
                let Some(slot) = open.get_mut(event.data() as usize) else {
                    continue;
                };
                let Some((exchange, number)) = slot else {
                    continue;
                };
                let latency = now - due(*number);
                match exchange.advance() {
                    Progress::Underway => continue,
                    // Late ones are counted below.
                    _ if latency > self.patience => continue,
                    Progress::Answered(403) if is_attack(*number) => visits.caught += 1,
                    Progress::Answered(200) if !is_attack(*number) => visits.latencies.push(latency),
                    Progress::Answered(_) => visits.refused += 1,
                    Progress::Broken => visits.broken += 1,
                }
                *slot = None;
                over += 1;
            }
            for slot in &mut open {
                if slot
                    .as_ref()
                    .is_some_and(|(_, number)| now > due(*number) + self.patience)
                {
                    *slot = None;
                    visits.late += 1;
                    over += 1;
                }
            }
        }
        visits.latencies.sort_unstable();
        Ok(visits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_percentiles() {
        let mut visits = Visits {
            latencies: (1..=98).map(Duration::from_millis).collect(),
            ..Visits::default()
        };
        visits.add(&Visits {
            latencies: vec![Duration::from_millis(100)],
            late: 1,
            ..Visits::default()
        });
        assert!((visits.completed() - 0.99).abs() < 1e-12);
        visits.add(&Visits {
            caught: 100,
            ..Visits::default()
        });
        assert!((visits.completed() - 0.995).abs() < 1e-12);
        assert_eq!(visits.percentile(50), Duration::from_millis(50));
        assert_eq!(visits.percentile(100), Duration::from_millis(100));
        assert_eq!(Visits::default().percentile(50), Duration::ZERO);
    }
}
