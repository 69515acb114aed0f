//! Portcullis's rules as Suricata's, as far as they can be the same.
//!
//! A rule with a pattern and the words that its matches hold becomes a signature for each word: Suricata looks for the words of all
//! signatures in one pass, and tries the pattern where one is found, as Portcullis does. What has no counterpart is left out and counted:
//! detectors, the model, rules that do not block alone, words that are derived from a pattern, decodings beyond one URL decoding.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use filter_score::builtin_packs;
use serde::Deserialize;

/// Three signatures by hand: the least that can be called inspection.
pub(super) const THREE: &str = r#"reject http any any -> any any (msg:"traversal"; flow:to_server; http.uri.raw; content:"../"; sid:1;)
reject http any any -> any any (msg:"union select"; flow:to_server; http.uri; content:"union"; nocase; content:"select"; nocase; distance:0; sid:2;)
reject http any any -> any any (msg:"script"; flow:to_server; http.uri; content:"<script"; nocase; sid:3;)
"#;

/// The signatures, and how many rules they stand for.
pub(super) struct Translation {
    pub(super) text: String,
    pub(super) rules: usize,
    pub(super) of: usize,
}

#[derive(Deserialize)]
struct Pack {
    #[serde(default)]
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    severity: String,
    #[serde(default = "first")]
    paranoia: u8,
    regex: Option<String>,
    #[serde(default)]
    literals: Vec<String>,
}

fn first() -> u8 {
    1
}

/// Translates the built-in rules.
pub(super) fn translate() -> Result<Translation> {
    let mut translation = Translation {
        text: String::new(),
        rules: 0,
        of: 0,
    };
    let mut number = 100;
    for pack in builtin_packs() {
        let Pack { rule } = toml::from_str(pack.text).with_context(|| format!("reading {}", pack.name))?;
        translation.of += rule.len();
        for rule in rule {
            let Some(regex) = rule
                .regex
                .filter(|_| rule.severity == "critical" && rule.paranoia == 1 && !rule.literals.is_empty())
            else {
                continue;
            };
            translation.rules += 1;
            let pattern = quoted(&regex);
            for literal in &rule.literals {
                for buffer in ["http.uri", "http.request_body; url_decode"] {
                    writeln!(
                        translation.text,
                        "reject http any any -> any any (msg:\"rule\"; flow:to_server; {buffer}; content:\"{}\"; nocase; \
                         fast_pattern; pcre:\"/{pattern}/i\"; sid:{number};)",
                        hexadecimal(literal)
                    )?;
                    number += 1;
                }
            }
        }
    }
    Ok(translation)
}

/// A pattern between quotes and slashes.
fn quoted(regex: &str) -> String {
    let mut text = String::new();
    let mut characters = regex.chars();
    while let Some(character) = characters.next() {
        let (escaped, character) = if character == '\\' {
            (true, characters.next().unwrap_or('\\'))
        } else {
            (false, character)
        };
        match character {
            '"' | ';' | '/' => {
                let _ = write!(text, "\\x{:02x}", character as u32);
            }
            _ if escaped => text.extend(['\\', character]),
            _ => text.push(character),
        }
    }
    text
}

/// A word as Suricata takes any byte.
fn hexadecimal(word: &str) -> String {
    let bytes: Vec<String> = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("|{}|", bytes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_words_are_quoted() {
        assert_eq!(quoted(r#"a"\";/\/\\[\d]"#), r"a\x22\x22\x3b\x2f\x2f\\[\d]");
        assert_eq!(hexadecimal("a;"), "|61 3b|");
    }

    #[test]
    fn some_rules_have_a_counterpart() {
        let translation = translate().expect("the built-in packs");
        assert!(translation.rules > 10 && translation.rules < translation.of);
        assert!(translation.text.lines().count() > 100);
    }
}
