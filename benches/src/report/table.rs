//! Tables: rows of figures under columns with units.

use serde::{Deserialize, Serialize};

use super::{Bars, number::number};
use crate::statistics::{Difference, Figure, Ratio};

/// A table. Its title, the names of its rows and the titles of its columns are what an earlier run is compared by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// The unit, or nothing.
    pub(crate) unit: String,
    /// Which way is an improvement; columns without one are not compared with earlier runs.
    pub(crate) better: Option<Better>,
}

/// Which way is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Less,
    More,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
}

/// What is in a row under a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cell {
    Empty,
    Text(String),
    /// A number, where it was measured several times with the ends of its spread, or of its confidence interval.
    Number {
        value: f64,
        range: Option<(f64, f64)>,
    },
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            title: title.into(),
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.resize(self.columns.len(), Cell::Empty);
        self.rows.push(Row {
            name: name.into(),
            cells,
        });
    }

    /// The columns of this unit as bars.
    pub(crate) fn bars(&self, unit: &str) -> Bars {
        let chosen: Vec<usize> = (0..self.columns.len())
            .filter(|column| self.columns[*column].unit == unit)
            .collect();
        let groups = self.rows.iter().map(|row| Row {
            name: row.name.clone(),
            cells: chosen.iter().map(|column| row.cells[*column].clone()).collect(),
        });
        Bars {
            title: self.title.clone(),
            unit: unit.to_owned(),
            series: chosen
                .iter()
                .map(|column| self.columns[*column].title.clone())
                .collect(),
            groups: groups.collect(),
        }
    }
}

impl Column {
    /// A column that is not compared with earlier runs.
    pub(crate) fn new(title: &str, unit: &str) -> Self {
        Self {
            title: title.to_owned(),
            unit: unit.to_owned(),
            better: None,
        }
    }

    /// A column in which less is better.
    pub(crate) fn less(title: &str, unit: &str) -> Self {
        Self {
            better: Some(Better::Less),
            ..Self::new(title, unit)
        }
    }

    /// A column in which more is better.
    pub(crate) fn more(title: &str, unit: &str) -> Self {
        Self {
            better: Some(Better::More),
            ..Self::new(title, unit)
        }
    }

    /// Title and unit.
    pub(super) fn heading(&self) -> String {
        if self.unit.is_empty() {
            return self.title.clone();
        }
        format!("{}, {}", self.title, self.unit)
    }
}

impl Cell {
    /// The number, if it is one.
    pub(crate) fn value(&self) -> Option<f64> {
        match self {
            Self::Number { value, .. } => Some(*value),
            Self::Empty | Self::Text(_) => None,
        }
    }

    /// The number and the ends of its spread.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        match self {
            Self::Number { value, range } => Some(range.unwrap_or((*value, *value))),
            Self::Empty | Self::Text(_) => None,
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Number { value, range: None } => f.write_str(&number(*value)),
            Self::Number {
                value,
                range: Some((low, high)),
            } => write!(f, "{} ({} … {})", number(*value), number(*low), number(*high)),
        }
    }
}

impl From<f64> for Cell {
    /// What is no number, as a share of nothing, is an empty cell.
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Self::Number { value, range: None }
        } else {
            Self::Empty
        }
    }
}

impl From<u64> for Cell {
    #[expect(clippy::cast_precision_loss, reason = "counts and bytes, far below 2⁵²")]
    fn from(value: u64) -> Self {
        Self::from(value as f64)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        spread(figure.median, figure.min, figure.max)
    }
}

impl From<Ratio> for Cell {
    fn from(ratio: Ratio) -> Self {
        spread(ratio.median, ratio.low, ratio.high)
    }
}

impl From<Difference> for Cell {
    fn from(difference: Difference) -> Self {
        spread(difference.median, difference.low, difference.high)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

fn spread(value: f64, low: f64, high: f64) -> Cell {
    if [value, low, high].iter().all(|end| end.is_finite()) {
        Cell::Number {
            value,
            range: Some((low, high)),
        }
    } else {
        Cell::Empty
    }
}
