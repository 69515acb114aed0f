//! What memory an engine takes, by its configuration, and whether that grows while everything comes and goes.

mod soak;
mod taken;

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;
use taken::Taken;
use xtask::lab::{Lab, Options, engine_config};

use crate::{
    engine::Engine,
    report::{Axis, Cell, Column, Line, Plot, Report, Scale, Table},
};

/// An idle tracked flow, in user space and in the kernel.
const FLOW_GOAL: f64 = 512.0;
/// Resident memory at the end of a soak, of that at half time: more is growth.
const GROWTH_GOAL: f64 = 1.02;
const MIB: f64 = 1_048_576.0;

/// A bound of the configuration, and values for it.
struct Bound {
    key: &'static str,
    values: [u32; 3],
    /// What one of it is called.
    one: &'static str,
}

const BOUNDS: [Bound; 3] = [
    Bound {
        key: "limits.max_flows",
        values: [1024, 65_536, 1_048_576],
        one: "flow",
    },
    Bound {
        key: "limits.max_blocks",
        values: [1024, 65_536, 1_048_576],
        one: "block",
    },
    Bound {
        key: "limits.frames_per_queue",
        values: [1024, 4096, 16_384],
        one: "UMEM frame",
    },
];

/// What engines with different values of a bound take at their start.
#[derive(Debug, Serialize)]
struct Starts {
    key: &'static str,
    one: &'static str,
    taken: Vec<(u32, Taken)>,
}

impl Starts {
    /// Bytes that one more takes, between the least and the greatest value.
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory, far below 2⁵²")]
    fn slope(&self, of: fn(&Taken) -> u64) -> f64 {
        let [(few, less), .., (many, more)] = &self.taken[..] else {
            return 0.0;
        };
        (of(more) as f64 - of(less) as f64) / f64::from(many - few)
    }
}

/// Runs the benchmark.
pub(crate) fn run(engine: &Path, soak: Duration) -> Result<Report> {
    let mut report = Report::new(
        "memory",
        "What an engine takes, by its configuration, and over a soak with churn",
    );
    let mut starts = Vec::new();
    for Bound { key, values, one } in BOUNDS {
        eprintln!("memory: {key}");
        let mut taken = Vec::new();
        for value in values {
            taken.push((value, at_start(engine, key, value)?));
        }
        starts.push(Starts { key, one, taken });
    }
    let soak = soak::run(engine, soak)?;
    for starts in &starts {
        report = report.with(plot(starts));
    }
    let of_a_flow = starts[0].slope(Taken::resident) + starts[0].slope(Taken::maps);
    let growth = soak.growth();
    report
        .with(table(&starts))
        .with(slopes(&starts))
        .goal(
            format!("at most {FLOW_GOAL} bytes for an idle flow, in user space and in the kernel"),
            Cell::from(of_a_flow).to_string(),
            of_a_flow <= FLOW_GOAL,
        )
        .goal(
            format!("no growth over a soak: resident memory in the last quarter at most {GROWTH_GOAL} of that in the second"),
            format!("{growth:.4}"),
            growth <= GROWTH_GOAL,
        )
        .with(soak.plot())
        .with(soak.table())
        .note(
            "resident memory without the UMEM's frames, which are locked; where the kernel does not tell of them (no XDP_SOCKETS_DIAG) they are \
             among the resident",
        )
        .note("maps as the kernel accounts for them, of a trie without inner nodes")
        .note(soak.description())
        .measured(&(starts, soak))
}

fn at_start(engine: &Path, key: &str, value: u32) -> Result<Taken> {
    let lab = Lab::start(&Options::default())?;
    let configuration = format!("{key} = {value}\n{}", engine_config::nginx_services());
    let engine = Engine::start(&lab, engine, &configuration)?;
    let taken = Taken::by(&engine)?;
    engine.stop()?;
    Ok(taken)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory, far below 2⁵²")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn columns(unit: &str) -> [Column; 3] {
    ["resident", "locked", "maps in the kernel"].map(|title| Column::less(title, unit))
}

fn table(starts: &[Starts]) -> Table {
    let mut table = Table::new("at the start", columns("MiB"));
    for Starts { key, taken, .. } in starts {
        for (value, taken) in taken {
            table.row(
                format!("{key} = {value}"),
                taken.all().map(|bytes| mib(bytes).into()),
            );
        }
    }
    table
}

fn slopes(starts: &[Starts]) -> Table {
    let mut table = Table::new("one more takes", columns("bytes"));
    for starts in starts {
        let slopes = [Taken::resident, Taken::locked, Taken::maps].map(|of| starts.slope(of).into());
        table.row(starts.one, slopes);
    }
    table
}

fn plot(starts: &Starts) -> Plot {
    let line = |name: &str, of: fn(&Taken) -> u64| Line {
        name: name.to_owned(),
        points: starts
            .taken
            .iter()
            .map(|(value, taken)| (f64::from(*value), mib(of(taken))))
            .collect(),
    };
    let axis = |title: &str| Axis {
        title: title.to_owned(),
        scale: Scale::Linear,
    };
    Plot {
        title: format!("memory over {}", starts.key),
        x: axis(starts.key),
        y: axis("MiB"),
        lines: vec![
            line("resident", Taken::resident),
            line("locked", Taken::locked),
            line("maps in the kernel", Taken::maps),
        ],
    }
}
