//! SQL tokens as the servers' own lexers cut them, where they agree; where they differ, the reading that suits an
//! attacker.

use super::vocabulary::{self, Word};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// A quoted string that is closed.
    Text,
    /// A quoted string that runs to the end of the field; the byte is its quote.
    Open(u8),
    Word(Word),
    /// `@name`.
    Variable,
    /// `@@name`.
    SystemVariable,
    /// `||` or `&&`: connectives, and `||` concatenates too.
    Pipes,
    /// `=`, `<`, `>`, `<>`, `!=`, `<=>` …
    Comparison,
    /// `+ - * / % ^ & | ~ !`.
    Operator,
    /// One or more.
    OpenBracket,
    /// One or more.
    CloseBracket,
    Comma,
    Semicolon,
    /// A comment to the end of the line or field.
    Comment,
    /// `/*!` of `MySQL`, whose content is executed.
    Executable,
    /// A byte that no SQL has outside of strings.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Fields are windows of some kilobytes; offsets beyond this type's range are cut, which hides nothing but the
    /// evidence's place.
    start: u32,
    end: u32,
    /// A comment stands between this token and the one before, and nothing else.
    pub(super) glued_by_comment: bool,
}

impl Token {
    pub(super) const NONE: Self = Self {
        kind: Kind::Other,
        start: 0,
        end: 0,
        glued_by_comment: false,
    };

    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    pub(super) fn end(&self) -> usize {
        self.end as usize
    }
}

