//! Shell syntax: separators and substitutions of Unix and Windows shells, and what stands behind them in the
//! position of a command, unquoted as the shells unquote it.

mod command;
mod word;

use self::command::Command;
use self::word::Word;
use super::Evidence;
use crate::decode::{marks, unmarked};
use crate::rules::classes::Classes;

/// Separators that are rare elsewhere.
pub(super) const LITERALS: &[&str] = &[
    "||",
    "&&",
    "$(",
    "<(",
    ">(",
    "${",
    "{cat",
    "{ls",
    "{curl",
    "{wget",
    "{ping",
    "{echo",
    "/bin",
    "/sbin",
    "$@",
    ";a",
    ";b",
    ";c",
    ";d",
    ";e",
    ";f",
    ";g",
    ";h",
    ";i",
    ";k",
    ";l",
    ";m",
    ";n",
    ";p",
    ";r",
    ";s",
    ";t",
    ";u",
    ";w",
    ";x",
    ";/",
    "; /",
    "; cat",
    "; ls",
    "; id",
    "; who",
    "; uname",
    "; ps",
    "; pwd",
    "; rm",
    "; nc",
    "; sh",
    "; sleep",
    "; ping",
    "; echo",
    "; dir",
    "; type",
    "; net",
    "; reg ",
    "; sys",
    "; printf",
    "; head",
    "; tail",
    "; less",
    "; more",
    "; grep",
    "; find",
    "; chmod",
    "; kill",
    "; touch",
    "; set",
    "; env",
    "; ifconfig",
    "; ipconfig",
    "; date",
    "; del",
    "; copy",
    "; cp",
    "; mv",
    "; sudo",
    "; /",
    "cat ",
    "cat<",
    "type ",
    "& ",
    "&/",
    "&cat ",
    "&ls",
    "&dir",
    "&net ",
    "&type",
    "&sleep",
    "&ping",
    "&uname",
    "&echo",
    "&id",
    "wget",
    "curl",
    "ping ",
    "ping.exe",
    "perl ",
    "python",
    "bash ",
    "powershell",
    "cmd ",
    "cmd.exe",
    "ruby ",
    "whoami",
    "nslookup",
    "certutil",
];
/// Separators and quoting that are rare elsewhere.
pub(super) const CLASSES: Classes = Classes::of(b'|')
    .or(Classes::of(b'`'))
    .or(Classes::of(b'\n'))
    .or(Classes::of(b'$'))
    .or(Classes::of(b'^'))
    .or(Classes::BACKSLASH)
    .or(Classes::of(b'\''));

/// Words that are looked at after a separator.
const PREFIXES: usize = 3;
/// The longest field in which a line end counts as a separator typed by hand; longer ones are texts.
const ONE_LINER: usize = 160;

/// A command beyond doubt.
pub(super) fn certain(text: &[u8]) -> Option<Evidence> {
    let mut backticks = 0;
    let mut at = 0;
    while at < text.len() {
        if let Some(separator) = Separator::at(text, at) {
            backticks += usize::from(separator.0 == Separator::Backtick);
            let found = command_after(text, at, separator, backticks % 2 == 1);
            if found.is_some() {
                return found;
            }
        }
        at += 1;
        at += unmarked(&text[at..], &SEPARATORS);
    }
    None
}

/// Bytes that a separator begins with, apart from the start of the field.
const SEPARATORS: [bool; 256] = marks(b"|&;\n`$<>{\\");

/// What makes the shell begin a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    /// The field itself, or a quote that it closes.
    Start,
    /// `;`, `||`, `&&`.
    Sequence,
    /// `|`.
    Pipe,
    /// `&`.
    Background,
    Line,
    /// A backtick.
    Backtick,
    /// `$(`, `<(`, `>(`.
    Substitution,
    /// `{`.
    Brace,
}

impl Separator {
    fn at(text: &[u8], at: usize) -> Option<(Self, usize)> {
        Some(match &text[at..] {
            [b'|', b'|', ..] | [b'&', b'&', ..] => (Self::Sequence, 2),
            [b';', ..] => (Self::Sequence, 1),
            [b'|', ..] => (Self::Pipe, 1),
            [b'&', ..] => (Self::Background, 1),
            [b'\n', ..] => (Self::Line, 1),
            [b'`', ..] => (Self::Backtick, 1),
            [b'$' | b'<' | b'>', b'(', ..] => (Self::Substitution, 2),
            [b'{', ..] => (Self::Brace, 1),
            [b'\\', b'n', ..] => (Self::Line, 2),
            [b'\'' | b'"', ..] if at == 0 => (Self::Start, 1),
            _ if at == 0 => (Self::Start, 0),
            _ => return None,
        })
    }
}

