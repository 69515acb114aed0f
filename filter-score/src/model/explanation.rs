//! Why the model suspects a field: the n-grams that weighed most.

use std::fmt;

use serde::Serialize;

use super::Model;
use super::linear::{self, ORDERS};
use super::suspicion::Suspect;
use crate::excerpt::Excerpt;
use crate::target::Target;

/// N-grams that are named.
const NAMED: usize = 5;

/// An n-gram that speaks for an attack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contribution {
    /// Its bytes as they stand in the decoded field; shorter at the field's edges.
    pub ngram: Excerpt<8>,
    /// What it adds to the logit of the linear model.
    pub weight: f32,
    /// Where it begins in the decoded field, in bytes.
    pub offset: usize,
}

/// What the model says of a request, with its reasons. They are worked out only when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Inference<'a> {
    pub(crate) model: &'a Model,
    pub(crate) suspect: &'a Suspect,
    pub(crate) score: f32,
}

impl<'a> Inference<'a> {
    /// The calibrated score of the model alone, 0..1.
    #[must_use]
    pub fn score(&self) -> f32 {
        self.score
    }

    /// Where the suspected field stands.
    #[must_use]
    pub fn target(&self) -> Target {
        self.suspect.target
    }

    /// Its name: of the header or parameter; empty where there is none.
    #[must_use]
    pub fn name(&self) -> &'a Excerpt<32> {
        &self.suspect.name
    }

    /// The n-grams of its best run that weigh most, the heaviest first, at most five. Empty after the model
    /// was replaced while the request was in progress.
    pub fn contributions(&self) -> impl Iterator<Item = Contribution> + use<> {
        let mut top = [Contribution::default(); NAMED];
        let text = self.suspect.text.as_bytes();
        let run = self.model.linear.run(text);
        let mut window = 0;
        for (at, symbol) in linear::symbols(text).enumerate().take(run.end) {
            window = linear::slide(window, symbol);
            if at < run.start {
                continue;
            }
            for (slot, order) in linear::slots(window).into_iter().zip(ORDERS) {
                let weight = f32::from(self.model.linear.weights[slot]) * self.model.scale;
                if weight <= top[NAMED - 1].weight {
                    continue;
                }
                let first = (at + 1).saturating_sub(order);
                let ngram = &text[first..text.len().min(at + 1)];
                if top.iter().all(|one| one.ngram.as_bytes() != ngram) {
                    top[NAMED - 1] = Contribution {
                        ngram: Excerpt::of(ngram),
                        weight,
                        offset: self.suspect.offset + first,
                    };
                    // Stable: of equal weights the first stays first.
                    top.sort_by(|a, b| b.weight.total_cmp(&a.weight));
                }
            }
        }
        top.into_iter().filter(|one| one.weight > 0.0)
    }

    /// A copy for logs and reports. Allocates.
    #[must_use]
    pub fn to_owned(&self) -> OwnedInference {
        OwnedInference {
            score: self.score,
            target: self.target().label(self.name()),
            decoding: self.suspect.decodings.to_string(),
            ngrams: self
                .contributions()
                .map(|one| OwnedContribution {
                    ngram: one.ngram.to_string(),
                    weight: one.weight,
                    offset: one.offset,
                })
                .collect(),
        }
    }
}

impl fmt::Display for Inference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_owned().fmt(f)
    }
}

/// An inference that owns its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnedInference {
    /// The calibrated score of the model alone, 0..1.
    pub score: f32,
    /// Where the field stands, such as `query:q`, `header:user-agent` or `body`.
    pub target: String,
    /// What the field had been decoded by, such as `url+entity`; `none` if it was read as sent.
    pub decoding: String,
    /// The n-grams that weigh most.
    pub ngrams: Vec<OwnedContribution>,
}

/// `Model 0.93 in query:q: "' or" +3.1 at 2, …`
impl fmt::Display for OwnedInference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model {:.2} in {}", self.score, self.target)?;
        let mut separator = ": ";
        for OwnedContribution {
            ngram,
            weight,
            offset,
        } in &self.ngrams
        {
            write!(f, "{separator}\"{ngram}\" {weight:+.1} at {offset}")?;
            separator = ", ";
        }
        if self.decoding != "none" {
            write!(f, " (decoded: {})", self.decoding)?;
        }
        Ok(())
    }
}

/// A contribution that owns its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnedContribution {
    /// The bytes, decoded, then escaped for display.
    pub ngram: String,
    /// What it adds to the logit of the linear model.
    pub weight: f32,
    /// Where it begins in the decoded field, in bytes.
    pub offset: usize,
}
