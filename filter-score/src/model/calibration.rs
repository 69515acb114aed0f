//! From logits to scores: a curve of knots, in integers.

use super::tree::LOGIT;

/// Knots of the curve.
pub(crate) const KNOTS: usize = LAST as usize + 1;
const LAST: u16 = 32;
/// Distance of two knots: one logit.
const STEP: i32 = LOGIT;
/// Where the curve begins; it is even before the first knot and after the last.
const FIRST: i32 = -STEP * LAST as i32 / 2;

/// Scores at equally spaced logits, in 1/65535; they never fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Curve(pub(crate) [u16; KNOTS]);

impl Curve {
    /// The logit of a knot, in logits.
    pub(crate) fn position(knot: usize) -> f64 {
        f64::from(FIRST) / f64::from(LOGIT) + f64::from(STEP) / f64::from(LOGIT) * f64::from(knot as u32)
    }

    pub(crate) fn is_monotone(&self) -> bool {
        self.0.is_sorted()
    }

    /// The score of a logit in 1/[`LOGIT`], in 1/65535.
    pub(crate) fn score(&self, logit: i32) -> u16 {
        let offset = logit
            .saturating_sub(FIRST)
            .clamp(0, STEP * i32::from(LAST))
            .cast_unsigned();
        let step = STEP.cast_unsigned();
        let knot = (offset / step) as usize;
        let Some(&next) = self.0.get(knot + 1) else {
            return self.0[knot];
        };
        let rise = u32::from(next.saturating_sub(self.0[knot])) * (offset % step) / step;
        self.0[knot] + rise as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_knots_and_is_even_outside() {
        let curve = Curve(std::array::from_fn(|knot| knot as u16 * 2000));
        assert_eq!(curve.score(i32::MIN), 0);
        assert_eq!(curve.score(FIRST), 0);
        assert_eq!(curve.score(FIRST + STEP / 2), 1000);
        assert_eq!(curve.score(0), 32_000);
        assert_eq!(curve.score(i32::MAX), 64_000);
        let scores: Vec<_> = (-20_000..20_000).map(|logit| curve.score(logit)).collect();
        assert!(scores.is_sorted() && curve.is_monotone());
        assert!((Curve::position(0) + Curve::position(KNOTS - 1)).abs() < 1e-9);
    }
}
