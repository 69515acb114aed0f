//! Elements by what they can do.

/// Kinds of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Script,
    /// Runs, embeds or animates by being there; no type of a program is called like that.
    Active,
    /// `svg` and `math`: other rules of parsing, with elements of their own.
    Vector,
    Styled,
    /// Loads what an attribute says.
    Loading,
    /// Structure of a document, a form or a drawing.
    Document,
    /// Content is text up to the end tag.
    Text,
    /// Pictures and sounds.
    Media,
    Other,
}

impl Element {
    /// A namespace prefix does not change what an element is to lenient parsers.
    pub(super) fn named(name: &[u8]) -> Self {
        const LONGEST: usize = 20;
        let start = memchr::memrchr(b':', name).map_or(0, |at| at + 1);
        let name = &name[start..];
        let mut folded = [0; LONGEST];
        let Some(folded) = folded.get_mut(..name.len()) else {
            return Self::Other;
        };
        folded.copy_from_slice(name);
        folded.make_ascii_lowercase();
        match &*folded {
            b"script" => Self::Script,
            b"iframe" | b"frameset" | b"embed" | b"applet" | b"bgsound" | b"ilayer" | b"isindex" | b"xss"
            | b"foreignobject" | b"animate" | b"animatetransform" | b"animatemotion" | b"animatecolor"
            | b"fencedframe" | b"noembed" | b"noframes" | b"plaintext" | b"keygen" | b"marquee" => {
                Self::Active
            }
            b"svg" | b"math" => Self::Vector,
            b"style" => Self::Styled,
            b"object" | b"frame" | b"layer" | b"import" | b"listener" | b"handler" | b"set" | b"portal"
            | b"base" | b"link" | b"xml" | b"event-source" | b"comment" => Self::Loading,
            b"html" | b"head" | b"body" | b"form" | b"input" | b"button" | b"circle" | b"ellipse"
            | b"rect" | b"polygon" | b"polyline" | b"feimage" | b"use" | b"mask" | b"mtext" | b"maction"
            | b"mglyph" => Self::Document,
            b"title" | b"textarea" | b"noscript" | b"xmp" | b"template" | b"select" => Self::Text,
            b"img" | b"image" | b"video" | b"audio" | b"source" | b"track" | b"picture" => Self::Media,
            _ => Self::Other,
        }
    }

    /// Whether markup in the element is text, so that an end tag leaves it.
    pub(super) fn holds_text(self) -> bool {
        matches!(self, Self::Script | Self::Styled | Self::Text)
    }
}
