//! A keyed hash under which nobody without the key can make two texts collide.
//!
//! NH (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast and Secure Message Authentication", CRYPTO 1999) with
//! words of 64 bits: one multiplication for 16 bytes, and for any two different texts the chance of the same
//! fingerprint is at most 2⁻⁶⁴ over the choice of the key. Fingerprints are never shown to anyone, so trying is all
//! that is left to an attacker. Length and context are words of their own at the start, as NH alone is for texts of one length.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// The longest text, in bytes.
pub(crate) const LONGEST: usize = 4096;

/// Bytes that one multiplication takes, and words of 64 bits in them.
const BLOCK: usize = 16;
const BLOCK_WORDS: usize = BLOCK / size_of::<u64>();

/// Key words: one for the length and one for the context, one for each eight bytes.
const WORDS: usize = 2 + LONGEST / 8;

/// What a text is known by; 0 stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) u128);

impl Fingerprint {
    /// 32 bits to choose a set by: the upper half of a sum of products, spread by a multiplication (Knuth, TAOCP 6.4).
    pub(crate) fn spread(self) -> usize {
        let folded = (self.0 >> 64) as u64 ^ self.0 as u64;
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
}

/// The key, as long as the longest text.
#[derive(Debug)]
pub(crate) struct Fingerprinter(Box<[u64; WORDS]>);

impl Fingerprinter {
    /// Expands a secret of 16 bytes with `SipHash` in counter mode.
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        let mut words = Box::new([0; WORDS]);
        for (counter, word) in words.iter_mut().enumerate() {
            let mut hasher = SipHasher24::new_with_key(secret);
            hasher.write_u64(counter as u64);
            *word = hasher.finish();
        }
        Self(words)
    }

    /// The fingerprint of a text of at most [`LONGEST`] bytes in a `context`: the policy that it is judged by, and where it
    /// stands. Costs about a nanosecond for 32 bytes.
    #[inline]
    pub(crate) fn of(&self, text: &[u8], context: u64) -> Fingerprint {
        debug_assert!(text.len() <= LONGEST, "{} bytes", text.len());
        let [length_key, context_key, keys @ ..] = &*self.0;
        let mut sum = product(text.len() as u64, *length_key, context, *context_key);
        let (keys, _) = keys.as_chunks::<BLOCK_WORDS>();
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for (block, key) in blocks.iter().zip(keys) {
            sum = sum.wrapping_add(pair(block, *key));
        }
        if !rest.is_empty() {
            // The text's last bytes, of which the block before may have some: texts of one length still differ in a word.
            let last = text.last_chunk().copied().unwrap_or_else(|| short(text));
            sum = sum.wrapping_add(pair(&last, keys[blocks.len() % keys.len()]));
        }
        Fingerprint(sum.max(1))
    }
}

/// A text shorter than a block as a block: words that overlap, so that nothing is copied byte by byte.
fn short(text: &[u8]) -> [u8; BLOCK] {
    let words = |one: u64, other: u64| (u128::from(one) | u128::from(other) << 64).to_le_bytes();
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return words(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let word = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        return words(word(first), word(last));
    }
    // Three bytes at most: the first, the last, and the one in the middle.
    let byte = |at: Option<&u8>| at.copied().map_or(0, u64::from);
    words(
        byte(text.first()) | byte(text.last()) << 8,
        byte(text.get(text.len() / 2)),
    )
}

fn pair(block: &[u8; BLOCK], key: [u64; BLOCK_WORDS]) -> u128 {
    let both = u128::from_le_bytes(*block);
    product(both as u64, key[0], (both >> 64) as u64, key[1])
}

fn product(one: u64, key: u64, other: u64, other_key: u64) -> u128 {
    u128::from(one.wrapping_add(key)) * u128::from(other.wrapping_add(other_key))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn differs_with_every_byte_the_length_and_the_key() {
        let fingerprinter = Fingerprinter::new(&[7; 16]);
        let mut seen = HashSet::new();
        for length in 0..200 {
            let text = vec![0; length];
            assert!(seen.insert(fingerprinter.of(&text, 0).0), "{length} zeros");
            for at in 0..length {
                let mut text = text.clone();
                text[at] = 1;
                assert!(
                    seen.insert(fingerprinter.of(&text, 0).0),
                    "{length} zeros but {at}"
                );
            }
        }
        assert_ne!(fingerprinter.of(b"a", 0), fingerprinter.of(b"a", 1));
        let longest = vec![9; LONGEST];
        assert_ne!(fingerprinter.of(&longest, 0), fingerprinter.of(&longest[1..], 0));
        assert_ne!(
            fingerprinter.of(&longest, 0),
            Fingerprinter::new(&[8; 16]).of(&longest, 0)
        );
        assert_eq!(
            fingerprinter.of(&longest, 0),
            Fingerprinter::new(&[7; 16]).of(&longest, 0)
        );
    }
}
