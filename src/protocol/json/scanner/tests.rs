use super::*;
use crate::protocol::json::text::Unescaper;

/// A small generator (splitmix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % n as u64) as usize
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn json(&mut self, levels: usize) -> String {
        let space = self.one_of(&["", "", " ", "\n\t\r "]);
        let value = match self.below(if levels == 0 { 3 } else { 5 }) {
            0 => self.one_of(&["0", "-0", "12", "-3.50", "1e5", "1E-07", "2.5e+300", "1e999"]).to_owned(),
            1 => self.one_of(&["true", "false", "null"]).to_owned(),
            2 => self.string(),
            3 => {
                let elements: Vec<_> = (0..self.below(4)).map(|_| self.json(levels - 1)).collect();
                format!("[{space}{}{space}]", elements.join(","))
            }
            _ => {
                let member = |r: &mut Self| format!("{}{space}:{}", r.string(), r.json(levels - 1));
                let members: Vec<_> = (0..self.below(4)).map(|_| member(self)).collect();
                format!("{{{space}{}}}", members.join(", "))
            }
        };
        format!("{space}{value}{space}")
    }

    fn string(&mut self) -> String {
        let parts = ["a", "é", "😀", "\u{fffd}", r"\n", r#"\""#, r"\\", r"\/", r"\u0041", r"\uD83D\uDE00", r"\u00e9"];
        let parts: Vec<_> = (0..self.below(6)).map(|_| self.one_of(&parts)).collect();
        format!("\"{}\"", parts.concat())
    }

    /// Spoils a byte or two, or cuts or doubles something.
    fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len());
        match self.below(5) {
            0 => text[at] = self.below(256) as u8,
            1 => text[at] = b"\"\\{}[],:0-+.eEtu \x00\x1f\x7f\xff\x80\xc3\xed\xa0"[self.below(25)],
            2 => text.truncate(at),
            3 => drop(text.remove(at)),
            _ => text.insert(at, text[at]),
        }
    }
}

/// Runs `text` through a scanner in pieces of the given size, down to `detail`; all tokens together must be the text.
fn scan(text: &[u8], piece: usize, detail: usize) -> Result<Vec<(Kind, Vec<u8>)>, JsonError> {
    let (mut scanner, mut tokens) = (Scanner::new(0), Vec::new());
    for mut part in text.chunks(piece.max(1)) {
        loop {
            let token = scanner.next(part, detail)?;
            let (taken, rest) = part.split_at(token.len);
            tokens.push((token.kind, taken.to_vec()));
            part = rest;
            if token.kind == Kind::More {
                assert!(rest.is_empty());
                break;
            }
        }
    }
    scanner.finish()?;
    let again: Vec<u8> = tokens.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(again == text, "nothing is lost between the tokens");
    Ok(tokens)
}

#[test]
fn it_accepts_what_serde_json_accepts_however_it_is_cut() {
    for seed in 0..4_000 {
        let mut random = Random(seed);
        let mut text = random.json(4).into_bytes();
        for _ in 0..random.below(3) {
            if !text.is_empty() {
                random.mutate(&mut text);
            }
        }
        let expected =
            std::str::from_utf8(&text).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        for piece in [1, 2, 3, 7, text.len()] {
            for detail in [0, 2, 99] {
                let result = scan(&text, piece, detail);
                let shown = String::from_utf8_lossy(&text);
                assert_eq!(result.is_ok(), expected, "seed {seed}, by {piece}, down to {detail}: {result:?}: {shown}");
            }
        }
    }
}

#[test]
fn strings_are_measured_as_they_are_unescaped() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let halves = ["\\ud83d", "\\ude00", "\\uD83D\\uDE00", "a", "é", "\\n", "\\u00e9", "\\u0800", "😀"];
        let parts: Vec<_> = (0..random.below(8)).map(|_| random.one_of(&halves)).collect();
        let json = format!("\"{}\"", parts.concat());
        for piece in 1..=json.len() {
            let (mut scanner, mut unescaper, mut raw) = (Scanner::new(0), Unescaper::new(), Vec::new());
            for mut part in json.as_bytes().chunks(piece) {
                unescaper.feed(part, |bytes| raw.extend_from_slice(bytes));
                while !part.is_empty() {
                    part = &part[scanner.next(part, 0).unwrap().len..];
                }
            }
            assert_eq!(scanner.string_raw_len(), raw.len() as u64, "seed {seed}, by {piece}: {json}");
            assert!(std::str::from_utf8(&raw).is_ok());
        }
    }
}

#[test]
fn tokens_say_where_in_the_text_they_are() {
    use Container::{Array, Object};
    let text = br#" {"a":[1,{"b":null}], "c" :-1.5}"#;
    let kinds = |detail| -> Vec<(Kind, String)> {
        let tokens = scan(text, text.len(), detail).unwrap();
        let interesting = tokens.into_iter().filter(|(kind, _)| !matches!(kind, Kind::Gap | Kind::More));
        interesting.map(|(kind, bytes)| (kind, String::from_utf8(bytes).unwrap())).collect()
    };
    let expected = [
        (Kind::Open(Object), "{"),
        (Kind::StringOpen { name: true }, "\""),
        (Kind::StringText, "a"),
        (Kind::StringClose { name: true }, "\""),
        (Kind::Open(Array), "["),
        (Kind::Close(Array), "1,{\"b\":null}]"),
        (Kind::StringOpen { name: true }, "\""),
        (Kind::StringText, "c"),
        (Kind::StringClose { name: true }, "\""),
        (Kind::ScalarOpen(Scalar::Number), "-"),
        (Kind::ScalarText, "1.5"),
        (Kind::ScalarClose, ""),
        (Kind::Close(Object), "}"),
    ];
    assert_eq!(kinds(1), expected.map(|(kind, text)| (kind, text.to_owned())));
    assert_eq!(kinds(0).len(), 2);
    assert_eq!(kinds(9).len(), 23);
}

#[test]
fn errors_say_what_is_wrong() {
    let cases: [(&[u8], JsonError); 14] = [
        (b"", JsonError::Incomplete),
        (b"  ", JsonError::Incomplete),
        (b"[1", JsonError::Incomplete),
        (b"1.", JsonError::Incomplete),
        (b"tru", JsonError::Incomplete),
        (b"[01]", JsonError::Unexpected),
        (b"[1.]", JsonError::Number),
        (b"[nil]", JsonError::Unexpected),
        (b"\"\\x\"", JsonError::Escape),
        (b"\"a\nb\"", JsonError::Control),
        (b"\"\xff\"", JsonError::NotUtf8),
        (b"\"\xc3\"", JsonError::NotUtf8),
        (b"\"\xed\xa0\x80\"", JsonError::NotUtf8),
        (b"{\"a\":1}x", JsonError::Unexpected),
    ];
    for (text, error) in cases {
        for piece in 1..=text.len().max(1) {
            assert_eq!(scan(text, piece, 0), Err(error), "{text:?} by {piece}");
        }
    }
}

#[test]
fn depth_is_bounded_without_the_envelope() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(scan(&nested(JSON_DEPTH_MAX), 7, 0).is_ok());
    assert_eq!(scan(&nested(JSON_DEPTH_MAX + 1), 7, 0), Err(JsonError::TooDeep));
    let mut scanner = Scanner::new(ENVELOPE_LEVELS);
    assert!(scanner.next(&nested(JSON_DEPTH_MAX + ENVELOPE_LEVELS), 0).is_ok());
}
