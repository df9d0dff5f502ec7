//! The page, cut into what can be executed.

use crate::repository;
use std::collections::BTreeMap;
use std::fs;

/// What stands in front of an expectation.
pub const EXPECTATION: &str = "# → ";

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The heading that it stands under.
    pub heading: String,
    /// What follows the opening fence.
    pub language: String,
    /// The line of the page on which it begins.
    pub line: usize,
    pub text: String,
}

/// The text of the page.
pub fn text() -> String {
    fs::read_to_string(repository("docs/runbook.md")).expect("there is a runbook")
}

/// All blocks, in order.
///
/// # Panics
/// If there is code that no fence says the language of, or a fence that is not closed.
#[track_caller]
pub fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut within) = (Vec::new(), String::new(), None::<Block>);
    for (number, line) in (1..).zip(document.lines()) {
        match (line.strip_prefix("```"), &mut within) {
            (Some(""), Some(_)) => blocks.extend(within.take()),
            (Some(language), None) => {
                assert!(!language.is_empty(), "line {number}: a block without a language would not be executed");
                let (heading, language) = (heading.clone(), language.to_owned());
                within = Some(Block { heading, language, line: number, text: String::new() });
            }
            (_, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {
                assert!(
                    !line.starts_with("    ") && !line.contains("```"),
                    "line {number}: code that would not be executed: {line}"
                );
                if line.starts_with('#') {
                    line.trim_start_matches('#').trim().clone_into(&mut heading);
                }
            }
        }
    }
    assert!(within.is_none(), "a block is not closed: {within:?}");
    blocks
}

/// The variables that the page's table names, with whether each acts on a reload.
///
/// # Panics
/// If one is named twice, or a row is about something else than `reload` or `restart`.
#[track_caller]
pub fn acts_on_reload(document: &str) -> BTreeMap<String, bool> {
    let (_, table) = document.split_once("| acts on | variables |").expect("there is the table of variables");
    let mut variables = BTreeMap::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let (kind, names) = row.trim_matches(['|', ' ']).split_once(" | ").expect(row);
        let reload = match kind {
            "reload" => true,
            "restart" => false,
            other => panic!("{other} is neither reload nor restart: {row}"),
        };
        for name in names.split('`').skip(1).step_by(2) {
            assert_eq!(variables.insert(name.to_owned(), reload), None, "{name} is named twice");
        }
    }
    variables
}

#[test]
fn blocks_are_found_with_their_headings() {
    let found = blocks("# One\n```bash\n# a comment\necho\n```\n## Two\ntext\n```toml\na = 1\n```\n");
    let block = |heading: &str, language: &str, line, text: &str| Block {
        heading: heading.to_owned(),
        language: language.to_owned(),
        line,
        text: text.to_owned(),
    };
    assert_eq!(found, [block("One", "bash", 2, "# a comment\necho\n"), block("Two", "toml", 8, "a = 1\n")]);
}

#[test]
fn code_that_nobody_would_execute_is_refused() {
    for document in ["```\nls\n```\n", "text\n\n    ls\n", "```bash\nls\n", "- ```bash\n  ls\n  ```\n"] {
        assert!(std::panic::catch_unwind(|| blocks(document)).is_err(), "{document:?}");
    }
}
