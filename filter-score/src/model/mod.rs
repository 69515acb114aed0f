//! The learned model: n-grams first, small trees where those are in doubt.
//!
//! ```text
//! field ─► gate ─► linear (n-grams) ─ below the floor ─► nothing
//!                                   └─ from the floor on ─► features ─► trees ─► calibration ─► score
//! ```
//!
//! All of it is integer arithmetic: a model says the same on every machine.

mod alphabet;
pub(crate) mod calibration;
mod explanation;
pub(crate) mod feature;
mod format;
mod gate;
pub(crate) mod linear;
mod suspicion;
pub(crate) mod tree;

use std::fmt;

use calibration::Curve;
use feature::Features;
use linear::Linear;
use tree::Ensemble;

pub use explanation::{Contribution, Inference, OwnedContribution, OwnedInference};
pub use format::ModelError;

pub(crate) use feature::{Context, FamilySet};
pub(crate) use gate::interesting;
pub(crate) use suspicion::{CERTAIN, Suspicion};

/// A trained model: immutable, meant to be shared by `Arc` between threads. About 110 KiB.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) linear: Linear,
    /// Logits of one unit of a weight.
    pub(crate) scale: f32,
    /// Best runs below this say nothing; always positive.
    pub(crate) floor: i32,
    pub(crate) ensemble: Ensemble,
    pub(crate) curve: Curve,
    training: Training,
    checksum: u64,
}

/// What a model was trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// Of everything that was drawn at random.
    pub seed: u64,
    /// Benign requests.
    pub requests: u32,
    /// Benign values.
    pub values: u32,
    /// Attack payloads.
    pub payloads: u32,
    /// Payloads in other clothes.
    pub augmented: u32,
}

impl Model {
    pub(crate) fn new(
        linear: Linear,
        scale: f32,
        floor: i32,
        ensemble: Ensemble,
        curve: Curve,
        training: Training,
    ) -> Self {
        let mut model = Self {
            linear,
            scale,
            floor,
            ensemble,
            curve,
            training,
            checksum: 0,
        };
        let bytes = model.to_bytes();
        model.checksum = format::crc64(&bytes[..bytes.len() - 8]);
        model
    }

    /// The model that travels inside the binary.
    pub fn builtin() -> Result<Self, ModelError> {
        Self::from_bytes(include_bytes!("../../../rules/model.bin"))
    }

    /// Names the model: its checksum. Equal models have equal versions.
    #[must_use]
    pub fn version(&self) -> impl fmt::Display + use<> {
        struct Hexadecimal(u64);
        impl fmt::Display for Hexadecimal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
        Hexadecimal(self.checksum)
    }

    /// What it was trained on.
    #[must_use]
    pub fn training(&self) -> Training {
        self.training
    }

    /// The features of a field whose best run ends at `end`.
    pub(crate) fn features(&self, text: &[u8], end: usize, context: Context) -> Features {
        features(&self.linear, text, end, context)
    }

    /// The score of a field, in 1/[`CERTAIN`].
    pub(crate) fn score(&self, features: &Features) -> u16 {
        self.curve.score(self.ensemble.logit(features))
    }
}

/// The features of a field under a linear model.
pub(crate) fn features(linear: &Linear, text: &[u8], end: usize, context: Context) -> Features {
    let region = &text[feature::region(text, end)];
    feature::features(region, text.len(), linear.run(region), context)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::decode::DecodingSet;
    use crate::findings::Place;
    use crate::target::Target;
    use calibration::KNOTS;
    use tree::{NODES, Node, Tree};

    /// A small model with weights that look arbitrary.
    pub(crate) fn model() -> Model {
        let tree = Tree {
            nodes: [Node {
                feature: 1,
                threshold: 7,
            }; NODES],
            leaves: std::array::from_fn(|leaf| i16::from(leaf as u8) * 50),
        };
        Model::new(
            linear::tests::arbitrary_weights(1),
            0.01,
            1,
            Ensemble {
                base: 5,
                trees: vec![tree; 3],
            },
            Curve(std::array::from_fn(|knot| {
                knot as u16 * (u16::MAX / KNOTS as u16)
            })),
            Training {
                seed: 1,
                requests: 2,
                values: 3,
                payloads: 4,
                augmented: 5,
            },
        )
    }

    pub(crate) fn weigh(model: &Model, text: &[u8]) -> Suspicion {
        let mut suspicion = Suspicion::new();
        let place = Place {
            target: Target::Query,
            name: b"q",
        };
        let context = Context {
            target: place.target,
            decodings: DecodingSet::URL,
            anomaly: 0,
            families: FamilySet::default(),
        };
        suspicion.weigh(model, place, text, context, false);
        suspicion
    }

    #[test]
    fn explains_itself_with_what_stands_in_the_field() {
        let model = model();
        let text = b"a long harmless beginning, and then ' or 1=1 -- ".repeat(20);
        let suspicion = weigh(&model, &text);
        let inference = Inference {
            model: &model,
            suspect: suspicion.suspect().expect("arbitrary weights suspect everything"),
            score: suspicion.score(),
        };
        let named: Vec<_> = inference.contributions().collect();
        assert_eq!(named.len(), 5);
        for pair in named.windows(2) {
            assert!(pair[0].weight >= pair[1].weight);
        }
        for Contribution { ngram, offset, .. } in named {
            assert!(
                text[offset..].starts_with(ngram.as_bytes()),
                "{ngram} at {offset}"
            );
        }
        let shown = inference.to_string();
        assert!(
            shown.starts_with("Model 0.") && shown.contains(" in query:q: \""),
            "{shown}"
        );
        assert_eq!(inference.to_owned().target, "query:q");
    }

    #[test]
    fn the_builtin_model_is_sound_and_small() {
        let model = Model::builtin().expect("it is tested before it is built in");
        assert!(model.to_bytes().len() < 200 * 1024);
        assert!(model.training().payloads > 0);
    }
}
