//! What the model makes of one request so far.

use serde::{Deserialize, Serialize};

use super::Model;
use super::feature::{self, Context};
use crate::decode::DecodingSet;
use crate::excerpt::Excerpt;
use crate::findings::Place;
use crate::target::Target;

/// Scores are in units of this fraction.
pub(crate) const CERTAIN: u16 = u16::MAX;

/// A field that is usual for its service counts less by one part of this many. So what blocks at the default thresholds stays
/// suspicious, whatever a service is used to.
const LESS: u16 = 4;

/// The field that the score is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suspect {
    pub(crate) target: Target,
    pub(crate) name: Excerpt<32>,
    /// The decoded bytes around the end of the best run.
    pub(crate) text: Excerpt<{ feature::REGION }>,
    /// Where `text` begins in the decoded field.
    pub(crate) offset: usize,
    pub(crate) decodings: DecodingSet,
    /// The score is lowered, as such fields are usual for the service.
    pub(crate) usual: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suspicion {
    /// Highest score of any field, in 1/[`CERTAIN`].
    score: u16,
    /// The field that has the score; means nothing while that is 0.
    suspect: Suspect,
}

impl Suspicion {
    pub(crate) fn new() -> Self {
        Self {
            score: 0,
            suspect: Suspect {
                target: Target::Request,
                name: Excerpt::default(),
                text: Excerpt::default(),
                offset: 0,
                decodings: DecodingSet::default(),
                usual: false,
            },
        }
    }

    pub(crate) fn clear(&mut self) {
        self.score = 0;
    }

    /// The highest score of any field so far, 0..1.
    pub(crate) fn score(&self) -> f32 {
        f32::from(self.score) / f32::from(CERTAIN)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.score == 0
    }

    /// The field that has the score.
    pub(crate) fn suspect(&self) -> Option<&Suspect> {
        (self.score > 0).then_some(&self.suspect)
    }

    /// Another model is in force: the score stays, but it cannot be explained any more.
    pub(crate) fn forget_reasons(&mut self) {
        self.suspect.text = Excerpt::default();
    }

    /// Weighs an interesting field's decoded text; `context` has the rules that hit so far. A field that is `usual` for its
    /// service counts less. Returns whether there is anything to suspect in it.
    pub(crate) fn weigh(
        &mut self,
        model: &Model,
        place: Place<'_>,
        text: &[u8],
        context: Context,
        usual: bool,
    ) -> bool {
        let (sum, end) = model.linear.peak(text);
        let mut suspected = false;
        if sum >= model.floor {
            suspected = self.judge(model, place, (text, end), context, usual);
        }
        suspected
    }

    #[cold]
    fn judge(
        &mut self,
        model: &Model,
        place: Place<'_>,
        (text, end): (&[u8], usize),
        context: Context,
        usual: bool,
    ) -> bool {
        let region = feature::region(text, end);
        let mut score = model.score(&model.features(text, end, context));
        if usual {
            score -= score / LESS;
        }
        if score > self.score {
            self.score = score;
            self.suspect = Suspect {
                target: place.target,
                name: Excerpt::of(place.name),
                offset: region.start,
                text: Excerpt::of(&text[region]),
                decodings: context.decodings,
                usual,
            };
        }
        score > 0
    }
}
