//! Decisions as JSON lines or text.

use std::io::{self, Write};

use filter_score::{Family, OwnedDecision, OwnedExclusion, OwnedHit, OwnedInference, Verdict};
use serde::Serialize;
use serde_json::Value;

/// How decisions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// One JSON object a line: id, decision, score, anomaly, categories, rules, model (if it suspects a field), explanation
    Jsonl,
    /// One line for people
    Text,
}

/// Writes decisions, one line each.
pub struct Output<'w> {
    writer: &'w mut dyn Write,
    form: OutputForm,
}

/// A line of JSON; the names are an interface.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a Value,
    decision: Verdict,
    score: f32,
    anomaly: u32,
    categories: &'a [Family],
    rules: &'a [OwnedHit],
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a OwnedInference>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    excluded: &'a [OwnedExclusion],
    explanation: &'a str,
}

impl<'w> Output<'w> {
    /// Writes to `writer`.
    pub fn new(writer: &'w mut dyn Write, form: OutputForm) -> Self {
        Self { writer, form }
    }

    /// Writes one line.
    pub fn write(&mut self, id: &Value, decision: &OwnedDecision) -> io::Result<()> {
        match self.form {
            OutputForm::Jsonl => {
                let OwnedDecision {
                    decision,
                    score,
                    anomaly,
                    categories,
                    rules,
                    model,
                    excluded,
                    explanation,
                    ..
                } = decision;
                let (decision, score, anomaly) = (*decision, *score, *anomaly);
                let line = Line {
                    id,
                    decision,
                    score,
                    anomaly,
                    categories,
                    rules,
                    model: model.as_ref(),
                    excluded,
                    explanation,
                };
                serde_json::to_writer(&mut *self.writer, &line)?;
                self.writer.write_all(b"\n")
            }
            OutputForm::Text => {
                let verdict = match decision.decision {
                    Verdict::Allow => "allow",
                    Verdict::Suspicious => "suspicious",
                    Verdict::Block => "block",
                };
                let id = match id {
                    Value::String(id) => id.escape_debug().to_string(),
                    other => other.to_string(),
                };
                let OwnedDecision {
                    score,
                    anomaly,
                    explanation,
                    request_line,
                    ..
                } = decision;
                writeln!(
                    self.writer,
                    "{verdict:<10} {score:.2} {anomaly:>3}  {id}  {request_line}  {explanation}"
                )
            }
        }
    }
}
