//! What came out of it.

use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;
use xtask::lab::Visits;

use super::Round;
use crate::{
    machine::Machine,
    report::{self, Cell, Column, Table},
    statistics::Figure,
};

/// Who is connected to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    Nobody,
    Unrelated,
    Engine,
}

impl Condition {
    pub(super) const ALL: [Self; 3] = [Self::Nobody, Self::Unrelated, Self::Engine];
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nobody => "nobody",
            Self::Unrelated => "an unrelated server",
            Self::Engine => "the engine",
        })
    }
}

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) settings: Vec<&'static str>,
    pub(super) clients: usize,
    pub(super) deaf: usize,
    /// Requests a second, and of how many one is an attack.
    pub(super) rate: u32,
    pub(super) attacks: u32,
    /// Seconds of a round.
    pub(super) seconds: u32,
    pub(super) rounds: u32,
    /// Bytes of a message, the mean.
    pub(super) message_bytes: usize,
    pub(super) rows: Vec<Row>,
    pub(super) memory: Memory,
}

/// A condition over all rounds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    connected_to: Condition,
    requests: u32,
    lost: u32,
    p50_s: Figure,
    p99_s: Figure,
    max_s: f64,
    /// Medians over the rounds of what the same round takes more than with nobody connected.
    added_p50_s: f64,
    added_p99_s: f64,
    /// Messages a second that all who read got together.
    messages_per_s: f64,
    /// Messages that a client which did not read was told it has lost, the mean; of the engine's clients.
    lost_by_deaf: f64,
}

/// The engine's resident memory, bytes.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// Before anybody was connected.
    pub(super) before: u64,
    /// The most with all clients connected, at the end of a round.
    pub(super) listening: u64,
    /// When all had gone.
    pub(super) after: u64,
    /// What it may have been with them.
    pub(super) bound: u64,
}

/// The rows of the rounds of all conditions, in their order.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(super) fn rows(results: &[Vec<Round>; 3], seconds: f64) -> Vec<Row> {
    let quantile = |rounds: &[Round], percent| -> Vec<f64> {
        let of = |round: &Round| round.visits.percentile(percent).as_secs_f64();
        rounds.iter().map(of).collect()
    };
    let alone = [50, 99].map(|percent| quantile(&results[0], percent));
    let rows = Condition::ALL
        .into_iter()
        .zip(results)
        .map(|(connected_to, rounds)| {
            let [p50, p99] = [50, 99].map(|percent| quantile(rounds, percent));
            let added = |with: &[f64], without: &[f64]| {
                Figure::of(with.iter().zip(without).map(|(with, without)| with - without)).median
            };
            let mut all = Visits::default();
            for round in rounds {
                all.add(&round.visits);
            }
            let heard = || rounds.iter().flat_map(|round| &round.heard);
            let read: u64 = heard()
                .filter(|heard| !heard.deaf)
                .map(|heard| heard.messages)
                .sum();
            let deaf = heard().filter(|heard| heard.deaf);
            let (lost, count) = deaf.fold((0, 0), |(lost, count), heard| (lost + heard.lost, count + 1));
            Row {
                connected_to,
                requests: all.latencies.len() as u32 + all.caught + all.lost(),
                lost: all.lost(),
                max_s: all.percentile(100).as_secs_f64(),
                added_p50_s: added(&p50, &alone[0]),
                added_p99_s: added(&p99, &alone[1]),
                p50_s: Figure::of(p50),
                p99_s: Figure::of(p99),
                messages_per_s: read as f64 / seconds / rounds.len() as f64,
                lost_by_deaf: lost as f64 / f64::from(count.max(1u32)),
            }
        });
    rows.collect()
}

impl Report {
    /// Time is not looked at.
    pub(super) fn check(&self) -> Result<()> {
        let lost: u32 = self.rows.iter().map(|row| row.lost).sum();
        ensure!(lost == 0, "{lost} requests were lost");
        let Memory { listening, bound, .. } = self.memory;
        ensure!(
            listening <= bound,
            "the engine took {listening} bytes, more than {bound}"
        );
        Ok(())
    }
}

impl Report {
    fn table(&self) -> Table {
        let mut table = Table::new(
            format!(
                "requests at {} a second, one of {} an attack, while {} listen, {} of them without reading",
                self.rate, self.attacks, self.clients, self.deaf
            ),
            [
                Column::new("requests", ""),
                Column::less("lost", ""),
                Column::less("p50", "ms"),
                Column::less("p99", "ms"),
                Column::new("max", "ms"),
                Column::new("p50 added", "ms"),
                Column::new("p99 added", "ms"),
                Column::new("messages", "a second"),
                Column::new("lost by each deaf", ""),
            ],
        );
        for row in &self.rows {
            let ms = |seconds: f64| seconds * 1e3;
            let figure = |figure: Figure| Figure {
                median: ms(figure.median),
                min: ms(figure.min),
                max: ms(figure.max),
            };
            table.row(
                row.connected_to.to_string(),
                [
                    Cell::from(f64::from(row.requests)),
                    Cell::from(f64::from(row.lost)),
                    Cell::from(figure(row.p50_s)),
                    Cell::from(figure(row.p99_s)),
                    Cell::from(ms(row.max_s)),
                    Cell::from(ms(row.added_p50_s)),
                    Cell::from(ms(row.added_p99_s)),
                    Cell::from(row.messages_per_s),
                    Cell::from(row.lost_by_deaf),
                ],
            );
        }
        table
    }

    /// In the form of all reports.
    pub(super) fn report(self) -> Result<report::Report> {
        let mebibytes = |bytes: u64| bytes >> 20;
        let Memory {
            before,
            listening,
            after,
            bound,
        } = self.memory;
        let title = "A good client while many listen to what the engine does";
        let mut report = report::Report::on(self.machine.clone(), "listeners", title)
            .with(self.table())
            .note(format!(
                "{} rounds of {} s; a message has {} bytes; clients, load, engine and server share the machine",
                self.rounds, self.seconds, self.message_bytes
            ))
            .note(format!(
                "the engine's memory: {} MiB before, at most {} MiB with them, {} MiB after; bound {} MiB",
                mebibytes(before),
                mebibytes(listening),
                mebibytes(after),
                mebibytes(bound)
            ));
        report.measured = serde_json::to_value(&self)?;
        Ok(report)
    }
}
