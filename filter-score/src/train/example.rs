//! From recorded data to the fields that the model sees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::corpus::{Corpus, Sample, fold, fold_of_sample, site};
use super::random::{Random, hash};
use super::tap::{Field, Tap};
use super::{augment, corpus};
use crate::evaluate::{Evaluator, Scratch};
use crate::findings::{Findings, Place};
use crate::model::feature::Context;
use crate::offline::percent_encode;
use crate::policies::Ruling;
use crate::policy::{Mode, ModelUse, Policy};
use crate::rules::RuleSet;
use crate::scorer::{Scorer, Stream};
use crate::subject::Subject;
use crate::target::Target;

/// What an example is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Request,
    Value,
    Payload,
    /// In other clothes: trained on, never counted.
    AugmentedValue,
    AugmentedPayload,
}

impl Kind {
    pub(super) fn is_attack(self) -> bool {
        matches!(self, Self::Payload | Self::AugmentedPayload)
    }
}

/// A field and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) kind: Kind,
    pub(super) field: Field,
    /// Of the record it is from, counted within its kind.
    pub(super) record: u32,
    pub(super) fold: u8,
    /// The rules block it, or its request, by themselves.
    pub(super) blocked: bool,
    /// No benign example before has the same text.
    pub(super) fresh: bool,
    /// Balances sources, sites and categories.
    pub(super) weight: f64,
    /// Number of its source and category, or of its site.
    group: u32,
}

impl Example {
    pub(super) fn is_attack(&self) -> bool {
        self.kind.is_attack()
    }

    /// What is learned from: not what a benign client typed that rules block anyway, which is more often an attack
    /// string looked up in a search engine than a false alarm.
    pub(super) fn is_lesson(&self) -> bool {
        self.is_attack() || (self.fresh && !self.blocked)
    }

    pub(super) fn context(&self) -> Context {
        Context {
            target: self.field.target,
            decodings: self.field.decodings,
            anomaly: self.field.anomaly,
            families: self.field.families,
        }
    }
}

/// How much there was, of which how much the model would see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) records: u32,
    pub(super) blocked: u32,
}

#[derive(Debug, Default)]
pub(super) struct Examples {
    pub(super) all: Vec<Example>,
    pub(super) requests: Volume,
    pub(super) values: Volume,
    pub(super) payloads: Volume,
    /// Whether the rules block a payload by themselves.
    pub(super) payload_blocked: Vec<bool>,
    pub(super) augmented: u32,
    groups: BTreeMap<Vec<u8>, u32>,
}

impl Examples {
    pub(super) fn extract(rules: &Arc<RuleSet>, corpus: &Corpus, seed: u64) -> Self {
        let mut examples = Self::default();
        examples.requests(rules, &corpus.requests);
        let mut single = Single::new(rules);
        let mut random = Random::new(seed);
        let mut benign: Vec<&[u8]> = corpus
            .values
            .iter()
            .map(|value| &value.bytes[..value.bytes.len().min(200)])
            .collect();
        if benign.is_empty() {
            benign.push(b"example");
        }
        examples.samples(&mut single, &corpus.values, Kind::Value, &benign, &mut random);
        examples.samples(&mut single, &corpus.payloads, Kind::Payload, &benign, &mut random);
        let group = examples.group(b"structure");
        for record in 0..benign.len().min(MOST_STRUCTURES) {
            let text = augment::structure(&benign, &mut random);
            let (fields, blocked) = single.fields(&text, &mut random);
            examples.augmented += 1;
            // Made from nobody's data: in every fold's training, in none's test.
            examples.add(
                Kind::AugmentedValue,
                fields,
                record as u32,
                corpus::FOLDS,
                blocked,
                group,
            );
        }
        examples.mark_fresh();
        examples.balance();
        examples
    }

    fn requests(&mut self, rules: &Arc<RuleSet>, requests: &[Vec<u8>]) {
        let policy = Policy {
            model: ModelUse::Off,
            anomaly: u32::MAX,
            block: 1.0,
            ..Policy::default()
        };
        let threshold = Policy::default().anomaly;
        let mut scorer = Scorer::new(Arc::clone(rules), policy, 1);
        for (record, request) in requests.iter().enumerate() {
            *scorer.tap() = Some(Tap::default());
            let mut anomaly = 0;
            let mut stream = Stream::new();
            scorer.feed(&mut stream, request, |decision| {
                anomaly = decision.anomaly.max(anomaly);
            });
            scorer.finish(&mut stream, |decision| anomaly = decision.anomaly.max(anomaly));
            let fields = scorer.tap().take().unwrap_or_default().fields;
            let blocked = anomaly >= threshold;
            self.requests.records += 1;
            self.requests.blocked += u32::from(blocked);
            let site = site(request);
            let fold = fold(site);
            let group = self.group(&[b"site ", site].concat());
            self.add(Kind::Request, fields, record as u32, fold, blocked, group);
        }
    }

