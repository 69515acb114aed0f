//! `SipHash` (Aumasson and Bernstein, 2012) of whole words: a keyed hash that nobody without the key can foretell, small enough
//! for the XDP program.

/// The state of the computation.
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    fn compress(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }
}

/// SipHash-2-4 of the bytes of `words`, in little-endian order.
#[inline(always)]
#[must_use]
pub fn siphash<const N: usize>(key: [u64; 2], words: &[u64; N]) -> u64 {
    let [k0, k1] = key;
    // The paper's constants, "somepseudorandomlygeneratedbytes".
    let mut state = State {
        v0: k0 ^ 0x736f_6d65_7073_6575,
        v1: k1 ^ 0x646f_7261_6e64_6f6d,
        v2: k0 ^ 0x6c79_6765_6e65_7261,
        v3: k1 ^ 0x7465_6462_7974_6573,
    };
    for word in words {
        state.compress(*word);
    }
    // The last word holds the length modulo 256 in its highest byte; no bytes are left over for the others.
    state.compress((N as u64 * 8) << 56);
    state.v2 ^= 0xff;
    for _ in 0..4 {
        state.round();
    }
    state.v0 ^ state.v1 ^ state.v2 ^ state.v3
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher24;

    use super::*;

    /// Test vectors of the reference implementation: the key is 00 01 … 0f, the message 00 01 ….
    #[test]
    fn the_reference_vectors() {
        let word = |first: u8| u64::from_le_bytes(core::array::from_fn(|i| first + i as u8));
        let key = [word(0), word(8)];
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(siphash(key, &[word(0)]), 0x93f5_f579_9a93_2462);
    }

    proptest! {
        #[test]
        fn another_implementation_agrees(key: [u64; 2], words: [u64; 5]) {
            let mut other = SipHasher24::new_with_keys(key[0], key[1]);
            for word in words {
                other.write(&word.to_le_bytes());
            }
            prop_assert_eq!(siphash(key, &words), other.finish());
        }
    }
}
