//! Lengths of time as people write them on a command line.

/// Reads `90`, `90s`, `10m`, `2h` or `7d` as seconds.
pub(super) fn parse_seconds(text: &str) -> Result<u64, String> {
    const FORM: &str = "write it like 90s, 10m, 2h or 7d";
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(format!("`{unit}` is no unit of time; {FORM}")),
    };
    let number: u64 = number.parse().map_err(|_| FORM.to_owned())?;
    // A year of blocking by mistake is long enough; leave the end away to block for good.
    match number.checked_mul(factor) {
        Some(0) => Err("it must be longer than 0".to_owned()),
        Some(seconds) if seconds <= 366 * 86_400 => Ok(seconds),
        _ => Err("it must be within 366d".to_owned()),
    }
}

/// Prints seconds the same way, in the two largest units.
pub(super) fn show_seconds(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = UNITS.iter().position(|(size, _)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (size, unit) = UNITS[first];
    let shown = format!("{}{unit}", seconds / size);
    if let Some((next, unit)) = UNITS.get(first + 1)
        && seconds % size / next > 0
    {
        return format!("{shown} {}{unit}", seconds % size / next);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        for (text, seconds, shown) in [
            ("90", 90, "1m 30s"),
            ("5s", 5, "5s"),
            ("10m", 600, "10m"),
            ("25h", 90_000, "1d 1h"),
            ("7d", 604_800, "7d"),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds));
            assert_eq!(show_seconds(seconds), shown);
        }
        for text in [
            "",
            "m",
            "0",
            "-5",
            "5w",
            "1.5h",
            "367d",
            "99999999999999999999",
            "9999999999999999999d",
        ] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
        assert_eq!(show_seconds(0), "0s");
    }
}
