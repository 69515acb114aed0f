//! Path escape: the field's paths are walked as the targets walk them, and it is counted how far they climb above
//! where they begin.
//!
//! Separators are slash and backslash in any number, `.` stays, `..` climbs, also with a path parameter (`..;x`,
//! as servlet containers drop those) or bytes that C strings end at. What filters make of disguised sequences is
//! taken into account: of `....//` a filter that removes `../` once leaves `../`.

use super::Evidence;
use crate::decode::hex;

/// One of these is part of every escape.
pub(super) const LITERALS: &[&str] = &[
    "../", "..\\", "..;", "./.", ".\\.", "0x2e", "..0x", "%2e", "..2f", "..5c", "..%", "%32%65", "%32%%65",
    "%%c0", "%c0%", "%u002e", "%uff0e",
];

/// Names directly below the root of a system, or that servers keep from visitors; lower case.
const SENSITIVE: [&[u8]; 27] = [
    b"etc",
    b"proc",
    b"var",
    b"usr",
    b"root",
    b"home",
    b"opt",
    b"tmp",
    b"boot.ini",
    b"win.ini",
    b"windows",
    b"winnt",
    b"inetpub",
    b"web-inf",
    b"meta-inf",
    b".env",
    b".git",
    b".svn",
    b".ssh",
    b".htaccess",
    b".htpasswd",
    b"passwd",
    b"web.config",
    b"wp-config.php",
    b"shadow",
    b"autoexec.bat",
    b"global.asa",
];

/// A climb over this many levels is no link between neighbours.
const DEEP: usize = 3;
/// The longest name file systems allow, in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// Endings of files that servers run or keep for themselves.
const SERVER_FILES: [&[u8]; 17] = [
    b".php",
    b".ini",
    b".conf",
    b".cfg",
    b".env",
    b".yml",
    b".key",
    b".pem",
    b".log",
    b".bak",
    b".sql",
    b".jsp",
    b".asp",
    b".aspx",
    b".inc",
    b".config",
    b".properties",
];
/// Empty steps in a row that only pad a path.
const PADDING: usize = 8;

/// A path that climbs far, in disguise, or to a file of the system.
pub(super) fn certain(text: &[u8]) -> Option<Evidence> {
    walk(text, Walk::escapes)
}

/// A path that climbs above its root, or over two levels.
pub(super) fn likely(text: &[u8]) -> Option<Evidence> {
    walk(text, Walk::leaves)
}

/// What a few bytes mean in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Dot,
    Separator,
    /// The path ends, another one may begin.
    Boundary,
    /// Dropped by the target.
    Ignored,
    Name(u8),
}

/// The unit at the start of `rest`, its length, and whether it is written so that filters do not see it. After two
/// dots (`climbing`) a malformed escape is taken for a separator: what decodes it decides.
fn unit(rest: &[u8], climbing: bool) -> (Unit, usize, bool) {
    match rest {
        [b'%', tail @ ..] => escape(tail, climbing),
        [b'2', b'f' | b'F', b'.', ..] | [b'5', b'c' | b'C', b'.', ..] if climbing => {
            (Unit::Separator, 2, true)
        }
        [b'.', ..] => (Unit::Dot, 1, false),
        [b'\\', b'/', ..] | [b'/', b'\\', ..] => (Unit::Separator, 2, true),
        [b'/' | b'\\', ..] => (Unit::Separator, 1, false),
        [b'0', b'x' | b'X', b'2', b'e' | b'E', ..] => (Unit::Dot, 4, true),
        [b'0', b'x' | b'X', b'2', b'f' | b'F', ..] | [b'0', b'x' | b'X', b'5', b'c' | b'C', ..] => {
            (Unit::Separator, 4, true)
        }
        [0..=8 | 14..=31, ..] => (Unit::Ignored, 1, true),
        [
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'`' | b'=' | b',' | b'(' | b')' | b'<' | b'>'
            | b'|' | b'&' | b'?' | b'#' | b'[' | b']' | b'*' | b':',
            ..,
        ] => (Unit::Boundary, 1, false),
        [byte, ..] => (Unit::Name(*byte), 1, false),
        [] => (Unit::Boundary, 0, false),
    }
}

