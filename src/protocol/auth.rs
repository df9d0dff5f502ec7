//! Who may do what: tokens, presented and configured.

use subtle::{Choice, ConstantTimeEq as _};

/// What a request presents to be let in.
///
/// `X-API-Token` wins over `Authorization`: a proxy may use the latter for its own purposes, the former is always meant
/// for us. So a request with both stands or falls by its `X-API-Token` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials<'b> {
    /// Nothing, or an empty token.
    #[default]
    None,
    /// A token; not yet known to be one of ours.
    Token(&'b [u8]),
    /// Something that cannot be one token: a repeated field, or a scheme other than `Bearer`.
    Malformed,
}

/// The value of one field that should come once.
#[derive(Clone, Copy, Default)]
pub(super) enum Presented<'b> {
    #[default]
    Absent,
    Once(&'b [u8]),
    Repeated,
}

impl<'b> Presented<'b> {
    /// Takes in one line of the field.
    pub(super) fn add(&mut self, value: &'b [u8]) {
        *self = if matches!(self, Self::Absent) { Self::Once(value) } else { Self::Repeated };
    }
}

impl<'b> Credentials<'b> {
    /// What `X-API-Token` and `Authorization` say together.
    pub(super) fn from_fields(api_token: Presented<'b>, authorization: Presented<'b>) -> Self {
        match (api_token, authorization) {
            (Presented::Once(token), _) if !token.is_empty() => Self::Token(token),
            (Presented::Repeated, _) => Self::Malformed,
            (_, Presented::Once(value)) => Self::from_authorization(value),
            (_, Presented::Repeated) => Self::Malformed,
            (_, Presented::Absent) => Self::None,
        }
    }

    fn from_authorization(value: &'b [u8]) -> Self {
        let end = memchr::memchr(b' ', value).unwrap_or(value.len());
        let (scheme, token) = (&value[..end], value[end..].trim_ascii());
        match (scheme.eq_ignore_ascii_case(b"Bearer"), token.is_empty()) {
            (true, false) => Self::Token(token),
            (true, true) => Self::None,
            (false, _) if value.is_empty() => Self::None,
            (false, _) => Self::Malformed,
        }
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// It presented no token.
    #[error("a token is required: send X-API-Token or Authorization: Bearer")]
    MissingToken,
    /// It presented one that is not ours.
    #[error("the token is not valid")]
    InvalidToken,
}

impl AuthFailure {
    /// All failures, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::MissingToken, Self::InvalidToken];

    /// The reason, as metrics label it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidToken => "invalid_token",
        }
    }
}

/// The tokens that let a request in. Says nothing about them when it is printed.
#[derive(Clone, Default)]
pub struct Tokens {
    secrets: Vec<Box<[u8]>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({} masked)", self.secrets.len())
    }
}

impl Tokens {
    /// These tokens; empty ones are left out, for nobody can present them.
    #[must_use]
    pub fn new<T: AsRef<[u8]>>(secrets: impl IntoIterator<Item = T>) -> Self {
        let mut boxed: Vec<Box<[u8]>> = secrets.into_iter().map(|secret| secret.as_ref().into()).collect();
        boxed.retain(|secret| !secret.is_empty());
        Self { secrets: boxed }
    }

    /// Whether there is no token, so that nobody is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Whether `credentials` hold one of the tokens. The time it takes depends on how many tokens there are and how
    /// long they are, and not on how much of one of them, or of its length, was guessed.
    ///
    /// # Errors
    /// See [`AuthFailure`].
    pub fn check(&self, credentials: &Credentials<'_>) -> Result<(), AuthFailure> {
        let presented = match credentials {
            Credentials::None => return Err(AuthFailure::MissingToken),
            Credentials::Malformed => return Err(AuthFailure::InvalidToken),
            Credentials::Token(token) => *token,
        };
        let mut valid = Choice::from(0);
        for secret in &self.secrets {
            valid |= equal(presented, secret);
        }
        if bool::from(valid) { Ok(()) } else { Err(AuthFailure::InvalidToken) }
    }
}

/// Compares in a time that depends on the length of `secret` alone: where the lengths differ, the secret is compared
/// with itself and the result thrown away.
fn equal(presented: &[u8], secret: &[u8]) -> Choice {
    let same_length = presented.len().ct_eq(&secret.len());
    let subject = if presented.len() == secret.len() { presented } else { secret };
    let ((words, rest), (secret_words, secret_rest)) = (subject.as_chunks::<8>(), secret.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let equal_words = words.iter().zip(secret_words).map(|(one, other)| word(one).ct_eq(&word(other)));
    equal_words.fold(same_length & rest.ct_eq(secret_rest), |equal, words| equal & words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_configured_token_lets_in_and_nothing_else_does() {
        let tokens = Tokens::new(["old-secret", "new-secret-longer", ""]);
        assert_eq!(tokens.check(&Credentials::Token(b"old-secret")), Ok(()));
        assert_eq!(tokens.check(&Credentials::Token(b"new-secret-longer")), Ok(()));
        for bad in [b"old-secre".as_slice(), b"old-secret!", b"Old-secret", b"", b"new-secret-longeR"] {
            assert_eq!(tokens.check(&Credentials::Token(bad)), Err(AuthFailure::InvalidToken), "{bad:?}");
        }
        assert_eq!(tokens.check(&Credentials::None), Err(AuthFailure::MissingToken));
        assert_eq!(tokens.check(&Credentials::Malformed), Err(AuthFailure::InvalidToken));
        assert_eq!(Tokens::default().check(&Credentials::Token(b"")), Err(AuthFailure::InvalidToken));
    }

    #[test]
    fn printing_tokens_prints_no_token() {
        assert_eq!(format!("{:?}", Tokens::new(["hunter2"])), "Tokens(1 masked)");
    }

    #[test]
    fn the_own_field_wins_over_authorization() {
        use Presented::{Absent, Once, Repeated};
        let cases = [
            (Absent, Absent, Credentials::None),
            (Once(b"a"), Absent, Credentials::Token(b"a")),
            (Once(b"a"), Once(b"Bearer b"), Credentials::Token(b"a")),
            (Once(b"a"), Once(b"Basic b"), Credentials::Token(b"a")),
            (Once(b""), Once(b"Bearer b"), Credentials::Token(b"b")),
            (Absent, Once(b"BEARER  b"), Credentials::Token(b"b")),
            (Absent, Once(b"Basic b"), Credentials::Malformed),
            (Absent, Once(b"Bearerb"), Credentials::Malformed),
            (Absent, Once(b"Bearer"), Credentials::None),
            (Absent, Once(b""), Credentials::None),
            (Repeated, Once(b"Bearer b"), Credentials::Malformed),
            (Absent, Repeated, Credentials::Malformed),
        ];
        for (own, authorization, expected) in cases {
            assert_eq!(Credentials::from_fields(own, authorization), expected);
        }
    }
}