/// `odd`: the backticks so far, this one included, are odd in number.
fn command_after(
    text: &[u8],
    at: usize,
    (separator, length): (Separator, usize),
    odd: bool,
) -> Option<Evidence> {
    let mut from = at + length;
    let found = |end: usize, label| {
        Some(Evidence {
            start: at,
            end: end.min(text.len()),
            label,
        })
    };
    for _ in 0..PREFIXES {
        let spaces = blanks(text, from);
        let glued = spaces == 0;
        if !word::may_be_command(&text[(from + spaces).min(text.len())..]) {
            return None;
        }
        let word = Word::read(text, from + spaces);
        if word.names_system_directory() && separator != Separator::Start {
            return found(word.end, "pattern for a system directory");
        }
        let name = word.program();
        if name.is_empty() {
            return None;
        }
        if command::is_prefix(name) && word.end < text.len() {
            from = word.end;
            continue;
        }
        let command = Command::named(name)?;
        let context = Context {
            text,
            separator,
            at,
            odd,
            glued,
            word: &word,
        };
        return context.proves(command).then_some(()).and_then(|()| {
            found(
                word.end + 24,
                if word.spliced {
                    "command in disguise"
                } else {
                    "command"
                },
            )
        });
    }
    None
}

fn blanks(text: &[u8], from: usize) -> usize {
    text[from.min(text.len())..]
        .iter()
        .take(8)
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'@' | b'\r' | b'+'))
        .count()
}

/// How a command stands in the field.
struct Context<'a> {
    text: &'a [u8],
    separator: Separator,
    at: usize,
    /// A backtick here opens.
    odd: bool,
    /// Nothing between separator and command.
    glued: bool,
    word: &'a Word,
}

/// What comes after a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The field ends.
    End,
    /// Another separator, or the end of the substitution or string.
    Closed,
    Option,
    /// An absolute or home path, a drive, an expansion, an address, a redirection.
    Operand,
    Number,
    /// A word with a dot, slash or star in it.
    File,
    /// A string in quotes.
    Quoted,
    /// A word that the command's own syntax has here.
    Word,
    Other,
}

