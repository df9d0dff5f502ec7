//! Versions on the wire, and the conditions that name them.

use super::head::{FieldLines, Head};
use crate::command::{Conditions, Version, VersionSet};

/// Length of a version's text, in characters.
pub const VERSION_CHARS: usize = 16;

/// The text of a version: 16 lower-case hexadecimal digits.
#[must_use]
pub const fn version_text(version: Version) -> [u8; VERSION_CHARS] {
    hex(version.0)
}

/// 16 lower-case hexadecimal digits.
#[inline]
pub(super) const fn hex(number: u64) -> [u8; 16] {
    let (high, low) = (hex_of_half((number >> 32) as u32), hex_of_half(number as u32));
    // The first digit is that of the highest bits.
    ((high as u128) << 64 | low as u128).to_be_bytes()
}

/// Eight digits, the first one in the highest byte. All eight are worked out at once, each in its byte.
const fn hex_of_half(number: u32) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let number = number as u64;
    let halves = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (bytes | bytes << 4) & (0x0f * EACH);
    // 1 in each byte whose digit is a letter.
    let letters = ((digits + 6 * EACH) >> 4) & EACH;
    digits + b'0' as u64 * EACH + letters * (b'a' - b'0' - 10) as u64
}

/// The version that `text` spells, `None` if no version of ours is spelt like that.
#[must_use]
pub fn version_from_text(text: &[u8]) -> Option<Version> {
    if text.len() != VERSION_CHARS {
        return None;
    }
    let digits = text.iter().try_fold(0_u64, |number, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    });
    digits.map(Version)
}

/// Why a condition could not be read: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not a list of versions.
    #[error("a condition must be * or a list of versions")]
    Malformed,
    /// `*` beside something else.
    #[error("* must stand alone in a condition")]
    StarInList,
}

/// How entity tags are compared (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `If-Match`: a weak tag matches nothing.
    Strong,
    /// `If-None-Match`: a weak tag matches like a strong one.
    Weak,
}

/// The conditions that a head states.
///
/// # Errors
/// See [`ConditionError`].
pub fn conditions(head: &Head<'_>) -> Result<Conditions, ConditionError> {
    if head.if_match.is_empty() && head.if_none_match.is_empty() {
        return Ok(Conditions::default());
    }
    Ok(Conditions {
        if_match: version_set(&head.if_match, Comparison::Strong)?,
        if_none_match: version_set(&head.if_none_match, Comparison::Weak)?,
    })
}

/// The versions that the lines of one field name, `None` if there is no line.
///
/// # Errors
/// See [`ConditionError`].
pub fn version_set(lines: &FieldLines<'_>, comparison: Comparison) -> Result<Option<VersionSet>, ConditionError> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut list = List { comparison, elements: 0, star: false, set: VersionSet::These(Default::default()) };
    for line in lines {
        list.add_line(line)?;
    }
    match (list.star, list.elements) {
        (_, 0) => Err(ConditionError::Malformed),
        (true, 1) => Ok(Some(VersionSet::Any)),
        (true, _) => Err(ConditionError::StarInList),
        (false, _) => Ok(Some(list.set)),
    }
}

