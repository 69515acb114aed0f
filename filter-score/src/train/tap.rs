//! The fields that the model would look at, kept while recorded requests are scored.

use crate::decode::DecodingSet;
use crate::findings::{Findings, Place};
use crate::model::FamilySet;
use crate::target::Target;

/// An interesting field as the model would see it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) target: Target,
    pub(crate) text: Vec<u8>,
    pub(crate) decodings: DecodingSet,
    /// Sum of the severities of the rules that had hit by then.
    pub(crate) anomaly: u32,
    pub(crate) families: FamilySet,
}

#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub(crate) fields: Vec<Field>,
}

impl Tap {
    #[cold]
    pub(crate) fn field(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        decodings: DecodingSet,
        findings: &Findings,
    ) {
        self.fields.push(Field {
            target: place.target,
            text: text.to_vec(),
            decodings,
            anomaly: findings.anomaly(),
            families: findings.families(),
        });
    }
}
