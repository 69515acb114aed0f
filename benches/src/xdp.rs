//! Nanoseconds a packet of the XDP program by `BPF_PROG_TEST_RUN`, for the classes of verdicts, beside xdp-filter with all its features
//! on the same packet. Needs root.
//!
//! The kernel's figure is a mean over all repetitions in one call. For each class both programs take turns; where this one
//! drops, xdp-filter has the source on its list and drops too, otherwise it finds nothing and passes.

mod class;
mod peer;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use class::{CLASSES, Class};
use filter_common::Action;
use peer::XdpFilter;
use serde::Serialize;

use crate::{
    bed::Bed,
    machine::Machine,
    report::{Cell, Column, Report, Table},
    statistics::{Figure, Ratio},
};

/// `XDP_DROP`, `XDP_PASS`.
const DROP_OR_PASS: [u32; 2] = [1, 2];

/// What a class costs.
#[derive(Debug, Serialize)]
struct Cost {
    class: &'static str,
    /// Nanoseconds a packet, a figure a round.
    ns: Vec<f64>,
    /// The same of xdp-filter, if it is here.
    peer_ns: Vec<f64>,
}

/// Runs the benchmark.
pub(crate) fn run(quick: bool) -> Result<Report> {
    let (rounds, repeat) = if quick { (4, 20_000) } else { (30, 500_000) };
    let machine = Machine::here();
    let mut bed = Bed::new().context("loading the program (fix: run as root)")?;
    let mut report = Report::on(
        machine,
        "xdp",
        "Nanoseconds a packet by BPF_PROG_TEST_RUN, beside xdp-filter with all features on the same packet",
    );
    let peer = match XdpFilter::load() {
        Ok(peer) => Some(peer),
        Err(error) => {
            report = report.missing(format!("xdp-filter: {error:#}"));
            None
        }
    };
    eprintln!(
        "xdp: {rounds} rounds of {} classes, {repeat} runs each",
        CLASSES.len()
    );
    let mut costs = Vec::new();
    for class in &CLASSES {
        costs.push(measure(&mut bed, peer.as_ref(), class, rounds, repeat)?);
    }
    let table = table(&costs);
    let sizes = sizes(&bed, peer.as_ref())?;
    let ratios: Vec<_> = costs
        .iter()
        .filter_map(|cost| Some((cost.class, cost.ratio()?)))
        .collect();
    let above = ratios.iter().filter(|(_, ratio)| ratio.median >= 1.0).count();
    let worst = ratios.iter().max_by(|a, b| a.1.median.total_cmp(&b.1.median));
    if let Some((class, ratio)) = worst {
        report = report.goal(
            "every class below xdp-filter on the same packet",
            format!(
                "{above} of {} are not; the most is {:.2} ({:.2} … {:.2}): {class}",
                ratios.len(),
                ratio.median,
                ratio.low,
                ratio.high
            ),
            above == 0,
        );
    }
    report
        .with(table.bars("ns"))
        .with(table)
        .with(sizes)
        .note(format!("median (least … most) of {rounds} rounds of {repeat} runs; the ratio's interval is 95 %"))
        .note("a redirect's metadata are written in the first 15 runs of a call only: the kernel does not reset the area between runs")
        .note("xdp-filter neither parses TCP options or lengths, nor knows flows, prefixes, limits or services")
        .measured(&costs)
}

impl Cost {
    fn ratio(&self) -> Option<Ratio> {
        (!self.peer_ns.is_empty()).then(|| Ratio::of(&self.ns, &self.peer_ns))
    }
}

fn measure(bed: &mut Bed, peer: Option<&XdpFilter>, class: &Class, rounds: u32, repeat: u32) -> Result<Cost> {
    bed.reset();
    let packet = (class.arrange)(bed);
    let source = class::source(&packet).filter(|_| class.reason.action() == Action::Drop);
    let is_blocked = peer.zip(source);
    if let Some((peer, source)) = is_blocked {
        peer.block(source)?;
    }
    let mut cost = Cost {
        class: class.name,
        ns: Vec::new(),
        peer_ns: Vec::new(),
    };
    for round in 0..rounds {
        let mut ours = || -> Result<()> {
            let before = bed.tables.counters()?.get(class.reason);
            let (_, ns) = time(bed.xdp(), &packet, repeat)?;
            cost.ns.push(ns);
            let counted = bed.tables.counters()?.get(class.reason) - before;
            ensure!(
                counted == u64::from(repeat),
                "{}: only {counted} of {repeat} packets were counted as {}",
                class.name,
                class.reason.name()
            );
            Ok(())
        };
        if round % 2 == 0 {
            ours()?;
        }
        if let Some(peer) = peer {
            let (action, ns) = time(peer.program(), &packet, repeat)?;
            let expected = DROP_OR_PASS[usize::from(source.is_none())];
            ensure!(action == expected, "{}: xdp-filter did {action}", class.name);
            cost.peer_ns.push(ns);
        }
        if round % 2 == 1 {
            ours()?;
        }
    }
    if let Some((peer, source)) = is_blocked {
        peer.unblock(source)?;
    }
    Ok(cost)
}

/// What the program did, and nanoseconds a packet.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of one packet")]
fn time(program: &Xdp, packet: &[u8], repeat: u32) -> Result<(u32, f64)> {
    let options = TestRunOptions {
        data_in: Some(packet),
        repeat,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).context("running the program")?;
    Ok((result.return_value, result.duration.as_nanos() as f64))
}

fn table(costs: &[Cost]) -> Table {
    let mut table = Table::new(
        "verdict",
        [
            Column::less("portcullis", "ns"),
            Column::less("xdp-filter", "ns"),
            Column::less("ratio", ""),
        ],
    );
    for cost in costs {
        let peer = (!cost.peer_ns.is_empty()).then(|| Figure::of(cost.peer_ns.iter().copied()));
        table.row(
            cost.class,
            [
                Figure::of(cost.ns.iter().copied()).into(),
                peer.into(),
                cost.ratio().into(),
            ],
        );
    }
    table
}

fn sizes(bed: &Bed, peer: Option<&XdpFilter>) -> Result<Table> {
    let mut table = Table::new(
        "program",
        [
            Column::less("verified instructions", ""),
            Column::less("translated", "bytes"),
            Column::less("compiled", "bytes"),
        ],
    );
    let programs = [
        ("portcullis", Some(bed.xdp())),
        ("xdp-filter", peer.map(XdpFilter::program)),
    ];
    for (name, program) in programs {
        let Some(program) = program else { continue };
        let info = program.info().context("asking about the program")?;
        let figures = [
            info.verified_instruction_count(),
            info.size_translated(),
            Some(info.size_jitted()),
        ];
        table.row(name, figures.map(|figure| Cell::from(figure.map(f64::from))));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_gets_its_verdict_run_after_run() -> Result<()> {
        let Some(mut bed) = Bed::new() else { return Ok(()) };
        for class in &CLASSES {
            measure(&mut bed, None, class, 2, 100)?;
        }
        Ok(())
    }
}