/// What the lines of `If-Match` say, to be named in an answer: joined, and a single tag without its quotes. `None` if
/// there is no line. Bytes that are not UTF-8 are replaced.
#[must_use]
pub fn expected_text(lines: &FieldLines<'_>) -> Option<String> {
    let joined = lines.join(b", ".as_slice());
    let text = match joined.as_slice() {
        [b'"', tag @ .., b'"'] if !tag.contains(&b'"') => tag,
        text => text,
    };
    (!lines.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

struct List {
    comparison: Comparison,
    elements: usize,
    star: bool,
    set: VersionSet,
}

impl List {
    fn add_line(&mut self, line: &[u8]) -> Result<(), ConditionError> {
        let mut rest = line.trim_ascii_start();
        while !rest.is_empty() {
            // Empty elements are allowed and mean nothing (RFC 9110, 5.6.1.2).
            if rest[0] != b',' {
                rest = self.add_element(rest)?.trim_ascii_start();
            }
            rest = match rest {
                [] => rest,
                [b',', rest @ ..] => rest.trim_ascii_start(),
                _ => return Err(ConditionError::Malformed),
            };
        }
        Ok(())
    }

    /// Takes in the element at the beginning of `text` and returns what comes after it.
    fn add_element<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], ConditionError> {
        self.elements += 1;
        let (weak, opaque) = match text {
            [b'W', b'/', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (tag, rest) = match opaque {
            [b'"', quoted @ ..] => {
                let end = memchr::memchr(b'"', quoted).ok_or(ConditionError::Malformed)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            _ if weak => return Err(ConditionError::Malformed),
            _ => {
                let ends = |&byte: &u8| matches!(byte, b',' | b'"' | b' ' | b'\t');
                opaque.split_at(opaque.iter().position(ends).unwrap_or(opaque.len()))
            }
        };
        match (tag, &mut self.set) {
            (b"*", _) if opaque[0] == b'*' => self.star = true,
            (_, VersionSet::These(versions)) if !weak || self.comparison == Comparison::Weak => {
                versions.extend(version_from_text(tag));
            }
            _ => {}
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison::{Strong, Weak};

    fn set(lines: &[&str], comparison: Comparison) -> Result<Option<VersionSet>, ConditionError> {
        version_set(&lines.iter().map(|line| line.as_bytes()).collect(), comparison)
    }

    fn these(versions: &[u64]) -> Result<Option<VersionSet>, ConditionError> {
        Ok(Some(VersionSet::These(versions.iter().copied().map(Version).collect())))
    }

    #[test]
    fn every_digit_stands_in_its_place() {
        let numbers = [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0x9a9a_a9a9_0f0f_f0f0];
        for number in numbers {
            assert_eq!(hex(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn versions_survive_their_text() {
        for version in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let text = version_text(Version(version));
            assert!(text.iter().all(u8::is_ascii_alphanumeric));
            assert_eq!(version_from_text(&text), Some(Version(version)));
        }
        for bad in ["", "1", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef0", "+123456789abcdef"] {
            assert_eq!(version_from_text(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lists_are_read_with_and_without_quotes() {
        let (one, two) = ("0000000000000001", "0000000000000002");
        assert_eq!(set(&[], Strong), Ok(None));
        assert_eq!(set(&[one], Strong), these(&[1]));
        assert_eq!(set(&[&format!("\"{one}\"")], Strong), these(&[1]));
        assert_eq!(set(&[&format!(" {one} ,, \"{two}\" , ")], Strong), these(&[1, 2]));
        assert_eq!(set(&[one, two], Weak), these(&[1, 2]));
        assert_eq!(set(&["\"a,b\", nonsense, \"\""], Weak), these(&[]));
        assert_eq!(set(&["*"], Strong), Ok(Some(VersionSet::Any)));
        assert_eq!(set(&["\"*\""], Strong), these(&[]));
    }

    #[test]
    fn weak_tags_match_only_where_weak_comparison_does() {
        let weak = "W/\"0000000000000001\"";
        assert_eq!(set(&[weak], Weak), these(&[1]));
        assert_eq!(set(&[weak], Strong), these(&[]));
    }

    #[test]
    fn what_was_expected_is_shown_as_it_was_sent() {
        let shown = |lines: &[&str]| expected_text(&lines.iter().map(|line| line.as_bytes()).collect());
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&["\"v1\""]).as_deref(), Some("v1"));
        assert_eq!(shown(&["v1"]).as_deref(), Some("v1"));
        assert_eq!(shown(&["\"v1\"", "\"v2\""]).as_deref(), Some("\"v1\", \"v2\""));
    }

    #[test]
    fn malformed_lists_are_refused() {
        for bad in ["", " ", ",", "\"a", "a\"b\"", "a b", "W/a", "\"a\"\"b\"", "a\"", "\"a\" b"] {
            assert_eq!(set(&[bad], Weak), Err(ConditionError::Malformed), "{bad:?}");
        }
        assert_eq!(set(&["*, *"], Weak), Err(ConditionError::StarInList));
        assert_eq!(set(&["*", "a"], Weak), Err(ConditionError::StarInList));
    }
}
