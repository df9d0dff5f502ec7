//! The inputs that are kept.

use std::path::{Path, PathBuf};

/// The kept inputs of one body, in the order of their names, and others behind them.
pub struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    pub fn of(name: &str, further: Vec<Vec<u8>>) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
        files.sort_unstable();
        assert!(!files.is_empty(), "{} holds inputs", dir.display());
        let kept = files.iter().map(|file| std::fs::read(file).expect("a readable file"));
        Self(kept.chain(further).collect())
    }

    pub fn inputs(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// Writes an input that broke a promise to a file of its own.
pub fn keep_finding(name: &str, input: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-findings");
    std::fs::create_dir_all(&dir).expect("a folder for findings");
    let file = dir.join(format!("{name}-{}", std::process::id()));
    std::fs::write(&file, input).expect("room for a finding");
    file
}