/// What follows a percent sign. Nobody but attackers encodes a dot, writes two bytes where one does, or encodes
/// the digits of an escape (`%%32%%66`).
fn escape(tail: &[u8], climbing: bool) -> (Unit, usize, bool) {
    match tail {
        [b'c' | b'C', b'0' | b'1', b'%', high, low, ..] => {
            let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
            match byte {
                // Decoders differ in which bits of the second byte they look at.
                Some(0x2e | 0x5e | 0x6e | 0xae | 0xee | 0xfe) => (Unit::Dot, 6, true),
                Some(0x2f | 0xaf | 0x1c | 0x5c | 0x9c) => (Unit::Separator, 6, true),
                _ if climbing => (Unit::Separator, 6, true),
                _ => (Unit::Name(b'%'), 1, false),
            }
        }
        [
            b'e' | b'E',
            b'0',
            b'%',
            b'8',
            b'0',
            b'%',
            b'a' | b'A',
            b'e' | b'E',
            ..,
        ] => (Unit::Dot, 9, true),
        [b'u' | b'U', b'0', b'0', b'2', b'e' | b'E', ..]
        | [b'u' | b'U', b'f' | b'F', b'f' | b'F', b'0', b'e' | b'E', ..] => (Unit::Dot, 6, true),
        [b'.', ..] | [b'%', b'c' | b'C', ..] => (Unit::Ignored, 1, true),
        _ => match digits(tail) {
            Some((b'.', length)) => (Unit::Dot, length + 1, true),
            Some((b'/' | b'\\', length)) => (Unit::Separator, length + 1, length > 2),
            Some((b'%', length)) if climbing => (Unit::Separator, length + 1, true),
            None if climbing && !tail.is_empty() => (Unit::Separator, 1, true),
            _ => (Unit::Name(b'%'), 1, false),
        },
    }
}

/// Two hexadecimal digits, each of which may be escaped itself: their value and length.
fn digits(tail: &[u8]) -> Option<(u8, usize)> {
    let mut at = 0;
    let mut value = 0;
    for _ in 0..2 {
        let digit = match tail.get(at..)? {
            [b'%', b'%', high @ (b'3' | b'6'), low, ..] => {
                at += 4;
                char::from(high << 4 | hex(*low)?)
            }
            [b'%', high @ (b'3' | b'6'), low, ..] => {
                at += 3;
                char::from(high << 4 | hex(*low)?)
            }
            [digit, ..] => {
                at += 1;
                char::from(*digit)
            }
            [] => return None,
        };
        value = value << 4 | digit.to_digit(16)? as u8;
    }
    Some((value, at))
}

/// A path while it is walked.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a path")]
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    start: usize,
    /// Levels below the start.
    depth: usize,
    /// Levels above the start.
    climbed: usize,
    /// Climbs in a row that are written so that a filter misses them.
    disguised: usize,
    /// `.` or `...` in a row.
    padding: usize,
    /// The path begins with a separator.
    absolute: bool,
    /// A climb has a path parameter.
    parameter: bool,
    /// The name after the last climb is one of [`SENSITIVE`].
    sensitive: bool,
    /// The last name is longer than names can be.
    overlong: bool,
    /// Names since the last climb.
    names: usize,
    /// The path is a climb to the place above, or to a file that servers keep.
    server_file: bool,
}

