//! Numbers for people: three or four digits that count, thousands set apart.

/// A number as it is printed.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        0.0 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 0.1 => 2,
        _ if size >= 0.001 => 4,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.digits$}");
    let is_whole = (value - value.round()).abs() < 1e-9;
    if digits > 0 && is_whole {
        return format!("{value:.0}");
    }
    if digits == 0 { grouped(&text) } else { text }
}

/// Whole numbers of five digits and more with a comma every three.
fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if digits.len() < 5 {
        return text.to_owned();
    }
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    format!("{sign}{}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn as_many_digits_as_count() {
        for (value, expected) in [
            (0.0, "0"),
            (3.0, "3"),
            (0.951_4, "0.95"),
            (12.34, "12.3"),
            (123.4, "123"),
            (9_876.0, "9876"),
            (1_234_567.8, "1,234,568"),
            (-12_345.0, "-12,345"),
            (0.012_34, "0.0123"),
            (0.000_012, "1.2e-5"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
