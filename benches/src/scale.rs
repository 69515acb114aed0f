//! How costs grow: with blocks and flows up to a million of each, with services, with rules, and with the length of a body. Needs root.
//!
//! The program is loaded twice with maps of the same sizes: one has a thousand entries of each kind, the other more and more; both run
//! the same packets in turn.

mod blocks;
mod flows;
mod growth;
mod memory;
#[path = "../../filter-user/benches/engine_turn/traffic.rs"]
#[expect(dead_code, reason = "the benchmark of the loop uses more of it")]
pub(crate) mod traffic;
mod verdicts;

use anyhow::Result;
use blocks::Entered;
use flows::InUserSpace;
use growth::Growth;
use serde::Serialize;
use verdicts::{Beds, Verdict};

use crate::report::{Axis, Cell, Column, Line, Plot, Report, Scale, Table};

const MIB: f64 = 1_048_576.0;

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Measured {
    entered: Vec<Entered>,
    in_user_space: InUserSpace,
    verdicts: Vec<Verdict>,
    growths: Vec<Growth>,
}

/// Runs the benchmark.
pub(crate) fn run(quick: bool) -> Result<Report> {
    let (steps, asked, repeat) = if quick {
        (vec![1_000, 10_000], 500, 10_000)
    } else {
        (vec![1_000, 10_000, 100_000, 1_000_000], 50_000, 1_000_000)
    };
    let report = Report::new("scale", "How costs grow with what there is");
    let entries = steps.last().copied().unwrap_or(0);
    eprintln!("scale: {entries} idle flows through the loop");
    let in_user_space = flows::in_user_space(entries)?;
    let mut beds = Beds::new(entries)?;
    let (mut entered, mut verdicts, mut before) = (Vec::new(), Vec::new(), 0);
    for step in steps {
        eprintln!("scale: {step} blocks and flows of each kind");
        blocks::enter(&mut beds.full.tables, before..step, &mut entered)?;
        verdicts.extend(verdicts::compare(&mut beds, step, asked, repeat)?);
        before = step;
    }
    drop(beds);
    let growths = growth::measure(quick)?;
    let measured = Measured {
        entered,
        in_user_space,
        verdicts,
        growths,
    };
    measured.report(report, asked)
}

/// In a process of its own: prints what a loop with so many flows takes.
pub(crate) fn print_resident(flows: u32, capacity: u32) -> Result<()> {
    flows::print_resident(flows, capacity)
}

impl Measured {
    fn report(&self, report: Report, asked: u32) -> Result<Report> {
        let report = report
            .with(self.verdict_plot())
            .with(self.verdict_table())
            .with(self.entered_table())
            .with(self.growth_table());
        let report = self
            .growths
            .iter()
            .fold(report, |report, growth| report.with(growth.plot()));
        let InUserSpace { flows, empty, idle } = self.in_user_space;
        report
            .note(format!(
                "{flows} flows in the loop: {empty:.0} bytes a flow for the empty table, {idle:.0} with all idle in it, of which up to 32 MiB \
                 are evidence"
            ))
            .note(format!(
                "few: 1,000 entries; \"each source once\": as many sources as entries, {asked} at most, with a system call between, so that \
                 nothing is in a cache; all verdicts are the least of 5 rounds"
            ))
            .note("entries are made one system call each; a map for flows or sources is taken at its full size at the start, a trie grows")
            .measured(self)
    }

    fn verdict_table(&self) -> Table {
        let mut table = Table::new(
            "verdict",
            [
                Column::new("same packet, few", "ns"),
                Column::less("same packet, full", "ns"),
                Column::new("each source once, few", "ns"),
                Column::less("each source once, full", "ns"),
            ],
        );
        for verdict in &self.verdicts {
            let [few, few_once] = verdict.few;
            let [full, full_once] = verdict.full;
            table.row(
                format!("{}, {} entries", verdict.class, verdict.entries),
                [few, full, few_once, full_once].map(Cell::from),
            );
        }
        table
    }

    fn verdict_plot(&self) -> Plot {
        let mut lines: Vec<Line> = Vec::new();
        for verdict in &self.verdicts {
            let point = (f64::from(verdict.entries), verdict.full[0]);
            match lines.iter_mut().find(|line| line.name == verdict.class) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: verdict.class.to_owned(),
                    points: vec![point],
                }),
            }
        }
        Plot {
            title: "a verdict, the same packet, over the entries of each kind".to_owned(),
            x: axis("entries", Scale::Log),
            y: axis("ns", Scale::Linear),
            lines,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of memory, far below 2⁵²")]
    fn entered_table(&self) -> Table {
        let mut table = Table::new(
            "entered into the kernel's maps",
            [
                Column::new("entries", ""),
                Column::less("all", "s"),
                Column::less("each", "µs"),
                Column::less("map", "MiB"),
                Column::new("kernel's objects", "MiB"),
            ],
        );
        for entered in &self.entered {
            table.row(
                entered.name,
                [
                    f64::from(entered.entries),
                    entered.seconds,
                    entered.seconds * 1e6 / f64::from(entered.entries),
                    entered.map_bytes as f64 / MIB,
                    entered.kernel_bytes as f64 / MIB,
                ]
                .map(Cell::from),
            );
        }
        table
    }

    fn growth_table(&self) -> Table {
        let mut table = Table::new(
            "slopes",
            [
                Column::new("from", "ns"),
                Column::less("to", "ns"),
                Column::less("one more costs", "ns"),
            ],
        );
        for growth in &self.growths {
            let (first, last) = growth.ends();
            table.row(
                format!("{}, {} to {}", growth.of, first.0, last.0),
                [first.1.into(), last.1.into(), growth.slope().into()],
            );
        }
        table
    }
}

fn axis(title: &str, scale: Scale) -> Axis {
    Axis {
        title: title.to_owned(),
        scale,
    }
}