impl Context<'_> {
    fn next(&self, command: Command) -> Next {
        let rest = &self.text[self.word.end.min(self.text.len())..];
        let spaces = rest
            .iter()
            .take(8)
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'+'))
            .count();
        let rest = &rest[spaces..];
        let separated = spaces > 0 || self.word.expanded;
        match rest {
            [] => Next::End,
            [b'\'' | b'"'] | [b')' | b'`' | b'|' | b';' | b'&' | b'\n' | b'#', ..] | [b'\\', b'n', ..] => {
                Next::Closed
            }
            [b'\'' | b'"', b';' | b'|' | b'&', ..] => Next::Closed,
            [b'<' | b'>', ..] => Next::Operand,
            [b',', ..] if self.separator == Separator::Brace => Next::Operand,
            _ if !separated => match rest {
                [b'/', ..] if command.windows() => Next::Option,
                _ => Next::Other,
            },
            [b'-', letter, ..] if letter.is_ascii_alphanumeric() || *letter == b'-' => Next::Option,
            [b'/', letter, end, ..] if letter.is_ascii_alphabetic() && matches!(end, b' ' | b':') => {
                Next::Option
            }
            [b'/' | b'~' | b'$' | b'*' | b'@' | b'%' | b'{', ..] | [b'.', b'/' | b'.', ..] => Next::Operand,
            [drive, b':', ..] if drive.is_ascii_alphabetic() => Next::Operand,
            [b'\'' | b'"', ..] => Next::Quoted,
            [digit, ..] if digit.is_ascii_digit() => Next::Number,
            _ => {
                let word = rest.iter().take(64).take_while(|byte| {
                    byte.is_ascii_alphanumeric()
                        || matches!(byte, b'.' | b'/' | b'_' | b'-' | b'*' | b':' | b'\\' | b'@')
                });
                let mut length = 0;
                let mut marks = 0;
                let mut last = b' ';
                for byte in word {
                    length += 1;
                    marks += usize::from(!byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'));
                    last = *byte;
                }
                let marks = marks - usize::from(matches!(last, b'.' | b':')).min(marks);
                if command.takes(&rest[..length]) {
                    Next::Word
                } else if marks > 0 {
                    Next::File
                } else {
                    Next::Other
                }
            }
        }
    }

    fn proves(&self, command: Command) -> bool {
        let next = self.next(command);
        let Self {
            separator,
            word,
            glued,
            ..
        } = *self;
        if next == Next::Other {
            // `$(echo …)` prints anything.
            return separator == Separator::Substitution
                && command == Command::Printing
                && self.text.get(word.end) == Some(&b' ');
        }
        let alone = matches!(next, Next::End | Next::Closed);
        let disguised = if separator == Separator::Start {
            !alone || word.emptied
        } else {
            !alone || !command.prose()
        };
        if word.spliced && disguised && separator != Separator::Backtick {
            return true;
        }
        let argument = match next {
            Next::Option | Next::Operand | Next::Word => true,
            Next::Number => command.takes_number(),
            Next::File => !command.prose() || command.reads_files(),
            Next::Quoted => command.takes_text(),
            _ => false,
        };
        match separator {
            Separator::Brace => {
                word.text_follows(self.text, b',') && !word.path && self.option_or_path(word.end + 1)
            }
            Separator::Start => {
                (argument
                    && matches!(next, Next::Operand | Next::Option | Next::File | Next::Number)
                    && !command.prose())
                    || (argument && command.prose() && next == Next::Operand && command.reads_files())
                    || (command == Command::Counting && next == Next::Option)
                    || (command == Command::Management && next == Next::Word && self.has_slash_option())
                    || (word.path && alone && self.text.len() > word.end)
                    || (self.quoted() && !glued && next == Next::End && !command.prose())
            }
            Separator::Backtick => {
                let opens = self.at <= 1
                    || !matches!(
                        self.text[self.at - 1],
                        b' ' | b'\n' | b'(' | b'`' | b'\t' | b'*' | b'"' | b'/'
                    );
                let closes = memchr::memchr(b'`', &self.text[self.at + 1..]).is_some();
                closes && opens && (argument || alone) && self.odd
            }
            Separator::Substitution => {
                let method = self.text[self.at..]
                    .iter()
                    .take(64)
                    .position(|byte| *byte == b')');
                let jquery = method
                    .is_some_and(|close| matches!(self.text.get(self.at + close + 1), Some(b'.' | b'[')));
                let text = matches!(next, Next::Number | Next::Quoted | Next::File);
                (argument || alone || text) && !jquery
            }
            Separator::Line if self.text.len() > ONE_LINER => word.path && argument,
            Separator::Background => argument || (alone && !command.prose() && (next == Next::End || glued)),
            Separator::Sequence | Separator::Pipe | Separator::Line => {
                let table =
                    separator == Separator::Pipe && !glued && next == Next::Closed && self.spaced_after();
                argument
                    || (alone && !table && (!command.prose() || word.path || glued && !self.spaced_after()))
            }
        }
    }

    /// An option as Windows writes them, not far behind the command.
    fn has_slash_option(&self) -> bool {
        let rest = &self.text[self.word.end..];
        memchr::memmem::find(&rest[..rest.len().min(128)], b" /").is_some()
    }

    fn option_or_path(&self, at: usize) -> bool {
        matches!(
            self.text.get(at),
            Some(b'-' | b'/' | b'.' | b'~' | b'$' | b'0'..=b'9' | b'h')
        )
    }

    fn quoted(&self) -> bool {
        matches!(self.text.first(), Some(b'\'' | b'"'))
    }

    /// A space follows what closes the command, as in prose and tables.
    fn spaced_after(&self) -> bool {
        let rest = &self.text[self.word.end.min(self.text.len())..];
        let close = rest.iter().take(8).position(|byte| *byte != b' ');
        matches!(close.and_then(|at| rest.get(at + 1)), Some(b' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for text in COMMANDS {
            assert!(certain(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn prose_and_code() {
        for text in HARMLESS {
            let evidence = certain(text.as_bytes());
            assert_eq!(evidence, None, "{text}");
        }
    }

    const COMMANDS: &[&str] = &[
        "; cat /etc/passwd",
        "|id",
        "a;id;",
        "; ls",
        "||ping -c 10 127.0.0.1",
        "& ping -n 3 localhost",
        "$(whoami)",
        "`id`",
        "x`sleep 5`",
        "127.0.0.1\n/usr/bin/id",
        "1;w'h'oami",
        "c\\at /etc/passwd",
        "cat$IFS/etc/passwd",
        ";cat${IFS}/etc/passwd",
        "{cat,/etc/passwd}",
        "; /???/c?t x",
        "who$()ami",
        "; sleep 15",
        "&& type C:\\boot.ini",
        "| sudo /bin/ls",
        "; w^h^o^ami",
        "& net user hacker x /add",
        "| base64 -d | sh",
        ";echo `id`",
        "' ; /bin/sleep 31 ;",
    ];

    const HARMLESS: &[&str] = &[
        "",
        "salt; cat food | dog food",
        "black & white cat",
        "the `ping` utility and `id`, `link_type`",
        "| id | name |",
        "a=1&id=2&ls=3&date=4",
        "who; what; when",
        "$(id).hide()",
        "Tom & Jerry; find it",
        "fish &amp; chips; sort of",
        "curl your hair; more soon",
        "body { cat: 1 }",
        "text/html; type=a; date=b",
        "use `cat file` to print it",
        "x | y; z & w",
        "cut; copy; paste",
        "Mozilla/5.0 (X11; Linux x86_64; rv:109.0)",
        "ls is a command",
        "a;b;c",
    ];
}
