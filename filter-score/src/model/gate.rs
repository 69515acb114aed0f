//! Which fields the model looks at: most benign ones never reach it.

use crate::findings::Place;
use crate::rules::classes::Classes;
use crate::target::Target;

/// Marks that attacks need and that plain values, paths and names lack.
const SIGNS: Classes = Classes::QUOTE
    .or(Classes::BACKSLASH)
    .or(Classes::of(b'<'))
    .or(Classes::of(b'('))
    .or(Classes::of(b'$'))
    .or(Classes::of(b'|'))
    .or(Classes::of(b';'))
    .or(Classes::of(b'#'))
    .or(Classes::of(b'^'))
    .or(Classes::of(b'!'))
    .or(Classes::STAR);

/// Headers are full of brackets, semicolons and double quotes.
const HEADER_SIGNS: Classes = Classes::of(b'\'')
    .or(Classes::of(b'`'))
    .or(Classes::BACKSLASH)
    .or(Classes::of(b'<'))
    .or(Classes::of(b'$'))
    .or(Classes::of(b'|'))
    .or(Classes::of(b'^'))
    .or(Classes::of(b'{'));

/// Whether a field is worth a look. `classes`: those of its decoded bytes; `noted`: it has a literal of a rule that
/// applies to it.
#[inline]
pub(crate) fn interesting(place: Place<'_>, text: &[u8], classes: Classes, noted: bool) -> bool {
    // The tags of a document are markup by right; their values and the text between them come on their own.
    if place.target == Target::Xml && text.starts_with(b"<") {
        return false;
    }
    if place.target == Target::Header {
        // `*/*` is not the end of a comment there.
        classes.intersects(HEADER_SIGNS) || (noted && !place.name.eq_ignore_ascii_case(b"accept"))
    } else {
        classes.intersects(SIGNS) || noted
    }
}
