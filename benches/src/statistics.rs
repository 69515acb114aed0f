//! Median, spread and ratio of interleaved rounds.

use serde::Serialize;

/// A figure over several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The median.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Figure {
    /// The figure of these values, of which there is at least one.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }

    /// The ratio of neighbouring rounds: what drifts over a run drops out.
    pub(crate) fn of_ratios(numerators: &[f64], denominators: &[f64]) -> Self {
        Self::of(
            numerators
                .iter()
                .zip(denominators)
                .map(|(numerator, denominator)| numerator / denominator),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(
            Figure::of([3.0, 1.0, 2.0]),
            Figure {
                median: 2.0,
                min: 1.0,
                max: 3.0
            }
        );
        assert_eq!(
            Figure::of([4.0, 1.0]),
            Figure {
                median: 2.5,
                min: 1.0,
                max: 4.0
            }
        );
        let ratio = Figure::of_ratios(&[9.0, 16.0], &[10.0, 20.0]);
        assert!((ratio.max - 0.9).abs() < 1e-12 && (ratio.min - 0.8).abs() < 1e-12);
    }
}
