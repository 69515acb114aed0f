//! Trains the model, offline and deterministically: the same rules and data give the same bytes.
//!
//! The pieces: the fields that the model would see are taken from the scorer itself (`tap`, `example`) and some more
//! made from them (`augment`). Stage one is fitted on three of four folds and scored on the fourth (`regression`);
//! on those held-out scores stage two is fitted (`boosting`), itself in folds, and on what it says of held-out
//! records the thresholds are put (`calibrate`). The model that is kept is fitted on everything. Sites and sources
//! are held out whole.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of records, and shares of them that are not negative"
)]

mod augment;
mod boosting;
mod calibrate;
mod corpus;
mod example;
mod random;
mod regression;
mod report;
mod sigmoid;
mod tap;

use std::collections::BTreeMap;
use std::sync::Arc;

use boosting::Row;
use corpus::FOLDS;
use example::{Example, Examples, Kind, Volume};

use crate::model::feature::{FIRST_OF_RULES, NAMES};
use crate::model::linear::Linear;
use crate::model::tree::{Ensemble, Node};
use crate::model::{self, CERTAIN, Model, Training};
use crate::rules::RuleSet;

pub use corpus::{Corpus, Sample};
pub use report::{Level, Report};

pub(crate) use tap::Tap;

/// Choices of a training.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of everything drawn at random.
    pub seed: u64,
    /// Share of the benign requests that the model alone may block.
    pub requests: f64,
    /// Share of the benign values that the model alone may block.
    pub values: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            requests: 0.0003,
            values: 0.002,
        }
    }
}

/// Data that no model can be trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is nothing to learn from: of {benign} benign fields and {attacks} attacks the model would see at least 20 each are needed"
)]
pub struct TooLittle {
    /// Benign fields that the model would look at.
    pub benign: usize,
    /// Payloads that the model would look at.
    pub attacks: usize,
}

/// Trains a model beside `rules`. `progress` is told what comes next.
pub fn train(
    rules: &Arc<RuleSet>,
    corpus: &Corpus,
    options: Options,
    mut progress: impl FnMut(&str),
) -> Result<(Model, Report), TooLittle> {
    progress("taking fields from the recorded data");
    let examples = Examples::extract(rules, corpus, options.seed);
    let attacks = examples.all.iter().filter(|example| example.is_attack()).count();
    let benign = examples.all.len() - attacks;
    if attacks < 20 || benign < 20 {
        return Err(TooLittle { benign, attacks });
    }
    let fit = |held_out: Option<u8>| {
        let lessons: Vec<&Example> = examples
            .all
            .iter()
            .filter(|example| example.is_lesson() && Some(example.fold) != held_out)
            .collect();
        regression::fit(&lessons, options.seed)
    };
    let mut folds = Vec::new();
    for fold in 0..FOLDS {
        progress(&format!("n-grams without fold {} of {FOLDS}", fold + 1));
        folds.push(fit(Some(fold)));
    }
    progress("n-grams of all folds");
    let linear = fit(None);

    progress("trees");
    let held_out = HeldOut::new(&examples.all, &folds);
    let floor = held_out.floor(&examples.all);
    let rows = held_out.rows(&examples.all, floor);
    let mut logits = vec![i32::MIN; examples.all.len()];
    for fold in 0..FOLDS {
        let others: Vec<Row> = rows
            .iter()
            .filter(|(at, _)| examples.all[*at].fold != fold)
            .map(|(_, row)| *row)
            .collect();
        let ensemble = boosting::fit(&others);
        for (at, score) in held_out.fields.iter().enumerate() {
            if examples.all[at].fold == fold && score.sum >= floor {
                logits[at] = ensemble.logit(&score.features);
            }
        }
    }
    let all: Vec<Row> = rows.iter().map(|(_, row)| *row).collect();
    let ensemble = boosting::fit(&all);

    progress("calibration");
    let block = threshold(&examples, &logits, options, 1.0);
    let suspicious = threshold(&examples, &logits, options, SUSPICIOUS_SHARE);
    let curve = calibrate::curve(block, suspicious);
    let training = Training {
        seed: options.seed,
        requests: examples.requests.records,
        values: examples.values.records,
        payloads: examples.payloads.records,
        augmented: examples.augmented,
    };
    let model = Model::new(linear, regression::SCALE as f32, floor, ensemble, curve, training);
    let report = report(&model, corpus, &examples, &logits, &held_out);
    Ok((model, report))
}

/// What the models of the folds say of the examples that they were not trained on.
struct HeldOut {
    fields: Vec<Scored>,
}

struct Scored {
    /// Best run.
    sum: i32,
    features: model::feature::Features,
}

impl HeldOut {
    fn new(examples: &[Example], folds: &[Linear]) -> Self {
        let fields = examples
            .iter()
            .map(|example| {
                let linear = &folds[usize::from(example.fold % FOLDS)];
                let text = &example.field.text;
                let (sum, end) = linear.peak(text);
                let features = model::features(linear, text, end, example.context());
                Scored { sum, features }
            })
            .collect();
        Self { fields }
    }

    /// Stage two is for the few benign fields with the best runs, and for nearly all attacks.
    fn floor(&self, examples: &[Example]) -> i32 {
        const BENIGN: f64 = 0.03;
        const ATTACKS: f64 = 0.02;
        /// Fewer benign fields than this teach stage two nothing.
        const FEWEST: usize = 300;
        let sums = |attack: bool| {
            let mut sums: Vec<i32> = self
                .fields
                .iter()
                .zip(examples)
                .filter(|(_, example)| example.kind <= Kind::Payload && example.is_attack() == attack)
                .map(|(field, _)| field.sum)
                .collect();
            sums.sort_unstable();
            sums
        };
        let (benign, attacks) = (sums(false), sums(true));
        let best = usize::max((benign.len() as f64 * BENIGN) as usize, FEWEST);
        let of_benign = benign
            .get(benign.len().saturating_sub(best))
            .copied()
            .unwrap_or(1);
        let of_attacks = attacks
            .get((attacks.len() as f64 * ATTACKS) as usize)
            .copied()
            .unwrap_or(1);
        of_benign.min(of_attacks).max(1)
    }

