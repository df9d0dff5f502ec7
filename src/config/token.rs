//! Tokens, and where they come from.

use super::settings::{self, TOKEN_BYTES_MAX, TOKENS_MAX};
use std::fmt;

/// A token that allows writes. It cannot be printed by accident: only [`Token::expose`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself, to be compared or to be shown to its owner once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The token's bytes, to be compared.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A fresh token of 64 hexadecimal digits from the system's random numbers.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(hex_digit).collect()))
    }
}

fn hex_digit(nibble: u8) -> Option<char> {
    char::from_digit(u32::from(nibble), 16)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Why a list of tokens is refused, in words that give none away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("there is no token in it")]
    Empty,
    #[error("a token has a character that is not visible ASCII")]
    BadCharacter,
    #[error("a token has more than {TOKEN_BYTES_MAX} characters")]
    TooLong,
    #[error("there are more than {TOKENS_MAX} tokens")]
    TooMany,
}

/// Reads a list of tokens, separated by commas and line ends.
pub(super) fn parse_list(text: &str) -> Result<Vec<Token>, TokenError> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let tokens = parts.map(parse_one).collect::<Result<Vec<_>, _>>()?;
    match tokens.len() {
        0 => Err(TokenError::Empty),
        n if n > TOKENS_MAX => Err(TokenError::TooMany),
        _ => Ok(tokens),
    }
}

fn parse_one(text: &str) -> Result<Token, TokenError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::BadCharacter);
    }
    if text.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    Ok(Token(text.to_owned()))
}

/// The tokens of both lists, each once, in order.
pub(super) fn union(lists: [Vec<Token>; 2]) -> Vec<Token> {
    let mut all: Vec<Token> = Vec::new();
    for token in lists.into_iter().flatten() {
        if !all.contains(&token) {
            all.push(token);
        }
    }
    all
}

/// What operators should know about their tokens.
pub(super) fn warnings(tokens: &[Token]) -> Vec<String> {
    let short = tokens.iter().filter(|token| token.0.len() < settings::TOKEN_BYTES_ADVISED).count();
    let warning = format!(
        "{short} of {} tokens shorter than {} characters: make one with `openssl rand -hex 32`",
        tokens.len(),
        settings::TOKEN_BYTES_ADVISED
    );
    if short == 0 { Vec::new() } else { vec![warning] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[Token]) -> Vec<&str> {
        tokens.iter().map(Token::expose).collect()
    }

    #[test]
    fn tokens_are_separated_by_commas_and_lines_and_keep_their_text() {
        assert_eq!(texts(&parse_list("00123, 1e5\r\n\n true\n").unwrap()), ["00123", "1e5", "true"]);
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        assert_eq!(parse_list(" ,\n, "), Err(TokenError::Empty));
        assert_eq!(parse_list("a b"), Err(TokenError::BadCharacter));
        assert_eq!(parse_list("pässword"), Err(TokenError::BadCharacter));
        assert_eq!(parse_list(&"x".repeat(TOKEN_BYTES_MAX + 1)), Err(TokenError::TooLong));
        assert!(parse_list(&vec!["x"; TOKENS_MAX].join(",")).is_ok());
        assert_eq!(parse_list(&vec!["x"; TOKENS_MAX + 1].join(",")), Err(TokenError::TooMany));
    }

    #[test]
    fn random_tokens_differ_and_debug_hides_them() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 64);
        assert!(one.expose().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(format!("{one:?}"), "Token(hidden)");
    }

    #[test]
    fn short_tokens_are_warned_of_and_duplicates_dropped() {
        let tokens = union([parse_list("short,other").unwrap(), parse_list("short").unwrap()]);
        assert_eq!(texts(&tokens), ["short", "other"]);
        assert_eq!(warnings(&tokens).len(), 1);
        assert_eq!(warnings(&parse_list(&"x".repeat(32)).unwrap()), Vec::<String>::new());
    }
}
