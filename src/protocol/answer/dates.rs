//! Moments as text. The calendar is jiff's; the characters are put in their places without a formatting machinery.

use crate::time::UnixMillis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The last moment that is written: the end of the last day that jiff knows, in whole seconds.
const LAST_MS: i64 = 253_402_207_200_000;

/// A moment in the calendar, UTC.
fn civil(at: UnixMillis) -> DateTime {
    let millis = i64::try_from(at.0).unwrap_or(LAST_MS).min(LAST_MS);
    let moment = Timestamp::from_millisecond(millis).expect("within what jiff knows");
    Offset::UTC.to_datetime(moment)
}

/// Writes `number`, which is not negative, as decimal digits that fill `place`.
fn digits(place: &mut [u8], number: impl Into<i64>) {
    let mut number = number.into().unsigned_abs();
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The text of a `Date` field (IMF-fixdate, RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn imf_fixdate(at: UnixMillis) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"SunMonTueWedThuFriSat";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let civil = civil(at);
    let mut text = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    let (weekday, month) = (civil.weekday().to_sunday_zero_offset() as usize * 3, (civil.month() as usize - 1) * 3);
    text[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    digits(&mut text[5..7], civil.day());
    text[8..11].copy_from_slice(&MONTHS[month..month + 3]);
    digits(&mut text[12..16], civil.year());
    digits(&mut text[17..19], civil.hour());
    digits(&mut text[20..22], civil.minute());
    digits(&mut text[23..25], civil.second());
    text
}

/// Length of [`rfc3339`], in characters.
pub const RFC3339_CHARS: usize = 24;

/// The text of a moment in JSON (RFC 3339, UTC, milliseconds): `2026-11-22T22:40:00.000Z`.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> [u8; RFC3339_CHARS] {
    let civil = civil(at);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], civil.year());
    digits(&mut text[5..7], civil.month());
    digits(&mut text[8..10], civil.day());
    digits(&mut text[11..13], civil.hour());
    digits(&mut text[14..16], civil.minute());
    digits(&mut text[17..19], civil.second());
    digits(&mut text[20..23], civil.millisecond());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn moments_are_written_as_others_write_them() {
        let leap_days = [951_782_400_000, 951_868_799_999, 1_709_164_800_123, 4_107_542_400_000];
        let spread = (0..4_000).map(|n| n * 63_350_575_199 % LAST_MS as u64);
        for millis in [0, 1, 999, 86_399_999, 86_400_000, LAST_MS as u64].into_iter().chain(leap_days).chain(spread) {
            let http = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(std::str::from_utf8(&imf_fixdate(UnixMillis(millis))).unwrap(), http);
            let iso = Timestamp::from_millisecond(millis as i64).unwrap();
            assert_eq!(std::str::from_utf8(&rfc3339(UnixMillis(millis))).unwrap(), format!("{iso:.3}"));
        }
        assert_eq!(&rfc3339(UnixMillis(u64::MAX)), b"9999-12-30T22:00:00.000Z");
    }
}
