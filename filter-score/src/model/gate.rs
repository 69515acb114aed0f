//! Which fields the model looks at: most benign ones never reach it.

use crate::findings::Place;
use crate::rules::prefilter::Classes;
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
pub(crate) fn interesting(place: Place<'_>, classes: Classes, noted: bool) -> bool {
    if place.target == Target::Header {
        // `*/*` is not the end of a comment there.
        classes.intersects(HEADER_SIGNS) || (noted && !place.name.eq_ignore_ascii_case(b"accept"))
    } else {
        classes.intersects(SIGNS) || noted
    }
}
