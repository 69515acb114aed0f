//! XML documents (XML 1.0, fifth edition): text, attribute values, CDATA sections, and every tag and
//! declaration as it stands. Entities are not expanded; the fields' own decoding knows the predefined
//! ones and character references.

use std::mem::take;

use serde::{Deserialize, Serialize};

use super::Inspection;
use crate::http::{self, Violation};
use crate::target::Target;

/// What follows the `<` of a CDATA section.
const CDATA: &[u8] = b"![CDATA[";

/// What the parser is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Within {
    /// Character data, CDATA sections included: a target joins them.
    #[default]
    Text,
    /// After a `<` and so many bytes of what opens a CDATA section.
    Open(u8),
    /// A CDATA section, after so many closing brackets.
    CData(u8),
    /// A start or end tag, in a quoted value or not.
    Tag { quote: u8, slash: bool },
    /// A declaration or document type, after so many dashes (up to two) at its start.
    Declaration { quote: u8, dashes: u8 },
    /// A comment, after so many dashes.
    Comment(u8),
    /// A processing instruction, after a question mark or not.
    Instruction { question: bool },
}

/// Where in a document the parser stands.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct XmlCursor {
    within: Within,
    depth: u16,
    tags: u32,
    /// The tag at hand closes an element.
    closing: bool,
}

impl XmlCursor {
    /// Whether a parser could have come here.
    pub(super) fn is_sound(&self) -> bool {
        match self.within {
            Within::Open(matched) => usize::from(matched) < CDATA.len(),
            Within::CData(brackets) => brackets <= 3,
            Within::Declaration { dashes, .. } | Within::Comment(dashes) => dashes <= 2,
            _ => true,
        }
    }
}

