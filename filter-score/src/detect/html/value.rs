//! Values of attributes as the browser understands them.

use crate::decode::hex;

/// How much of a value is looked at.
const LONGEST: usize = 192;

/// The start of a value in lower case, character references decoded, without spaces, control bytes, backslashes and
/// comments, none of which hinder a browser.
pub(super) struct Normalised {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Normalised {
    pub(super) fn of(value: &[u8]) -> Self {
        let mut normalised = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        let mut rest = value;
        while let [byte, tail @ ..] = rest {
            if normalised.length == LONGEST {
                break;
            }
            let (byte, length) = match rest {
                [b'/', b'*', body @ ..] => {
                    match memchr::memmem::find(&body[..body.len().min(LONGEST)], b"*/") {
                        Some(end) => (b' ', end + 4),
                        None => (b'/', 1),
                    }
                }
                [b'&', b'#', number @ ..] => {
                    reference(number).map_or((b'&', 1), |(byte, length)| (byte, length + 2))
                }
                [b'&', name @ ..] => named(name),
                _ => (*byte, rest.len() - tail.len()),
            };
            rest = &rest[length..];
            if byte > b' ' && !matches!(byte, b'\\' | b'"' | b'\'' | b'`' | 0x7f) {
                normalised.bytes[normalised.length] = byte.to_ascii_lowercase();
                normalised.length += 1;
            }
        }
        normalised
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.as_bytes().starts_with(prefix)
    }

    pub(super) fn ends_with(&self, suffix: &[u8]) -> bool {
        self.as_bytes().ends_with(suffix)
    }

    fn contains(&self, needle: &[u8]) -> bool {
        memchr::memmem::find(self.as_bytes(), needle).is_some()
    }

    /// `javascript:` and its relatives, with something behind them that does anything.
    pub(super) fn is_script_url(&self) -> bool {
        const SCHEMES: [&[u8]; 6] = [
            b"javascript:",
            b"vbscript:",
            b"livescript:",
            b"mocha:",
            b"jscript:",
            b"vbs:",
        ];
        const NESTED: [&[u8]; 4] = [b"feed:", b"view-source:", b"jar:", b"url="];
        const DOCUMENTS: [&[u8]; 7] = [
            b"data:text/html",
            b"data:text/xml",
            b"data:text/javascript",
            b"data:application/",
            b"data:image/svg",
            b"data:,",
            b"data:;",
        ];
        let mut url = self.as_bytes();
        while let Some(inner) = NESTED.iter().find_map(|scheme| url.strip_prefix(*scheme)) {
            url = inner;
        }
        if let Some(code) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(*scheme)) {
            let idle = code.strip_prefix(b"void(0)").unwrap_or(code);
            return !matches!(idle, b"" | b";");
        }
        DOCUMENTS.iter().any(|document| url.starts_with(document))
            || self.contains(b";url=javascript:")
            || self.contains(b";url=data:")
    }
}

/// `expression()`, bindings and URLs of script in a style.
pub(super) fn style_runs_script(style: &Normalised) -> bool {
    const NEEDLES: [&[u8]; 9] = [
        b"expression28",
        b"binding:url",
        b"expression(",
        b"behavior:",
        b"behaviour:",
        b"-moz-binding",
        b"javascript:",
        b"vbscript:",
        b"@import",
    ];
    NEEDLES.iter().any(|needle| style.contains(needle))
}

/// Escapes, comments and braces that no editor writes into a style, but that lead parsers astray.
pub(super) fn style_misleads(style: &[u8]) -> bool {
    style.windows(2).any(|pair| match pair {
        [b'\\', next] => next.is_ascii_hexdigit(),
        [b'/', b'*'] | [b')', b'}'] | [b'}', b';'] | [b'[', _] => true,
        _ => false,
    })
}

/// A number after `&#`: the byte it stands for and its length.
fn reference(number: &[u8]) -> Option<(u8, usize)> {
    let (digits, prefix, radix) = match number {
        [b'x' | b'X', digits @ ..] => (digits, 1, 16u32),
        _ => (number, 0, 10),
    };
    let length = digits
        .iter()
        .take(9)
        .take_while(|byte| hex(**byte).is_some_and(|digit| u32::from(digit) < radix))
        .count();
    let code = digits[..length].iter().fold(0u32, |code, byte| {
        code.saturating_mul(radix)
            .saturating_add(u32::from(hex(*byte).unwrap_or(0)))
    });
    let semicolon = usize::from(digits.get(length) == Some(&b';'));
    (length > 0).then(|| (u8::try_from(code).unwrap_or(b'?'), prefix + length + semicolon))
}

/// A name after `&`: the byte it stands for and the length with the ampersand.
fn named(name: &[u8]) -> (u8, usize) {
    const NAMES: [(&[u8], u8); 8] = [
        (b"colon;", b':'),
        (b"tab;", b' '),
        (b"newline;", b' '),
        (b"lpar;", b'('),
        (b"rpar;", b')'),
        (b"sol;", b'/'),
        (b"nbsp;", b' '),
        (b"amp;", b'&'),
    ];
    NAMES
        .iter()
        .find(|(known, _)| {
            name.get(..known.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(known))
        })
        .map_or((b'&', 1), |(known, byte)| (*byte, known.len() + 1))
}
