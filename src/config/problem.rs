//! What is wrong with a configuration: every mistake at once, one line each.

use super::settings::{self, Setting};
use std::fmt;

/// Longest value that a problem shows, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// One mistake of an operator. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    /// A value that is not allowed. A secret value is not shown.
    #[must_use]
    pub fn refused(setting: &Setting, value: &str, source: &str) -> Self {
        Self::refused_since(setting, value, source, "")
    }

    /// A value that is not allowed, for a reason that the setting's description does not give. An empty `value` is one
    /// that cannot be shown.
    #[must_use]
    pub fn refused_since(setting: &Setting, value: &str, source: &str, reason: &str) -> Self {
        let shown = match value {
            "" => String::new(),
            _ if setting.is_secret() || sets_secret(value) => "=(hidden)".to_owned(),
            _ => format!("={}", quoted(value)),
        };
        let (separator, reason) = if reason.is_empty() { ("", "") } else { (": ", reason) };
        let line = format!("{}{shown} from {source}{separator}{reason}; allowed: {}", setting.name, setting.allowed);
        Self(one_line(&line))
    }

    /// Anything else; `text` must not contain a secret.
    #[must_use]
    pub fn other(text: &str) -> Self {
        Self(one_line(text))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a configuration; never empty. Its `Display` has one line for each problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, in the order of the settings; `Ok` if there are none.
    pub(super) fn none_or(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// Longest name that may be shown although no setting has it.
const NAME_CHARS_MAX: usize = 32;

/// The name in quotes, if it could be that of a setting, misspelt. What stands where a name should be may also be a part of
/// a token that was broken into lines, and is not shown then.
pub(super) fn unknown_name(name: &str) -> String {
    let is_name = |of_case: fn(&u8) -> bool| name.bytes().all(|byte| of_case(&byte) || byte == b'_');
    let could_be_ours = is_name(u8::is_ascii_lowercase) || is_name(u8::is_ascii_uppercase);
    if could_be_ours && name.len() <= NAME_CHARS_MAX { quoted(name) } else { "(hidden)".to_owned() }
}

/// Whether a value has the next line in it, and that sets a token: a quote or a backslash too many does this.
pub(super) fn sets_secret(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let secrets = settings::ALL.iter().filter(|setting| setting.is_secret());
    secrets.flat_map(|setting| value.split(setting.key).skip(1)).any(|rest| rest.trim_start().starts_with('='))
}

/// The value in quotes, its control characters escaped, cut where it becomes unreasonably long.
pub(super) fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The text with its control characters escaped, so that no value can forge a second line or steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_name_value_source_and_what_is_allowed_in_one_line() {
        let problem = Problem::refused(&settings::SHARDS, "ze\nro", "environment variable SHARDS");
        assert_eq!(
            problem.to_string(),
            r#"SHARDS="ze\nro" from environment variable SHARDS; allowed: an integer from 1 to 256"#
        );
    }

    #[test]
    fn a_refused_token_is_not_shown() {
        let problem = Problem::refused(&settings::API_TOKEN, "s3cret value", "the command line");
        assert!(!problem.to_string().contains("s3cret"), "{problem}");
    }

    #[test]
    fn what_could_be_a_token_is_no_name() {
        assert_eq!(unknown_name("api_tokens"), "\"api_tokens\"");
        assert_eq!(unknown_name("API_TOKENS"), "\"API_TOKENS\"");
        for secret in ["5f1d2c3b", "c2VjcmV0", "Api_Token", &"x".repeat(33), "a b", "\u{e9}"] {
            assert_eq!(unknown_name(secret), "(hidden)");
        }
    }

    #[test]
    fn a_token_that_has_slipped_into_another_value_is_not_shown() {
        for value in ["1API_TOKEN=s3cret", "1\napi_token = s3cret", "a API_TOKEN_FILE=x API_TOKEN=s3cret"] {
            let problem = Problem::refused(&settings::MAX_ITEM_BYTES, value, "the environment file");
            assert!(!problem.to_string().contains("s3cret"), "{problem}");
        }
        let problem = Problem::refused(&settings::API_TOKEN_FILE, "/run/secrets/api_token", "the environment file");
        assert!(problem.to_string().contains("/run/secrets/api_token"), "{problem}");
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), SHOWN_CHARS_MAX + 3);
    }
}
