//! JSON texts (RFC 8259), string by string.
//!
//! A text that declares itself JSON and is not quite is a violation, and is read leniently from there
//! on: strings as before, and whatever stands between two of them as a value of its own.

use serde::{Deserialize, Serialize};

use super::Inspection;
use crate::excerpt::Excerpt;
use crate::http::{self, Violation};
use crate::target::Target;

/// The longest number that is taken for one, in bytes.
const NUMBER_BYTES: usize = 64;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expect {
    Value,
    /// A value or the end of an empty array.
    FirstValue,
    Name,
    /// A name or the end of an empty object.
    FirstName,
    Colon,
    /// A comma or the end of the object or array.
    Comma,
    /// Nothing but white space.
    End,
    /// Anything: the text is not JSON.
    Anything,
}

/// Where in a JSON text the parser stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a place")]
pub(crate) struct JsonCursor {
    /// By its Content-Type: mistakes are violations. Otherwise they mean that this is not JSON.
    declared: bool,
    expect: Expect,
    in_string: bool,
    /// A backslash ended the last segment.
    escaped: bool,
    /// A number or name, or in a lenient reading anything between strings, is in the carry.
    in_literal: bool,
    /// Whether the containers that are open are objects, innermost in the lowest bit: hence at most 64.
    objects: u64,
    depth: u8,
    values: u32,
    /// The name before the value at hand.
    name: Excerpt<32>,
}

impl JsonCursor {
    pub(crate) fn new(declared: bool) -> Self {
        Self {
            declared,
            expect: Expect::Value,
            in_string: false,
            escaped: false,
            in_literal: false,
            objects: 0,
            depth: 0,
            values: 0,
            name: Excerpt::default(),
        }
    }

    /// Whether a parser could have come here: what closes a container needs one that is open.
    pub(super) fn is_sound(&self, depth: u8) -> bool {
        let outside = matches!(self.expect, Expect::Value | Expect::End | Expect::Anything);
        self.depth <= depth && (outside || self.depth > 0)
    }

    /// A value ends.
    fn value_ended(&mut self) {
        self.expect = if self.depth == 0 {
            Expect::End
        } else {
            Expect::Comma
        };
    }

    fn open(&mut self, object: bool) {
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
        self.expect = if object {
            Expect::FirstName
        } else {
            Expect::FirstValue
        };
    }

    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
        self.value_ended();
    }

    fn in_object(&self) -> bool {
        self.objects & 1 != 0
    }
}

