//! One word as a shell reads it.

use super::command::{self, Command};
use crate::decode::marks;

/// The longest name of a program that is looked up.
const LONGEST: usize = 24;
/// How much of the field one word may take up.
const READ: usize = 96;

/// Components and expansions without a name that are skipped.
const EMPTY: usize = 8;

/// Directories whose names are hidden behind patterns.
const DIRECTORIES: [&[u8]; 7] = [b"bin", b"etc", b"usr", b"dev", b"sbin", b"tmp", b"var"];

/// Bytes of names, and bytes with which a word may go on in disguise.
const NAME: [bool; 256] = marks(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
const GOES_ON: [bool; 256] = marks(b"$`'\"^\\/?*[]");

/// Whether [`Word::read`] could find a command at the start of `rest`: it begins with the plain name of one, or is
/// not plain.
pub(super) fn may_be_command(rest: &[u8]) -> bool {
    let length = rest
        .iter()
        .take(READ)
        .take_while(|byte| NAME[usize::from(**byte)])
        .count();
    match &rest[length..] {
        // A quote that ends a string and not only a part of the word.
        [quote @ (b'\'' | b'"'), next, ..]
            if length > 0 && next != quote && !next.is_ascii_alphanumeric() => {}
        [byte, ..] if GOES_ON[usize::from(*byte)] => return true,
        _ => {}
    }
    let mut folded = [0; LONGEST];
    let Some(name) = folded.get_mut(..length) else {
        return false;
    };
    name.copy_from_slice(&rest[..length]);
    name.make_ascii_lowercase();
    let name = name.strip_suffix(b".exe").unwrap_or(name);
    command::is_prefix(name) || Command::named(name).is_some()
}

/// A word without its quoting.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a word")]
pub(super) struct Word {
    /// The last component, lower case, without `.exe`.
    name: [u8; LONGEST],
    length: usize,
    /// Offset after the word.
    pub(super) end: usize,
    /// Quotes, backslashes or empty expansions inside of the name.
    pub(super) spliced: bool,
    /// An expansion to nothing inside of the name.
    pub(super) emptied: bool,
    /// It is a path to a program.
    pub(super) path: bool,
    /// `$IFS` ended it, which is the space before the argument.
    pub(super) expanded: bool,
    /// The first component of an absolute path is a pattern that means a system directory.
    pattern: bool,
}

impl Word {
    /// Reads the word at `start`.
    pub(super) fn read(text: &[u8], start: usize) -> Self {
        let mut word = Self {
            name: [0; LONGEST],
            length: 0,
            end: start,
            spliced: false,
            emptied: false,
            path: false,
            expanded: false,
            pattern: false,
        };
        let limit = text.len().min(start.saturating_add(READ));
        let mut splices = 0;
        // Those before the name do not split it.
        let mut leading = 0;
        while word.end < limit && (word.length > 0 || splices < EMPTY) {
            let rest = &text[word.end..limit];
            let skip = match rest {
                [b'$', b'{', b'I' | b'i', b'F' | b'f', b'S' | b's', tail @ ..] if word.length > 0 => {
                    word.expanded = true;
                    word.end += 5 + tail.iter().position(|byte| *byte == b'}').map_or(0, |at| at + 1);
                    word.spliced = true;
                    break;
                }
                [b'$', b'I' | b'i', b'F' | b'f', b'S' | b's', tail @ ..] if word.length > 0 => {
                    word.expanded = true;
                    word.end += 4 + if tail.starts_with(b"$9") { 2 } else { 0 };
                    word.spliced = true;
                    break;
                }
                [b'$', b'(', b')', ..] => 3,
                [b'$', b'@' | b'*', ..] | [b'`', b'`', ..] | [b'\'', b'\'', ..] | [b'"', b'"', ..] => 2,
                [b'\'' | b'"' | b'^', next, ..] if word.length > 0 && next.is_ascii_alphanumeric() => 1,
                [b'\'' | b'"', ..] if splices > leading => 1,
                [b'\\', next, ..]
                    if next.is_ascii_alphanumeric() && (word.length > 0 || word.path) && *next != b'n' =>
                {
                    1
                }
                [b'\\', b'n', ..] if word.length == 0 => break,
                [b'/' | b'\\', ..] => {
                    splices += usize::from(word.length == 0);
                    leading = splices;
                    word.component();
                    word.end += 1;
                    continue;
                }
                [byte, ..]
                    if byte.is_ascii_alphanumeric()
                        || matches!(byte, b'.' | b'_' | b'-' | b'?' | b'*' | b'[' | b']') =>
                {
                    if word.length == 0 {
                        leading = splices;
                    }
                    word.push(*byte);
                    word.end += 1;
                    word.spliced |= splices > leading;
                    continue;
                }
                _ => break,
            };
            splices += 1;
            if word.length > 0 {
                word.emptied |= rest.starts_with(b"$");
            }
            word.end += skip;
        }
        word
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length += 1;
    }

    /// A component of a path is complete.
    fn component(&mut self) {
        let component = &self.name[..self.length.min(LONGEST)];
        let stars = memchr::memchr_iter(b'*', component).count();
        let is_pattern = stars <= 2 && stars < component.len() && (stars > 0 || component.contains(&b'?'));
        self.pattern |= self.path && is_pattern && DIRECTORIES.iter().any(|name| matches(component, name));
        self.path = true;
        self.length = 0;
    }

    /// The program's name without its directory.
    pub(super) fn program(&self) -> &[u8] {
        let name = self.name.get(..self.length).unwrap_or_default();
        name.strip_suffix(b".exe").unwrap_or(name)
    }

    /// `/???/` or `/b?n/`.
    pub(super) fn names_system_directory(&self) -> bool {
        self.pattern
    }

    /// Whether this byte comes directly after the word.
    pub(super) fn text_follows(&self, text: &[u8], byte: u8) -> bool {
        text.get(self.end) == Some(&byte)
    }
}

/// Whether a pattern of `?` and `*` means `name`. Both are a few bytes long.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', pattern @ ..], _) => (0..=name.len()).any(|skip| matches(pattern, &name[skip..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => matches(pattern, name),
        ([a, pattern @ ..], [b, name @ ..]) => a == b && matches(pattern, name),
        _ => false,
    }
}
