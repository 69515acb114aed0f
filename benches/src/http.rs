//! HTTP through labs on one machine, each with another gateway: the kernel's plain forwarding, and the engine in host and in bridge
//! mode, inspecting everything, what is suspicious, or nothing.
//!
//! Client, gateway, server and load generator share the machine's cores, so the closed loop says what the engine costs
//! on a saturated machine, not what it could do alone; the open loop says what it adds where there is room. The labs take turns
//! second by second, the order changing every time (A B C, C B A, …): neighbours ran under the same conditions, and drift in one
//! direction cancels out. Plain forwarding is there twice: how far it is from itself is the noise.
//!
//! A veth's native mode copies every packet into a page first, which drivers of NICs need not. One request is sent over and over, so
//! nearly all are known from the cache of clean requests, as is said beside the figures; `--no-cache` has each of them scored.

mod candidate;
mod closed;
mod open;

use std::path::Path;

use anyhow::{Context as _, Result};
use candidate::Site;
use serde::Serialize;
use xtask::lab::Nginx;

use crate::{machine::Machine, report::Report};

/// The result.
#[derive(Debug, Serialize)]
struct Comparisons {
    closed: Vec<closed::Comparison>,
    open: Vec<open::Comparison>,
}

/// Runs the benchmark.
pub(crate) fn run(engine: &Path, quick: bool, cache: bool) -> Result<Report> {
    let rounds: u32 = if quick { 2 } else { 12 };
    let machine = Machine::here();
    let candidates = &candidate::ALL;
    let labs = candidates
        .iter()
        .map(candidate::Candidate::lab)
        .collect::<Result<Vec<_>>>()?;
    let servers = labs.iter().map(Nginx::start).collect::<Result<Vec<_>>>()?;
    let mut sites = Vec::new();
    for ((candidate, lab), server) in candidates.iter().zip(&labs).zip(&servers) {
        let site = Site {
            candidate,
            lab,
            server,
            engine: candidate
                .engine(lab, engine, cache)
                .with_context(|| candidate.name)?,
        };
        site.rest()?;
        sites.push(site);
    }
    let seconds = rounds as usize * sites.len();
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for load in &closed::LOADS {
        eprintln!("http: closed loop for {}, about {seconds} s", load.path);
        closed.push(closed::compare(load, rounds, &sites)?);
    }
    for rate in open::RATES {
        eprintln!("http: open loop, {rate} requests/s, about {seconds} s");
        open.push(open::compare(rate, rounds, &sites)?);
    }
    sites.into_iter().try_for_each(Site::stop)?;
    Comparisons { closed, open }.report(machine)
}

/// Rounds of all sites in turn, forth and back.
fn in_turn<'a, 'b, T>(
    sites: &'a [Site<'b>],
    rounds: u32,
    mut round: impl FnMut(&'a Site<'b>) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = sites.iter().map(|_| Vec::new()).collect();
    for number in 0..rounds {
        let mut order: Vec<_> = (0..sites.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for site in order {
            results[site].push(sites[site].awake(|| round(&sites[site]))?);
        }
    }
    Ok(results)
}

impl Comparisons {
    fn report(&self, machine: Machine) -> Result<Report> {
        let mut report = Report::on(
            machine,
            "http",
            "HTTP through the lab, plain forwarding beside Portcullis",
        );
        for load in &self.closed {
            report = load.add_to(report);
        }
        for rate in &self.open {
            report = rate.add_to(report);
        }
        report
            .note("client, gateway, server and load generator share the machine's cores; nginx has the last one for itself")
            .note("CPU: threads of client, server and engine, with the soft interrupts that run in them, and ksoftirqd")
            .note("inspect = \"suspicious\" is with suspicious.soft_limit_rps = 0: the load has a single source")
            .measured(self)
    }
}
