//! `[[scoring.exclusions]]`: hits that an operator has looked at and does not want to count.

use std::{fmt, ops::RangeInclusive};

use filter_score::{Family, Glob, PathPattern, TargetSet};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cidr;

/// What is not to count. All conditions that are given must hold; of a list, one element.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exclusion {
    /// Why; shown with each hit that does not count for it.
    pub reason: String,
    /// Rules by id: `100110` or `"100100-100199"`.
    pub rules: Vec<Written<RuleIds>>,
    /// Rules by tag.
    pub tags: Vec<String>,
    /// Rules by family.
    #[schemars(schema_with = "super::schema::families")]
    pub families: Vec<Family>,
    /// The request's path, decoded and normalised: a folder, or a pattern with `*` and `?`.
    pub paths: Vec<Written<PathPattern>>,
    /// Where the rule hit, by the names that rule packs use.
    pub targets: Vec<Written<TargetSet>>,
    /// Parameter, header or cookie that the rule hit: a name, or a pattern with `*` and `?`.
    pub names: Vec<Written<Glob>>,
    /// Addresses and CIDR blocks that the request is from.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub sources: Vec<IpNet>,
}

impl Exclusion {
    /// The exclusion as the scoring engine takes it.
    #[must_use]
    pub fn compiled(&self) -> filter_score::Exclusion {
        fn values<T: Clone>(written: &[Written<T>]) -> Vec<T> {
            written.iter().map(|written| written.value.clone()).collect()
        }
        filter_score::Exclusion {
            reason: self.reason.clone(),
            rules: self.rules.iter().map(|ids| ids.value.0.clone()).collect(),
            tags: self.tags.clone(),
            families: self.families.clone(),
            paths: values(&self.paths),
            targets: self
                .targets
                .iter()
                .fold(TargetSet::default(), |all, target| all | target.value),
            names: values(&self.names),
            sources: self.sources.clone(),
        }
    }
}

/// Rule ids from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleIds(RangeInclusive<u32>);

/// A value with the text that stands for it in the configuration.
#[derive(Debug, Clone)]
pub struct Written<T> {
    text: String,
    value: T,
}

impl<T> Written<T> {
    /// A value that is written so.
    pub(super) fn new(text: &str, value: T) -> Self {
        Self {
            text: text.to_owned(),
            value,
        }
    }

    /// What the text stands for.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<T> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What can be written as a text. Errors say what is wrong and what to write.
pub trait FromText: Sized {
    /// What is expected, for the message on something that is no text.
    const EXPECTED: &str;

    /// Reads the text.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for RuleIds {
    const EXPECTED: &str = "a rule id, or a range such as \"100100-100199\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            (Ok(first), Ok(last)) => Err(format!(
                "`{text}` ends before it begins; write \"{last}-{first}\""
            )),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

impl FromText for PathPattern {
    const EXPECTED: &str = "a path such as \"/api\" or \"/wiki/*/edit\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("`{text}`: {error}"))
    }
}

impl FromText for Glob {
    const EXPECTED: &str = "a name, or a pattern such as \"utm_*\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("`{text}`: {error}"))
    }
}

impl FromText for TargetSet {
    const EXPECTED: &str = "a target such as \"query\" or \"args\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            let known: Vec<_> = filter_score::Target::ALL.iter().map(|(_, name)| *name).collect();
            format!(
                "unknown target `{text}`; use inputs, args, names or one of {}",
                known.join(", ")
            )
        })
    }
}

impl<T> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<T: FromText> de::Visitor<'_> for Visitor<T> {
            type Value = Written<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let value = T::from_text(text).map_err(E::custom)?;
                Ok(Written {
                    text: text.to_owned(),
                    value,
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }
        }
        de.deserialize_any(Visitor(std::marker::PhantomData))
    }
}
