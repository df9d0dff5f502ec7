//! Adding to numbers.

use super::Shard;
use super::log::Loc;
use super::record::{Entry, Stored};
use super::write::NewValue;
use crate::command::{NumberText, Outcome, Payload, Refusal, ValueKind};
use crate::routing::KeyHash;
use crate::time::{Now, Ttl};
use std::fmt::Write as _;

impl Shard {
    pub(super) fn incr(
        &mut self,
        now: Now,
        key: &[u8],
        hash: KeyHash,
        delta: i64,
        ttl: Option<Ttl>,
    ) -> Outcome<&'static [u8]> {
        let existing = self.find_live(now, hash, key);
        let value = match self.sum(existing, delta) {
            Ok(value) => value,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let deadline_ms = match ttl {
            Some(ttl) => ttl.deadline_ms(now).map(|deadline_ms| deadline_ms - self.began_ms()),
            None => existing.and_then(|loc| Entry(self.log.at(loc)).deadline_ms()),
        };
        let (kind, payload, raw_len) = (ValueKind::Number, Payload::Inline(value.as_slice()), value.len() as u64);
        match self.write(now, key, hash, NewValue { existing, kind, payload, raw_len, media: &[], deadline_ms }) {
            Ok(version) => Outcome::Counted { value, version },
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn sum(&self, existing: Option<Loc>, delta: i64) -> Result<NumberText, Refusal> {
        let Some(loc) = existing else { return add(b"0", delta) };
        let entry = Entry(self.log.at(loc));
        if entry.kind() != ValueKind::Number {
            return Err(Refusal::NotANumber);
        }
        match entry.stored() {
            Stored::Inline(text) => add(text, delta),
            // More than 16 KiB of digits: as an integer it is out of range, and as a float nobody's counter.
            Stored::Held(_) => Err(Refusal::Overflow),
        }
    }
}

/// The number that JSON writes as `text`, plus `delta`, as JSON text. Integers stay exact integers; whatever has a
/// fraction or an exponent is a float and stays one, in the shortest digits that read back as the same float.
fn add(text: &[u8], delta: i64) -> Result<NumberText, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::NotANumber)?;
    let mut sum = Digits::default();
    let written = if text.contains(['.', 'e', 'E']) {
        let float = text.parse::<f64>().map_err(|_| Refusal::NotANumber)? + delta as f64;
        if !float.is_finite() {
            return Err(Refusal::Overflow);
        }
        // Unlike Display, Debug always leaves a point or an exponent, and never writes hundreds of zeros.
        write!(sum, "{float:?}")
    } else {
        let integer = text.parse::<i64>().ok().and_then(|number| number.checked_add(delta));
        write!(sum, "{}", integer.ok_or(Refusal::Overflow)?)
    };
    assert!(written.is_ok(), "writing to memory does not fail");
    Ok(sum.0)
}

/// Collects formatted text without an allocation.
#[derive(Default)]
struct Digits(NumberText);

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(text: &str, delta: i64) -> Result<String, Refusal> {
        add(text.as_bytes(), delta).map(|sum| String::from_utf8(sum.into_vec()).unwrap())
    }

    #[test]
    fn integers_are_exact_to_both_ends_of_64_bits() {
        assert_eq!(sum("9223372036854775806", 1).unwrap(), i64::MAX.to_string());
        assert_eq!(sum("9223372036854775807", 1), Err(Refusal::Overflow));
        assert_eq!(sum("-9223372036854775807", -1).unwrap(), i64::MIN.to_string());
        assert_eq!(sum("-9223372036854775808", -1), Err(Refusal::Overflow));
        assert_eq!(sum("-0", 0).unwrap(), "0");
        assert_eq!(sum("9223372036854775808", -1), Err(Refusal::Overflow));
        assert_eq!(sum("123456789012345678901234567890", 0), Err(Refusal::Overflow));
    }

    #[test]
    fn floats_stay_floats_in_their_shortest_form() {
        let cases = [("1.5", 1, "2.5"), ("1.0", 1, "2.0"), ("0.1", 0, "0.1"), ("1e2", 0, "100.0"), ("1E-7", 0, "1e-7")];
        for (text, delta, expected) in cases {
            assert_eq!(sum(text, delta).unwrap(), expected);
        }
        assert_eq!(sum("1e300", 1).unwrap(), "1e300");
        assert_eq!(sum("1e400", 1), Err(Refusal::Overflow));
    }

    #[test]
    fn every_float_is_written_as_json_within_the_promised_length() {
        let floats =
            [f64::MIN, f64::MIN_POSITIVE, -5e-324, -0.0, -0.000_012_345_678_901_234_567, 123_456_789_012_345.68];
        for float in floats {
            let text = sum(&format!("{float:e}"), 0).unwrap();
            assert!(text.len() <= 32 && text.contains(['.', 'e']), "{text}");
            assert!(serde_json::from_str::<serde_json::Number>(&text).is_ok(), "{text}");
            assert_eq!(text.parse::<f64>().unwrap(), float, "{text}");
        }
    }
}
