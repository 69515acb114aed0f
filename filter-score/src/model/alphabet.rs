//! The 64 symbols that the model reads: case is folded, digits are one symbol, every ASCII punctuation mark is its own.

/// Stands before the first and after the last byte of a field.
pub(crate) const EDGE: u8 = 0;
/// Bits of a symbol.
pub(crate) const SYMBOL_BITS: u32 = 6;

const DIGIT: u8 = 27;
const SPACE: u8 = 28;
const OTHER_WHITESPACE: u8 = 29;
const CONTROL: u8 = 30;
const HIGH: u8 = 31;
const FIRST_PUNCTUATION: u8 = 32;

/// Symbol of every byte.
pub(crate) static SYMBOLS: [u8; 256] = symbols();

const fn symbols() -> [u8; 256] {
    let mut table = [CONTROL; 256];
    let mut punctuation = FIRST_PUNCTUATION;
    let mut byte = 0u8;
    loop {
        table[byte as usize] = match byte {
            b'a'..=b'z' => byte - b'a' + 1,
            b'A'..=b'Z' => byte - b'A' + 1,
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\t'..=b'\r' => OTHER_WHITESPACE,
            0x80.. => HIGH,
            b'!'..=b'~' => {
                punctuation += 1;
                punctuation - 1
            }
            _ => CONTROL,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_symbols_are_used_and_none_is_the_edge() {
        let mut used = [0; 1 << SYMBOL_BITS];
        for symbol in SYMBOLS {
            used[usize::from(symbol)] += 1;
        }
        assert_eq!(used[usize::from(EDGE)], 0);
        assert!(used[1..].iter().all(|&bytes| bytes > 0));
        assert!(
            used[usize::from(FIRST_PUNCTUATION)..]
                .iter()
                .all(|&bytes| bytes == 1)
        );
    }

    #[test]
    fn folds_case_and_digits() {
        let of = |byte: u8| SYMBOLS[usize::from(byte)];
        assert_eq!(of(b'a'), of(b'A'));
        assert_eq!(of(b'0'), of(b'9'));
        assert_ne!(of(b'\''), of(b'"'));
        assert_eq!(of(0xc3), of(0xff));
    }
}
