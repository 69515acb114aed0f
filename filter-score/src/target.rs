//! The places of a request that rules look at.

use serde::{Deserialize, Serialize};

use crate::excerpt::Excerpt;

/// Where in the request a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Target {
    /// The message framing itself: protocol violations.
    Request,
    /// The path of the request target.
    Path,
    /// The value of a query parameter.
    Query,
    /// The name of a query parameter.
    QueryName,
    /// A header (or trailer) value.
    Header,
    /// A cookie's value.
    Cookie,
    /// A cookie's name.
    CookieName,
    /// The value of an urlencoded body parameter.
    Form,
    /// The name of an urlencoded body parameter.
    FormName,
    /// The name of a file in a multipart body.
    FileName,
    /// The name of a member of a JSON object.
    JsonName,
    /// A string of a JSON body, or what stands between two strings.
    Json,
    /// Text, an attribute's value, a tag or a declaration of an XML body.
    Xml,
    /// Any other body text.
    Body,
    /// A window of binary content: of a file in a multipart body, or of a body of unknown type.
    File,
}

impl Target {
    /// All targets with the names used in rule packs and decisions.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Request, "request"),
        (Self::Path, "path"),
        (Self::Query, "query"),
        (Self::QueryName, "query-name"),
        (Self::Header, "header"),
        (Self::Cookie, "cookie"),
        (Self::CookieName, "cookie-name"),
        (Self::Form, "form"),
        (Self::FormName, "form-name"),
        (Self::FileName, "file-name"),
        (Self::JsonName, "json-name"),
        (Self::Json, "json"),
        (Self::Xml, "xml"),
        (Self::Body, "body"),
        (Self::File, "file"),
    ];

    /// Whether a value there may be text in base64: what programs fill in, not what they name.
    pub(crate) const fn may_hold_base64(self) -> bool {
        matches!(
            self,
            Self::Query | Self::Cookie | Self::Form | Self::Json | Self::Xml | Self::Body
        )
    }

    /// The name used in rule packs and decisions.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The target with the name of the header or parameter, such as `query:q`.
    pub(crate) fn label(self, name: &Excerpt<32>) -> String {
        if name.as_bytes().is_empty() {
            self.name().to_owned()
        } else {
            format!("{}:{}", self.name(), name.to_string().to_ascii_lowercase())
        }
    }
}

/// A set of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetSet(u16);

impl TargetSet {
    /// The set of one target.
    #[must_use]
    pub const fn of(target: Target) -> Self {
        Self(1 << target as u8)
    }

    /// The targets and groups a pack may name: `inputs` is everything a client can fill freely
    /// (but not `file`: binary content), `args` are values without path and headers, `names` their names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "inputs" => Some(Self::group(&[
                Target::Path,
                Target::Query,
                Target::QueryName,
                Target::Header,
                Target::Cookie,
                Target::CookieName,
                Target::Form,
                Target::FormName,
                Target::FileName,
                Target::JsonName,
                Target::Json,
                Target::Xml,
                Target::Body,
            ])),
            "args" => Some(Self::group(&[
                Target::Query,
                Target::Cookie,
                Target::Form,
                Target::Json,
                Target::Xml,
                Target::Body,
            ])),
            "names" => Some(Self::group(&[
                Target::QueryName,
                Target::FormName,
                Target::CookieName,
                Target::JsonName,
            ])),
            _ => Target::ALL
                .iter()
                .find(|(_, n)| *n == name)
                .map(|(target, _)| Self::of(*target)),
        }
    }

    fn group(targets: &[Target]) -> Self {
        targets
            .iter()
            .fold(Self::default(), |set, target| set | Self::of(*target))
    }

    /// Whether the set has this target.
    #[must_use]
    pub const fn contains(self, target: Target) -> bool {
        self.0 & (1 << target as u8) != 0
    }

    /// Whether the set has every target of `other`.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no target is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first target in the order of [`Target::ALL`].
    #[must_use]
    pub fn first(self) -> Option<Target> {
        Target::ALL
            .iter()
            .map(|(target, _)| *target)
            .find(|target| self.contains(*target))
    }
}

impl std::ops::BitOr for TargetSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_discriminants_agree() {
        for (index, (target, name)) in Target::ALL.into_iter().enumerate() {
            assert_eq!(target as usize, index);
            assert_eq!(target.name(), name);
            assert_eq!(TargetSet::parse(name), Some(TargetSet::of(target)));
        }
        assert!(!TargetSet::parse("inputs").unwrap().contains(Target::Request));
        assert_eq!(TargetSet::parse("nowhere"), None);
    }
}
