//! Stage one: a linear model over hashed n-grams, in integers.
//!
//! Every position of a field adds the weights of the n-grams that end there. What counts is the best run of
//! positions (the maximal scoring segment of Karlin and Altschul, PNAS 1990, found in one pass as Kadane does):
//! long harmless text adds nothing up (a run leaks, too), and text put before or after an attack takes nothing away. N-grams are
//! hashed into a table (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

use super::alphabet::{EDGE, SYMBOL_BITS, SYMBOLS};

/// Lengths of the n-grams, in symbols.
pub(crate) const ORDERS: [usize; 3] = [2, 3, 5];
const BIGRAM_BITS: u32 = 2 * SYMBOL_BITS;
const TRIGRAM_BITS: u32 = 15;
const PENTAGRAM_BITS: u32 = 16;
const BIGRAMS: usize = 1 << BIGRAM_BITS;
const TRIGRAMS: usize = 1 << TRIGRAM_BITS;
const PENTAGRAMS: usize = 1 << PENTAGRAM_BITS;
/// At every position a run loses this fraction of its sum (as a power of ½), so that a text of which every part is a
/// little odd does not add up to an attack: what is 32 positions back counts for a third.
pub(crate) const LEAK: u32 = 5;
/// Positions between which the best run's end is not noted.
const BLOCK: usize = 8;
/// Entries of the weight table.
pub(crate) const SLOTS: usize = BIGRAMS + TRIGRAMS + PENTAGRAMS;
/// 2⁶⁴ divided by the golden ratio: multiplicative hashing (Knuth, TAOCP 3, §6.4).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the weights of the n-grams that end a window stand, in the order of [`ORDERS`]. `window` has the
/// last symbol in its low bits.
#[inline]
pub(crate) fn slots(window: u64) -> [usize; ORDERS.len()] {
    const fn symbols(count: u32) -> u64 {
        (1 << (count * SYMBOL_BITS)) - 1
    }
    let hash = |count, bits| ((window & symbols(count)).wrapping_mul(MULTIPLIER) >> (64 - bits)) as usize;
    [
        (window & symbols(2)) as usize,
        BIGRAMS + hash(3, TRIGRAM_BITS),
        BIGRAMS + TRIGRAMS + hash(5, PENTAGRAM_BITS),
    ]
}

/// The window after one more symbol.
#[inline]
pub(crate) fn slide(window: u64, symbol: u8) -> u64 {
    window << SYMBOL_BITS | u64::from(symbol)
}

/// The symbols of a field, with the edge that ends it.
pub(crate) fn symbols(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    text.iter().map(|byte| SYMBOLS[usize::from(*byte)]).chain([EDGE])
}

/// What is left of a run's sum one position later.
#[inline]
pub(crate) const fn leak(sum: i32) -> i32 {
    sum - (sum >> LEAK)
}

/// The best run of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Sum of its weights.
    pub(crate) sum: i32,
    /// Positions, the last exclusive. The position behind the text's last byte is the edge.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Where the search for the best run stands.
#[derive(Clone, Copy, Default)]
struct Walk {
    window: u64,
    run: i32,
}

impl Walk {
    /// The sum of the best run that ends with this symbol. A run that fell below nothing is not worth keeping.
    #[inline]
    fn step(&mut self, linear: &Linear, symbol: u8) -> i32 {
        self.window = slide(self.window, symbol);
        self.run = (leak(self.run) + linear.weight(self.window)).max(0);
        self.run
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Linear {
    pub(crate) weights: Box<[i8; SLOTS]>,
}

impl Linear {
    #[inline]
    pub(crate) fn weight(&self, window: u64) -> i32 {
        let [bigram, trigram, pentagram] = slots(window);
        let at = |slot: usize| i32::from(self.weights[slot]);
        at(bigram) + at(trigram) + at(pentagram)
    }

    /// Sum and end of the best run. About a nanosecond a byte.
    pub(crate) fn peak(&self, text: &[u8]) -> (i32, usize) {
        let mut walk = Walk::default();
        let mut best = 0;
        // Where a block with a new best run begins, and the walk there.
        let mut place = (0, walk);
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            let (before, known) = (walk, best);
            for byte in block {
                best = best.max(walk.step(self, SYMBOLS[usize::from(*byte)]));
            }
            if best > known {
                place = (index * BLOCK, before);
            }
        }
        let (before, known) = (walk, best);
        for byte in rest {
            best = best.max(walk.step(self, SYMBOLS[usize::from(*byte)]));
        }
        best = best.max(walk.step(self, EDGE));
        if best > known {
            place = (text.len() - rest.len(), before);
        }
        if best == 0 {
            return (0, 0);
        }
        let (start, mut walk) = place;
        let last = symbols(&text[start..]).position(|symbol| walk.step(self, symbol) == best);
        (best, start + last.unwrap_or(0) + 1)
    }

    /// The best run with its start. Slower than [`Self::peak`].
    pub(crate) fn run(&self, text: &[u8]) -> Run {
        let (mut window, mut sum, mut start, mut best) = (0, 0, 0, Run::default());
        for (at, symbol) in symbols(text).enumerate() {
            window = slide(window, symbol);
            sum = leak(sum) + self.weight(window);
            if sum <= 0 {
                sum = 0;
                start = at + 1;
            }
            if sum > best.sum {
                best = Run {
                    sum,
                    start,
                    end: at + 1,
                };
            }
        }
        best
    }
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Linear({SLOTS} weights)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Weights that look arbitrary, about as often below zero as above.
    pub(crate) fn arbitrary_weights(seed: u64) -> Linear {
        let mut state = seed;
        let weights: Vec<i8> = (0..SLOTS)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as i8
            })
            .collect();
        Linear {
            weights: weights
                .into_boxed_slice()
                .try_into()
                .expect("as many as there are slots"),
        }
    }

    proptest! {
        #[test]
        fn both_walks_agree(text in prop::collection::vec(any::<u8>(), 0..300), seed: u64) {
            let linear = arbitrary_weights(seed);
            let run = linear.run(&text);
            prop_assert_eq!(linear.peak(&text), (run.sum, run.end));
            prop_assert!(run.start <= run.end && run.end <= text.len() + 1);
        }

        /// Padding an attack takes nothing away but the n-grams at its edges.
        #[test]
        fn longer_text_never_scores_less(
            text in prop::collection::vec(any::<u8>(), 1..100),
            more in prop::collection::vec(any::<u8>(), 1..100),
            seed: u64,
        ) {
            let linear = arbitrary_weights(seed);
            let (mut window, mut sum, mut before) = (0, 0, 0);
            for byte in &text {
                window = slide(window, SYMBOLS[usize::from(*byte)]);
                sum = (leak(sum) + linear.weight(window)).max(0);
                before = before.max(sum);
            }
            prop_assert!(linear.peak(&[text, more].concat()).0 >= before);
        }
    }
}