impl Inspection<'_> {
    pub(super) fn json(&mut self, piece: &[u8]) -> usize {
        if self.content.json.in_string {
            return self.json_string(piece);
        }
        if self.content.json.in_literal {
            return self.json_literal(piece);
        }
        let mut at = 0;
        while at < piece.len() {
            let cursor = &mut self.content.json;
            let expect = cursor.expect;
            match (piece[at], expect) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => {}
                (b'"', Expect::Value | Expect::FirstValue | Expect::Name | Expect::FirstName) => {
                    cursor.in_string = true;
                    self.count_value();
                    return at + 1 + self.json_string(&piece[at + 1..]);
                }
                (byte @ (b'{' | b'['), Expect::Value | Expect::FirstValue) => {
                    if cursor.depth >= self.limits.depth {
                        self.evaluator.violation(Violation::TooDeep, b"");
                        self.content.json.expect = Expect::Anything;
                        self.content.json.in_literal = true;
                        return at;
                    }
                    cursor.open(byte == b'{');
                }
                (b'}', Expect::FirstName) | (b']', Expect::FirstValue) => cursor.close(),
                (b'}', Expect::Comma) if cursor.in_object() => cursor.close(),
                (b']', Expect::Comma) if !cursor.in_object() => cursor.close(),
                (b',', Expect::Comma) => {
                    cursor.expect = if cursor.in_object() {
                        Expect::Name
                    } else {
                        Expect::Value
                    };
                }
                (b':', Expect::Colon) => cursor.expect = Expect::Value,
                // One text after the other, as event logs have them.
                (b'{' | b'[', Expect::End) => {
                    cursor.expect = Expect::Value;
                    if cursor.declared {
                        self.evaluator.violation(Violation::BadJson, b"");
                    }
                    return at;
                }
                (_, Expect::Value | Expect::FirstValue) => {
                    cursor.in_literal = true;
                    self.count_value();
                    return at + self.json_literal(&piece[at..]);
                }
                _ => {
                    self.no_json();
                    return at;
                }
            }
            at += 1;
        }
        at
    }

    fn count_value(&mut self) {
        let values = &mut self.content.json.values;
        *values = values.saturating_add(1);
        if *values == self.limits.values {
            self.evaluator.violation(Violation::TooManyValues, b"");
        }
    }

    /// The rest of a string.
    fn json_string(&mut self, piece: &[u8]) -> usize {
        let Some(end) = string_end(piece, &mut self.content.json.escaped) else {
            return self.fill(piece, false);
        };
        self.end_of_unit(&piece[..end]);
        let cursor = &mut self.content.json;
        cursor.in_string = false;
        match cursor.expect {
            Expect::Name | Expect::FirstName => cursor.expect = Expect::Colon,
            Expect::Anything => cursor.in_literal = true,
            _ => cursor.value_ended(),
        }
        end + 1
    }

    /// A number or a name such as `null`.
    fn json_literal(&mut self, piece: &[u8]) -> usize {
        if self.content.json.expect == Expect::Anything {
            let Some(end) = memchr::memchr(b'"', piece) else {
                return self.fill(piece, false);
            };
            self.end_of_unit(&piece[..end]);
            self.content.json.in_literal = false;
            self.content.json.in_string = true;
            return end + 1;
        }
        let end = piece.iter().position(|byte| {
            matches!(
                byte,
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'[' | b']' | b'{' | b'}' | b'"'
            )
        });
        let length = end
            .unwrap_or(piece.len())
            .min(NUMBER_BYTES + 1 - self.carry.len());
        let valid = if self.carry.is_empty() && end.is_some() {
            http::is_json_literal(&piece[..length])
        } else {
            self.carry.extend_from_slice(&piece[..length]);
            if end != Some(length) && self.carry.len() <= NUMBER_BYTES {
                return length;
            }
            http::is_json_literal(self.carry)
        };
        if !valid {
            // It stays in the carry: it is the start of whatever this is.
            if self.carry.is_empty() {
                self.carry.extend_from_slice(&piece[..length]);
            }
            self.no_json();
            return length;
        }
        self.carry.clear();
        self.content.json.in_literal = false;
        self.content.json.value_ended();
        length
    }

    /// The text is not JSON, from here on.
    fn no_json(&mut self) {
        let cursor = &mut self.content.json;
        if cursor.declared {
            cursor.expect = Expect::Anything;
            cursor.in_literal = true;
            self.evaluator.violation(Violation::BadJson, b"");
        } else {
            self.content.kind = self.content.fallback;
        }
    }

    /// Scores a string, or a window of what this is.
    pub(super) fn json_unit(&mut self, text: &[u8]) {
        let cursor = &mut self.content.json;
        if !cursor.in_string {
            if !http::json_noise(text) {
                self.score(Target::Json, b"", text);
            }
            return;
        }
        if matches!(cursor.expect, Expect::Name | Expect::FirstName) {
            cursor.name = Excerpt::of(text);
            self.score(Target::JsonName, text, text);
        } else {
            let name = if cursor.in_object() {
                cursor.name
            } else {
                Excerpt::default()
            };
            self.score(Target::Json, name.as_bytes(), text);
        }
    }

    pub(super) fn json_end(&mut self) {
        let cursor = &self.content.json;
        let complete = cursor.expect == Expect::End
            || cursor.expect == Expect::Anything
            || (cursor.in_literal && cursor.depth == 0 && http::is_json_literal(self.carry));
        let declared = cursor.declared;
        self.end_of_unit(&[]);
        if declared && !complete {
            self.evaluator.violation(Violation::BadJson, b"");
        }
    }
}

/// The offset of the quote that ends a string. `escaped`: the byte before `text` is a backslash that
/// escapes; the same for the bytes after it.
fn string_end(text: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut from = usize::from(std::mem::take(escaped));
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
        if from > text.len() {
            *escaped = true;
            return None;
        }
    }
}
