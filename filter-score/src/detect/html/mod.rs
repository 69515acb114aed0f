//! Markup that runs script, found by cutting the field into tags and attributes as browsers do (WHATWG HTML §13.2.5):
//! names end at spaces, slashes and `>`, values may be quoted, unquoted or missing, and what never closes counts.
//!
//! The field is read as if it stood between tags; event handlers are also looked for where the field stands inside
//! of an attribute's value that it leaves.

mod attribute;
mod element;
mod value;

use self::attribute::Attributes;
use self::element::Element;
use super::Evidence;

/// One of these is part of all that is detected.
pub(super) const LITERALS: &[&str] = &[
    "<s",
    "<i",
    "<o",
    "<e",
    "<a",
    "<b",
    "<l",
    "<m",
    "<f",
    "<v",
    "<d",
    "<p",
    "<n",
    "<x",
    "<k",
    "<t",
    "<h",
    "<u",
    "<c",
    "<r",
    "<q",
    "<w",
    "<y",
    "<z",
    "<g",
    "<j",
    "</",
    "<!",
    "<?",
    "-->",
    "< ",
    "<\u{0}",
    "<%",
    "onabort",
    "onafter",
    "onanim",
    "onaux",
    "onbefore",
    "onbegin",
    "onblur",
    "oncan",
    "onchange",
    "onclick",
    "onclose",
    "oncontext",
    "oncopy",
    "oncut",
    "ondbl",
    "ondrag",
    "ondrop",
    "onend",
    "onerror",
    "onfocus",
    "onfocusin",
    "onhash",
    "oninput",
    "oninvalid",
    "onkey",
    "onload",
    "onmessage",
    "onmouse",
    "onpage",
    "onpaste",
    "onpause",
    "onplay",
    "onpointer",
    "onpop",
    "onprogress",
    "onready",
    "onrepeat",
    "onreset",
    "onresize",
    "onscroll",
    "onsearch",
    "onseek",
    "onselect",
    "onshow",
    "onstart",
    "onsubmit",
    "ontime",
    "ontoggle",
    "ontouch",
    "ontrans",
    "onunhandled",
    "onunload",
    "onvolume",
    "onwaiting",
    "onwebkit",
    "onwheel",
    "onactivate",
    "ongotpointer",
    "onlostpointer",
];

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// Markup that rich text does not have, but runs nothing by itself.
    Likely,
    Certain,
}

type Found = Option<(Grade, &'static str)>;

/// Markup that runs script or loads what does.
pub(super) fn certain(text: &[u8]) -> Option<Evidence> {
    tags(text, Grade::Certain)
        .or_else(|| handlers(text))
        .or_else(|| comment_left(text))
}

/// Markup of whole documents and forms.
pub(super) fn likely(text: &[u8]) -> Option<Evidence> {
    tags(text, Grade::Likely)
}

fn tags(text: &[u8], wanted: Grade) -> Option<Evidence> {
    let document = text.trim_ascii_start().starts_with(b"<?xml ");
    let mut opened = Opened::default();
    let mut from = 0;
    loop {
        let start = from + memchr::memchr(b'<', &text[from..])?;
        let tag = Tag::read(text, start);
        if let Some((grade, label)) = tag.judge(text, document, &mut opened)
            && grade == wanted
        {
            return Some(Evidence {
                start,
                end: tag.end.min(text.len()).min(start + 64),
                label,
            });
        }
        from = tag.end.max(start + 1);
        if from >= text.len() {
            return None;
        }
    }
}

/// Elements whose content is text and that were opened in the field: their end tags leave nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Opened(bool);

/// A tag: what stands between `<` and its end.
struct Tag {
    name_start: usize,
    name_end: usize,
    /// The tag ends here, or another one begins.
    end: usize,
    closing: bool,
    start: usize,
}

impl Tag {
    fn read(text: &[u8], start: usize) -> Self {
        let junk = text[start + 1..]
            .iter()
            .take(16)
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0 | b'/' | b'%'))
            .count();
        let name_start = start + 1 + junk;
        let name_end = name_start
            + text[name_start..]
                .iter()
                .take(64)
                .take_while(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'!' | b'?' | b'[')
                })
                .count();
        let mut tag = Self {
            name_start,
            name_end,
            end: name_end,
            closing: text.get(start + 1) == Some(&b'/'),
            start,
        };
        if name_end > name_start {
            tag.end = Attributes::new(text, name_end).last_end();
        }
        tag
    }

    fn judge(&self, text: &[u8], document: bool, opened: &mut Opened) -> Found {
        let mut name = &text[self.name_start..self.name_end];
        // `<// style=x>`: attributes of a tag without a name.
        let mut attributes = self.name_end;
        if text.get(self.name_end) == Some(&b'=') {
            attributes = self.name_start;
            name = b"x";
        }
        match name {
            [] => return None,
            [b'!' | b'?', ..] => return declaration(name),
            _ => {}
        }
        // `Vec<Frame>`, `a<b`: the name of a type, or a comparison.
        let glued =
            self.start > 0 && (text[self.start - 1].is_ascii_alphanumeric() || text[self.start - 1] == b'_');
        let element = Element::named(name);
        let unfinished = self.name_end >= text.len();
        let mut rank = None;
        for attribute in Attributes::new(text, attributes) {
            match attribute.judge(element) {
                Some((Grade::Certain, label)) => return Some((Grade::Certain, label)),
                found => rank = rank.or(found),
            }
        }
        if self.closing {
            let leaves = element.holds_text() && !opened.0;
            let tail = &text[self.end.min(text.len())..];
            let goes_on = memchr::memchr(b'<', tail).is_some();
            return match element {
                Element::Script if leaves => Some((Grade::Certain, "script left")),
                _ if leaves && goes_on => Some((Grade::Certain, "element with text left")),
                Element::Document => Some((Grade::Likely, "end of a document's element")),
                _ => rank,
            };
        }
        opened.0 |= element.holds_text();
        if unfinished && !matches!(element, Element::Other) {
            return Some((Grade::Likely, "tag that was begun"));
        }
        let has_attributes = Attributes::new(text, self.name_end).any(|attribute| attribute.has_value());
        match element {
            Element::Script => Some((Grade::Certain, "script element")),
            Element::Active if !glued || has_attributes => {
                Some((Grade::Certain, "element with active content"))
            }
            Element::Vector | Element::Styled if !document => {
                Some((Grade::Certain, "element with active content"))
            }
            Element::Loading if has_attributes && !document => {
                Some((Grade::Certain, "element that loads content"))
            }
            Element::Document if !glued && !document => {
                Some((Grade::Likely, "element of a document or form"))
            }
            _ => rank,
        }
    }
}

