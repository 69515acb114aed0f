//! `/v1/check/batch` in one process, without a socket: how many requests a second are judged, and what one costs.
//!
//! Batches of a thousand, a few of them under way at once, as from several clients; all threads together have the whole machine. Each round
//! shows requests that were never shown before, then the same batches again, and then a few of them that all workers know.

use std::{
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
};
use filter_user::{
    api,
    config::{CheckApi, Config, Origin},
    tuning::Tuned,
};
use futures_util::future::try_join_all;
use nix::sys::resource::{UsageWho, getrusage};
use tower::ServiceExt as _;

mod requests;

use requests::{BATCH, batch};

/// Batches that are under way at once.
const CALLS: usize = 4;
const ROUNDS: usize = 5;
/// Batches of a round that were never shown.
const NEW: usize = 40;
/// Of batches that are shown over and over: no more than every worker remembers.
const KNOWN: usize = 1;
/// How often.
const TIMES: usize = 40;

/// What some batches took.
struct Took {
    requests: usize,
    attacks: usize,
    cached: usize,
    wall: Duration,
    /// Of all threads.
    cpu: Duration,
}

impl Took {
    fn tell(&self, what: &str) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let [requests, attacks, cached] =
            [self.requests, self.attacks, self.cached].map(|count| count as f64);
        let rate = requests / self.wall.as_secs_f64();
        println!(
            "{what:<12} {rate:>9.0} requests/s {:>6.2} µs of CPU each {:>5.1} % attacks {:>6.1} % cached",
            self.cpu.as_secs_f64() * 1e6 / requests,
            attacks / requests * 100.0,
            cached / requests * 100.0
        );
        rate
    }
}

fn main() -> anyhow::Result<()> {
    let config = Config::default();
    let tuned = Tuned::load(&config, &Origin::read(None, &[])?, &[], None)?;
    let workers = thread::available_parallelism().map_or(1, NonZero::get) as u32;
    let settings = CheckApi {
        workers,
        queue: 100_000,
        deadline_ms: 60_000,
        client_rate: 0,
        total_rate: 0,
    };
    let router = api::checks(&settings, move || Arc::clone(&tuned.policies))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = |batches: &[Bytes], times: usize| runtime.block_on(show(&router, batches, times));
    let batches = |first: usize, count: usize| -> Vec<Bytes> {
        (first..first + count)
            .map(|number| batch(number).into())
            .collect()
    };
    // Patterns are made with the first requests that need them, and memory is taken.
    let known = batches(0, KNOWN);
    run(&known, 10)?;
    println!(
        "/v1/check/batch of {BATCH}, {CALLS} calls at once, {workers} workers, {:.0} bytes a request",
        f64::from(u32::try_from(known[0].len())?) / f64::from(u32::try_from(BATCH)?)
    );
    let mut rates = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        let new = batches(KNOWN + round * NEW, NEW);
        rates[0].push(run(&new, 1)?.tell("never shown"));
        run(&known, 10)?;
        rates[1].push(run(&known, TIMES)?.tell("known"));
    }
    for (what, mut rates) in ["never shown", "known"].into_iter().zip(rates) {
        rates.sort_by(f64::total_cmp);
        println!("{what:<12} median {:.0} requests/s", rates[rates.len() / 2]);
    }
    Ok(())
}

/// Shows all batches so many times, some at once.
async fn show(router: &Router, batches: &[Bytes], times: usize) -> anyhow::Result<Took> {
    let (began, cpu) = (Instant::now(), cpu()?);
    let mut left = (0..times).flat_map(|_| batches);
    let mut answers = Vec::with_capacity(times * batches.len());
    loop {
        let calls: Vec<_> = left
            .by_ref()
            .take(CALLS)
            .map(|batch| call(router, batch))
            .collect();
        if calls.is_empty() {
            break;
        }
        answers.extend(try_join_all(calls).await?);
    }
    let (wall, cpu) = (began.elapsed(), self::cpu()?.saturating_sub(cpu));
    let count = |word: &str| -> usize {
        let finder = memchr::memmem::Finder::new(word);
        answers
            .iter()
            .map(|answer| finder.find_iter(answer).count())
            .sum()
    };
    Ok(Took {
        requests: count(r#""request_id":"#),
        attacks: count(r#""prediction":"malicious""#),
        cached: count(r#""cached":true"#),
        wall,
        cpu,
    })
}

async fn call(router: &Router, batch: &Bytes) -> anyhow::Result<Bytes> {
    let request = Request::post("/v1/check/batch").body(Body::from(batch.clone()))?;
    let answer = router.clone().oneshot(request).await?;
    anyhow::ensure!(answer.status() == 200, "{}", answer.status());
    Ok(axum::body::to_bytes(answer.into_body(), usize::MAX).await?)
}

/// What all threads of this process have used.
fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec().cast_unsigned())
            + Duration::from_micros(value.tv_usec().cast_unsigned())
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
