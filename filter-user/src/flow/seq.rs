//! TCP sequence numbers.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A TCP sequence or acknowledgement number (RFC 9293 §3.4).
///
/// The space wraps at 2³², so there is no total order and no `Ord`: a comparison holds only between numbers
/// less than 2³¹ apart, which [`before`](Self::before) and [`after`](Self::after) decide by the sign of the
/// distance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Seq(pub u32);

impl Seq {
    /// How far `self` lies behind `other` in the sequence space: positive when `self` comes later.
    #[must_use]
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// Whether `self` comes strictly before `other`.
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// Whether `self` comes strictly after `other`.
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        self.since(other) > 0
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.after(other) { self } else { other }
    }

    /// The number of sequence numbers from `self` up to `end`, or 0 when `end` does not come later.
    #[must_use]
    pub const fn until(self, end: Self) -> usize {
        let distance = end.since(self);
        if distance > 0 {
            distance.cast_unsigned() as usize
        } else {
            0
        }
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for Seq {
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub<u32> for Seq {
    type Output = Self;

    fn sub(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seq({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Seq;

    /// RFC 9293 §3.4: all arithmetic on sequence numbers is modulo 2³².
    #[test]
    fn order_survives_the_wrap() {
        for (earlier, later, distance) in [
            (Seq(0), Seq(1), 1),
            (Seq(u32::MAX), Seq(0), 1),
            (Seq(u32::MAX - 9), Seq(10), 20),
            (Seq(0x7fff_ffff), Seq(0x8000_0001), 2),
            (Seq(7), Seq(7) + 0x7fff_ffff, i32::MAX),
        ] {
            assert!(
                earlier.before(later) && later.after(earlier),
                "{earlier:?} {later:?}"
            );
            assert!(!later.before(earlier) && !earlier.after(later));
            assert_eq!(later.since(earlier), distance);
            assert_eq!(later - distance.cast_unsigned(), earlier);
            assert_eq!((earlier.min(later), earlier.max(later)), (earlier, later));
            assert_eq!(earlier.until(later), distance.unsigned_abs() as usize);
            assert_eq!(later.until(earlier), 0);
        }
        assert!(!Seq(5).before(Seq(5)) && !Seq(5).after(Seq(5)));
    }
}
