//! What must not be told: tokens, and values to those who may not read them. And how tokens are compared.

#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod conversation;
mod settings;

/// Shortest part of a secret that counts as having told it, in characters.
const PART_CHARS: usize = 12;

/// The first part of `secret` that `text` has in it.
fn part_of(secret: &str, text: &[u8]) -> Option<String> {
    let parts = secret.as_bytes().windows(PART_CHARS);
    let found = parts.into_iter().find(|part| text.windows(PART_CHARS).any(|window| window == *part));
    found.map(|part| String::from_utf8_lossy(part).into_owned())
}

/// Finds no part of `secret` in what was said.
#[track_caller]
fn assert_untold(secret: &str, what: &str, said: &[u8]) {
    if let Some(part) = part_of(secret, said) {
        panic!("{what} has `{part}` of a secret in it:\n{}", String::from_utf8_lossy(said));
    }
}
