//! Control bytes, which targets pass over.

/// Removes NUL and other control bytes except tabs and line ends.
pub(crate) fn strip(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend(
        input
            .iter()
            .filter(|byte| !matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)),
    );
    out.len() != input.len()
}