impl Walk {
    fn escapes(&self) -> Option<&'static str> {
        let rises = self.climbed + self.disguised;
        if self.sensitive && rises > 0 {
            Some("climbs to a system file")
        } else if self.climbed >= DEEP {
            Some("climbs over several levels")
        } else if self.absolute && (self.climbed >= 2 || (self.climbed == 1 && self.start == 0)) {
            Some("climbs above the root")
        } else if self.disguised >= 2 || (self.disguised > 0 && self.climbed > 0) {
            Some("disguised climb")
        } else if self.parameter && self.climbed > 0 {
            Some("climb with a path parameter")
        } else if self.climbed >= 2 && self.server_file {
            Some("climbs to a file of the server")
        } else if self.padding >= PADDING {
            Some("path padded with empty steps")
        } else {
            None
        }
    }

    fn leaves(&self) -> Option<&'static str> {
        if self.absolute && self.climbed > 0 {
            Some("climbs above the root")
        } else {
            (self.climbed >= 2).then_some("climbs over two levels")
        }
    }

    /// A segment is complete.
    fn segment(&mut self, segment: Segment) {
        match segment.dots {
            _ if segment.named => {
                self.names += 1;
                if self.names == 1 && SENSITIVE.iter().any(|name| segment.is(name)) {
                    self.sensitive = true;
                }
                self.depth += 1;
                self.padding = 0;
                self.overlong = segment.length >= NAME_MAX;
                if self.climbed == 0 && !self.sensitive {
                    self.disguised = 0;
                }
            }
            0 => {}
            1 => self.padding += 1,
            2 => {
                // `./../x` is somebody's relative path, `../.././../x` is not.
                self.disguised += usize::from(self.padding > 0 && self.climbed > 0);
                self.padding = 0;
                self.names = 0;
                self.sensitive = false;
                // What is left again at once was no file.
                self.disguised += if self.overlong { 2 } else { 0 };
                self.overlong = false;
                if self.depth > 0 {
                    self.depth -= 1;
                } else {
                    self.climbed += 1;
                    self.disguised += usize::from(segment.disguised);
                }
                self.parameter |= segment.parameter;
            }
            dots => {
                self.names = 0;
                self.sensitive = false;
                // Three dots stand for what is left out; four and more for what a filter removes.
                self.disguised += if dots > 3 { 2 } else { 1 };
            }
        }
    }
}

/// A segment while it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    dots: usize,
    named: bool,
    disguised: bool,
    parameter: bool,
    /// Lower case, as far as it fits.
    name: [u8; 16],
    length: usize,
}

impl Segment {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length += 1;
    }

    /// Whether the name is this one, whatever extension or wrapper comes after it.
    fn is(&self, name: &[u8]) -> bool {
        self.length.min(self.name.len()) >= name.len()
            && self.name.starts_with(name)
            && !self.name.get(name.len()).is_some_and(u8::is_ascii_alphanumeric)
    }
}

/// Where the next path begins that has a dot in it which might be a step; names with an extension have none.
fn next_path(text: &[u8], from: usize) -> Option<usize> {
    let step = (from..text.len()).find(|at| match &text[*at..] {
        [b'.', next, ..] => matches!(next, 0..=0x1f | b'.' | b'/' | b'\\' | b'%' | b';'),
        [b'%', b'2' | b'%' | b'c' | b'C' | b'e' | b'E' | b'u' | b'U', ..] | [b'0', b'x' | b'X', ..] => true,
        _ => false,
    })?;
    let boundary = text[from..step]
        .iter()
        .rposition(|byte| unit(std::slice::from_ref(byte), false).0 == Unit::Boundary);
    Some(boundary.map_or(from, |at| from + at + 1))
}

