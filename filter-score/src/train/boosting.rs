//! Stage two: gradient boosting of small trees with histograms (Friedman 2001; second-order steps as in `XGBoost`,
//! Chen and Guestrin, KDD 2016).

use super::sigmoid::sigmoid;
use crate::model::feature::{FEATURES, Features};
use crate::model::tree::{DEPTH, Ensemble, LEAVES, LOGIT, NODES, Node, Tree};

const TREES: usize = 48;
/// Share of a step that is taken.
const RATE: f64 = 0.2;
/// L2 regularisation of the leaves, and the weight (second derivative) that a child must have: strong, because held-out
/// sites differ from the others more than their number of fields lets one think.
const CAUTION: f64 = 50.0;
/// With little data, this share of its weight instead.
const CAUTIOUS_SHARE: f64 = 0.001;
/// Thresholds that are tried for a feature.
const BINS: usize = 48;
/// Sums of one node: for each feature, for each bin, the gradients and their weights.
const HISTOGRAM: usize = FEATURES * (BINS + 1);

/// One row of what the trees learn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) features: Features,
    pub(super) attack: bool,
    pub(super) weight: f64,
}

/// Fits an ensemble. Rows are summed in their order: the result is the same to the bit.
pub(super) fn fit(rows: &[Row]) -> Ensemble {
    let thresholds: Vec<Vec<i16>> = (0..FEATURES).map(|feature| thresholds(rows, feature)).collect();
    // Which bin each row falls in: thresholds below its value.
    let bins: Vec<[u8; FEATURES]> = rows
        .iter()
        .map(|row| {
            std::array::from_fn(|feature| {
                thresholds[feature].partition_point(|t| *t < row.features[feature]) as u8
            })
        })
        .collect();
    let (attacks, all) = rows.iter().fold((0.0, 0.0), |(attacks, all), row| {
        (
            attacks + if row.attack { row.weight } else { 0.0 },
            all + row.weight,
        )
    });
    // Sixteen logits are more than there is evidence for.
    let caution = f64::min(CAUTION, all * CAUTIOUS_SHARE);
    let base = logit((attacks / f64::max(all, 1e-9)).clamp(1e-6, 1.0 - 1e-6));
    let mut ensemble = Ensemble {
        base: quantise(base),
        trees: Vec::new(),
    };
    let mut logits = vec![f64::from(ensemble.base) / f64::from(LOGIT); rows.len()];
    for _ in 0..TREES {
        let gradients: Vec<(f64, f64)> = rows
            .iter()
            .zip(&logits)
            .map(|(row, logit)| {
                let predicted = sigmoid(*logit);
                let target = if row.attack { 1.0 } else { 0.0 };
                (
                    (predicted - target) * row.weight,
                    predicted * (1.0 - predicted) * row.weight,
                )
            })
            .collect();
        let tree = grow(&thresholds, &bins, &gradients, caution);
        if tree.leaves == [0; LEAVES] {
            break;
        }
        for (logit, row) in logits.iter_mut().zip(rows) {
            *logit += f64::from(tree.leaves[tree.leaf(&row.features)]) / f64::from(LOGIT);
        }
        ensemble.trees.push(tree);
    }
    ensemble
}

