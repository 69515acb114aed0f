//! Literals that every match of a regular expression contains.
//!
//! The prefilter runs a rule only where one of its literals was seen, so the set must be complete: a
//! match without one of them would be missed.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::classes::Classes;
use super::prefilter::is_ordinary;

/// Shorter literals are no use: they occur everywhere.
pub(crate) const MIN_LITERAL: usize = 2;
/// Alternatives are not multiplied beyond this many.
const MAX_SET: usize = 64;
/// A literal that leads may have this many bytes of the match before it.
const MAX_BEFORE: usize = 6;

/// A literal near the beginning of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    /// Lower case.
    pub(crate) literal: Vec<u8>,
    /// The least and the most bytes of the match before it.
    pub(crate) before: (u8, u8),
}

/// Literals of which each match has one at its beginning or a few bytes behind it, or `None` if there is no such
/// set. Where one is seen it is known where a match can begin.
pub(crate) fn leads(regex: &str) -> Option<Vec<Lead>> {
    let leads = lead(&parse(regex)?)?;
    let enough = |lead: &Lead| {
        lead.literal.len() > MIN_LITERAL || (lead.literal.len() == MIN_LITERAL && !is_word(&lead.literal))
    };
    leads.iter().all(enough).then_some(leads)
}

/// Whether a literal is seen seldom in ordinary text: not a word of three letters or less.
pub(crate) fn is_rare(literal: &[u8]) -> bool {
    literal.len() > 3 || !is_word(literal)
}

fn is_word(literal: &[u8]) -> bool {
    literal.iter().all(u8::is_ascii_alphanumeric)
}

