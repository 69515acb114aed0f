//! The logistic function from additions, multiplications and divisions alone: these are exact to the bit on every
//! machine (IEEE 754), a system's `exp` is not.

const LN_2: f64 = std::f64::consts::LN_2;

fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let power = (x / LN_2).round();
    let rest = x - power * LN_2;
    // Taylor's series to the 13th power; |rest| is at most ln 2 / 2.
    let series = (1..=13).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    series * f64::from_bits((power as i64 + 1023).cast_unsigned() << 52)
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_system() {
        for step in -4000..4000 {
            let x = f64::from(step) / 100.0;
            let ours = exp(x);
            assert!((ours - x.exp()).abs() <= 1e-13 * x.exp(), "{x}");
        }
        assert!((sigmoid(0.0) - 0.5).abs() < 1e-15 && sigmoid(1e9) > 0.999 && sigmoid(-1e9) < 1e-300);
    }
}
