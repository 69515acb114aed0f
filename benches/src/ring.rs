//! One queue's real rings: what the engine's loop takes out of them, scores and forwards, beside a loop on the same rings that does
//! nothing else. Needs root.
//!
//! Frames of 250-byte GETs of some hundred flows, with advancing sequence numbers, come from a packet socket on the other end of the
//! cable. They are put into the ring while no loop runs; then one empties it, and the CPU time of its thread is taken, in which is
//! what the kernel does to send a frame. So a slow sender makes no loop look as fast as another, and nothing is lost. What is
//! forwarded is counted on the other side.

mod sender;
mod site;

use std::time::Duration;

use anyhow::{Context as _, Result};
use filter_user::bpf::XdpMode;
use serde::Serialize;
use site::{Loop, Site};

use crate::{
    report::{Cell, Column, Report, Table},
    statistics::{Figure, Ratio},
};

const RATIO_GOAL: f64 = 0.7;
const RATE_GOAL: f64 = 100_000.0;

/// The program's mode, and how many requests the scorer remembers.
const VARIANTS: [(XdpMode, usize); 3] = [
    (XdpMode::Generic, 0),
    (XdpMode::Native, 0),
    (XdpMode::Generic, 16_384),
];

/// Packets a second, a figure a round.
#[derive(Debug, Serialize)]
struct Rates {
    variant: String,
    scores: bool,
    name: &'static str,
    received: Vec<f64>,
    /// At the other side.
    forwarded: Vec<f64>,
    /// Received, with the time of sender and XDP program as well.
    whole: Vec<f64>,
}

/// Runs the benchmark.
pub(crate) fn run(quick: bool) -> Result<Report> {
    let (rounds, length) = if quick {
        (3, Duration::from_millis(300))
    } else {
        (20, Duration::from_secs(1))
    };
    let mut report = Report::new(
        "ring",
        "Packets a second through the rings of one queue, the engine's loop beside one that does nothing else",
    );
    let mut all = Vec::new();
    for (mode, memory) in VARIANTS {
        let variant = if memory == 0 {
            format!("{mode} XDP, every byte scored")
        } else {
            format!("{mode} XDP, requests known as clean")
        };
        eprintln!("ring: {variant}, {rounds} rounds of {} loops", Loop::ALL.len());
        let mut rates = Loop::ALL.map(|each| Rates {
            variant: variant.clone(),
            scores: memory == 0,
            name: each.name(),
            received: Vec::new(),
            forwarded: Vec::new(),
            whole: Vec::new(),
        });
        Site::with(mode, memory, |site| {
            for round in 0..rounds {
                let mut order: Vec<usize> = (0..Loop::ALL.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for index in order {
                    let flow = site.round(Loop::ALL[index], length)?;
                    rates[index].received.push(flow.received);
                    rates[index].forwarded.push(flow.forwarded);
                    rates[index].whole.push(flow.whole);
                }
            }
            Ok(())
        })
        .with_context(|| variant.clone())?;
        all.push(rates);
    }
    for [_, bare, engine] in &all {
        let ratio = Ratio::of(&engine.forwarded, &bare.forwarded);
        let rate = Figure::of(engine.forwarded.iter().copied());
        report = report
            .goal(
                format!("{}: at least {RATIO_GOAL} of the bare loop", engine.variant),
                Cell::from(ratio).to_string(),
                ratio.median >= RATIO_GOAL,
            )
            .goal(
                format!("{}: at least {RATE_GOAL} requests/s", engine.variant),
                Cell::from(rate).to_string(),
                rate.median >= RATE_GOAL,
            );
    }
    let table = table(&all);
    let mut bars = table.bars("packets/s");
    // What is only received is received so fast that nothing else could be seen beside it.
    bars.series.remove(0);
    for group in &mut bars.groups {
        group.cells.remove(0);
    }
    report
        .with(bars)
        .with(table)
        .note(format!(
            "requests of {} bytes, each in a packet of its own, on {} flows; {rounds} rounds of {:.1} s in turn, order reversed every time",
            sender::REQUEST,
            sender::FLOWS,
            length.as_secs_f64()
        ))
        .note("the bare loop receives, forwards and flushes through the same rings (xsk-rs) and looks at no byte")
        .note(format!(
            "packets a second of the loop's CPU time, with {} frames in the ring at the start; what the kernel does to send a frame is in \
             it, what XDP does to receive one is not, and the frame is still in the core's cache",
            sender::FILL
        ))
        .measured(&all)
}

fn table(all: &[[Rates; 3]]) -> Table {
    let mut table = Table::new(
        "loop",
        [
            Column::more("received", "packets/s"),
            Column::more("forwarded", "packets/s"),
            Column::more("of the bare loop (95 %)", ""),
            Column::more("with sender and XDP", "packets/s"),
            Column::more("of the bare loop then (95 %)", ""),
        ],
    );
    for rates in all {
        for each in rates {
            let figure = |values: &[f64]| Cell::from(Figure::of(values.iter().copied()));
            let is_engine = each.name == Loop::Engine.name();
            let ratio = is_engine.then(|| Ratio::of(&each.forwarded, &rates[1].forwarded));
            let whole_ratio = is_engine.then(|| Ratio::of(&each.whole, &rates[1].whole));
            let forwards = each.name != Loop::Receive.name();
            table.row(
                format!("{}: {}", each.variant, each.name),
                [
                    figure(&each.received),
                    if forwards {
                        figure(&each.forwarded)
                    } else {
                        Cell::Empty
                    },
                    ratio.into(),
                    figure(&each.whole),
                    whole_ratio.into(),
                ],
            );
        }
    }
    table
}