fn lead(hir: &Hir) -> Option<Vec<Lead>> {
    match hir.kind() {
        HirKind::Capture(capture) => lead(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => lead(&repetition.sub),
        HirKind::Alternation(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(lead).collect();
            Some(parts?.concat())
        }
        HirKind::Concat(parts) => lead_of_concat(parts),
        _ => leads_of(analyse(hir).exact?, 0, 0),
    }
}

fn lead_of_concat(parts: &[Hir]) -> Option<Vec<Lead>> {
    let mut best: Option<Vec<Lead>> = None;
    let (mut least, mut most) = (0, 0);
    for (at, part) in parts.iter().enumerate() {
        let mut run = vec![Vec::new()];
        let mut next = at;
        for part in &parts[at..] {
            match analyse(part).exact {
                Some(set) if run.len() * set.len() <= MAX_SET => run = cross(&run, &set),
                _ => break,
            }
            next += 1;
        }
        let inner = lead(part).map(|leads| shifted(leads, least, most));
        let joined = parts.get(next).and_then(|after| joined(&run, after, least, most));
        best = [best, leads_of(run, least, most), inner, joined]
            .into_iter()
            .flatten()
            .max_by_key(|leads| rank(leads));
        least += part.properties().minimum_len()?;
        most += part.properties().maximum_len().unwrap_or(usize::MAX / 2);
        if most > MAX_BEFORE {
            break;
        }
    }
    best
}

/// What leads the part `after` a few strings, with those before it.
fn joined(run: &[Vec<u8>], after: &Hir, least: usize, most: usize) -> Option<Vec<Lead>> {
    let leads = lead(after)?;
    let at_once = leads.iter().all(|lead| lead.before == (0, 0));
    if !at_once || run.len() * leads.len() > 2 * MAX_SET {
        return None;
    }
    let after: Vec<_> = leads.into_iter().map(|lead| lead.literal).collect();
    leads_of(cross(run, &after), least, most)
}

fn leads_of(literals: Vec<Vec<u8>>, least: usize, most: usize) -> Option<Vec<Lead>> {
    let leads: Vec<_> = literals
        .into_iter()
        .map(|mut literal| {
            literal.truncate(255);
            Lead {
                literal,
                before: (least as u8, most as u8),
            }
        })
        .collect();
    (!leads.is_empty() && leads.iter().all(|lead| !lead.literal.is_empty())).then_some(leads)
}

fn shifted(mut leads: Vec<Lead>, least: usize, most: usize) -> Vec<Lead> {
    for lead in &mut leads {
        lead.before.0 += least as u8;
        lead.before.1 += most as u8;
    }
    leads
}

/// What no ordinary request has is seldom seen in vain, and so are longer literals, up to a point; then few places to
/// begin at and few literals count.
fn rank(leads: &[Lead]) -> (bool, usize, std::cmp::Reverse<(u8, usize)>) {
    let shortest = leads.iter().map(|lead| lead.literal.len()).min().unwrap_or(0);
    let spread = leads.iter().map(|lead| lead.before.1 - lead.before.0).max();
    let ordinary = leads.iter().any(|lead| is_ordinary(&lead.literal));
    (
        !ordinary && shortest > MIN_LITERAL,
        shortest.min(5),
        std::cmp::Reverse((spread.unwrap_or(0), leads.len())),
    )
}

/// Lower-case literals of which each match has at least one, or `None` if there is no such set.
pub(crate) fn required(regex: &str) -> Option<Vec<Vec<u8>>> {
    let best = analyse(&parse(regex)?).best()?;
    (worth(&best) >= MIN_LITERAL).then_some(best)
}

/// Letters are folded by those who use the result: with case-insensitive syntax each would be a class.
fn parse(regex: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build()
        .parse(regex)
        .ok()
}

/// Classes of bytes that every match contains: at least one byte of each.
pub(crate) fn gates(regex: &str) -> Vec<Classes> {
    let Some(hir) = parse(regex) else {
        return Vec::new();
    };
    let mut gates = mandatory(&hir);
    gates.dedup();
    gates
}

fn mandatory(hir: &Hir) -> Vec<Classes> {
    match hir.kind() {
        HirKind::Literal(literal) => literal
            .0
            .iter()
            .map(|byte| Classes::of(*byte))
            .filter(|class| !class.is_empty())
            .collect(),
        HirKind::Class(Class::Bytes(class)) => {
            let bytes = || {
                class
                    .ranges()
                    .iter()
                    .flat_map(|range| range.start()..=range.end())
            };
            if bytes().any(|byte| Classes::of(byte).is_empty()) {
                return Vec::new();
            }
            vec![bytes().fold(Classes::default(), |all, byte| all.or(Classes::of(byte)))]
        }
        HirKind::Capture(capture) => mandatory(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => mandatory(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(mandatory).collect(),
        HirKind::Alternation(parts) => {
            // One gate of each alternative, together.
            let first = |part: &Hir| mandatory(part).first().copied();
            parts
                .iter()
                .map(first)
                .try_fold(Classes::default(), |all, gate| Some(all.or(gate?)))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

struct Analysis {
    /// All strings the expression matches, if they are few.
    exact: Option<Vec<Vec<u8>>>,
    /// Any match contains one of these.
    required: Option<Vec<Vec<u8>>>,
}

impl Analysis {
    fn best(self) -> Option<Vec<Vec<u8>>> {
        better(self.exact, self.required)
    }
}

/// The length of the shortest literal, which bounds how rare the set is.
fn worth(set: &[Vec<u8>]) -> usize {
    set.iter().map(Vec::len).min().unwrap_or(0)
}

fn better(a: Option<Vec<Vec<u8>>>, b: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let key = |set: &[Vec<u8>]| (worth(set).min(4), std::cmp::Reverse(set.len()), worth(set));
            Some(if key(&a) >= key(&b) { a } else { b })
        }
        (a, b) => a.or(b),
    }
}

fn analyse(hir: &Hir) -> Analysis {
    let none = Analysis {
        exact: None,
        required: None,
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Analysis {
            exact: Some(vec![Vec::new()]),
            required: None,
        },
        HirKind::Literal(literal) => Analysis {
            exact: Some(vec![literal.0.to_ascii_lowercase()]),
            required: None,
        },
        HirKind::Class(Class::Bytes(class)) => {
            let mut bytes: Vec<u8> = class
                .ranges()
                .iter()
                .flat_map(|range| range.start()..=range.end())
                .take(MAX_SET)
                .map(|byte| byte.to_ascii_lowercase())
                .collect();
            bytes.sort_unstable();
            bytes.dedup();
            let exact = (bytes.len() <= 8).then(|| bytes.into_iter().map(|byte| vec![byte]).collect());
            Analysis {
                exact,
                required: None,
            }
        }
        HirKind::Class(Class::Unicode(_)) => none,
        HirKind::Capture(capture) => analyse(&capture.sub),
        HirKind::Repetition(repetition) => {
            let sub = analyse(&repetition.sub);
            match (repetition.min, repetition.max) {
                (0, Some(1)) => Analysis {
                    exact: sub.exact.map(|mut set| {
                        set.push(Vec::new());
                        set
                    }),
                    required: None,
                },
                (0, _) => none,
                (1, Some(1)) => sub,
                _ => Analysis {
                    exact: None,
                    required: sub.best(),
                },
            }
        }
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(parts) => alternation(parts),
    }
}

fn concat(parts: &[Hir]) -> Analysis {
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    let mut all_exact = true;
    let mut required = None;
    for part in parts {
        let part = analyse(part);
        required = better(required, part.required);
        let next = match &part.exact {
            Some(set) if run.len() * set.len() <= MAX_SET || run == [Vec::<u8>::new()] => {
                run = cross(&run, set);
                continue;
            }
            Some(set) => set.clone(),
            None => vec![Vec::new()],
        };
        all_exact = false;
        required = better(required, Some(std::mem::replace(&mut run, next)));
    }
    if all_exact {
        return Analysis {
            exact: Some(run),
            required,
        };
    }
    Analysis {
        exact: None,
        required: better(required, Some(run)),
    }
}

fn cross(left: &[Vec<u8>], right: &[Vec<u8>]) -> Vec<Vec<u8>> {
    left.iter()
        .flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat()))
        .collect()
}

fn alternation(parts: &[Hir]) -> Analysis {
    let parts: Vec<_> = parts.iter().map(analyse).collect();
    if parts.iter().all(|part| part.exact.is_some()) {
        let exact: Vec<_> = parts
            .into_iter()
            .filter_map(|part| part.exact)
            .flatten()
            .collect();
        return Analysis {
            exact: Some(exact),
            required: None,
        };
    }
    let mut required = Vec::new();
    for part in parts {
        match part.best() {
            Some(set) => required.extend(set),
            None => {
                return Analysis {
                    exact: None,
                    required: None,
                };
            }
        }
    }
    Analysis {
        exact: None,
        required: Some(required),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(regex: &str) -> Option<Vec<String>> {
        let mut set: Vec<_> = required(regex)?
            .into_iter()
            .map(|literal| String::from_utf8_lossy(&literal).into_owned())
            .collect();
        set.sort();
        set.dedup();
        Some(set)
    }

    #[test]
    fn classes_that_every_match_has() {
        assert_eq!(gates(r#"^\w*["'`]\s*(?:--|\#)"#), [Classes::QUOTE]);
        assert_eq!(gates(r"(?:\x00|%00)x"), [Classes::NUL.or(Classes::PERCENT)]);
        assert_eq!(gates(r"a\(b*;"), [Classes::of(b'('), Classes::of(b';')]);
        assert!(gates(r"a(?:\(|b)").is_empty());
        assert!(gates(r"['a]").is_empty());
    }

    #[test]
    fn literals_that_lead() {
        let table = [
            (r"\bsleep\s*\(", "sleep 0-0"),
            (r"(?:^|[^a-z])union\s+select", "union 0-1"),
            (r"[$%]\{jndi:", "{jndi: 1-1"),
            (
                r"(?:\binsert\s+into|x?delete\s+from)\b",
                "delete 0-0, insert 0-0, xdelete 0-0",
            ),
            (r"\d{2,4}abcd", "abcd 2-4"),
            (r"<\?php", "<?php 0-0"),
            (
                r"/(?:web\.\w+|[.](?:git|svn)\d*)",
                "/.git 0-0, /.svn 0-0, /web. 0-0",
            ),
            (r"\s*select", ""),
            (r"<[^>]*onload", ""),
            (r"or[0-9]", ""),
        ];
        for (regex, expected) in table {
            let mut found: Vec<_> = leads(regex)
                .unwrap_or_default()
                .iter()
                .map(|Lead { literal, before }| {
                    format!("{} {}-{}", String::from_utf8_lossy(literal), before.0, before.1)
                })
                .collect();
            found.sort();
            assert_eq!(found.join(", "), expected, "{regex}");
        }
    }

    #[test]
    fn table() {
        let table: &[(&str, &[&str])] = &[
            (r"\bunion\s+select\b", &["select"]),
            (r"SLEEP\s*\(", &["sleep"]),
            (r"(?:benchmark|pg_sleep)\s*\(", &["benchmark", "pg_sleep"]),
            (r"a[bc]de", &["abde", "acde"]),
            (r"x+onload\s*=", &["xonload"]),
            (r"(?:ab|c)d{2,}efg", &["efg"]),
            (r"colou?r", &["color", "colour"]),
        ];
        for (regex, expected) in table {
            let found = literals(regex);
            if *regex == r"x+onload\s*=" {
                assert_eq!(found, Some(vec!["onload".to_owned()]));
                continue;
            }
            assert_eq!(
                found.as_deref(),
                Some(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
                "{regex}"
            );
        }
        let many: Vec<_> = (100..200).map(|number| format!("w{number}")).collect();
        assert_eq!(literals(&format!(r"\b(?:{})\s*x", many.join("|"))), Some(many));
        for regex in [r"\s+", r"(?:abc|\d+)", r"[a-z]+", "'", r"(?:abc)?"] {
            assert_eq!(literals(regex), None, "{regex}");
        }
    }
}
