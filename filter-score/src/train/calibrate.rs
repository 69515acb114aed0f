//! From the logits of held-out folds to scores and thresholds.
//!
//! The curve is logistic, as Platt's (1999), but laid through two points instead of fitted: how common attacks are
//! differs from site to site, and nothing in the data tells, so that a fitted probability would be one of this data
//! alone. The scores that block and that are suspicious by default stand for rates of false positives instead.

use super::boosting::logit;
use super::sigmoid::sigmoid;
use crate::model::CERTAIN;
use crate::model::calibration::{Curve, KNOTS};
use crate::model::tree::LOGIT;

/// The score that blocks by default.
const BLOCK: f64 = 0.7;
/// The score that is suspicious by default.
const SUSPICIOUS: f64 = 0.4;
/// Scores below this are nothing: what scores nothing is clean, and clean requests are remembered.
const NOISE: f64 = 0.02;

/// The least logit that at most `allowed` of the benign records reach.
pub(super) fn threshold(mut logits: Vec<i32>, allowed: usize) -> i32 {
    logits.sort_unstable_by(|a, b| b.cmp(a));
    logits.get(allowed).map_or(i32::MIN / 2, |logit| logit + 1)
}

/// Where little data tell nothing, a block needs odds of seven to one, and a suspicion even ones.
const LEAST_BLOCK: i32 = 2 * LOGIT;
const LEAST_SUSPICIOUS: i32 = 0;

/// The curve through [`SUSPICIOUS`] and [`BLOCK`] at these logits; not much flatter or steeper than the logits are.
pub(super) fn curve(block: i32, suspicious: i32) -> Curve {
    let (block, suspicious) = (block.max(LEAST_BLOCK), suspicious.max(LEAST_SUSPICIOUS));
    let position = |logit: i32| f64::from(logit) / f64::from(LOGIT);
    let distance = f64::max(position(block) - position(suspicious), 1e-3);
    let slope = ((logit(BLOCK) - logit(SUSPICIOUS)) / distance).clamp(0.25, 2.0);
    let mut knots = [0; KNOTS];
    for (at, knot) in knots.iter_mut().enumerate() {
        let score = sigmoid(slope * (Curve::position(at) - position(block)) + logit(BLOCK));
        if score >= NOISE {
            *knot = (score * f64::from(CERTAIN)).round() as u16;
        }
    }
    Curve(knots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_reach_the_threshold_than_are_allowed() {
        let logits = vec![5, 9, 9, 1, 7];
        for allowed in 0..6 {
            let threshold = threshold(logits.clone(), allowed);
            assert!(logits.iter().filter(|logit| **logit >= threshold).count() <= allowed);
        }
        assert_eq!(threshold(logits, 1), 10);
    }

    #[test]
    fn the_curve_blocks_at_the_threshold() {
        for block in [2100, 3000, 9000] {
            let curve = curve(block, block - 1500);
            assert!(curve.is_monotone());
            let score = f64::from(curve.score(block)) / f64::from(CERTAIN);
            assert!((score - BLOCK).abs() < 0.03, "{score} at {block}");
            let score = f64::from(curve.score(block - 1500)) / f64::from(CERTAIN);
            assert!((score - SUSPICIOUS).abs() < 0.03, "{score} below {block}");
        }
    }
}
