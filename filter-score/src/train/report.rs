//! What a training came to, measured on held-out folds.

use std::fmt;

use serde::Serialize;

/// Detection and false positives of the model alone, at one threshold. Each record was scored by a model that was
/// trained without its site or source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// The score from which a record counts as found.
    pub score: f64,
    /// Benign requests that reach it, of those that rules leave alone.
    pub requests: u32,
    /// Benign values that reach it, of those that rules leave alone.
    pub values: u32,
    /// Payloads that reach it, by category in the order of [`Report::categories`].
    pub payloads: Vec<u32>,
    /// Payloads that reach it and that rules do not block.
    pub beyond_rules: u32,
}

/// What a training came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The model's version.
    pub version: String,
    /// Of the file, in bytes.
    pub bytes: usize,
    /// Of everything drawn at random.
    pub seed: u64,
    /// Benign requests, and how many of them rules alone block.
    pub requests: (u32, u32),
    /// Benign values, and how many of them rules alone block.
    pub values: (u32, u32),
    /// Payloads, and how many of them rules alone block.
    pub payloads: (u32, u32),
    /// Payloads and values in other clothes.
    pub augmented: u32,
    /// Fields that the model looks at: in benign requests, in values, in payloads.
    pub fields: [u32; 3],
    /// Weights that are not zero.
    pub weights: usize,
    /// Trees of stage two.
    pub trees: usize,
    /// Share of the benign fields that reach stage two.
    pub benign_in_stage_two: f64,
    /// Categories of attacks, and how many payloads there are of each.
    pub categories: Vec<(String, u32)>,
    /// By threshold.
    pub levels: Vec<Level>,
    /// The features of stage two, by their share in the gain of its splits.
    pub features: Vec<(String, u32)>,
}

/// Markdown: the tables of the model card.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u32, all: u32| f64::from(part) * 100.0 / f64::from(all.max(1));
        writeln!(f, "| | |\n|---|---|")?;
        writeln!(f, "| version (checksum) | `{}` |", self.version)?;
        writeln!(
            f,
            "| size | {} bytes, {} weights not zero, {} trees |",
            self.bytes, self.weights, self.trees
        )?;
        writeln!(f, "| seed | {} |", self.seed)?;
        for (name, (all, blocked), fields) in [
            ("benign requests", self.requests, self.fields[0]),
            ("benign values", self.values, self.fields[1]),
            ("payloads", self.payloads, self.fields[2]),
        ] {
            writeln!(
                f,
                "| {name} | {all}; rules alone block {blocked}; {fields} fields reach the model |"
            )?;
        }
        writeln!(f, "| augmented samples | {} |", self.augmented)?;
        writeln!(
            f,
            "| benign fields that reach stage two | {:.2} % |",
            self.benign_in_stage_two * 100.0
        )?;
        writeln!(
            f,
            "\nThe model alone, on held-out folds, by the score from which a record counts as found:\n"
        )?;
        write!(
            f,
            "| score | benign requests | benign values | all payloads | of those that rules leave |"
        )?;
        for (category, _) in &self.categories {
            write!(f, " {category} |")?;
        }
        write!(f, "\n|---:|---:|---:|---:|---:|")?;
        for _ in &self.categories {
            write!(f, "---:|")?;
        }
        writeln!(f)?;
        for level in &self.levels {
            let found: u32 = level.payloads.iter().sum();
            write!(
                f,
                "| {:.2} | {} ({:.3} %) | {} ({:.2} %) | {:.1} % | {:.1} % |",
                level.score,
                level.requests,
                percent(level.requests, self.requests.0),
                level.values,
                percent(level.values, self.values.0),
                percent(found, self.payloads.0),
                percent(level.beyond_rules, self.payloads.0 - self.payloads.1),
            )?;
            for (found, (_, all)) in level.payloads.iter().zip(&self.categories) {
                write!(f, " {:.1} % |", percent(*found, *all))?;
            }
            writeln!(f)?;
        }
        write!(f, "\nFeatures of stage two by the number of splits:")?;
        for (at, (name, splits)) in self.features.iter().take(15).enumerate() {
            write!(f, "{} {name} ({splits})", if at == 0 { "" } else { "," })?;
        }
        writeln!(f, ".")
    }
}
