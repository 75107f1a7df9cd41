//! Sizes and times as people write them: "2 MiB", "10s".

use std::time::Duration;

/// A unit, its worth in the smallest one, and what others write for it.
struct Unit {
    name: &'static str,
    worth: u64,
    also: &'static [&'static str],
}

/// From small to large, in bytes.
const SIZES: &[Unit] = &[
    Unit { name: "B", worth: 1, also: &["byte", "bytes"] },
    Unit { name: "KiB", worth: 1 << 10, also: &["k", "kb", "ki", "kib"] },
    Unit { name: "MiB", worth: 1 << 20, also: &["m", "mb", "mi", "mib"] },
    Unit { name: "GiB", worth: 1 << 30, also: &["g", "gb", "gi", "gib"] },
    Unit { name: "TiB", worth: 1 << 40, also: &["t", "tb", "ti", "tib"] },
];

/// From small to large, in milliseconds.
const TIMES: &[Unit] = &[
    Unit { name: "ms", worth: 1, also: &["msec", "millis", "milliseconds"] },
    // A number alone is most often meant in seconds.
    Unit { name: "s", worth: 1000, also: &["", "sec", "secs", "second", "seconds"] },
    Unit { name: "m", worth: 60_000, also: &["min", "mins", "minute", "minutes"] },
    Unit { name: "h", worth: 3_600_000, also: &["hr", "hrs", "hour", "hours"] },
    Unit { name: "d", worth: 86_400_000, also: &["day", "days"] },
];

/// Not a size or not a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear {
    /// What was probably meant.
    pub(super) near: Option<String>,
}

/// A number without a unit counts bytes.
pub(super) fn parse_bytes(text: &str) -> Result<u64, Unclear> {
    match split(text) {
        Some((number, "")) => Ok(number),
        _ => parse(text, SIZES, " "),
    }
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, Unclear> {
    parse(text, TIMES, "").map(Duration::from_millis)
}

/// The largest unit that needs no fraction; a plain number below 1 KiB.
pub(super) fn bytes_text(bytes: u64) -> String {
    match largest(bytes, SIZES) {
        Some(unit) if unit.worth > 1 => format!("{} {}", bytes / unit.worth, unit.name),
        _ => bytes.to_string(),
    }
}

pub(super) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match largest(millis, TIMES) {
        Some(unit) => format!("{}{}", millis / unit.worth, unit.name),
        None => "0s".to_owned(),
    }
}

fn parse(text: &str, units: &[Unit], gap: &str) -> Result<u64, Unclear> {
    let (number, written) = split(text).ok_or(Unclear { near: None })?;
    if let Some(unit) = units.iter().find(|unit| unit.name == written) {
        // What overflows is beyond every limit, and is told as that.
        return Ok(number.saturating_mul(unit.worth));
    }
    let meant = written.to_ascii_lowercase();
    let unit = units
        .iter()
        .find(|unit| unit.name.eq_ignore_ascii_case(&meant) || unit.also.contains(&meant.as_str()));
    Err(Unclear { near: unit.map(|unit| format!("\"{number}{gap}{}\"", unit.name)) })
}

/// The digits and the unit behind them.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    Some((digits.parse().unwrap_or(u64::MAX), unit.trim_start()))
}

fn largest(amount: u64, units: &[Unit]) -> Option<&Unit> {
    units.iter().rfind(|unit| amount >= unit.worth && amount.is_multiple_of(unit.worth))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str) -> Unclear {
        Unclear { near: Some(text.to_owned()) }
    }

    #[test]
    fn sizes_are_read_with_and_without_a_space_and_a_unit() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("17 B", 17), ("2 MiB", 2 << 20), ("2MiB", 2 << 20)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_decimal_unit_is_not_guessed_but_the_binary_one_is_proposed() {
        assert_eq!(parse_bytes("2 MB"), Err(near("\"2 MiB\"")));
        assert_eq!(parse_bytes("2m"), Err(near("\"2 MiB\"")));
        assert_eq!(parse_bytes("2 parsecs"), Err(Unclear { near: None }));
        assert_eq!(parse_bytes("-2"), Err(Unclear { near: None }));
        assert_eq!(parse_bytes("1.5 MiB"), Err(Unclear { near: None }));
        assert_eq!(parse_bytes(""), Err(Unclear { near: None }));
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30 d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("10"), Err(near("\"10s\"")));
        assert_eq!(parse_duration("5 minutes"), Err(near("\"5m\"")));
    }

    #[test]
    fn an_overflow_is_the_largest_amount() {
        assert_eq!(parse_bytes("99999999999999999999 TiB"), Ok(u64::MAX));
        assert_eq!(parse_bytes("18446744073709551615 TiB"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for bytes in [0, 1, 1000, 1024, 1025, 3 << 20, 268_435_460, 1 << 40] {
            assert_eq!(parse_bytes(&bytes_text(bytes)), Ok(bytes));
        }
        for millis in [1, 999, 1000, 1500, 60_000, 90_000, 86_400_000] {
            let duration = Duration::from_millis(millis);

            assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }
    }
}