    fn samples(
        &mut self,
        single: &mut Single,
        samples: &[Sample],
        kind: Kind,
        benign: &[&[u8]],
        random: &mut Random,
    ) {
        let mut of_source: BTreeMap<&str, usize> = BTreeMap::new();
        for sample in samples {
            *of_source.entry(&sample.source).or_default() += 1;
        }
        for (record, sample) in samples.iter().enumerate() {
            let size = of_source[sample.source.as_str()];
            let fold = fold_of_sample(sample, size, samples.len());
            let name = format!("{kind:?} {} {}", sample.source, sample.category);
            let group = self.group(name.as_bytes());
            let (fields, blocked) = single.fields(&sample.bytes, random);
            let volume = if kind == Kind::Payload {
                &mut self.payloads
            } else {
                &mut self.values
            };
            volume.records += 1;
            volume.blocked += u32::from(blocked);
            if kind == Kind::Payload {
                self.payload_blocked.push(blocked);
            }
            self.add(kind, fields, record as u32, fold, blocked, group);
            // Small lists get more variants.
            for _ in 0..if size < 400 { 3 } else { 1 } {
                let (kind, text) = if kind == Kind::Payload {
                    (
                        Kind::AugmentedPayload,
                        augment::attack(&sample.bytes, benign, random),
                    )
                } else {
                    (
                        Kind::AugmentedValue,
                        augment::value(&sample.bytes, benign, random),
                    )
                };
                let (fields, blocked) = single.fields(&text, random);
                self.augmented += 1;
                self.add(kind, fields, record as u32, fold, blocked, group);
            }
        }
    }

    fn group(&mut self, name: &[u8]) -> u32 {
        let next = self.groups.len() as u32;
        *self.groups.entry(name.to_vec()).or_insert(next)
    }

    fn add(&mut self, kind: Kind, fields: Vec<Field>, record: u32, fold: u8, blocked: bool, group: u32) {
        for field in fields {
            self.all.push(Example {
                kind,
                field,
                record,
                fold,
                blocked,
                fresh: true,
                weight: 1.0,
                group,
            });
        }
    }

    fn mark_fresh(&mut self) {
        let mut seen = BTreeSet::new();
        for example in self.all.iter_mut().filter(|example| !example.is_attack()) {
            example.fresh = seen.insert((hash(&example.field.text), example.field.text.len()));
        }
    }

    /// A group weighs as the square root of its size; attacks weigh as much as benign fields do.
    fn balance(&mut self) {
        let mut sizes = vec![0u32; self.groups.len()];
        for example in self.all.iter().filter(|example| example.is_lesson()) {
            sizes[example.group as usize] += 1;
        }
        let mut totals = [(0.0, 0.0); 2];
        for example in self.all.iter_mut().filter(|example| example.is_lesson()) {
            example.weight = 1.0 / f64::from(sizes[example.group as usize]).sqrt();
            let total = &mut totals[usize::from(example.is_attack())];
            total.0 += example.weight;
            total.1 += 1.0;
        }
        for example in self.all.iter_mut().filter(|example| example.is_lesson()) {
            let (sum, count) = totals[usize::from(example.is_attack())];
            example.weight = (example.weight * count / sum).min(MAX_WEIGHT);
        }
    }
}

/// Structured texts that are made up.
const MOST_STRUCTURES: usize = 8000;
/// No example counts for more than this many.
const MAX_WEIGHT: f64 = 8.0;

/// Scores single values without a request around them.
struct Single<'a> {
    rules: &'a RuleSet,
    ruling: Ruling,
    scratch: Scratch,
    findings: Findings,
}

impl<'a> Single<'a> {
    fn new(rules: &'a RuleSet) -> Self {
        // All of a field's readings are shown, those after a block among them.
        let policy = Policy {
            mode: Mode::Detect,
            ..Policy::default()
        };
        Self {
            rules,
            ruling: Ruling::plain(rules, policy),
            scratch: Scratch::new(rules.rules.len(), policy.limits.window as usize),
            findings: Findings::new(rules.rules.len(), Subject::new(false)),
        }
    }

    /// The field that a value makes in one of the places it may come in, and whether rules block it there.
    fn fields(&mut self, value: &[u8], random: &mut Random) -> (Vec<Field>, bool) {
        let (target, plus, encode) = random.choose(&[
            (Target::Query, true, percent_encoded as fn(&[u8]) -> Vec<u8>),
            (Target::Query, true, percent_encoded),
            (Target::Query, true, percent_encoded),
            (Target::Form, true, percent_encoded),
            (Target::Form, true, percent_encoded),
            // As multipart has it.
            (Target::Form, false, <[u8]>::to_vec),
            (Target::Form, false, <[u8]>::to_vec),
            (Target::Cookie, false, percent_encoded),
            (Target::Header, false, percent_encoded),
            (Target::Json, false, json_string),
            (Target::Json, false, json_string),
            (Target::Xml, false, xml_text),
            (Target::Body, false, <[u8]>::to_vec),
        ]);
        let value = &value[..value.len().min(Policy::default().limits.window as usize / 4)];
        let raw = encode(value);
        self.scratch.tap = Some(Tap::default());
        self.findings.clear();
        let place = Place { target, name: b"q" };
        Evaluator {
            rules: self.rules,
            ruling: &self.ruling,
            model: None,
            scratch: &mut self.scratch,
            findings: &mut self.findings,
            service: None,
            known: None,
        }
        .field(place, &raw, plus);
        let fields = self.scratch.tap.take().unwrap_or_default().fields;
        (fields, self.findings.anomaly() >= Policy::default().anomaly)
    }
}

fn percent_encoded(value: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(3 * value.len());
    percent_encode(value, &mut encoded);
    encoded
}

/// As an XML library writes text.
fn xml_text(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    for &byte in value {
        match byte {
            b'<' => out.extend(b"&lt;"),
            b'&' => out.extend(b"&amp;"),
            _ => out.push(byte),
        }
    }
    out
}

/// As a JSON library writes it, without the quotes.
fn json_string(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 8);
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..=31 => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out
}
