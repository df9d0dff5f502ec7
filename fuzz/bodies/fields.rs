//! The values of single fields, beside plain readings of them, and the chunked coding, cut anywhere.

use super::requests::unchunk;
use super::tape::{Tape, pieces};
use cache_service::command::{Version, VersionSet};
use cache_service::protocol::chunked::ChunkedDecoder;
use cache_service::protocol::conditions::{Comparison, version_from_text, version_set, version_text};
use cache_service::protocol::media::{Media, accepts_gzip, accepts_raw, media_type};

pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let kind = tape.byte();
    let cuts = tape.cuts(|tape| tape.rest().len());
    let rest = tape.rest();
    match kind % 3 {
        0 => check_chunks(rest, &cuts),
        1 => check_versions(&pieces(rest, &cuts)),
        _ => check_media(rest),
    }
}

fn check_chunks(bytes: &[u8], cuts: &[usize]) {
    let whole = unchunk(bytes);
    for pieces in [pieces(bytes, cuts), bytes.chunks(1).collect()] {
        assert_eq!(unchunk_pieces(&pieces), whole, "the same however it is cut: {}", bytes.escape_ascii());
    }
    // What is encoded comes out again, in chunks as they were cut.
    let mut encoded = Vec::new();
    for piece in pieces(bytes, cuts).into_iter().filter(|piece| !piece.is_empty()) {
        encoded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        encoded.extend_from_slice(piece);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n\r\nGET");
    assert_eq!(unchunk(&encoded), Ok((bytes.to_vec(), encoded.len() - 3, true)));
}

fn unchunk_pieces(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ()> {
    let (mut decoder, mut body, mut consumed) = (ChunkedDecoder::new(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let decoded = decoder.decode(rest).map_err(drop)?;
            body.extend_from_slice(decoded.data);
            consumed += decoded.consumed;
            rest = &rest[decoded.consumed..];
            if decoded.done {
                return Ok((body, consumed, true));
            }
        }
    }
    Ok((body, consumed, false))
}

/// The lines of one condition.
fn check_versions(lines: &[&[u8]]) {
    let lines: Vec<&[u8]> = lines.iter().copied().map(<[u8]>::trim_ascii).collect();
    for comparison in [Comparison::Strong, Comparison::Weak] {
        let told = version_set(&lines.iter().copied().collect(), comparison).map_err(drop);
        let elements: Option<Vec<_>> = lines.iter().map(|line| elements(line)).collect();
        let expected = elements.map(Vec::into_iter).map(Iterator::flatten).map(Vec::from_iter).ok_or(());
        let expected = expected.and_then(|elements| set_of(&elements, comparison));
        assert_eq!(told, expected.map(Some), "{lines:?}");
    }
}

/// Whether it is weak, whether it is quoted, and what it says.
type Tag = (bool, bool, Vec<u8>);

/// The elements of one line, found letter by letter; `None` if it is no list.
fn elements(line: &[u8]) -> Option<Vec<Tag>> {
    let (mut tags, mut at) = (Vec::new(), 0);
    let mut needs_comma = false;
    while at < line.len() {
        match line[at] {
            b',' => needs_comma = false,
            byte if byte.is_ascii_whitespace() => {}
            _ if needs_comma => return None,
            _ => {
                let is_weak = line[at..].starts_with(b"W/");
                at += if is_weak { 2 } else { 0 };
                let is_quoted = line.get(at) == Some(&b'"');
                if is_weak && !is_quoted {
                    return None;
                }
                let start = at + usize::from(is_quoted);
                let ends = |byte: u8| if is_quoted { byte == b'"' } else { b",\" \t".contains(&byte) };
                let mut end = start;
                while line.get(end).is_some_and(|&byte| !ends(byte)) {
                    end += 1;
                }
                if is_quoted && end == line.len() {
                    return None;
                }
                tags.push((is_weak, is_quoted, line[start..end].to_vec()));
                at = end + usize::from(is_quoted);
                needs_comma = true;
                continue;
            }
        }
        at += 1;
    }
    Some(tags)
}

fn set_of(tags: &[Tag], comparison: Comparison) -> Result<VersionSet, ()> {
    let is_star = |(_, is_quoted, tag): &Tag| !is_quoted && tag == b"*";
    match tags {
        [] => return Err(()),
        [only] if is_star(only) => return Ok(VersionSet::Any),
        _ if tags.iter().any(is_star) => return Err(()),
        _ => {}
    }
    let counts = |tag: &&Tag| comparison == Comparison::Weak || !tag.0;
    Ok(VersionSet::These(tags.iter().filter(counts).filter_map(|(_, _, tag)| version(tag)).collect()))
}

fn version(tag: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(tag).ok()?;
    let version = u64::from_str_radix(text, 16).ok().map(Version).filter(|version| version_text(*version) == tag);
    assert_eq!(version_from_text(tag), version, "{text:?}");
    version
}

/// Media types and what readers accept: nothing that could end a line of an answer comes through.
fn check_media(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let essence = text.split(';').next().unwrap_or_default().trim_ascii();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    match media_type(Some(text)) {
        Ok(Media::Bytes(kept)) => {
            assert!(!is_json && kept == text, "{text:?}");
            assert!(kept.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?} could end a line");
        }
        Ok(Media::Json) => assert!(is_json, "{text:?}"),
        Err(_) => assert!(!is_plain_type(text), "{text:?}"),
    }
    let names = |name: &str| text.to_ascii_lowercase().contains(name);
    assert!(!accepts_raw(Some(text)) || names("application/octet-stream"), "{text:?}");
    assert!(!accepts_gzip(Some(text)) || names("gzip") || names("*"), "{text:?}");
    if !text.contains(';') {
        let has = |name: &str| text.split(',').any(|range| range.trim_ascii().eq_ignore_ascii_case(name));
        assert_eq!(accepts_raw(Some(text)), has("application/octet-stream"), "{text:?}");
        assert_eq!(accepts_gzip(Some(text)), has("gzip") || has("x-gzip") || has("*"), "{text:?}");
    }
}

/// Two words and a slash.
fn is_plain_type(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() < 100 && text.split_once('/').is_some_and(|(main, sub)| is_word(main) && is_word(sub))
}