/// How the field stands in the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// As it is, such as a number.
    Bare,
    /// Inside a string with this quote.
    Quoted(u8),
}

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    context: Context,
    /// The comment last skipped began here, and ended at `at`.
    comment: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], context: Context) -> Self {
        Self {
            text,
            at: 0,
            context,
            comment: false,
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        if self.at == 0
            && let Context::Quoted(quote) = self.context
        {
            return Some(self.broken_out(quote));
        }
        let spaced = self.skip_space();
        let start = self.at;
        let &byte = self.rest().first()?;
        let kind = self.token(byte);
        let token = Token {
            kind,
            start: start as u32,
            end: self.at as u32,
            glued_by_comment: std::mem::take(&mut self.comment) && !spaced,
        };
        Some(token)
    }

    /// The string in which the field begins; a doubled quote does not end it.
    fn broken_out(&mut self, quote: u8) -> Token {
        let mut from = 0;
        let kind = loop {
            match memchr::memchr(quote, &self.text[from..]) {
                None => {
                    self.at = self.text.len();
                    break Kind::Open(quote);
                }
                Some(at) if self.text.get(from + at + 1) == Some(&quote) && from + at > 0 => from += at + 2,
                Some(at) => {
                    self.at = from + at + 1;
                    break Kind::Text;
                }
            }
        };
        Token {
            kind,
            start: 0,
            end: self.at as u32,
            glued_by_comment: false,
        }
    }

    /// Spaces, and comments that end. True if there was a space.
    fn skip_space(&mut self) -> bool {
        let mut spaced = false;
        loop {
            match self.rest() {
                [byte, ..] if byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b) => {
                    spaced = true;
                    self.at += 1;
                }
                // What a form sends for a space.
                [b'+', next, ..] if self.joins_words(*next) => self.at += 1,
                [0xc2, 0xa0, ..] => {
                    spaced = true;
                    self.at += 2;
                }
                [b'/', b'*', b'!', ..] => return spaced,
                [b'/', b'*', body @ ..] => {
                    let Some(length) = memchr::memmem::find(body, b"*/") else {
                        return spaced;
                    };
                    self.comment = true;
                    self.at += length + 4;
                }
                // What closes an executable comment.
                [b'*', b'/', ..] => self.at += 2,
                // A line comment that another line follows.
                [b'-', b'-', body @ ..] | [b'#', body @ ..] => {
                    let Some(length) = memchr::memchr(b'\n', body) else {
                        return spaced;
                    };
                    spaced = true;
                    self.at = self.text.len() - body.len() + length + 1;
                }
                _ => return spaced,
            }
        }
    }

    fn joins_words(&self, next: u8) -> bool {
        let before = self.at.checked_sub(1).map_or(b' ', |at| self.text[at]);
        before.is_ascii_alphanumeric()
            && (next.is_ascii_alphanumeric() || matches!(next, b'\'' | b'@'))
            && (before.is_ascii_alphabetic() || next.is_ascii_alphabetic())
    }

    fn token(&mut self, byte: u8) -> Kind {
        match self.rest() {
            [b'/', b'*', b'!', body @ ..] => {
                self.at += 3 + body
                    .iter()
                    .take(6)
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                Kind::Executable
            }
            [b'-', b'-', ..] | [b'#', ..] | [b'/', b'*', ..] => {
                self.at = self.text.len();
                Kind::Comment
            }
            [b'|', b'|', ..] | [b'&', b'&', ..] => self.take(2, Kind::Pipes),
            [b'@', b'@', ..] => self.variable(2, Kind::SystemVariable),
            [b'@', ..] => self.variable(1, Kind::Variable),
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => self.number(),
            [b'\\', b'N', ..] => self.take(2, Kind::Word(Word::Constant)),
            [
                b'n' | b'N' | b'x' | b'X' | b'b' | b'B' | b'e' | b'E',
                quote @ (b'\'' | b'"'),
                ..,
            ] => {
                self.at += 1;
                self.string(*quote)
            }
            _ => match byte {
                b'\'' | b'"' => self.string(byte),
                b'`' => self.quoted_name(b'`'),
                b'[' => self.quoted_name(b']'),
                b'=' | b'<' | b'>' | b'!' => self.comparison(),
                b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'&' | b'|' | b'~' => self.take(1, Kind::Operator),
                b':' if self.rest().starts_with(b":=") => self.take(2, Kind::Comparison),
                b'(' => self.run(b'(', Kind::OpenBracket),
                b')' => self.run(b')', Kind::CloseBracket),
                b',' => self.take(1, Kind::Comma),
                b';' => self.run(b';', Kind::Semicolon),
                _ if is_word(byte) => self.word(),
                _ => self.take(1, Kind::Other),
            },
        }
    }

    fn take(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    fn count(&self, from: usize, belongs: impl Fn(u8) -> bool) -> usize {
        self.text[from..]
            .iter()
            .take_while(|byte| belongs(**byte))
            .count()
    }

    /// Brackets of a kind with nothing but spaces in between are one token.
    fn run(&mut self, byte: u8, kind: Kind) -> Kind {
        while let Some(&next) = self.rest().first() {
            if next == byte {
                self.at += 1;
            } else if next.is_ascii_whitespace() {
                let spaces = self.count(self.at, |byte| byte.is_ascii_whitespace());
                if self.text.get(self.at + spaces) != Some(&byte) {
                    break;
                }
                self.at += spaces;
            } else {
                break;
            }
        }
        kind
    }

    fn comparison(&mut self) -> Kind {
        let length = self.count(self.at, |byte| matches!(byte, b'=' | b'<' | b'>' | b'!'));
        if length == 1 && self.text[self.at] == b'!' {
            return self.take(1, Kind::Operator);
        }
        // `==='` or `<<<` is none of any dialect, `!=!` is one with a negation after it.
        let run = &self.text[self.at..self.at + length];
        match run {
            [b'=', b'=', b'=', ..] | [b'<', b'<', b'<', ..] | [b'>', b'>', b'>', ..] => {
                self.take(length, Kind::Other)
            }
            b"<<" | b">>" => self.take(2, Kind::Operator),
            _ => self.take(length, Kind::Comparison),
        }
    }

    fn variable(&mut self, sigils: usize, kind: Kind) -> Kind {
        self.at += sigils;
        match self.rest() {
            [quote @ (b'`' | b'\'' | b'"'), ..] => {
                self.string(*quote);
            }
            _ => {
                self.at += self.count(self.at, is_dotted);
            }
        }
        kind
    }

    fn number(&mut self) -> Kind {
        let start = self.at;
        if let [b'0', b'x' | b'X', ..] = self.rest() {
            self.at += 2;
            self.at += self.count(self.at, |byte| byte.is_ascii_hexdigit());
        } else {
            self.at += self.count(self.at, |byte| byte.is_ascii_digit() || byte == b'.');
            if let [b'e' | b'E', tail @ ..] = self.rest() {
                let sign = usize::from(matches!(tail, [b'+' | b'-', digit, ..] if digit.is_ascii_digit()));
                let digits = tail[sign..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                if digits > 0 {
                    self.at += 1 + sign + digits;
                }
            }
        }
        let letters = self.count(self.at, |byte| is_dotted(byte) && byte != b'.');
        if letters == 0 {
            return Kind::Number;
        }
        // `1union` and `1or` are cut after the number by some lexers; `8mm` is a name.
        match vocabulary::word(&self.text[self.at..self.at + letters], false) {
            Word::Union | Word::Connective | Word::From => Kind::Number,
            _ => {
                self.at = start + self.count(start, is_dotted);
                Kind::Word(Word::Name)
            }
        }
    }

    /// A quote is escaped by another one or by a backslash.
    fn string(&mut self, quote: u8) -> Kind {
        self.at += 1;
        while let Some(offset) = memchr::memchr2(quote, b'\\', self.rest()) {
            self.at += offset;
            match self.rest() {
                [b'\\', _, ..] => self.at += 2,
                [first, second, ..] if first == second => self.at += 2,
                [b'\\'] => break,
                _ => return self.take(1, Kind::Text),
            }
        }
        self.at = self.text.len();
        Kind::Open(quote)
    }

    /// `` `name` `` and `[name]`; not closed, it is no name.
    fn quoted_name(&mut self, close: u8) -> Kind {
        /// Longer names exist in no dialect.
        const LONGEST: usize = 130;
        let window = &self.rest()[1..self.rest().len().min(LONGEST)];
        match memchr::memchr(close, window) {
            Some(length) if length > 0 => {
                self.at += length + 2;
                if self.rest().first() == Some(&b'.') {
                    self.at += 1;
                }
                Kind::Word(Word::Name)
            }
            _ => self.take(1, Kind::Other),
        }
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        self.at += self.count(start, is_dotted);
        let spaces = self.count(self.at, |byte| matches!(byte, b' ' | b'\t'));
        let call = self.text.get(self.at + spaces) == Some(&b'(');
        Kind::Word(vocabulary::word(&self.text[start..self.at], call))
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Whether a name goes on with this byte, or the name after a dot.
fn is_dotted(byte: u8) -> bool {
    const DOTTED: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let value = byte as u8;
            table[byte] = is_word(value) || value.is_ascii_digit() || value == b'.';
            byte += 1;
        }
        table
    };
    DOTTED[usize::from(byte)]
}
