//! The configuration's text: parsing that finds every mistake, and keys back to lines.

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{Config, mistake::Mistake};

/// A parsed configuration file that knows where its keys are.
pub(super) struct Document<'t> {
    name: &'t str,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses `text` as TOML; `name` is the file it is from.
    pub(super) fn parse(name: &'t str, text: &'t str) -> Result<Self, Vec<Mistake>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { name, text, root };
        if errors.is_empty() {
            return Ok(document);
        }
        Err(errors
            .iter()
            .map(|error| {
                document.mistake(
                    error.span(),
                    String::new(),
                    error.message().to_owned(),
                    "this line is not TOML; see `portcullis config init` for the form".to_owned(),
                )
            })
            .collect())
    }

    /// The file it is from.
    pub(super) fn name(&self) -> &'t str {
        self.name
    }

    /// Checks keys and types, those of all profiles, too.
    pub(super) fn type_mistakes(&self) -> Vec<Mistake> {
        let mut root = self.root.clone();
        let profiles = root.get_mut().remove("profiles");
        let mut mistakes = self.type_mistakes_in(root);
        let Some(profiles) = profiles else { return mistakes };
        let DeValue::Table(profiles) = profiles.into_inner() else {
            let remedy = "write [profiles.NAME], and the keys below it";
            mistakes.push(self.at_key("profiles", "it is no table".to_owned(), remedy.to_owned()));
            return mistakes;
        };
        for (name, profile) in profiles {
            let (key, span) = (format!("profiles.{}", name.get_ref()), profile.span());
            match profile.into_inner() {
                DeValue::Table(profile) if profile.contains_key("profile") => mistakes.push(self.at_key(
                    &format!("{key}.profile"),
                    "a profile does not choose a profile".to_owned(),
                    "move the key to the top of the file".to_owned(),
                )),
                DeValue::Table(profile) => {
                    mistakes.extend(self.type_mistakes_in(Spanned::new(span, profile)));
                }
                _ => mistakes.push(self.at_key(
                    &key,
                    "it is no table".to_owned(),
                    format!("write [{key}], and the keys below it"),
                )),
            }
        }
        mistakes
    }

    /// Each wrong value is noted and left out, until what remains is right.
    fn type_mistakes_in(&self, mut rest: Spanned<DeTable<'t>>) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        // Each round takes at least one key out, so it ends.
        loop {
            let read = Config::deserialize(toml::de::Deserializer::from(rest.clone()));
            let Err(error) = read else { return mistakes };
            let path_in = |root: &Spanned<DeTable<'_>>| path_of(root.get_ref(), &error.span()?);
            // Named by its place in the whole text: leaving elements out renumbers those behind them.
            let key = path_in(&self.root).unwrap_or_default().join(".");
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            let remedy = remedy(&message);
            let left_out = missing_field(&message).map(|field| format!("{key}.{field}"));
            if !mistakes
                .iter()
                .any(|earlier: &Mistake| left_out.as_ref() == Some(&earlier.key))
            {
                mistakes.push(self.mistake(error.span(), key, message, remedy));
            }
            let Some(path) = path_in(&rest) else {
                return mistakes;
            };
            remove(rest.get_mut(), &path);
        }
    }

    /// A mistake at the value of `key`, or at the nearest table above it that the text has.
    pub(super) fn at_key(&self, key: &str, message: String, remedy: String) -> Mistake {
        self.mistake(self.span_of(key), key.to_owned(), message, remedy)
    }

    fn mistake(&self, span: Option<Range<usize>>, key: String, message: String, remedy: String) -> Mistake {
        let position = span.map(|span| self.position(span.start));
        Mistake {
            origin: self.name.to_owned(),
            position,
            key,
            message,
            remedy,
        }
    }

    /// Line and column of a byte offset, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// The line, from 1, of exactly this key, or of a list that it is in.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        let (span, is_whole) = self.find(key)?;
        is_whole.then(|| self.position(span.start).0)
    }

    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        Some(self.find(key)?.0)
    }

    /// The place of `key` or of the nearest table above it, and whether all of it is there.
    fn find(&self, key: &str) -> Option<(Range<usize>, bool)> {
        let mut segments = key.split('.');
        let (name, value) = self.root.get_ref().get_key_value(segments.next()?)?;
        let mut span = name.span();
        let mut value = value;
        let mut is_whole = true;
        for segment in segments {
            let next = match value.get_ref() {
                DeValue::Table(table) => {
                    let Some((name, next)) = table.get_key_value(segment) else {
                        is_whole = false;
                        break;
                    };
                    span = name.span();
                    next
                }
                DeValue::Array(array) => {
                    let Some(next) = segment.parse().ok().and_then(|i: usize| array.get(i)) else {
                        break;
                    };
                    span = next.span();
                    next
                }
                _ => break,
            };
            value = next;
        }
        Some((span, is_whole))
    }
}

/// The deepest key or array element whose key or value holds `span`.
fn path_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    for (name, value) in table {
        if holds(&name.span(), span) {
            return Some(vec![name.get_ref().to_string()]);
        }
        if let Some(mut path) = path_in(value, span) {
            path.insert(0, name.get_ref().to_string());
            return Some(path);
        }
    }
    None
}

fn path_in(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Vec<String>> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => path_of(table, span),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(i, element)| {
            let mut path = path_in(element, span)?;
            path.insert(0, i.to_string());
            Some(path)
        }),
        _ => None,
    };
    inner.or_else(|| holds(&value.span(), span).then(Vec::new))
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn remove(table: &mut DeTable<'_>, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.remove(first.as_str());
    } else if let Some(value) = table.get_mut(first.as_str()) {
        remove_in(value, rest);
    }
}

fn remove_in(value: &mut Spanned<DeValue<'_>>, path: &[String]) {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, path),
        DeValue::Array(array) => {
            let Some((first, rest)) = path.split_first() else {
                return;
            };
            let Some(i) = first.parse::<usize>().ok().filter(|&i| i < array.len()) else {
                return;
            };
            if rest.is_empty() {
                let mut kept = DeArray::new();
                array
                    .iter()
                    .enumerate()
                    .filter(|(j, _)| *j != i)
                    .for_each(|(_, e)| kept.push(e.clone()));
                *array = kept;
            } else {
                remove_in(&mut array.as_mut()[i], rest);
            }
        }
        _ => {}
    }
}

/// The field that a message of the deserializer misses.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// What to do about a message of the deserializer: the nearest known name if one is close.
pub(super) fn remedy(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let wrong = quoted.next().unwrap_or_default();
        let nearest = quoted
            .map(|known| (strsim::damerau_levenshtein(wrong, known), known))
            .filter(|(distance, known)| *distance <= known.len().max(wrong.len()) / 2)
            .min();
        return match nearest {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None if message.starts_with("unknown field") => {
                "remove it; `portcullis config init` lists every key".to_owned()
            }
            None => "use one of the values named above".to_owned(),
        };
    }
    if let Some(field) = missing_field(message) {
        return format!("add `{field} = …` to this table");
    }
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        return "write a value of the expected kind; `portcullis config init` shows each key's form"
            .to_owned();
    }
    String::new()
}
