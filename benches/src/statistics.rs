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
}

/// How two candidates compare over pairs of neighbouring rounds: what drifts over a run drops out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// The median of the pairs' ratios.
    pub(crate) median: f64,
    /// Their geometric mean.
    pub(crate) mean: f64,
    /// The mean's 95 % confidence interval (normal approximation on logarithms): its lower end.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
}

impl Ratio {
    /// The ratio of these pairs, of which there are at least two.
    pub(crate) fn of(numerators: &[f64], denominators: &[f64]) -> Self {
        let ratios = numerators
            .iter()
            .zip(denominators)
            .map(|(numerator, denominator)| numerator / denominator);
        let logarithms: Vec<f64> = ratios.clone().map(f64::ln).collect();
        let count = f64::from(u32::try_from(logarithms.len()).unwrap_or(u32::MAX));
        let mean = logarithms.iter().sum::<f64>() / count;
        let variance = logarithms.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let margin = 1.96 * (variance / count).sqrt();
        Self {
            median: Figure::of(ratios).median,
            mean: mean.exp(),
            low: (mean - margin).exp(),
            high: (mean + margin).exp(),
        }
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
    }

    #[test]
    fn ratios_of_pairs() {
        let even = Ratio::of(&[9.0, 18.0], &[10.0, 20.0]);
        for value in [even.median, even.mean, even.low, even.high] {
            assert!((value - 0.9).abs() < 1e-12, "{even:?}");
        }
        // Twice and half as fast: no difference in the mean, and a wide interval around it.
        let wide = Ratio::of(&[2.0, 1.0], &[1.0, 2.0]);
        assert!(
            (wide.mean - 1.0).abs() < 1e-12 && wide.low < 0.5 && wide.high > 2.0,
            "{wide:?}"
        );
    }
}
