//! A kernel that refuses what the server cannot do without. (Too little locked memory, and a container's profile:
//! `api/start_errors.rs`, `packaging/filters.rs`.)

use crate::support::Launch;
use crate::tools;
use std::path::Path;

/// Debian's Python, which Debian's binding of libseccomp is for.
const PYTHON: &str = "/usr/bin/python3";
/// The exit code for a machine that does not give the server what it needs.
const EX_UNAVAILABLE: i32 = 69;

/// What is refused, and the words that must be told: what is missing, and what to do.
const CASES: [(&str, [&str; 2]); 8] = [
    ("io_uring_setup=EPERM", ["io_uring", "kernel.io_uring_disabled=0"]),
    ("io_uring_setup=ENOSYS", ["io_uring", "seccomp"]),
    ("io_uring_setup=ENOMEM", ["io_uring", "LimitMEMLOCK"]),
    ("io_uring_setup=EMFILE", ["io_uring", "LimitNOFILE"]),
    ("io_uring_setup=EACCES", ["io_uring", "dmesg"]),
    ("io_uring_register=EPERM", ["io_uring", "io_uring_register"]),
    ("io_uring_enter=EPERM", ["io_uring", "io_uring_enter"]),
    ("io_uring_enter=ENOSYS", ["io_uring", "seccomp"]),
];

#[test]
fn without_io_uring_the_server_ends_at_once_and_says_what_to_do() {
    // Installs what is missing.
    tools::command(PYTHON);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/scripts/deny.py");
    let script = script.to_str().expect("the path is text");
    for (refused, words) in CASES {
        let (status, output) = Launch::new(&[("SHARDS", "2")]).under(&[PYTHON, script, refused]).run_to_end();
        assert_eq!(status.code(), Some(EX_UNAVAILABLE), "{refused}: {output}");
        assert!(!output.contains("panicked"), "{refused}: {output}");
        let errors: Vec<&str> = output.lines().filter(|line| line.contains("\"error\"")).collect();
        assert_eq!(errors.len(), 1, "{refused}: {output}");
        for word in words {
            assert!(errors[0].contains(word), "{refused}: no `{word}` in {output}");
        }
    }
}
