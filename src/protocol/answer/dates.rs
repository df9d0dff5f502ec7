//! Moments as text, without a formatting machinery.

use crate::time::UnixMillis;

/// The last moment with a year of four digits.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment in the proleptic Gregorian calendar, UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    /// 0 is Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u64,
}

impl Civil {
    /// Counts years from March, so that a leap day is the last day of one, in cycles of 400 years (146,097 days).
    fn of(at: UnixMillis) -> Self {
        let millis = at.0.min(LAST_MS);
        let (days, seconds) = (millis / 86_400_000, millis / 1_000 % 86_400);
        // From 1970-01-01 back to 0000-03-01 there are 719,468 days.
        let since_march_0 = days + 719_468;
        let (cycle, day_of_cycle) = (since_march_0 / 146_097, since_march_0 % 146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        // From March on, five months have 153 days, again and again.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: cycle * 400 + year_of_cycle + u64::from(month <= 2),
            month,
            day,
            weekday: (days + 4) % 7,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            milli: millis % 1_000,
        }
    }
}

/// Writes `number` as decimal digits that fill `place`.
fn digits(place: &mut [u8], mut number: u64) {
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
    let civil = Civil::of(at);
    let mut text = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    let (weekday, month) = (civil.weekday as usize * 3, (civil.month as usize - 1) * 3);
    text[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    digits(&mut text[5..7], civil.day);
    text[8..11].copy_from_slice(&MONTHS[month..month + 3]);
    digits(&mut text[12..16], civil.year);
    digits(&mut text[17..19], civil.hour);
    digits(&mut text[20..22], civil.minute);
    digits(&mut text[23..25], civil.second);
    text
}

/// The text of a moment in JSON (RFC 3339, UTC, milliseconds): `2026-11-22T22:40:00.000Z`.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> [u8; 24] {
    let civil = Civil::of(at);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], civil.year);
    digits(&mut text[5..7], civil.month);
    digits(&mut text[8..10], civil.day);
    digits(&mut text[11..13], civil.hour);
    digits(&mut text[14..16], civil.minute);
    digits(&mut text[17..19], civil.second);
    digits(&mut text[20..23], civil.milli);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn moments_are_written_as_others_write_them() {
        let leap_days = [951_782_400_000, 951_868_799_999, 1_709_164_800_123, 4_107_542_400_000];
        let spread = (0..4_000).map(|n| n * 63_350_575_199 % LAST_MS);
        for millis in [0, 1, 999, 86_399_999, 86_400_000, LAST_MS].into_iter().chain(leap_days).chain(spread) {
            let http = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(std::str::from_utf8(&imf_fixdate(UnixMillis(millis))).unwrap(), http);
            let iso = jiff::Timestamp::from_millisecond(millis.min(253_402_207_200_000) as i64).unwrap();
            let ours = rfc3339(UnixMillis(millis.min(253_402_207_200_000)));
            assert_eq!(std::str::from_utf8(&ours).unwrap(), format!("{iso:.3}"));
        }
        assert_eq!(&rfc3339(UnixMillis(u64::MAX)), b"9999-12-31T23:59:59.999Z");
    }
}
