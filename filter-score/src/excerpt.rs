//! Short copies of request bytes that need no allocation.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

/// At most `N` bytes, and whether there were more.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Kept", try_from = "Kept")]
pub struct Excerpt<const N: usize> {
    bytes: [u8; N],
    length: u16,
    truncated: bool,
}

impl<const N: usize> Excerpt<N> {
    pub(crate) fn of(source: &[u8]) -> Self {
        const { assert!(N <= u16::MAX as usize, "the length is a u16") };
        let length = source.len().min(N);
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&source[..length]);
        Self {
            bytes,
            length: length as u16,
            truncated: source.len() > N,
        }
    }

    /// What was kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether the source was longer.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// How an excerpt travels.
#[derive(Serialize, Deserialize)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl<const N: usize> From<Excerpt<N>> for Kept {
    fn from(excerpt: Excerpt<N>) -> Self {
        Self {
            bytes: excerpt.as_bytes().to_vec(),
            truncated: excerpt.truncated,
        }
    }
}

impl<const N: usize> TryFrom<Kept> for Excerpt<N> {
    type Error = &'static str;

    fn try_from(kept: Kept) -> Result<Self, Self::Error> {
        let excerpt = Self {
            truncated: kept.truncated,
            ..Self::of(&kept.bytes)
        };
        (kept.bytes.len() <= N)
            .then_some(excerpt)
            .ok_or("an excerpt is too long")
    }
}

/// Printable ASCII as it is, everything else escaped: safe for a log line.
impl<const N: usize> fmt::Display for Excerpt<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())?;
        if self.truncated {
            f.write_char('…')
        } else {
            Ok(())
        }
    }
}

impl<const N: usize> fmt::Debug for Excerpt<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<const N: usize> Default for Excerpt<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
            truncated: false,
        }
    }
}
