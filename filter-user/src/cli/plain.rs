//! Text that cannot do anything to a terminal.

/// Shown instead of a character that is not.
const SHOWN: char = '\u{fffd}';

/// A line without control characters, and without those that change the direction or hide others.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_plain(c) { c } else { SHOWN })
        .collect()
}

fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_characters() {
        for (text, expected) in [
            ("GET /ä €", "GET /ä €"),
            (
                "\x1b[2J\x07a\r\nb\t\x7f",
                "\u{fffd}[2J\u{fffd}a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}",
            ),
            ("\u{9b}31m\u{202e}cba\u{200b}", "\u{fffd}31m\u{fffd}cba\u{fffd}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
