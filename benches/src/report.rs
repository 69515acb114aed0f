//! What a benchmark found, in one form for all: tables, plots, goals and notes. The terminal, the JSON file, the page and the
//! comparison with an earlier run are made of it.

mod html;
mod number;
mod plot;
mod svg;
mod table;
mod text;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

pub(crate) use html::page;
pub(crate) use plot::{Axis, Bars, Line, Plot, Scale};
pub(crate) use table::{Better, Cell, Column, Row, Table};

/// What one benchmark found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The benchmark's name on the command line.
    pub(crate) name: String,
    /// What is compared with what.
    pub(crate) title: String,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// What was to be compared and could not be had; said loudly.
    pub(crate) missing: Vec<String>,
    /// What was aimed at.
    pub(crate) goals: Vec<Goal>,
    /// Tables and plots, in the order of reading.
    pub(crate) parts: Vec<Part>,
    /// How it was measured, and what the figures do not say.
    pub(crate) notes: Vec<String>,
    /// Everything that was measured, each round of it, as the benchmark has it.
    pub(crate) measured: serde_json::Value,
}

/// One figure that was aimed at. Missing a goal is no failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Goal {
    /// What is measured, and the bound.
    pub(crate) wanted: String,
    /// What came out.
    pub(crate) measured: String,
    /// Whether that is within the bound.
    pub(crate) is_met: bool,
}

/// A part of a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Figures by row and column.
    Table(Table),
    /// Figures side by side. Only on the page.
    Bars(Bars),
    /// Lines over an axis. Only on the page.
    Plot(Plot),
}

impl Report {
    /// A report about this machine, now, without anything in it.
    pub(crate) fn new(name: &str, title: impl Into<String>) -> Self {
        Self::on(Machine::here(), name, title)
    }

    /// The same, about a machine as it was at the start.
    pub(crate) fn on(machine: Machine, name: &str, title: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            title: title.into(),
            machine,
            missing: Vec::new(),
            goals: Vec::new(),
            parts: Vec::new(),
            notes: Vec::new(),
            measured: serde_json::Value::Null,
        }
    }

    /// Adds a table or a plot.
    #[must_use]
    pub(crate) fn with(mut self, part: impl Into<Part>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// Adds a note.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds something that could not be had.
    #[must_use]
    pub(crate) fn missing(mut self, what: impl Into<String>) -> Self {
        self.missing.push(what.into());
        self
    }

    /// Adds a goal.
    #[must_use]
    pub(crate) fn goal(
        mut self,
        wanted: impl Into<String>,
        measured: impl Into<String>,
        is_met: bool,
    ) -> Self {
        self.goals.push(Goal {
            wanted: wanted.into(),
            measured: measured.into(),
            is_met,
        });
        self
    }

    /// Keeps everything that was measured.
    ///
    /// # Errors
    /// If it has no form in JSON.
    pub(crate) fn measured(mut self, measured: &impl Serialize) -> Result<Self> {
        self.measured = serde_json::to_value(measured)
            .with_context(|| format!("writing the figures of {}", self.name))?;
        Ok(self)
    }

    /// All tables.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.parts.iter().filter_map(|part| match part {
            Part::Table(table) => Some(table),
            Part::Bars(_) | Part::Plot(_) => None,
        })
    }
}

impl From<Table> for Part {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Bars> for Part {
    fn from(bars: Bars) -> Self {
        Self::Bars(bars)
    }
}

impl From<Plot> for Part {
    fn from(plot: Plot) -> Self {
        Self::Plot(plot)
    }
}
