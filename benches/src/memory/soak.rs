//! Churn for some minutes: connections from addresses that are given up, attacks that are blocked, floods from forged addresses, blocks
//! that come and go, reloads. All tables are small, so that each overflows again and again.

use std::{
    net::SocketAddrV4,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::lab::{Flood, FloodKind, Lab, Nginx, Options, RequestFlood, address, engine_config};

use super::{mib, taken::Taken};
use crate::{
    engine::Engine,
    report::{Axis, Cell, Column, Line, Plot, Scale, Table},
};

/// What the engine has room for.
const BOUNDS: &str = "limits.max_flows = 4096\nlimits.max_blocks = 1024\nlimits.max_sources = 4096\n\
limit = [{ name = \"client\", requests = 200, window_s = 1, action = \"block\" }]\n";
/// Frames a second of each kind of flood.
const FRAMES: u32 = 5_000;
/// Samples of a whole soak.
const SAMPLES: u32 = 60;

/// What was seen.
#[derive(Debug, Serialize)]
pub(super) struct Soak {
    seconds: f64,
    samples: Vec<Sample>,
    requests_answered: u32,
    requests_refused: u32,
    addresses_given_up: u32,
    frames: f64,
    reloads: u32,
}

#[derive(Debug, Serialize)]
struct Sample {
    /// Seconds since the beginning.
    at_s: f64,
    taken: Taken,
}

/// Runs the soak for so long.
pub(super) fn run(engine: &Path, duration: Duration) -> Result<Soak> {
    eprintln!("memory: a soak of {} s", duration.as_secs());
    let lab = Lab::start(&Options::default())?;
    let _server = Nginx::start(&lab)?;
    lab.add_internet()?;
    let configuration = format!("{BOUNDS}{}", engine_config::nginx_services());
    let engine = Engine::start(&lab, engine, &configuration)?;
    let target = SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT);
    let hop = lab.gateway().mac("outside")?;
    let floods = FloodKind::ALL
        .map(|kind| Flood::start(lab.client(), "eth0", hop, kind, target, Some(FRAMES)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let requests = RequestFlood::start(lab.client(), target, None)?;
    let (start, mut samples, mut reloads) = (Instant::now(), Vec::new(), 0);
    for number in 1..=SAMPLES {
        let due = duration * number / SAMPLES;
        thread::sleep(due.saturating_sub(start.elapsed()));
        // On a list of its own: the map of single sources is full of those that attack.
        engine.ask(&["block", &network(number)])?;
        if number > 1 {
            engine.ask(&["unblock", &network(number - 1)])?;
        }
        if number % 6 == 0 {
            engine.ask(&["reload"])?;
            reloads += 1;
        }
        samples.push(Sample {
            at_s: start.elapsed().as_secs_f64(),
            taken: Taken::by(&engine)?,
        });
    }
    let seconds = start.elapsed().as_secs_f64();
    let requests = requests.stop()?;
    let mut frames = 0.0;
    for flood in floods {
        frames += flood.stop()?.per_second() * seconds;
    }
    ensure!(requests.answered > 0, "no request was answered");
    ensure!(requests.refused + requests.failed > 0, "no attack was refused");
    engine.stop().context("after the soak")?;
    Ok(Soak {
        seconds,
        samples,
        requests_answered: requests.answered,
        requests_refused: requests.refused,
        addresses_given_up: requests.failed,
        frames,
        reloads,
    })
}

impl Soak {
    /// Resident memory in the last quarter, of that in the second.
    pub(super) fn growth(&self) -> f64 {
        let quarter = self.samples.len() / 4;
        let most = |samples: &[Sample]| {
            let sizes = samples.iter().map(|sample| mib(sample.taken.resident()));
            sizes.fold(0.0, f64::max)
        };
        most(&self.samples[3 * quarter..]) / most(&self.samples[quarter..2 * quarter])
    }

    /// MiB an hour by the line that fits the second half best.
    fn slope(&self) -> f64 {
        let half = &self.samples[self.samples.len() / 2..];
        let points = half
            .iter()
            .map(|sample| (sample.at_s / 3600.0, mib(sample.taken.resident())));
        least_squares(&points.collect::<Vec<_>>())
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(
            "soak",
            [
                Column::less("at the start", "MiB"),
                Column::less("at half time", "MiB"),
                Column::less("at the end", "MiB"),
                Column::new("slope of the second half", "MiB an hour"),
            ],
        );
        let last = self.samples.len() - 1;
        for (name, of) in [
            ("resident", Taken::resident as fn(&Taken) -> u64),
            ("locked", Taken::locked),
            ("maps in the kernel", Taken::maps),
        ] {
            let at = |sample: usize| Cell::from(mib(of(&self.samples[sample].taken)));
            let slope = if name == "resident" {
                Cell::from(self.slope())
            } else {
                Cell::Empty
            };
            table.row(name, [at(0), at(last / 2), at(last), slope]);
        }
        table
    }

    pub(super) fn plot(&self) -> Plot {
        let axis = |title: &str| Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
        };
        let line = |name: &str, of: fn(&Taken) -> u64| Line {
            name: name.to_owned(),
            points: self
                .samples
                .iter()
                .map(|sample| (sample.at_s, mib(of(&sample.taken))))
                .collect(),
        };
        Plot {
            title: "memory over a soak".to_owned(),
            x: axis("seconds"),
            y: axis("MiB"),
            lines: vec![
                line("resident", Taken::resident),
                line("maps in the kernel", Taken::maps),
            ],
        }
    }

    pub(super) fn description(&self) -> String {
        format!(
            "the soak of {:.0} s: {} requests answered and {} refused, {} addresses given up, {:.0} frames of floods, {} reloads, a block \
             made and one ended at each of {} samples; room for 4096 flows and sources and 1024 blocks",
            self.seconds,
            self.requests_answered,
            self.requests_refused,
            self.addresses_given_up,
            self.frames,
            self.reloads,
            self.samples.len()
        )
    }
}

fn network(number: u32) -> String {
    format!("203.0.{number}.0/24")
}

/// The slope of the line that fits best.
#[expect(clippy::cast_precision_loss, reason = "a count of samples")]
fn least_squares(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut products, mut squares) = (0.0, 0.0);
    for point in points {
        products += (point.0 - x) * (point.1 - y);
        squares += (point.0 - x).powi(2);
    }
    products / squares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_found_through_noise() {
        let points = [(0.0, 1.0), (1.0, 3.5), (2.0, 4.5), (3.0, 7.0)];
        assert!((least_squares(&points) - 1.9).abs() < 1e-9);
        assert!(least_squares(&[(0.0, 2.0), (1.0, 2.0)]).abs() < 1e-9);
    }
}
