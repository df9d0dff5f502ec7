//! JSON (RFC 8259) without trees: checked as it streams by, kept as the text that it came in.

pub mod scanner;
mod strings;
pub mod text;

/// Why a text is not JSON that is taken here: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A byte that cannot stand where it does.
    #[error("unexpected character in JSON")]
    Unexpected,
    /// The text ends too early.
    #[error("JSON ends too early")]
    Incomplete,
    /// A malformed number.
    #[error("malformed number in JSON")]
    Number,
    /// A malformed escape sequence.
    #[error("malformed escape in a JSON string")]
    Escape,
    /// An unescaped control character in a string.
    #[error("control character in a JSON string")]
    Control,
    /// A string that is not UTF-8.
    #[error("JSON strings must be UTF-8")]
    NotUtf8,
    /// Deeper than [`crate::limits::JSON_DEPTH_MAX`].
    #[error("JSON is nested deeper than 512 levels")]
    TooDeep,
}
