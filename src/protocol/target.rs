//! From a request target to a resource, a key and options.

use super::fields::plain_decimal;
use super::route::{Method, Route};
use crate::insight::page::ITEMS_MAX;
use crate::limits::{KEY_BYTES_MAX, KEY_CHARS_MAX};
use crate::time::Ttl;
use smallvec::SmallVec;

/// A key as it stands in a path: still percent-encoded, without a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyText<'p>(pub &'p str);

/// Room to decode a key in; keys of up to 256 bytes need no allocation.
pub type KeyBuf = SmallVec<[u8; 256]>;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'p> {
    /// One key, of [`Route::Kv`].
    Kv(KeyText<'p>),
    /// Anything else, [`Route::Unknown`] included.
    Fixed(Route),
}

impl Target<'_> {
    /// The route that this target belongs to.
    #[must_use]
    pub const fn route(self) -> Route {
        match self {
            Self::Kv(_) => Route::Kv,
            Self::Fixed(route) => route,
        }
    }
}

/// What the path of a key begins with.
pub const KV_PREFIX: &str = "/v1/kv/";

/// What `path` names. The method counts for one path: `/v1/kv/incr` is the counter under POST and a key otherwise.
/// Whether the route allows the method is another question: [`Route::allows`].
#[must_use]
pub fn resolve(method: Method, path: &str) -> Target<'_> {
    if let Some(rest) = path.strip_prefix(KV_PREFIX) {
        return match rest {
            "incr" if method == Method::Post => Target::Fixed(Route::Incr),
            "batch/get" => Target::Fixed(Route::BatchGet),
            "batch/set" => Target::Fixed(Route::BatchSet),
            "batch/delete" => Target::Fixed(Route::BatchDelete),
            _ if has(rest.as_bytes(), b'/') => Target::Fixed(Route::Unknown),
            _ => Target::Kv(KeyText(rest)),
        };
    }
    Target::Fixed(match path {
        "/healthz" => Route::Healthz,
        "/readyz" => Route::Readyz,
        "/metrics" => Route::Metrics,
        "/v1/admin/hotkeys" => Route::HotKeys,
        "/v1/admin/slowlog" => Route::SlowLog,
        "/v1/topology" => Route::Topology,
        "/openapi.json" => Route::OpenApi,
        "/docs" => Route::Docs,
        "/dashboard" => Route::Dashboard,
        // The pages' files; which of them there are is not known here.
        _ if path.strip_prefix("/docs/").is_some_and(|file| !file.is_empty()) => Route::Docs,
        _ if path.strip_prefix("/dashboard/").is_some_and(|file| !file.is_empty()) => Route::Dashboard,
        _ => Route::Unknown,
    })
}

/// The methods that `path` knows, as the `Allow` field lists them; `route` is what it names under the method that it
/// does not know. One path is two resources.
#[must_use]
pub fn allow_header(path: &str, route: Route) -> &'static str {
    if path == Route::Incr.template() { "GET, HEAD, PUT, POST, DELETE" } else { route.allow_header() }
}

/// Why something is not a key: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No character.
    #[error("a key must not be empty")]
    Empty,
    /// More than [`KEY_CHARS_MAX`] characters.
    #[error("a key may have at most 250 characters")]
    TooLong,
    /// U+0000.
    #[error("a key must not contain NUL")]
    Nul,
    /// Not UTF-8.
    #[error("a key must be UTF-8")]
    NotUtf8,
    /// A `%` without two hexadecimal digits.
    #[error("invalid percent-encoding in the key")]
    BadEscape,
}

