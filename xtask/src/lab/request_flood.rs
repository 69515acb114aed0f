//! A flood of HTTP requests over real connections from many addresses: half of them ask for a page over and over, the other half
//! attack.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout},
};

use super::{
    Namespace, address,
    exchange::{Exchange, Progress},
    flood,
};

/// Connections that are kept busy.
const CONNECTIONS: usize = 64;
const PAGE: &[u8] = b"GET /1k HTTP/1.1\r\nHost: lab\r\nUser-Agent: flood\r\nAccept: */*\r\n\r\n";
const ATTACK: &[u8] =
    b"GET /1k?id=1'+UNION+SELECT+password+FROM+users-- HTTP/1.1\r\nHost: lab\r\nUser-Agent: flood\r\nAccept: */*\r\n\r\n";
/// How long an answer is waited for before the next address is taken.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What became of the requests of a flood.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// Answered with 200.
    pub answered: u32,
    /// Answered with something else.
    pub refused: u32,
    /// Connections that failed, and requests without an answer for 300 ms; each was the end of its address.
    pub failed: u32,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A running flood. Dropping it ends it.
#[derive(Debug)]
pub struct RequestFlood {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Requests>>>,
}

impl RequestFlood {
    /// Floods `target` from addresses of [`address::CROWD`] in this namespace; `rate` is in requests a second, `None` as fast as
    /// one thread is and the server answers.
    ///
    /// # Errors
    /// If there is no room for a thread.
    pub fn start(namespace: &Namespace, target: SocketAddrV4, rate: Option<u32>) -> Result<Self> {
        let namespace = namespace.clone();
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new()
            .name("flood-http".to_owned())
            .spawn(move || namespace.enter(|| ask(target, rate, &told))?)
            .context("starting a flood's thread")?;
        Ok(Self {
            ending,
            thread: Some(thread),
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If sockets could not be made meanwhile.
    pub fn stop(mut self) -> Result<Requests> {
        self.end().unwrap_or_else(|| Err(anyhow!("the flood has ended")))
    }

    fn end(&mut self) -> Option<Result<Requests>> {
        self.ending.store(true, Ordering::Relaxed);
        let joined = self.thread.take()?.join();
        Some(joined.unwrap_or_else(|_| Err(anyhow!("the flood's thread panicked"))))
    }
}

impl Drop for RequestFlood {
    fn drop(&mut self) {
        // Its result is nobody's any more.
        let _ = self.end();
    }
}

/// One of the flood's clients.
struct Bot {
    source: Ipv4Addr,
    exchange: Option<Exchange>,
    /// When the request under way was begun; `None` if there is none.
    since: Option<Instant>,
}

fn ask(target: SocketAddrV4, rate: Option<u32>, ending: &AtomicBool) -> Result<Requests> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let start = Instant::now();
    let mut crowd = (0..).map(crowd_address);
    let mut next = || crowd.next().context("addresses have run out");
    let mut bots = Vec::new();
    for _ in 0..CONNECTIONS {
        bots.push(Bot {
            source: next()?,
            exchange: None,
            since: None,
        });
    }
    let mut requests = Requests::default();
    let mut begun: u64 = 0;
    let mut idle: Vec<usize> = (0..CONNECTIONS).collect();
    let mut looked = start;
    while !ending.load(Ordering::Relaxed) {
        let due = rate.map_or(u64::MAX, |rate| flood::due(start.elapsed(), rate));
        while begun < due
            && let Some(number) = idle.pop()
        {
            begun += 1;
            let bot = &mut bots[number];
            bot.since = Some(Instant::now());
            let kept = if let Some(exchange) = &mut bot.exchange {
                exchange.again();
                exchange.advance()
            } else {
                let request = if number % 2 == 0 { PAGE } else { ATTACK };
                bot.exchange = Some(Exchange::open(bot.source, target, request, &epoll, number)?);
                Progress::Underway
            };
            settle(bot, number, kept, &mut requests, &mut idle);
        }
        let wait = if rate.is_some() { 1 } else { LOOK.as_millis() as u8 };
        let mut events = [EpollEvent::empty(); CONNECTIONS];
        let count = match epoll.wait(&mut events, EpollTimeout::from(wait)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            let number = event.data() as usize;
            let bot = &mut bots[number];
            if bot.since.is_none() {
                continue;
            }
            let Some(exchange) = &mut bot.exchange else {
                continue;
            };
            let progress = exchange.advance();
            if progress == Progress::Broken {
                bot.source = next()?;
            }
            settle(bot, number, progress, &mut requests, &mut idle);
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            for (number, bot) in bots.iter_mut().enumerate() {
                if bot.since.is_some_and(|since| looked - since > PATIENCE) {
                    bot.source = next()?;
                    settle(bot, number, Progress::Broken, &mut requests, &mut idle);
                }
            }
        }
    }
    requests.seconds = start.elapsed().as_secs_f64();
    Ok(requests)
}

/// Counts what has come to its end.
fn settle(bot: &mut Bot, number: usize, progress: Progress, requests: &mut Requests, idle: &mut Vec<usize>) {
    match progress {
        Progress::Underway => return,
        Progress::Answered(200) => requests.answered += 1,
        // The other side closes.
        Progress::Answered(_) => {
            requests.refused += 1;
            bot.exchange = None;
        }
        Progress::Broken => {
            requests.failed += 1;
            bot.exchange = None;
        }
    }
    bot.since = None;
    idle.push(number);
}

/// The addresses of the flood one after the other, from the beginning again after the last.
fn crowd_address(number: u32) -> Ipv4Addr {
    let (network, prefix) = address::CROWD;
    let last = u32::MAX >> prefix;
    Ipv4Addr::from(u32::from(network) | (number % (last - 1) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crowd_has_addresses_of_hosts() {
        assert_eq!(crowd_address(0), Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(crowd_address(0x1_fffd), Ipv4Addr::new(198, 19, 255, 254));
        assert_eq!(crowd_address(0x1_fffe), Ipv4Addr::new(198, 18, 0, 1));
    }
}