/// ln(p / (1 - p)), by bisection of its inverse.
pub(super) fn logit(p: f64) -> f64 {
    let (mut low, mut high) = (-16.0, 16.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if sigmoid(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn quantise(logit: f64) -> i32 {
    (logit * f64::from(LOGIT)).round() as i32
}

/// Values that cut a feature's rows into parts of about the same size, and its distinct values too: most rows share
/// the lowest value of most features, and what tells is in the rest.
fn thresholds(rows: &[Row], feature: usize) -> Vec<i16> {
    let mut values: Vec<i16> = rows.iter().map(|row| row.features[feature]).collect();
    values.sort_unstable();
    let cut = |values: &[i16]| -> Vec<i16> {
        const PARTS: usize = BINS / 2 + 1;
        (1..PARTS)
            .filter_map(|part| values.get(part * values.len() / PARTS).copied())
            .collect()
    };
    let mut cuts = cut(&values);
    values.dedup();
    cuts.extend(cut(&values));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn grow(thresholds: &[Vec<i16>], bins: &[[u8; FEATURES]], gradients: &[(f64, f64)], caution: f64) -> Tree {
    let mut tree = Tree {
        nodes: [Node::PASS; NODES],
        leaves: [0; LEAVES],
    };
    let mut at = vec![0usize; bins.len()];
    // For each node the feature and the bin above which rows go right.
    let mut splits: [Option<(usize, u8)>; NODES] = [None; NODES];
    for depth in 0..DEPTH {
        let first = (1 << depth) - 1;
        let count = 1 << depth;
        let mut histograms = vec![(0.0, 0.0); count * HISTOGRAM];
        for (row, node) in at.iter().enumerate() {
            let histogram = &mut histograms[(node - first) * HISTOGRAM..];
            let (gradient, weight) = gradients[row];
            for (bins, bin) in histogram.chunks_exact_mut(BINS + 1).zip(bins[row]) {
                let sum = &mut bins[usize::from(bin)];
                sum.0 += gradient;
                sum.1 += weight;
            }
        }
        for (node, histogram) in histograms.chunks_exact(HISTOGRAM).enumerate() {
            if let Some((feature, bin)) = best_split(histogram, thresholds, caution) {
                splits[first + node] = Some((feature, bin));
                tree.nodes[first + node] = Node {
                    feature: feature as u8,
                    threshold: thresholds[feature][usize::from(bin)],
                };
            }
        }
        for (row, node) in at.iter_mut().enumerate() {
            let right = splits[*node].is_some_and(|(feature, bin)| bins[row][feature] > bin);
            *node = 2 * *node + 1 + usize::from(right);
        }
    }
    let mut sums = [(0.0, 0.0); LEAVES];
    for (row, leaf) in at.iter().enumerate() {
        let sum: &mut (f64, f64) = &mut sums[leaf - NODES];
        sum.0 += gradients[row].0;
        sum.1 += gradients[row].1;
    }
    for (leaf, (gradient, weight)) in tree.leaves.iter_mut().zip(sums) {
        let step = quantise(-RATE * gradient / (weight + caution));
        *leaf = step.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }
    tree
}

/// The feature, and the bin up to which rows go left; the first of equals.
fn best_split(histogram: &[(f64, f64)], thresholds: &[Vec<i16>], caution: f64) -> Option<(usize, u8)> {
    let quality = |(gradient, weight): (f64, f64)| gradient * gradient / (weight + caution);
    let mut best = (1e-6, None);
    for (feature, bins) in histogram.chunks_exact(BINS + 1).enumerate() {
        let all = bins
            .iter()
            .fold((0.0, 0.0), |all, bin| (all.0 + bin.0, all.1 + bin.1));
        let mut left = (0.0, 0.0);
        for (bin, sum) in bins.iter().enumerate().take(thresholds[feature].len()) {
            left = (left.0 + sum.0, left.1 + sum.1);
            let right = (all.0 - left.0, all.1 - left.1);
            if left.1 < caution || right.1 < caution {
                continue;
            }
            let gain = quality(left) + quality(right) - quality(all);
            if gain > best.0 {
                best = (gain, Some((feature, bin as u8)));
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_what_one_feature_cannot_tell() {
        // Attack if exactly one of two features is set: no single split helps.
        let rows: Vec<Row> = (0..4000)
            .map(|row| {
                let mut features = [0; FEATURES];
                features[3] = row % 2;
                features[7] = row / 2 % 2;
                features[9] = row % 7;
                Row {
                    features,
                    attack: (features[3] ^ features[7]) == 1,
                    // Not balanced, or the first split would have no gain at all.
                    weight: if row % 4 == 0 { 1.3 } else { 1.0 },
                }
            })
            .collect();
        let ensemble = fit(&rows);
        for row in &rows {
            assert_eq!(
                ensemble.logit(&row.features) > 0,
                row.attack,
                "{:?}",
                row.features
            );
        }
        assert_eq!(fit(&rows), ensemble);
    }

    #[test]
    fn nothing_to_learn_is_no_panic() {
        assert!(fit(&[]).trees.is_empty());
        let row = Row {
            features: [0; FEATURES],
            attack: true,
            weight: 1.0,
        };
        fit(&[row; 10]);
        assert!((logit(0.7) - 0.847_297_860_387).abs() < 1e-9);
    }
}