/// Whether `key` may be a key.
///
/// # Errors
/// See [`KeyError`].
pub fn check_key(key: &[u8]) -> Result<(), KeyError> {
    // Most keys are short and plain; what these bytes are takes one look at each.
    if (1..=KEY_CHARS_MAX).contains(&key.len())
        && key.iter().fold(true, |plain, &byte| plain & (byte.wrapping_sub(1) < 0x7f))
    {
        return Ok(());
    }
    let text = match key.len() {
        0 => return Err(KeyError::Empty),
        len if len > KEY_BYTES_MAX => return Err(KeyError::TooLong),
        _ => std::str::from_utf8(key).map_err(|_| KeyError::NotUtf8)?,
    };
    if key.len() > KEY_CHARS_MAX && text.chars().count() > KEY_CHARS_MAX {
        return Err(KeyError::TooLong);
    }
    if memchr::memchr(0, key).is_some() { Err(KeyError::Nul) } else { Ok(()) }
}

/// The key that `raw` spells: borrowed from it if nothing is encoded, else decoded into `scratch`.
///
/// # Errors
/// See [`KeyError`].
pub fn decode_key<'a>(raw: KeyText<'a>, scratch: &'a mut KeyBuf) -> Result<&'a [u8], KeyError> {
    let raw = raw.0.as_bytes();
    let key = if !has(raw, b'%') {
        raw
    } else if raw.len() > KEY_BYTES_MAX * 3 {
        return Err(KeyError::TooLong);
    } else {
        scratch.clear();
        percent_decode(raw, scratch).ok_or(KeyError::BadEscape)?;
        scratch.as_slice()
    };
    check_key(key).map(|()| key)
}

/// Whether a byte stands in a path as itself, and there for itself in a key.
static STANDS_FOR_ITSELF: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'#' | b'%' | b'/' | b'?');
        byte += 1;
    }
    plain
};

/// The key at the beginning of `text`, which follows [`KV_PREFIX`], and what comes behind it, if the key stands there as it
/// is, without a query, and is not too long to be told so at a glance.
#[must_use]
pub fn plain_key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let window = &text[..text.len().min(KEY_CHARS_MAX + 1)];
    let mut len = 0;
    // Eight at a time as long as all of them do: one branch instead of sixteen.
    while let Some(eight) = window[len..].first_chunk::<8>()
        && eight.iter().fold(true, |all, &byte| all & STANDS_FOR_ITSELF[usize::from(byte)])
    {
        len += eight.len();
    }
    while STANDS_FOR_ITSELF[usize::from(*window.get(len)?)] {
        len += 1;
    }
    (len > 0 && text[len] == b' ').then(|| text.split_at(len))
}

/// Whether `byte` is among `bytes`, which are mostly few: not worth the way into a search that is made for many.
fn has(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().fold(false, |found, &other| found | (other == byte))
}

fn percent_decode<const N: usize>(mut text: &[u8], out: &mut SmallVec<[u8; N]>) -> Option<()> {
    while let Some(at) = memchr::memchr(b'%', text) {
        out.extend_from_slice(&text[..at]);
        let digit = |offset: usize| text.get(at + offset).and_then(|&byte| char::from(byte).to_digit(16));
        out.push((digit(1)? * 16 + digit(2)?) as u8);
        text = &text[at + 3..];
    }
    out.extend_from_slice(text);
    Some(())
}

/// Why a query was refused: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `includeMeta` is neither `true` nor `false`.
    #[error("includeMeta must be true or false")]
    IncludeMeta,
    /// `raw` is neither `true` nor `false`.
    #[error("raw must be true or false")]
    Raw,
    /// `ttlSec` is no whole number in its range.
    #[error("ttlSec must be an integer from 0 to 2147483647")]
    TtlSec,
    /// `limit` is no whole number in its range.
    #[error("limit must be an integer from 1 to 1000")]
    Limit,
}

/// What the query part of a target asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Whether a read also wants times.
    pub include_meta: bool,
    /// Whether a read wants the value alone; `None` leaves it to `Accept`.
    pub raw: Option<bool>,
    /// When a written value expires.
    pub ttl: Option<Ttl>,
    /// How many items a list may have at most.
    pub limit: Option<usize>,
}

