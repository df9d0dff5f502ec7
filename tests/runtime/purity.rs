//! The pure half knows no runtime, no socket, no clock, no log: the compiler does not check that, so this does.

use std::fs;
use std::path::{Path, PathBuf};

/// The world half, in `src/`.
const WORLD: [&str; 8] =
    ["runtime", "cli", "config", "load", "logging", "process_stats.rs", "main.rs", "stale_server.rs"];

/// What only the world half may name.
const WORLDLY: [&str; 21] = [
    "glommio",
    "io_uring",
    "socket2",
    "libc",
    "tracing",
    "tracing_subscriber",
    "tracing_appender",
    "signal_hook",
    "core_affinity",
    "crossbeam_channel",
    "getrandom",
    "figment",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "std::net",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
];

#[test]
fn the_pure_half_names_nothing_of_the_world() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<PathBuf> = sources(&root).into_iter().filter(|path| is_pure(&root, path)).collect();
    assert!(files.len() >= 50, "the pure half has more files than {files:?}");
    let found: Vec<String> = files.iter().flat_map(|path| worldly(path, &read(path))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_worldly_name_is_found_wherever_it_stands() {
    let path = Path::new("example.rs");
    for name in WORLDLY {
        for line in [format!("use {name};"), format!("let x = ::{name}::f();"), format!("fn f(x: &{name}) {{}}")] {
            assert_eq!(worldly(path, &line).len(), 1, "{line}");
        }
    }
    assert_eq!(worldly(path, "use std::{fmt, net::SocketAddr};").len(), 1);
    assert_eq!(worldly(path, "use std::{\n    fmt,\n    thread,\n};").len(), 1);
    assert_eq!(worldly(path, "use std::time::{Duration, Instant};").len(), 1);
}

#[test]
fn comments_tests_and_longer_names_are_not_found() {
    let path = Path::new("example.rs");
    let innocent = "//! As glommio does.\nfn f() {} // not std::net\nstruct InstantAnswer;\nuse crate::tracing_of_keys;\n\
                    use std::fmt;\nuse crate::net;\n#[cfg(test)]\nmod tests { use std::time::Instant; }\n";
    assert_eq!(worldly(path, innocent), Vec::<String>::new());
}

#[test]
fn what_follows_tests_is_code() {
    let path = Path::new("example.rs");
    for tests in ["mod tests;", "#[path = \"tests.rs\"]\nmod tests;", "mod tests {\n    use std::fs;\n}", "fn f() {}"] {
        let source = format!("fn before() {{}}\n#[cfg(test)]\n{tests}\n\nuse std::env;\n");
        let line = source.lines().count();
        let found = worldly(path, &source);
        assert!(found.contains(&format!("example.rs:{line}: std::env in `use std::env;`")), "{source}{found:?}");
    }
    assert_eq!(worldly(path, "#[cfg(test)]\nmod tests;\nmod store;\n#[cfg(test)]\nmod more;\n"), Vec::<String>::new());
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
    found
}

/// Whether a file belongs to the pure half and is not all tests.
fn is_pure(root: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(root).expect("a source");
    let top = inside.iter().next().and_then(|name| name.to_str()).expect("a name");
    let tests = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("tests"));
    !WORLD.contains(&top) && !tests
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source is text")
}

/// The worldly names in a source, each with its place, besides comments and the tests at its end.
fn worldly(path: &Path, source: &str) -> Vec<String> {
    let code = without_tests(source).into_iter();
    let code: Vec<&str> = code.map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(&code) {
        let names = WORLDLY.iter().filter(|name| mentions(line, name));
        found.extend(names.map(|name| format!("{}:{number}: {name} in `{}`", path.display(), line.trim())));
    }
    found.extend(grouped(&code.join("\n")).map(|name| format!("{}: std::{{{name}}}", path.display())));
    found
}

/// The lines of a source, with those empty that belong to tests: modules of tests in files of their own, and the one
/// at the end of this file. Whatever else stands under `#[cfg(test)]` counts as code.
fn without_tests(source: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = source.lines().collect();
    let mut start = 0;
    while start < lines.len() {
        let end = if lines[start] == "#[cfg(test)]" { end_of_tests(&lines, start) } else { None };
        lines[start..end.unwrap_or(start)].fill("");
        start = end.unwrap_or(start + 1);
    }
    lines
}

/// Where the module ends that the attribute in line `start` says is one of tests.
fn end_of_tests(lines: &[&str], start: usize) -> Option<usize> {
    let module = start + lines[start..].iter().position(|line| !line.starts_with("#["))?;
    let name = lines[module].strip_prefix("mod ")?;
    if name.ends_with(';') {
        return Some(module + 1);
    }
    let block = name.starts_with("tests {");
    let brace = module + lines[module..].iter().position(|line| line.ends_with('}') && !line.starts_with(' '))?;
    let last = lines.iter().rposition(|line| !line.trim().is_empty())?;
    (block && brace == last).then_some(lines.len())
}

/// Whether `name` stands in `line` as a whole.
fn mentions(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + name.len()..].chars().next();
        ![before, after].iter().flatten().any(|c| c.is_alphanumeric() || *c == '_')
    })
}

/// Modules of std that only the world half may use, imported in a group with others.
fn grouped(code: &str) -> impl Iterator<Item = &'static str> + '_ {
    let modules = WORLDLY.iter().filter_map(|name| name.strip_prefix("std::"));
    let groups: Vec<&str> = code.split("use std::{").skip(1).filter_map(|rest| rest.split(';').next()).collect();
    modules.filter(move |module| groups.iter().any(|group| mentions(group, module)))
}
