//! Attributes of a tag.

use super::element::Element;
use super::value::{self, Normalised};
use super::{Found, Grade};

/// Attributes that are read of one tag; what comes after them belongs to nothing.
const MOST: usize = 256;

/// Names of events, without `on`, as they begin; what follows the beginning may be any letters.
const EVENTS: [&[u8]; 62] = [
    b"abort",
    b"activate",
    b"after",
    b"animation",
    b"auxclick",
    b"before",
    b"begin",
    b"blur",
    b"bounce",
    b"cancel",
    b"canplay",
    b"change",
    b"click",
    b"close",
    b"contextmenu",
    b"copy",
    b"cuechange",
    b"cut",
    b"dblclick",
    b"deactivate",
    b"drag",
    b"drop",
    b"durationchange",
    b"end",
    b"error",
    b"finish",
    b"focus",
    b"formdata",
    b"fullscreen",
    b"hashchange",
    b"input",
    b"invalid",
    b"key",
    b"load",
    b"message",
    b"mouse",
    b"page",
    b"paste",
    b"pause",
    b"play",
    b"pointer",
    b"popstate",
    b"progress",
    b"propertychange",
    b"readystatechange",
    b"repeat",
    b"reset",
    b"resize",
    b"scroll",
    b"search",
    b"seek",
    b"select",
    b"show",
    b"start",
    b"submit",
    b"time",
    b"toggle",
    b"touch",
    b"transition",
    b"unhandledrejection",
    b"unload",
    b"wheel",
];

/// One attribute. Offsets are in the field.
pub(super) struct Attribute<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
    end: usize,
}

/// The attributes from an offset to the end of the tag, of the field, or to the next tag.
pub(super) struct Attributes<'a> {
    text: &'a [u8],
    at: usize,
    left: usize,
    /// Quotes that do not occur any more: a value that is never closed is read as if it were not quoted.
    unclosed: [bool; 2],
}

impl<'a> Attributes<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            left: MOST,
            unclosed: [false; 2],
        }
    }

    /// Where the tag ends.
    pub(super) fn last_end(mut self) -> usize {
        while self.next().is_some() {}
        self.at
    }

    fn span(&self, belongs: impl Fn(u8) -> bool) -> usize {
        self.text[self.at..]
            .iter()
            .take_while(|byte| belongs(**byte))
            .count()
    }

    /// The value in quotes at `at`, if they are closed.
    fn quoted(&mut self, quote: u8) -> Option<&'a [u8]> {
        let which = usize::from(quote == b'\'');
        if self.unclosed[which] {
            return None;
        }
        let rest = &self.text[self.at + 1..];
        let Some(length) = memchr::memchr(quote, rest) else {
            self.unclosed[which] = true;
            return None;
        };
        self.at += length + 2;
        Some(&rest[..length])
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.at +=
            self.span(|byte| is_space(byte) || matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'+' | b')'));
        if matches!(self.text.get(self.at)?, b'>' | b'<') {
            return None;
        }
        let start = self.at;
        self.at += 1;
        self.at +=
            self.span(|byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'<' | b'=' | b'"' | b'\''));
        let name = &self.text[start..self.at];
        let before = self.at;
        self.at += self.span(is_space);
        if self.text.get(self.at) != Some(&b'=') {
            self.at = before;
            return Some(Attribute {
                name,
                value: None,
                end: before,
            });
        }
        self.at += 1;
        self.at += self.span(is_space);
        let quoted = match self.text.get(self.at) {
            Some(quote @ (b'"' | b'\'')) => self.quoted(*quote),
            _ => None,
        };
        let value = quoted.unwrap_or_else(|| {
            let start = self.at;
            self.at += self.span(|byte| !is_space(byte) && !matches!(byte, b'>' | b'<'));
            &self.text[start..self.at]
        });
        Some(Attribute {
            name,
            value: Some(value),
            end: self.at,
        })
    }
}

impl Attribute<'_> {
    pub(super) fn end(&self) -> usize {
        self.end
    }

    pub(super) fn has_value(&self) -> bool {
        self.value.is_some_and(|value| !value.is_empty())
    }

    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn event(&self) -> Option<&[u8]> {
        match self.name {
            [b'o' | b'O', b'n' | b'N', event @ ..] => {
                let letters = event.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                let clean = event[letters..].iter().all(|byte| *byte < b' ');
                (letters >= 3 && clean).then_some(&event[..letters])
            }
            _ => None,
        }
    }

    /// The value is code rather than a word or number.
    pub(super) fn has_script(&self) -> bool {
        let Some(value) = self.value else {
            return false;
        };
        let value = value.trim_ascii_start();
        let code = |byte: &u8| matches!(byte, b'(' | b'`' | b'=' | b';' | b'[' | b'\\' | b'&' | b'%');
        match value {
            [b'{', ..] => false,
            [b'"' | b'\'', ..] => value.len() > 1,
            _ => value.iter().take(256).any(code) || value.contains(&b':') || value.contains(&b'.'),
        }
    }

    pub(super) fn judge(&self, element: Element) -> Found {
        let certain = |label| Some((Grade::Certain, label));
        let value = self.value?;
        if self.event().is_some() {
            // JSX, which is a program and not a page.
            let jsx = value.first() == Some(&b'{') && self.name.get(2).is_some_and(u8::is_ascii_uppercase);
            return Some((if jsx { Grade::Likely } else { Grade::Certain }, "event handler"));
        }
        if self.is(b"srcdoc") {
            return certain("document in an attribute");
        }
        if (self.is(b"http-equiv") || self.is(b"datasrc") || self.is(b"datafld") || self.is(b"fscommand"))
            && !value.is_empty()
        {
            return certain("attribute that runs script");
        }
        if self.is(b"attributename")
            && (Normalised::of(value).starts_with(b"on") || Normalised::of(value).ends_with(b"href"))
        {
            return certain("attribute that is animated to script");
        }
        let normalised = Normalised::of(value);
        if normalised.is_script_url() {
            return certain("script URL");
        }
        if self.is(b"style") && value::style_runs_script(&normalised) {
            return certain("style that runs script");
        }
        if self.is(b"style") && value::style_misleads(value) {
            return certain("style that misleads parsers");
        }
        if self.is(b"formaction") || self.is(b"xlink:href") {
            return Some((Grade::Likely, "attribute that few elements have"));
        }
        let address = self.is(b"src") || self.is(b"background") || self.is(b"poster") || self.is(b"data");
        let bare = !value.is_empty() && !value.iter().any(|byte| matches!(byte, b'.' | b'/' | b'{'));
        (element == Element::Media && address && bare && value.len() <= 8)
            .then_some((Grade::Likely, "source that is none"))
    }
}

/// Whether the name of an event comes next.
pub(super) fn is_event(text: &[u8]) -> bool {
    EVENTS.iter().any(|known| {
        text.get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known))
    })
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}
