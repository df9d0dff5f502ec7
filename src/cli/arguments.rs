//! Values of arguments: text in, or a word on what is expected.

use crate::load::plan::VALUE_BYTES_MAX;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest run.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Highest rate, in requests per second.
const RATE_MAX: f64 = 10_000_000.0;

/// A duration such as `30s` or `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 500ms, 30s or 2m, at most 24h".to_owned();
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| expected())?;
    let parsed = Duration::try_from(parsed).map_err(|_| expected())?;
    if parsed.is_zero() || parsed > DURATION_MAX { Err(expected()) } else { Ok(parsed) }
}

/// A number greater than 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    number(text, "a number greater than 0", |number| number > 0.0)
}

/// Requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, "a number greater than 0 and at most 10000000", |number| number > 0.0 && number <= RATE_MAX)
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 1", |number| (0.0..=1.0).contains(&number))
}

fn number(text: &str, expected: &str, allowed: impl Fn(f64) -> bool) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite() && allowed(*number));
    parsed.ok_or_else(|| format!("expected {expected}"))
}

/// A length or a range of lengths.
pub(super) fn value_bytes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    match (min.parse(), max.parse()) {
        (Ok(min), Ok(max)) if 1 <= min && min <= max && max <= VALUE_BYTES_MAX => Ok(min..=max),
        _ => Err(format!("expected a number or a range MIN-MAX, from 1 to {VALUE_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [("30s", 30_000), ("2m", 120_000), ("500ms", 500), ("1h 30m", 5_400_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "0s", "-1s", "25h", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        assert_eq!((positive("0.5"), rate("1e3")), (Ok(0.5), Ok(1000.0)));
        for text in ["-0.1", "1.1", "NaN", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err() && positive("inf").is_err() && rate("1e8").is_err());
    }

    #[test]
    fn lengths_are_one_or_a_range() {
        assert_eq!((value_bytes("100"), value_bytes("64-4096")), (Ok(100..=100), Ok(64..=4096)));
        for text in ["0", "0-5", "9-8", "1-", "-5", "1-2-3", "16777217", "x"] {
            assert!(value_bytes(text).is_err(), "{text}");
        }
    }
}