impl QueryOptions {
    /// Reads the text after `?`. Unknown parameters mean nothing; of a repeated one the last counts.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(query: Option<&str>) -> Result<Self, QueryError> {
        let mut options = Self::default();
        let Some(query) = query else { return Ok(options) };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "includeMeta" => options.include_meta = boolean(value).ok_or(QueryError::IncludeMeta)?,
                "raw" => options.raw = Some(boolean(value).ok_or(QueryError::Raw)?),
                "ttlSec" => options.ttl = Some(seconds(value).ok_or(QueryError::TtlSec)?),
                "limit" => options.limit = Some(items(value).ok_or(QueryError::Limit)?),
                _ => {}
            }
        }
        Ok(options)
    }
}

/// The longest text of a known parameter's value: ten digits, each percent-encoded.
const VALUE_CHARS_MAX: usize = 30;

fn decode_value(value: &str) -> Option<SmallVec<[u8; VALUE_CHARS_MAX]>> {
    let mut decoded = SmallVec::new();
    (value.len() <= VALUE_CHARS_MAX).then(|| percent_decode(value.as_bytes(), &mut decoded))??;
    Some(decoded)
}

fn boolean(value: &str) -> Option<bool> {
    match decode_value(value)?.as_slice() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

fn seconds(value: &str) -> Option<Ttl> {
    plain_decimal(&decode_value(value)?).and_then(Ttl::from_secs)
}

fn items(value: &str) -> Option<usize> {
    let items = plain_decimal(&decode_value(value)?).and_then(|items| usize::try_from(items).ok())?;
    (1..=ITEMS_MAX).contains(&items).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_the_contract_says() {
        use Method::{Delete, Get, Head, Other, Post, Put};
        for method in [Get, Head, Put, Delete, Other] {
            assert_eq!(resolve(method, "/v1/kv/incr"), Target::Kv(KeyText("incr")));
        }
        for method in Method::ALL {
            assert_eq!(resolve(method, "/v1/kv/batch"), Target::Kv(KeyText("batch")));
            assert_eq!(resolve(method, "/v1/kv/a%2Fb"), Target::Kv(KeyText("a%2Fb")));
            assert_eq!(resolve(method, "/v1/kv/"), Target::Kv(KeyText("")));
            for fixed in [Route::BatchGet, Route::BatchSet, Route::BatchDelete, Route::Healthz, Route::HotKeys] {
                assert_eq!(resolve(method, fixed.template()), Target::Fixed(fixed));
            }
            for unknown in
                ["/", "/v1/kv", "/v1/kv/a/b", "/v1/kv/batch/", "/v1/kv/batch/put", "//v1/kv/a", "/docs/", "/dashboard/"]
            {
                assert_eq!(resolve(method, unknown), Target::Fixed(Route::Unknown), "{unknown}");
            }
        }
        assert_eq!(resolve(Post, "/v1/kv/incr"), Target::Fixed(Route::Incr));
        assert_eq!(resolve(Get, "/docs/page.js"), Target::Fixed(Route::Docs));
        assert_eq!(resolve(Get, "/dashboard/page.js"), Target::Fixed(Route::Dashboard));
        for fixed in [
            Route::Readyz,
            Route::Metrics,
            Route::SlowLog,
            Route::Topology,
            Route::OpenApi,
            Route::Docs,
            Route::Dashboard,
        ] {
            assert_eq!(resolve(Get, fixed.template()).route(), fixed);
        }
    }

    #[test]
    fn allow_lists_exactly_the_methods_that_are_allowed() {
        for route in Route::ALL {
            let allowed: Vec<_> = Method::ALL.into_iter().filter(|&m| route.allows(m)).map(Method::name).collect();
            assert_eq!(allowed.join(", "), route.allow_header(), "{route:?}");
        }
        assert!(!Route::BatchGet.allows(Method::Get) && Route::BatchGet.allows(Method::Post));
    }

    #[test]
    fn the_path_that_is_two_resources_allows_the_methods_of_both() {
        let path = Route::Incr.template();
        let knows = |method: &Method| resolve(*method, path).route().allows(*method);
        let known: Vec<_> = Method::ALL.into_iter().filter(knows).map(Method::name).collect();
        assert_eq!(known.join(", "), allow_header(path, resolve(Method::Other, path).route()));
        assert_eq!(allow_header("/v1/kv/a", Route::Kv), Route::Kv.allow_header());
    }

    #[test]
    fn keys_are_decoded_once_and_borrowed_if_they_can_be() {
        let mut scratch = KeyBuf::new();
        let raw = "a+b~!";
        assert!(std::ptr::eq(decode_key(KeyText(raw), &mut scratch).unwrap(), raw.as_bytes()));
        for (raw, key) in [("a%2Fb", "a/b"), ("%C3%a9", "é"), ("%252F", "%2F"), ("%20x%3F", " x?")] {
            assert_eq!(decode_key(KeyText(raw), &mut scratch), Ok(key.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_for_its_reason() {
        let cases = [
            (String::new(), KeyError::Empty),
            ("%".into(), KeyError::BadEscape),
            ("a%2".into(), KeyError::BadEscape),
            ("a%zz".into(), KeyError::BadEscape),
            ("%+1".into(), KeyError::BadEscape),
            ("a%00".into(), KeyError::Nul),
            ("%ff".into(), KeyError::NotUtf8),
            ("%C3".into(), KeyError::NotUtf8),
            ("%ED%A0%80".into(), KeyError::NotUtf8),
            ("x".repeat(251), KeyError::TooLong),
            ("%C3%A9".repeat(251), KeyError::TooLong),
            ("%41".repeat(KEY_BYTES_MAX + 1), KeyError::TooLong),
        ];
        for (raw, error) in cases {
            assert_eq!(decode_key(KeyText(&raw), &mut KeyBuf::new()), Err(error), "{raw}");
        }
        let longest = "%F0%9F%98%80".repeat(KEY_CHARS_MAX);
        assert_eq!(decode_key(KeyText(&longest), &mut KeyBuf::new()).map(<[u8]>::len), Ok(KEY_BYTES_MAX));
        assert!(decode_key(KeyText(&"x".repeat(250)), &mut KeyBuf::new()).is_ok());
    }

    #[test]
    fn queries_are_read_strictly_where_they_are_known() {
        let parse = |query: &str| QueryOptions::parse(Some(query));
        assert_eq!(QueryOptions::parse(None), Ok(QueryOptions::default()));
        assert_eq!(parse("x=1&&raw2&=y"), Ok(QueryOptions::default()));
        let all = parse("includeMeta=true&raw=%74rue&ttlSec=2147483647").unwrap();
        assert_eq!((all.include_meta, all.raw, all.ttl.map(Ttl::as_secs)), (true, Some(true), Some(2_147_483_647)));
        assert_eq!(parse("raw=true&raw=false").map(|options| options.raw), Ok(Some(false)));
        for bad in ["includeMeta", "includeMeta=1", "includeMeta=TRUE"] {
            assert_eq!(parse(bad), Err(QueryError::IncludeMeta), "{bad}");
        }
        for bad in ["raw=", "raw=yes", "raw=%"] {
            assert_eq!(parse(bad), Err(QueryError::Raw), "{bad}");
        }
        assert_eq!(parse("limit=1000").map(|options| options.limit), Ok(Some(1000)));
        for bad in ["0", "1001", "", "-1", "all"] {
            assert_eq!(parse(&format!("limit={bad}")), Err(QueryError::Limit), "{bad}");
        }
        for bad in ["-1", "1.0", "2147483648", "", "+1", "01", "1e3", "%31%", "99999999999999999999999999999999"] {
            assert_eq!(parse(&format!("ttlSec={bad}")), Err(QueryError::TtlSec), "{bad}");
        }
    }
}
