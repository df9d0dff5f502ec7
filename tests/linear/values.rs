//! Keys of three kinds, and the values that they hold: each value tells its number, and whether all of it is there.

use std::fmt::Write as _;

/// What the values of a key look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, which can be added to.
    Number,
    /// Texts of up to some thousand bytes.
    Wide,
    /// Texts that are too long to be stored inline, and travel in pieces.
    Long,
}

impl Kind {
    /// The kind that a key's name tells.
    pub fn of(key: &str) -> Self {
        match key.as_bytes()[0] {
            b'w' => Self::Wide,
            b'l' => Self::Long,
            _ => Self::Number,
        }
    }

    /// What the names of its keys begin with.
    pub const fn initial(self) -> char {
        match self {
            Self::Number => 'n',
            Self::Wide => 'w',
            Self::Long => 'l',
        }
    }

    /// The number `value` as JSON, in this kind's way.
    pub fn json(self, value: i64) -> String {
        let part = value.unsigned_abs() / 1_000_000_000 * 977;
        match self {
            Self::Number => value.to_string(),
            Self::Wide => padded(value, 500 + part % 4_000),
            Self::Long => padded(value, 17_000 + part % 40_000),
        }
    }

    /// The number that JSON written by [`Kind::json`] stands for.
    ///
    /// # Panics
    /// If it was not written so: then a value is torn or made up.
    #[track_caller]
    pub fn number(self, json: &str) -> i64 {
        let digits = json.trim_matches('"').split(':').next().unwrap_or_default();
        let value: i64 = digits.parse().unwrap_or_else(|_| panic!("nobody has written {json:.200}"));
        assert!(self == Self::Number || self.json(value) == json, "a value is torn: {json:.200}…");
        value
    }
}

/// `"7:7|7|7|7…"`: the filling depends on the number, so that parts of two values never make a third.
fn padded(value: i64, len: u64) -> String {
    let len = len as usize;
    let mut text = format!("\"{value}:");
    while text.len() < len {
        write!(text, "{value}|").expect("a text takes all");
    }
    text.truncate(len);
    text + "\""
}
