//! Paths, keys and queries, beside a plain reading of them and the crate `percent-encoding`.

use cache_service::limits::KEY_CHARS_MAX;
use cache_service::protocol::route::{Method, Route};
use cache_service::protocol::target::{KeyBuf, KeyText, QueryOptions, Target, decode_key, resolve};
use cache_service::time::Ttl;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').map_or((&*text, None), |(path, query)| (path, Some(query)));
    check_key(path);
    for method in Method::ALL {
        check_path(method, path);
        check_path(method, &format!("/v1/kv/{path}"));
    }
    check_query(query.unwrap_or(path));
}

/// Every escape has two digits.
fn is_well_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    is_well_escaped(text).then(|| percent_encoding::percent_decode_str(text).collect())
}

fn check_key(raw: &str) {
    let expected = decoded(raw).and_then(|bytes| String::from_utf8(bytes).ok());
    let expected = expected.filter(|key| (1..=KEY_CHARS_MAX).contains(&key.chars().count()) && !key.contains('\0'));
    let mut scratch = KeyBuf::new();
    let key = decode_key(KeyText(raw), &mut scratch).ok();
    assert_eq!(key, expected.as_deref().map(str::as_bytes), "{raw:?}");
}

fn check_path(method: Method, path: &str) {
    let fixed = Route::ALL.into_iter().filter(|route| !matches!(route, Route::Kv | Route::Unknown | Route::Incr));
    let named = fixed.into_iter().find(|route| route.template() == path);
    let file_of =
        |page: Route| path.len() > page.template().len() + 1 && path.starts_with(&format!("{}/", page.template()));
    let expected = match path.strip_prefix("/v1/kv/") {
        Some("incr") if method == Method::Post => Target::Fixed(Route::Incr),
        Some(key) if !key.contains('/') => Target::Kv(KeyText(key)),
        _ if file_of(Route::Docs) => Target::Fixed(Route::Docs),
        _ if file_of(Route::Dashboard) => Target::Fixed(Route::Dashboard),
        _ => Target::Fixed(named.unwrap_or(Route::Unknown)),
    };
    assert_eq!(resolve(method, path), expected, "{method:?} {path:?}");
}

/// What the query says of one name: the value that was given last, decoded; `Err` if one of them cannot be read.
fn last<T>(query: &str, name: &str, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, ()> {
    let mut found = None;
    for pair in query.split('&') {
        let (of, value) = pair.split_once('=').unwrap_or((pair, ""));
        if of == name {
            found = Some(decoded(value).and_then(|value| read(&value)).ok_or(())?);
        }
    }
    Ok(found)
}

fn flag(value: &[u8]) -> Option<bool> {
    [(&b"true"[..], true), (b"false", false)].into_iter().find_map(|(text, flag)| (value == text).then_some(flag))
}

fn number(value: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == value).then_some(number)
}

fn check_query(query: &str) {
    let limit = |value: &[u8]| number(value).filter(|limit| (1..=1_000).contains(limit)).map(|limit| limit as usize);
    let ttl = |value: &[u8]| number(value).and_then(Ttl::from_secs);
    let expected = (|| {
        Ok::<_, ()>(QueryOptions {
            include_meta: last(query, "includeMeta", flag)?.unwrap_or(false),
            raw: last(query, "raw", flag)?,
            ttl: last(query, "ttlSec", ttl)?,
            limit: last(query, "limit", limit)?,
        })
    })();
    assert_eq!(QueryOptions::parse(Some(query)).map_err(drop), expected, "{query:?}");
}
