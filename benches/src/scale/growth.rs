//! Time over a number: of services in a verdict, of rules and of bytes of a body in scoring. Counts take turns, round by round.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use filter_common::service::Service;
use filter_score::{Policy, Scorer};
use filter_user::bpf::Sizes;
use serde::Serialize;

use super::axis;
use crate::{
    bed::Bed,
    cpu,
    packets::{Family, request},
    report::{Line, Plot, Scale},
    score,
};

/// Words of a form that nobody would block.
const WORDS: &[u8] =
    b"garden chairs and a table for the terrace, delivered on the second of next month, please; ";

/// How a time grows with a number.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    /// What takes the time, and what there are more and more of.
    pub(super) of: &'static str,
    /// The number, and nanoseconds: the least of all rounds.
    pub(super) points: Vec<(f64, f64)>,
}

impl Growth {
    /// Measures the numbers in turn.
    fn of(
        of: &'static str,
        numbers: &[u32],
        rounds: usize,
        mut ns: impl FnMut(usize) -> Result<f64>,
    ) -> Result<Self> {
        eprintln!("scale: {of}");
        let mut points: Vec<_> = numbers
            .iter()
            .map(|number| (f64::from(*number), f64::MAX))
            .collect();
        for _ in 0..rounds {
            for (index, point) in points.iter_mut().enumerate() {
                point.1 = point.1.min(ns(index)?);
            }
        }
        Ok(Self { of, points })
    }

    /// The first point and the last.
    pub(super) fn ends(&self) -> ((f64, f64), (f64, f64)) {
        let end = |point: Option<&(f64, f64)>| point.copied().unwrap_or_default();
        (end(self.points.first()), end(self.points.last()))
    }

    /// Nanoseconds for one more, between the ends.
    pub(super) fn slope(&self) -> f64 {
        let (first, last) = self.ends();
        (last.1 - first.1) / (last.0 - first.0)
    }

    pub(super) fn plot(&self) -> Plot {
        let (what, number) = self.of.split_once(" over ").unwrap_or((self.of, ""));
        Plot {
            title: self.of.to_owned(),
            x: axis(number, Scale::Log),
            y: axis(
                "ns",
                if self.slope() > 0.1 {
                    Scale::Log
                } else {
                    Scale::Linear
                },
            ),
            lines: vec![Line {
                name: what.to_owned(),
                points: self.points.clone(),
            }],
        }
    }
}

/// Measures all.
pub(super) fn measure(quick: bool) -> Result<Vec<Growth>> {
    let rounds = if quick { 3 } else { 15 };
    Ok(vec![services(rounds, quick)?, rules(rounds)?, body(rounds)?])
}

fn services(rounds: usize, quick: bool) -> Result<Growth> {
    let numbers = [1, 16, 256, 4096];
    let repeat = if quick { 10_000 } else { 500_000 };
    let mut beds = Vec::new();
    for number in numbers {
        let sizes = Sizes {
            flows: 1024,
            sources: 1024,
            blocks: 1024,
            prefixes: 1024,
            services: numbers[3],
        };
        let mut bed = Bed::sized(sizes).context("loading the program (fix: run as root)")?;
        for port in 0..number as u16 {
            bed.serve(None, 10_000 + port, Service::INSPECT_ALL);
        }
        bed.start_engine();
        beds.push(bed);
    }
    let packet = request(Family::V4).to_bytes();
    Growth::of(
        "a verdict (no service there) over services",
        &numbers,
        rounds,
        |index| {
            let options = TestRunOptions {
                data_in: Some(&packet),
                repeat,
                ..TestRunOptions::default()
            };
            let result = beds[index]
                .xdp()
                .test_run(options)
                .context("running the program")?;
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one packet")]
            Ok(result.duration.as_nanos() as f64)
        },
    )
}

fn rules(rounds: usize) -> Result<Growth> {
    let built_in = score::compile(&[])?;
    let (mut numbers, mut scorers) = (Vec::new(), Vec::new());
    for factor in [1, 2, 4, 10] {
        let rules = score::with_others(&built_in, factor)?;
        numbers.push(rules.rules().len() as u32);
        scorers.push(Scorer::new(rules, Policy::default(), 4));
    }
    Growth::of(
        "scoring a GET of 242 bytes over rules",
        &numbers,
        rounds,
        |index| timed(&mut scorers[index], score::GET, 200),
    )
}

fn body(rounds: usize) -> Result<Growth> {
    let numbers = [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576];
    let mut scorer = Scorer::new(score::compile(&[])?, Policy::default(), 4);
    let requests: Vec<_> = numbers.iter().map(|bytes| post(*bytes)).collect();
    Growth::of("scoring a text body over its bytes", &numbers, rounds, |index| {
        timed(
            &mut scorer,
            &requests[index],
            (65_536 / numbers[index]).clamp(1, 50),
        )
    })
}

fn post(bytes: u32) -> Vec<u8> {
    let head = format!(
        "POST /contact HTTP/1.1\r\nHost: shop.example.com\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n"
    );
    let body = WORDS.iter().copied().cycle().take(bytes as usize);
    head.into_bytes().into_iter().chain(body).collect()
}

/// Nanoseconds of one request, of some in a row.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds, far below 2⁵²")]
fn timed(scorer: &mut Scorer, request: &[u8], times: u32) -> Result<f64> {
    let start = cpu::of_this_thread_exactly()?;
    for _ in 0..times {
        ensure!(!score::score(scorer, request), "a plain request was blocked");
    }
    Ok(cpu::of_this_thread_exactly()?.saturating_sub(start).as_nanos() as f64 / f64::from(times))
}