impl Inspection<'_> {
    pub(super) fn xml(&mut self, piece: &[u8]) -> usize {
        match self.content.xml.within {
            Within::Text => {
                let Some(at) = memchr::memchr(b'<', piece) else {
                    return self.fill(piece, false);
                };
                self.carry.extend_from_slice(&piece[..at]);
                self.content.xml.within = Within::Open(0);
                at + 1
            }
            Within::Open(matched) => self.xml_open(piece[0], matched.into()),
            Within::CData(brackets) => self.xml_cdata(piece, brackets),
            _ => self.xml_markup(piece),
        }
    }

    /// One byte after `<` and the first bytes of `CDATA`.
    fn xml_open(&mut self, byte: u8, matched: usize) -> usize {
        if CDATA[matched] == byte {
            self.content.xml.within = if matched + 1 == CDATA.len() {
                Within::CData(0)
            } else {
                Within::Open(matched as u8 + 1)
            };
            return 1;
        }
        self.end_of_unit(&[]);
        self.carry.push(b'<');
        self.carry.extend_from_slice(&CDATA[..matched]);
        self.content.xml.within = match (matched, byte) {
            (0, b'?') => Within::Instruction { question: false },
            (0, _) => Within::Tag {
                quote: 0,
                slash: false,
            },
            _ => Within::Declaration { quote: 0, dashes: 0 },
        };
        0
    }

    fn xml_cdata(&mut self, piece: &[u8], brackets: u8) -> usize {
        match piece[0] {
            b']' => {
                self.content.xml.within = Within::CData((brackets + 1).min(3));
                if brackets == 3 {
                    self.fill(b"]", false);
                }
                1
            }
            b'>' if brackets >= 2 => {
                self.content.xml.within = Within::Text;
                if brackets == 3 {
                    self.fill(b"]", false);
                }
                1
            }
            _ if brackets > 0 => {
                self.content.xml.within = Within::CData(0);
                for _ in 0..brackets {
                    self.fill(b"]", false);
                }
                0
            }
            _ => {
                let end = memchr::memchr(b']', piece).unwrap_or(piece.len());
                self.fill(&piece[..end], false)
            }
        }
    }

    /// A tag, declaration, comment or processing instruction, up to its end.
    fn xml_markup(&mut self, piece: &[u8]) -> usize {
        let mut within = self.content.xml.within;
        for (at, &byte) in piece.iter().enumerate() {
            let ended = match &mut within {
                Within::Tag { quote, slash } => match byte {
                    b'>' if *quote == 0 => true,
                    b'"' | b'\'' if *quote == 0 => {
                        *quote = byte;
                        false
                    }
                    _ => {
                        if byte == *quote {
                            *quote = 0;
                        }
                        *slash = byte == b'/' && *quote == 0;
                        false
                    }
                },
                Within::Declaration { dashes: 1, .. } if byte == b'-' => {
                    within = Within::Comment(0);
                    false
                }
                Within::Declaration { quote, dashes } => {
                    let first = *dashes == 0 && self.carry.len() + at == 2;
                    *dashes = u8::from(byte == b'-' && first) + 2 * u8::from(!first);
                    match byte {
                        // The bracket opens the declarations inside a document type.
                        b'>' | b'[' if *quote == 0 => true,
                        b'"' | b'\'' if *quote == 0 => {
                            *quote = byte;
                            false
                        }
                        _ => {
                            if byte == *quote {
                                *quote = 0;
                            }
                            false
                        }
                    }
                }
                Within::Comment(dashes) => {
                    let ended = byte == b'>' && *dashes >= 2;
                    *dashes = if byte == b'-' { (*dashes + 1).min(2) } else { 0 };
                    ended
                }
                Within::Instruction { question } => {
                    let ended = byte == b'>' && *question;
                    *question = byte == b'?';
                    ended
                }
                Within::Text | Within::Open(_) | Within::CData(_) => true,
            };
            if ended {
                self.content.xml.within = within;
                self.end_of_unit(&piece[..=at]);
                if let Within::Tag { slash, .. } = within {
                    self.xml_tag_ended(slash);
                }
                self.content.xml.within = Within::Text;
                return at + 1;
            }
        }
        self.content.xml.within = within;
        self.fill(piece, false)
    }

    /// Counts elements; `empty`: the tag is one without content.
    fn xml_tag_ended(&mut self, empty: bool) {
        let cursor = &mut self.content.xml;
        cursor.tags = cursor.tags.saturating_add(1);
        let closing = take(&mut cursor.closing);
        if closing {
            cursor.depth = cursor.depth.saturating_sub(1);
        } else if !empty {
            cursor.depth = cursor.depth.saturating_add(1);
        }
        let (depth, tags) = (cursor.depth, cursor.tags);
        if depth == u16::from(self.limits.depth) + 1 && !closing {
            self.evaluator.violation(Violation::TooDeep, b"");
        }
        if tags == self.limits.values {
            self.evaluator.violation(Violation::TooManyValues, b"");
        }
    }

    /// Scores text, or a piece of markup and the values in it.
    pub(super) fn xml_unit(&mut self, text: &[u8]) {
        match self.content.xml.within {
            Within::Tag { .. } => {
                let closing = text.strip_prefix(b"</");
                self.content.xml.closing |= closing.is_some();
                let inner = closing.and_then(|tag| tag.strip_suffix(b">"));
                let name =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'.');
                if inner.is_some_and(|tag| tag.iter().all(name)) {
                    return;
                }
                self.score(Target::Xml, b"", text);
                self.xml_attributes(text);
            }
            Within::Instruction { .. } => {
                if http::declares_wide_charset(text) {
                    self.evaluator.violation(Violation::WideCharset, text);
                }
                self.score(Target::Xml, b"", text);
            }
            _ if text.iter().all(u8::is_ascii_whitespace) => {}
            _ => self.score(Target::Xml, b"", text),
        }
    }

    /// Scores the quoted values of a tag.
    fn xml_attributes(&mut self, tag: &[u8]) {
        let mut rest = tag;
        while let Some(start) = memchr::memchr2(b'"', b'\'', rest) {
            let quote = rest[start];
            let name_end = rest[..start].strip_suffix(b"=").map_or(start, <[u8]>::len);
            let name_start = memchr::memrchr2(b' ', b'\n', &rest[..name_end]).map_or(0, |at| at + 1);
            let value = &rest[start + 1..];
            let Some(end) = memchr::memchr(quote, value) else {
                return;
            };
            self.score(Target::Xml, &rest[name_start..name_end], &value[..end]);
            rest = &value[end + 1..];
        }
    }
}
