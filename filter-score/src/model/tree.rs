//! Stage two: a sum of small decision trees over integer features.
//!
//! A tree is complete and of fixed depth, its nodes in the order of a heap: the children of node `i` are `2i + 1`
//! and `2i + 2`. There are no indices that could point astray.

use super::feature::{FEATURES, Features};

/// Decisions on the way to a leaf.
pub(crate) const DEPTH: usize = 4;
pub(crate) const NODES: usize = (1 << DEPTH) - 1;
pub(crate) const LEAVES: usize = 1 << DEPTH;
/// Trees of an ensemble, at most.
pub(crate) const MAX_TREES: usize = 64;
/// Leaves are logits in units of this fraction.
pub(crate) const LOGIT: i32 = 1024;

/// Values above the threshold go right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Below [`FEATURES`].
    pub(crate) feature: u8,
    pub(crate) threshold: i16,
}

impl Node {
    /// Sends everything left.
    pub(crate) const PASS: Self = Self {
        feature: 0,
        threshold: i16::MAX,
    };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) nodes: [Node; NODES],
    pub(crate) leaves: [i16; LEAVES],
}

impl Tree {
    pub(crate) fn leaf(&self, features: &Features) -> usize {
        let mut at = 0;
        for _ in 0..DEPTH {
            let node = self.nodes[at];
            let right = features[usize::from(node.feature) % FEATURES] > node.threshold;
            at = 2 * at + 1 + usize::from(right);
        }
        at - NODES
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ensemble {
    /// The logit before any tree.
    pub(crate) base: i32,
    pub(crate) trees: Vec<Tree>,
}

impl Ensemble {
    /// The logit, in 1/[`LOGIT`].
    pub(crate) fn logit(&self, features: &Features) -> i32 {
        self.trees
            .iter()
            .map(|tree| i32::from(tree.leaves[tree.leaf(features)]))
            .fold(self.base, i32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_is_reached_and_counts() {
        let mut nodes = [Node::PASS; NODES];
        for (at, node) in nodes.iter_mut().enumerate() {
            *node = Node {
                feature: at as u8,
                threshold: 0,
            };
        }
        let tree = Tree {
            nodes,
            leaves: std::array::from_fn(|leaf| i16::from(leaf as u8)),
        };
        let mut reached = [false; LEAVES];
        for bits in 0..1u32 << NODES {
            let mut features = [0; FEATURES];
            for (at, feature) in features.iter_mut().take(NODES).enumerate() {
                *feature = (bits >> at & 1) as i16;
            }
            reached[tree.leaf(&features)] = true;
        }
        assert_eq!(reached, [true; LEAVES]);
        let ensemble = Ensemble {
            base: -100,
            trees: vec![tree.clone(), tree],
        };
        assert_eq!(ensemble.logit(&[0; FEATURES]), -100);
        assert_eq!(
            ensemble.logit(&[1; FEATURES]),
            -100 + 2 * i32::from(LEAVES as u8 - 1)
        );
    }
}
