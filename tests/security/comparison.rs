//! Tokens are compared in one place, and nowhere is one compared in a time that tells how much of it was guessed. What the
//! comparison takes, in instructions, is counted by `perf/counted` and held by `tests/instructions`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where credentials that a client presents pass through, with how often each file names them: from the fields of a head to
/// the one question whether they are good. `familiar.rs` remembers heads with the token left out, and hands it on, for the long
/// way and for the short one (`session/plain.rs`). That one asks once for requests of one connection that have the same fields:
/// what it compares there is what a client has sent with what it sends (see docs/threat-model.md).
const WAYPOINTS: [(&str, usize); 5] = [
    ("protocol/auth.rs", 6),
    ("protocol/familiar.rs", 10),
    ("protocol/fields.rs", 2),
    ("protocol/head.rs", 2),
    ("session/request.rs", 1),
];

/// Where a configured token is given away: to compare it, to print the one that was made at the start, to the program's own
/// clients.
const EXPOSED: [(&str, usize); 3] = [("cli/server.rs", 1), ("config/token.rs", 1), ("runtime/mod.rs", 2)];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).chain(below).collect()
}

/// The code of a file, without comments and the tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source is text");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The files that have one of `names` in their code, each with how often.
fn mentions(names: &[&str]) -> BTreeMap<String, usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let count = |path: &PathBuf| names.iter().map(|name| code(path).matches(name).count()).sum::<usize>();
    let name = |path: &PathBuf| path.strip_prefix(&root).expect("a source").display().to_string();
    let is_tests = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    let files = sources(&root).into_iter().filter(|path| !is_tests(path));
    files.map(|path| (name(&path), count(&path))).filter(|(_, count)| *count > 0).collect()
}

fn expected(files: &[(&str, usize)]) -> BTreeMap<String, usize> {
    files.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn credentials_take_one_way_through_the_program() {
    assert_eq!(
        mentions(&["Credentials::", ".credentials", "Credentials<"]),
        expected(&WAYPOINTS),
        "see what compares them"
    );
}

#[test]
fn configured_tokens_are_given_away_in_few_places() {
    assert_eq!(mentions(&[".expose(", "Token::expose", "fn expose"]), expected(&EXPOSED), "see what is done with them");
}

#[test]
fn the_tokens_that_are_asked_cannot_be_compared_but_in_constant_time() {
    let auth = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/auth.rs"));
    let (before, after) = auth.split_once("pub struct Tokens {").expect("they are there");
    let derived = before.lines().rev().find(|line| line.contains("derive")).expect("something is derived");
    assert_eq!(derived, "#[derive(Clone, Default)]", "no PartialEq, no Debug");
    assert!(after.trim_start().starts_with("secrets: Vec<Box<[u8]>>,\n}"), "nobody else sees them");
    assert!(!auth.contains("impl PartialEq for Tokens"));
    // Within the module, every comparison of bytes with a secret is subtle's.
    let equal = after.split("fn equal(").nth(1).expect("it is there");
    assert_eq!(equal.matches("ct_eq").count(), 3);
    assert_eq!(auth.matches("self.secrets").count(), 3, "counted, told whether there are any, and compared");
}
