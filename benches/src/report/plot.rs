//! Plots: bars side by side, and lines over an axis.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Row;

/// Groups of bars, one bar a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) series: Vec<String>,
    /// As many cells in each as there are series.
    pub(crate) groups: Vec<Row>,
}

/// Lines over an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// What is along an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Axis {
    /// Name and unit.
    pub(crate) title: String,
    pub(crate) scale: Scale,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scale {
    Linear,
    Log,
    /// Percentiles, 0..100: each nine takes as much room, as in the plots of `HdrHistogram`.
    Percentile,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// Percentiles of what was recorded, one line a histogram; `unit` is that of a recorded value times `scale`.
    pub(crate) fn percentiles<'a>(
        title: &str,
        unit: &str,
        scale: f64,
        recorded: impl IntoIterator<Item = (&'a str, &'a Histogram<u64>)>,
    ) -> Self {
        let lines = recorded
            .into_iter()
            .map(|(name, histogram)| Line::percentiles(name, scale, histogram));
        Self {
            title: title.to_owned(),
            x: Axis {
                title: "percentile".to_owned(),
                scale: Scale::Percentile,
            },
            y: Axis {
                title: unit.to_owned(),
                scale: Scale::Log,
            },
            lines: lines.collect(),
        }
    }
}

impl Line {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds, far below 2⁵²")]
    fn percentiles(name: &str, scale: f64, histogram: &Histogram<u64>) -> Self {
        let points = histogram
            .iter_quantiles(5)
            .map(|step| {
                (
                    step.quantile_iterated_to() * 100.0,
                    step.value_iterated_to() as f64 * scale,
                )
            })
            .filter(|(percentile, value)| *percentile < 100.0 && *value > 0.0);
        Self {
            name: name.to_owned(),
            points: points.collect(),
        }
    }
}