fn declaration(name: &[u8]) -> Found {
    let starts = |prefix: &[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    (starts(b"?xml-stylesheet") || starts(b"?import") || starts(b"!--[if"))
        .then_some((Grade::Certain, "instruction that runs script"))
}

/// `-->` that closes a comment which the field did not open, and a quote before it or a tag after it: prose has arrows too.
fn comment_left(text: &[u8]) -> Option<Evidence> {
    let at = memchr::memmem::find(text, b"-->")?;
    let opened = memchr::memmem::find(&text[..at], b"<!--").is_some();
    let quoted = at > 0 && matches!(text[at - 1], b'"' | b'\'' | b'`');
    let tagged = text[at + 3..].trim_ascii_start().starts_with(b"<");
    (quoted || (tagged && !opened)).then_some(Evidence {
        start: at.saturating_sub(1),
        end: (at + 16).min(text.len()),
        label: "comment left",
    })
}

/// Event handlers outside of tags: the field leaves an attribute's value.
fn handlers(text: &[u8]) -> Option<Evidence> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'o', b'O', &text[from..])?;
        from = at + 1;
        let bounded = at == 0
            || matches!(
                text[at - 1],
                b'"' | b'\'' | b'`' | b'/' | b';' | b'>' | b'+' | b' ' | b'\t' | b'\n' | b'\r' | 0x0c | 0
            );
        if !bounded || !matches!(text.get(at + 1), Some(b'n' | b'N')) || !attribute::is_event(&text[at + 2..])
        {
            continue;
        }
        let Some(attribute) = Attributes::new(text, at).next() else {
            continue;
        };
        if attribute.has_script() {
            return Some(Evidence {
                start: at,
                end: attribute.end().min(at + 64),
                label: "event handler",
            });
        }
        from = attribute.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_markup() {
        for text in ACTIVE {
            assert!(certain(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn rich_text_and_code() {
        for text in HARMLESS {
            assert_eq!(certain(text.as_bytes()), None, "{text}");
            assert_eq!(likely(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn unfinished_markup_takes_linear_time() {
        for piece in [
            "<a b=\"",
            "<a ",
            "<a b='c\"",
            "<!--",
            "<a/",
            "</",
            " on",
            "<a =",
            "<x o=`",
        ] {
            let text = piece.repeat(40_000);
            assert_eq!(certain(text.as_bytes()), None, "{piece}");
        }
    }

    const ACTIVE: &[&str] = &[
        "<script>alert(1)</script>",
        "\"><SCRIPT SRC=//x>",
        "<script/x>",
        "<scr<script>ipt>",
        "<svg/onload=alert(1)>",
        "<img src=x onerror=alert(1)>",
        "<img src=x onerror=alert(1)//",
        "<body\nonload\n=\nx()>",
        "<x/onclick=\"y\">",
        "<a href=\"java\tscript:alert(1)\">",
        "<a href=javascript&colon;alert(1)>",
        "<a href='&#106;avascript:alert(1)'>",
        "<iframe src=//x>",
        "<object data=x>",
        "<meta http-equiv=refresh content=0>",
        "<base href=//x>",
        "<link rel=stylesheet href=x>",
        "<div style=\"width:expression(alert(1))\">",
        "<div style=\"-moz-binding:url(x)\">",
        "<style>@import'x'</style>",
        "\" onmouseover=alert(1) x=\"",
        "' onfocus='eval(x)' autofocus",
        "</script><b>",
        "</title><img src=x>",
        "<math><a xlink:href=javascript:x>",
        "<button formaction=javascript:x>",
        "<iframe srcdoc=x>",
        "<set attributename=onmouseover to=alert(1)>",
        "<a href=\"data:text/html;base64,PHNj\">",
        "<a href=\"\" onclick=x()>",
        "<img \"\"\" onerror=x()>",
    ];

    const HARMLESS: &[&str] = &[
        "<b>bold</b> and <i>italic</i><br><br/>",
        "<p class=\"x\">text</p>",
        "<a href=\"https://example.com/?a=1&b=2\">link</a>",
        "<a href=\"javascript:void(0)\">x</a>",
        "<img src=\"https://example.com/a.png\" alt=\"on = 1\">",
        "Vec<T>, HashMap<String, Frame>, List<object>",
        "a < b && c > d",
        "if (i<objects.length) { i++ }",
        "<?xml version=\"1.0\"?><feed><link href=\"x\"/><title>y</title></feed>",
        "Jane <jane@example.com>",
        "I <3 you",
        "once=1&only=2&online=(3)",
        "on error = 1; carbonload=1",
        "<T as Into<U>>::into",
        "x <- y",
        "",
    ];
}