fn walk(text: &[u8], judge: fn(&Walk) -> Option<&'static str>) -> Option<Evidence> {
    let mut at = next_path(text, 0)?;
    let mut walk = Walk {
        start: at,
        ..Walk::default()
    };
    let mut segment = Segment::default();
    let mut empty = true;
    loop {
        let climbing = segment.dots == 2 && !segment.named;
        let (unit, length, disguised) = unit(&text[at..], climbing);
        match unit {
            Unit::Dot if !segment.parameter => {
                segment.push(b'.');
                segment.dots += usize::from(!segment.named);
                segment.disguised |= disguised;
            }
            Unit::Name(b';') if segment.dots == 2 && !segment.named => segment.parameter = true,
            Unit::Name(byte) if !segment.parameter => {
                segment.push(byte);
                segment.named = true;
            }
            Unit::Dot | Unit::Name(_) => {}
            Unit::Ignored => segment.disguised |= segment.dots > 0,
            Unit::Separator => {
                let run = text[at..]
                    .iter()
                    .take(3)
                    .filter(|byte| matches!(byte, b'/' | b'\\'))
                    .count()
                    == 3;
                segment.disguised |= (disguised || run) && segment.dots > 0;
                walk.absolute |= empty;
                walk.segment(std::mem::take(&mut segment));
            }
            Unit::Boundary => {
                // A climb at the very end has no separator after it.
                if segment.named || !empty {
                    walk.segment(std::mem::take(&mut segment));
                }
            }
        }
        empty &= matches!(unit, Unit::Ignored);
        // At the end of a line the path is part of a text.
        if unit == Unit::Boundary && walk.climbed > 0 && !matches!(text.get(at), Some(b'\r' | b'\n')) {
            let path = &text[walk.start..at];
            walk.server_file = (walk.names == 0 && walk.start == 0 && length == 0)
                || SERVER_FILES.iter().any(|ending| {
                    let from = path.len().checked_sub(ending.len());
                    from.is_some_and(|from| path[from..].eq_ignore_ascii_case(ending))
                });
        }
        if matches!(unit, Unit::Separator | Unit::Boundary)
            && let Some(label) = judge(&walk)
        {
            return Some(Evidence {
                start: walk.start,
                end: (at + length).min(text.len()),
                label,
            });
        }
        if length == 0 {
            return None;
        }
        at += length;
        if unit == Unit::Boundary {
            at = next_path(text, at)?;
            walk = Walk {
                start: at,
                ..Walk::default()
            };
            segment = Segment::default();
            empty = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let escapes = [
            "../../../x",
            "..\\..\\..\\windows\\win.ini",
            "../etc/passwd",
            "page=../../../../proc/self/environ",
            "/../../boot.ini",
            "....//....//etc/passwd",
            "..././..././x",
            "/..;/manager",
            "..0x2f{file}",
            "0x2e0x2e/x",
            "%2e%2e/x",
            "..\\/..\\/x",
            "/.../.../x",
            "./././././././././x",
            "a/../../../../b",
            "..%%35%%63boot.ini",
            "%%32%%65%%32%%65/x",
            "%c0%ae%c0%ae%c0%afx",
            "..%c0%qfx",
            "..2f..2f..2fvar2flog",
            "../../index.php",
            "../../",
            "..%252fx",
            "%c0%2e%c0%2e\\x",
            "................/boot.ini",
            "..../x",
            "/var/www/images/../../../../etc/passwd",
        ];
        for text in escapes {
            assert!(certain(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["see /../x", "../../x", "a/../../../b"] {
            assert!(certain(text.as_bytes()).is_none(), "{text}");
            assert!(likely(text.as_bytes()).is_some(), "{text}");
        }
        let harmless = [
            "../images/logo.png",
            "a/b/../../c",
            "https://example.com/a/../b",
            "1..2",
            ">=1.0.0, <2..3",
            "and so on... /see",
            "path/.../file and go test ./...",
            "wait... what",
            "src/../lib/mod.rs",
            "a ../b ../c ../d",
            "etc/passwd",
            "50%.. of 100%, 20%../30%",
            "wait..%20what",
            "",
        ];
        for text in harmless {
            assert_eq!(certain(text.as_bytes()), None, "{text}");
            assert_eq!(likely(text.as_bytes()), None, "{text}");
        }
    }
}
