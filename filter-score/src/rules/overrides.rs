//! `[[override]]`: what a pack changes about rules of other packs.
//!
//! ```toml
//! [[override]]
//! id = 100110
//! severity = "warning"
//!
//! [[override]]
//! id = 300200
//! enabled = false
//! ```

use std::collections::HashMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::error::{PackError, Place};
use super::pack::{Reader, RuleSpec, Severity};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    id: Spanned<u32>,
    severity: Option<Severity>,
    paranoia: Option<Spanned<u8>>,
    enabled: Option<bool>,
}

/// A well-formed override, not yet applied.
#[derive(Debug)]
pub(super) struct OverrideSpec {
    place: Place,
    id: u32,
    severity: Option<Severity>,
    paranoia: Option<u8>,
    enabled: bool,
}

impl<'a> Reader<'a> {
    /// An override, if it is right.
    pub(super) fn override_of(&mut self, value: Spanned<DeValue<'a>>) -> Option<OverrideSpec> {
        let span = value.span();
        let raw: RawOverride = self.deserialize(value)?;
        if let Some(level) = &raw.paranoia
            && !(1..=4).contains(level.get_ref())
        {
            self.report(level.span(), "paranoia level out of range", "use 1, 2, 3 or 4");
            return None;
        }
        if raw.severity.is_none() && raw.paranoia.is_none() && raw.enabled.is_none() {
            self.report(
                span,
                format!("it changes nothing about rule {}", raw.id.get_ref()),
                "give `severity`, `paranoia` or `enabled = false`",
            );
            return None;
        }
        Some(OverrideSpec {
            place: self.place(raw.id.span()),
            id: raw.id.into_inner(),
            severity: raw.severity,
            paranoia: raw.paranoia.map(Spanned::into_inner),
            enabled: raw.enabled.unwrap_or(true),
        })
    }
}

/// Changes `rules` as `overrides` say and returns the ids of those that are switched off, which are taken out.
pub(super) fn apply(
    rules: &mut Vec<RuleSpec>,
    overrides: Vec<OverrideSpec>,
    errors: &mut Vec<PackError>,
) -> Vec<u32> {
    let mut seen: HashMap<u32, Place> = HashMap::new();
    let mut disabled = Vec::new();
    for OverrideSpec {
        place,
        id,
        severity,
        paranoia,
        enabled,
    } in overrides
    {
        if let Some(first) = seen.get(&id) {
            let message = format!(
                "rule {id} is overridden already, at {}:{}",
                first.file, first.line
            );
            errors.push(place.error(message, "keep one of the two"));
            continue;
        }
        seen.insert(id, place.clone());
        let Some(rule) = rules.iter_mut().find(|rule| rule.id == id) else {
            errors.push(place.error(
                format!("there is no rule {id} to override"),
                "`portcullis rules list` shows the ids",
            ));
            continue;
        };
        rule.severity = severity.unwrap_or(rule.severity);
        rule.paranoia = paranoia.unwrap_or(rule.paranoia);
        if !enabled {
            disabled.push(id);
        }
    }
    rules.retain(|rule| !disabled.contains(&rule.id));
    disabled
}
