//! The syntax of environment files, as systemd's `EnvironmentFile=` has it, plus an `export ` in front, which people
//! write who also source the file from a shell.

use std::iter::Peekable;
use std::str::Chars;

/// One assignment of an environment file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub name: String,
    pub value: String,
}

/// A line that is no assignment. Its text is not kept: it may be half of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct SyntaxError {
    pub line: usize,
    pub what: &'static str,
}

/// Reads a whole file: its assignments in order, and every line that is wrong.
pub(super) fn parse(text: &str) -> (Vec<Assignment>, Vec<SyntaxError>) {
    let mut reader = Reader { chars: text.chars().peekable(), line: 1 };
    let (mut assignments, mut errors) = (Vec::new(), Vec::new());
    while reader.skip_to_statement() {
        match reader.assignment() {
            Ok(assignment) => assignments.push(assignment),
            Err(error) => errors.push(error),
        }
    }
    (assignments, errors)
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|c| c != '\n') {}
    }

    /// Goes to the next line that is neither empty nor a comment; `false` at the end of the file.
    fn skip_to_statement(&mut self) -> bool {
        while let Some(&c) = self.chars.peek() {
            match c {
                '#' | ';' => self.skip_line(),
                c if c.is_whitespace() || c == '\u{feff}' => drop(self.next()),
                _ => return true,
            }
        }
        false
    }

    fn assignment(&mut self) -> Result<Assignment, SyntaxError> {
        let line = self.line;
        let name = self.name().ok_or(SyntaxError { line, what: "expected NAME=VALUE" })?;
        let value = self.value().ok_or(SyntaxError { line, what: "the quote is not closed" })?;
        Ok(Assignment { name, value })
    }

    /// The name up to the equals sign, which is consumed; `None`, with the line skipped, if there is none.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.chars.peek() {
                None | Some('\n') => return None,
                Some('=') => break,
                Some(&c) => name.push(c),
            }
            self.next();
        }
        self.next();
        let name = name.trim_end();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            self.skip_line();
        }
        valid.then(|| name.to_owned())
    }

    /// The value up to the end of its line; quoted parts may go on over several. `None` if a quote never ends.
    fn value(&mut self) -> Option<String> {
        let mut value = String::new();
        // How much of the value stays when the blanks at the end of the line are cut off.
        let mut kept = 0;
        while self.chars.next_if(|&c| c == ' ' || c == '\t').is_some() {}
        while let Some(c) = self.next() {
            match c {
                '\n' => break,
                '\'' => self.single_quoted(&mut value)?,
                '"' => self.double_quoted(&mut value)?,
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped) => value.push(escaped),
                },
                blank if blank.is_whitespace() => {
                    value.push(blank);
                    continue;
                }
                other => value.push(other),
            }
            kept = value.len();
        }
        value.truncate(kept);
        Some(value)
    }

    fn single_quoted(&mut self, value: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                '\'' => return Some(()),
                c => value.push(c),
            }
        }
    }

    /// Inside double quotes a backslash protects only what would otherwise be special.
    fn double_quoted(&mut self, value: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    c @ ('"' | '\\' | '`' | '$') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let (assignments, errors) = parse(text);
        assert_eq!(errors, []);
        assignments.into_iter().map(|a| (a.name, a.value)).collect()
    }

    #[track_caller]
    fn reads(text: &str, value: &str) {
        assert_eq!(values(text), [("A".to_owned(), value.to_owned())], "{text:?}");
    }

    #[test]
    fn values_are_plain_or_quoted() {
        reads("A=b", "b");
        reads("  A = b c \t\n", "b c");
        reads("export A=b\r\n", "b");
        reads("A=", "");
        reads("A='b \\ c'\n", "b \\ c");
        reads("A=\"b \\\" \\n\"", "b \" \\n");
        reads("A='  b '", "  b ");
        reads("A=b\\\nc", "bc");
        reads("A=b#c", "b#c");
        reads("A=b=c", "b=c");
        reads("A=\"b\nc\"\n", "b\nc");
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let text = "# one\n; two\n\n  # three\nA=1\n\nB=2";
        assert_eq!(values(text), [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn every_wrong_line_is_told_by_its_number() {
        let (assignments, errors) = parse("nonsense\nA=1\n2B=3\n# fine\nC='open\n");
        assert_eq!(assignments, [Assignment { name: "A".to_owned(), value: "1".to_owned() }]);
        assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 3, 5]);
    }
}
