//! Median, spread and ratio of interleaved rounds.

use serde::{Deserialize, Serialize};

/// A figure over several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

    /// The figure in another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            min: self.min * factor,
            max: self.max * factor,
        }
    }
}

/// How two candidates compare over pairs of neighbouring rounds: what drifts over a run drops out, and a round that
/// the machine spent elsewhere does not count for more than any other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// The median of the pairs' ratios.
    pub(crate) median: f64,
    /// The lower end of its 95 % confidence interval: an order statistic, whatever the distribution.
    pub(crate) low: f64,
    /// The upper end.
    pub(crate) high: f64,
}

impl Ratio {
    /// The ratio of these pairs, of which there is at least one.
    pub(crate) fn of(numerators: &[f64], denominators: &[f64]) -> Self {
        let pairs = numerators.iter().zip(denominators);
        let mut ratios: Vec<f64> = pairs
            .map(|(numerator, denominator)| numerator / denominator)
            .collect();
        let (low, high) = interval(&mut ratios);
        Self {
            median: Figure::of(ratios).median,
            low,
            high,
        }
    }
}

/// What one candidate has more than another, over pairs of neighbouring rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// The median of the pairs' differences.
    pub(crate) median: f64,
    /// The lower end of its 95 % confidence interval.
    pub(crate) low: f64,
    /// The upper end.
    pub(crate) high: f64,
}

impl Difference {
    /// The difference in another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            low: self.low * factor,
            high: self.high * factor,
        }
    }

    /// The difference of these pairs, of which there is at least one.
    pub(crate) fn of(values: &[f64], others: &[f64]) -> Self {
        let pairs = values.iter().zip(others);
        let mut differences: Vec<f64> = pairs.map(|(value, other)| value - other).collect();
        let (low, high) = interval(&mut differences);
        Self {
            median: Figure::of(differences).median,
            low,
            high,
        }
    }
}

/// The 95 % confidence interval of the median of these values, and sorts them.
fn interval(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    // How many of n values lie below the median is binomial: n/2 ± 1.96 · √n/2.
    let rank = (values.len() / 2).saturating_sub(values.len().isqrt()).max(1);
    (values[rank - 1], values[values.len() - rank])
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
    }

    #[test]
    fn differences_of_pairs() {
        let difference = Difference::of(&[3.0, 5.0, 4.0], &[1.0, 2.0, 5.0]);
        assert_eq!(
            difference,
            Difference {
                median: 2.0,
                low: -1.0,
                high: 3.0
            }
        );
    }

    #[test]
    fn ratios_of_pairs() {
        let few = Ratio::of(&[9.0, 16.0], &[10.0, 20.0]);
        for (value, expected) in [(few.median, 0.85), (few.low, 0.8), (few.high, 0.9)] {
            assert!((value - expected).abs() < 1e-12, "{few:?}");
        }
        // 1/100 to 100/100: ranks 40 and 61 of 100, as tables of the binomial distribution have it.
        let hundredths: Vec<f64> = (1..=100).map(f64::from).collect();
        let many = Ratio::of(&hundredths, &[100.0; 100]);
        for (value, expected) in [(many.median, 0.505), (many.low, 0.4), (many.high, 0.61)] {
            assert!((value - expected).abs() < 1e-12, "{many:?}");
        }
    }
}
