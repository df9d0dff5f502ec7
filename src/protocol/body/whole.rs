//! Whole numbers in JSON. `60`, `60.0` and `6e1` are one and the same number there, and writers that know only floats
//! send the latter two; so what counts is the value, exactly, and not how it is spelt.

/// The longest text that is looked at: room for every spelling of a 64-bit integer that a writer of numbers uses.
pub const WHOLE_BYTES_MAX: usize = 40;

/// The number that JSON writes as `text`, if it is a whole one of 64 bits. Exact: nothing passes through a float.
pub fn whole_number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    // How many zeros belong behind the digits; fewer than none would be a fraction.
    let zeros = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits = || integer.bytes().chain(fraction.bytes());
    let significant = digits().rev().skip_while(|&digit| digit == b'0').count();
    let trailing = i32::try_from(integer.len() + fraction.len() - significant).ok()?;
    if significant == 0 {
        return Some(0);
    }
    let zeros = usize::try_from(zeros.checked_add(trailing)?).ok().filter(|&zeros| zeros < 20)?;
    let all = digits().take(significant).chain(std::iter::repeat_n(b'0', zeros));
    let magnitude = all.into_iter().try_fold(0_i64, |number, digit| {
        // Counted downwards, for there is one more number below zero than above.
        number.checked_mul(10)?.checked_sub(i64::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?))
    })?;
    if negative { Some(magnitude) } else { magnitude.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_spelt() {
        let cases: [(&str, i64); 14] = [
            ("0", 0),
            ("-0", 0),
            ("0.000", 0),
            ("0e99", 0),
            ("60", 60),
            ("60.0", 60),
            ("6e1", 60),
            ("6.00E+1", 60),
            ("0.6e2", 60),
            ("6000e-2", 60),
            ("-1.5e1", -15),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808.0", i64::MIN),
            ("-9.223372036854775808e18", i64::MIN),
        ];
        for (text, number) in cases {
            assert_eq!(whole_number(text.as_bytes()), Some(number), "{text}");
        }
    }

    #[test]
    fn fractions_and_what_64_bits_cannot_hold_are_none() {
        for text in [
            "1.5",
            "15e-1",
            "1e-1",
            "0.1",
            "-0.5",
            "9223372036854775808",
            "-9223372036854775809",
            "1e19",
            "1e30",
            "1e2147483647",
            "1e99999999999",
            "1e-99999999999",
            "9223372036854775807.1",
        ] {
            assert_eq!(whole_number(text.as_bytes()), None, "{text}");
        }
    }
}
