//! Forms inside values: the query of an address that a program sends along, and forms that are sent as plain text
//! (`application/x-www-form-urlencoded`, WHATWG URL Standard §5).

use super::marks;

/// Shorter texts are read as a whole, in bytes.
const SHORTEST: usize = 24;
/// Longer names are none that a program gave, in bytes.
const LONGEST_NAME: usize = 64;

/// Bytes of names that mean nothing in any language of attacks.
const NAME: [bool; 256] = marks(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
/// Bytes of an address before its query.
const ADDRESS: [bool; 256] = marks(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.~:/@%");

/// Whether a text is two or more pairs of a plain name and a value, or an address with a query of one or more. Takes linear time.
pub(crate) fn is_text(text: &[u8]) -> bool {
    if text.len() < SHORTEST {
        return false;
    }
    let (address, form) = cut(text);
    let mut pairs = 0;
    let plain = pieces(form).all(|piece| {
        pairs += 1;
        value(piece).is_some()
    });
    plain && pairs + usize::from(!address.is_empty()) >= 2
}

/// The address of such a text, which may be empty, and its values.
pub(crate) fn parts(text: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let (address, form) = cut(text);
    (address, pieces(form).filter_map(value))
}

/// A text without its address and the question mark behind that.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    if text.starts_with(b"http") || text.starts_with(b"/") {
        let length = text
            .iter()
            .take_while(|byte| ADDRESS[usize::from(**byte)])
            .count();
        if text.get(length) == Some(&b'?') {
            return (&text[..length], &text[length + 1..]);
        }
    }
    (b"", text)
}

fn pieces(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(form);
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, next) = match memchr::memchr(b'&', text) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = next;
        Some(piece)
    })
}

/// What stands behind a plain name and an equals sign.
fn value(piece: &[u8]) -> Option<&[u8]> {
    let name = piece
        .iter()
        .take(LONGEST_NAME + 1)
        .take_while(|byte| NAME[usize::from(**byte)])
        .count();
    match piece.get(name) {
        Some(b'=') if (1..=LONGEST_NAME).contains(&name) => Some(&piece[name + 1..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in [
            "first=1&second=a%20b&third=",
            "https://shop.example/list?page=2",
            "/list/of/many/things?page=2&x=<y>",
            "https://shop.example/l%20st?page=2#top",
        ] {
            assert!(is_text(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "a=1&b=2",
            "only-one-pair=12345678901234567890",
            "first=1&second&third=345678901234567890",
            "first=1&&third=345678901234567890",
            "first=1&=2&third=345678901234567890",
            "first=1&b' or '1=1&third=345678901234567890",
            "first=1&$ne=2&third=3456789012345678901",
            "https://shop.example/list of?page=2",
            "https://shop.example/list-of-things",
            "https://shop.example/list?page=2&<script>=1",
        ] {
            assert!(!is_text(text.as_bytes()), "{text}");
        }
        let long = format!("a=1&{}=2", "n".repeat(LONGEST_NAME));
        assert!(is_text(long.as_bytes()));
        assert!(!is_text(long.replace("=2", "n=2").as_bytes()));
    }

    #[test]
    fn parts_of_a_text() {
        let (address, values) = parts(b"https://shop.example/?q=a=b&empty=&z=%26");
        assert_eq!(address, b"https://shop.example/");
        assert_eq!(values.collect::<Vec<_>>(), [&b"a=b"[..], b"", b"%26"]);
    }
}