    /// What stage two learns from, with the number of the example. Where rules hit, half of the weight is on a row
    /// that does not tell: rules change, and the model must not lean on them.
    fn rows(&self, examples: &[Example], floor: i32) -> Vec<(usize, Row)> {
        let mut rows = Vec::new();
        for (at, (scored, example)) in self.fields.iter().zip(examples).enumerate() {
            if scored.sum < floor || !example.is_lesson() {
                continue;
            }
            let row = Row {
                features: scored.features,
                attack: example.is_attack(),
                weight: example.weight,
            };
            if example.field.anomaly == 0 {
                rows.push((at, row));
                continue;
            }
            let mut blind = row;
            blind.features[FIRST_OF_RULES..].fill(0);
            for row in [row, blind] {
                rows.push((
                    at,
                    Row {
                        weight: row.weight / 2.0,
                        ..row
                    },
                ));
            }
        }
        rows
    }
}

/// Highest logits of the records of a kind; those that rules block are left out.
fn of_records(examples: &Examples, logits: &[i32], kind: Kind, with_blocked: bool) -> BTreeMap<u32, i32> {
    let mut records = BTreeMap::new();
    for (example, logit) in examples.all.iter().zip(logits) {
        if example.kind == kind && (with_blocked || !example.blocked) {
            let best = records.entry(example.record).or_insert(i32::MIN);
            *best = (*logit).max(*best);
        }
    }
    records
}

/// For one request that the model alone may block wrongly, so many may be suspicious.
const SUSPICIOUS_SHARE: f64 = 8.0;

/// The logit that not more of the benign records reach than the options allow, `times` over.
fn threshold(examples: &Examples, logits: &[i32], options: Options, times: f64) -> i32 {
    let allowed = |kind, volume: Volume, share: f64| {
        let benign = of_records(examples, logits, kind, false).into_values().collect();
        calibrate::threshold(benign, (f64::from(volume.records) * share * times) as usize)
    };
    let requests = allowed(Kind::Request, examples.requests, options.requests);
    let values = allowed(Kind::Value, examples.values, options.values);
    requests.max(values)
}

fn report(model: &Model, corpus: &Corpus, examples: &Examples, logits: &[i32], held_out: &HeldOut) -> Report {
    let mut categories: BTreeMap<&str, u32> = BTreeMap::new();
    for payload in &corpus.payloads {
        *categories.entry(&payload.category).or_default() += 1;
    }
    let categories: Vec<(String, u32)> = categories
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    let scores = |kind, with_blocked| -> BTreeMap<u32, f64> {
        of_records(examples, logits, kind, with_blocked)
            .into_iter()
            .map(|(record, logit)| {
                let score = if logit == i32::MIN {
                    0
                } else {
                    model.curve.score(logit)
                };
                (record, f64::from(score) / f64::from(CERTAIN))
            })
            .collect()
    };
    let (requests, values, payloads) = (
        scores(Kind::Request, false),
        scores(Kind::Value, false),
        scores(Kind::Payload, true),
    );
    let levels = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95].map(|score| {
        let reach = |scores: &BTreeMap<u32, f64>| scores.values().filter(|one| **one >= score).count() as u32;
        let mut by_category = vec![0; categories.len()];
        let mut beyond_rules = 0;
        for (record, _) in payloads.iter().filter(|(_, one)| **one >= score) {
            let category = &corpus.payloads[*record as usize].category;
            if let Some(at) = categories.iter().position(|(name, _)| name == category) {
                by_category[at] += 1;
            }
            beyond_rules += u32::from(!examples.payload_blocked[*record as usize]);
        }
        Level {
            score,
            requests: reach(&requests),
            values: reach(&values),
            payloads: by_category,
            beyond_rules,
        }
    });
    let fields = [Kind::Request, Kind::Value, Kind::Payload]
        .map(|kind| examples.all.iter().filter(|example| example.kind == kind).count() as u32);
    let benign = || {
        examples
            .all
            .iter()
            .zip(&held_out.fields)
            .filter(|(example, _)| example.kind == Kind::Request)
    };
    let in_stage_two = benign().filter(|(_, scored)| scored.sum >= model.floor).count();
    let pair = |volume: Volume| (volume.records, volume.blocked);
    Report {
        version: model.version().to_string(),
        bytes: model.to_bytes().len(),
        seed: model.training().seed,
        requests: pair(examples.requests),
        values: pair(examples.values),
        payloads: pair(examples.payloads),
        augmented: examples.augmented,
        fields,
        weights: model.linear.weights.iter().filter(|weight| **weight != 0).count(),
        trees: model.ensemble.trees.len(),
        benign_in_stage_two: in_stage_two as f64 / f64::max(benign().count() as f64, 1.0),
        categories,
        levels: levels.to_vec(),
        features: splits(&model.ensemble),
    }
}

/// How often each feature splits, most often first.
fn splits(ensemble: &Ensemble) -> Vec<(String, u32)> {
    let mut splits: Vec<(String, u32)> = NAMES.iter().map(|name| ((*name).to_owned(), 0)).collect();
    for node in ensemble.trees.iter().flat_map(|tree| tree.nodes) {
        if node != Node::PASS {
            splits[usize::from(node.feature)].1 += 1;
        }
    }
    splits.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    splits.retain(|(_, count)| *count > 0);
    splits
}
