//! Media types: what a body is, and what a reader wants.

use crate::limits::MEDIA_TYPE_BYTES_MAX;

const JSON: &str = "application/json";

/// What the body of a PUT is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media<'b> {
    /// The JSON envelope `{"value":…,"ttlSec":…}`.
    Json,
    /// The value itself, of this media type; visible ASCII and spaces, so it can go into an answer's head unchanged.
    Bytes(&'b str),
}

/// `Content-Type` is no media type that could be given back: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Type must be one media type of at most 255 visible ASCII characters")]
pub struct MediaError;

/// What a body with this `Content-Type` is. `application/json` (in any case, with any parameters) or none at all is the
/// envelope. Everything else, `application/problem+json` and the like included, is a value by itself.
///
/// # Errors
/// See [`MediaError`].
pub fn media_type(content_type: Option<&str>) -> Result<Media<'_>, MediaError> {
    let Some(text) = content_type else { return Ok(Media::Json) };
    if text.eq_ignore_ascii_case(JSON) {
        return Ok(Media::Json);
    }
    let essence = essence(text);
    let (main, sub) = essence.split_once('/').ok_or(MediaError)?;
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let part_is_fine = |part: &str| !part.is_empty() && part.bytes().all(is_type_char);
    if text.len() > MEDIA_TYPE_BYTES_MAX || !printable || !part_is_fine(main) || !part_is_fine(sub) {
        return Err(MediaError);
    }
    Ok(if essence.eq_ignore_ascii_case(JSON) { Media::Json } else { Media::Bytes(text) })
}

/// Whether a reader with this `Accept` wants the value alone: it names `application/octet-stream`, and not with `q=0`.
#[must_use]
pub fn accepts_raw(accept: Option<&str>) -> bool {
    let wants = |range: &str| essence(range).eq_ignore_ascii_case("application/octet-stream") && !is_refused(range);
    accept.is_some_and(|ranges| ranges.split(',').any(wants))
}

/// Whether an `Accept-Encoding` field allows gzip: by its name, or if it is not named by `*`.
#[must_use]
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let codings = || accept_encoding.unwrap_or_default().split(',');
    let of =
        |names: &[&str]| codings().find(|coding| names.iter().any(|name| essence(coding).eq_ignore_ascii_case(name)));
    of(&["gzip", "x-gzip"]).or_else(|| of(&["*"])).is_some_and(|coding| !is_refused(coding))
}

fn essence(text: &str) -> &str {
    text.split_once(';').map_or(text, |(essence, _)| essence).trim_ascii()
}

/// Whether a range has the weight 0.
fn is_refused(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim_ascii().eq_ignore_ascii_case("q") && matches!(value.trim_ascii().parse(), Ok(0.0_f32))
    })
}

fn is_type_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_json_media_type_or_none_is_the_envelope() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/json ;x"] {
            assert_eq!(media_type(Some(json)), Ok(Media::Json), "{json}");
        }
        assert_eq!(media_type(None), Ok(Media::Json));
        for bytes in ["text/plain", "application/ld+json", "image/svg+xml; charset=utf-8", "application/jsonx"] {
            assert_eq!(media_type(Some(bytes)), Ok(Media::Bytes(bytes)), "{bytes}");
        }
    }

    #[test]
    fn what_cannot_be_given_back_is_refused() {
        let long = format!("text/{}", "x".repeat(MEDIA_TYPE_BYTES_MAX));
        for bad in ["", "text", "/", "text/", "/plain", "te xt/plain", "text/pl\u{e9}in", "text/a\tb", "a/b, c/d"] {
            assert_eq!(media_type(Some(bad)), Err(MediaError), "{bad:?}");
        }
        assert_eq!(media_type(Some(&long)), Err(MediaError));
        assert_eq!(media_type(Some("text/plain; x=\r\nSet-Cookie: a")), Err(MediaError));
    }

    #[test]
    fn raw_is_what_octet_stream_asks_for() {
        for raw in ["application/octet-stream", "text/html, Application/Octet-Stream;q=0.5"] {
            assert!(accepts_raw(Some(raw)), "{raw}");
        }
        for json in ["*/*", "application/json", "application/*", "application/octet-stream;q=0", ""] {
            assert!(!accepts_raw(Some(json)), "{json}");
        }
        assert!(!accepts_raw(None));
    }

    #[test]
    fn gzip_is_given_only_to_who_allows_it() {
        for yes in ["gzip", "deflate, GZIP;q=0.5", "x-gzip", "*", "br;q=1.0, *;q=0.1"] {
            assert!(accepts_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "*, gzip;q=0.0", "*;q=0", "gzipped", "br"] {
            assert!(!accepts_gzip(Some(no)), "{no}");
        }
        assert!(!accepts_gzip(None));
    }
}
