//! The operator's shell: one bash for the whole page, so that what a block defines is there for the next.

use crate::document::EXPECTATION;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Longest that a block may take.
const BLOCK_LASTS_MAX: Duration = Duration::from_secs(150);
/// Begins a line that is from the test and not from a command of the block.
const MARK: &str = "\u{1}";
/// What the mark at the end of a block says.
const END: &str = "end of block";

/// A running shell.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    folder: PathBuf,
    blocks: usize,
}

impl Shell {
    /// Starts one with exactly these variables, in `folder`, where it also keeps the blocks.
    pub fn start(folder: &Path, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(folder).env_clear();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
        let mut child = command.spawn().expect("bash can be started");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut shell = Self { child, input, output: receiver, folder: folder.to_owned(), blocks: 0 };
        shell.say("exec 2>&1; set -euo pipefail");
        shell
    }

    fn say(&mut self, line: &str) {
        // Fails if a command has failed already and ended the shell, which the end of its output tells.
        drop(writeln!(self.input, "{line}"));
    }

    /// Runs a block. Gives what it printed; or, with that, what was wrong: a command that failed, an expectation that was
    /// not met, or that it took too long.
    pub fn run(&mut self, block: &str) -> Result<String, String> {
        let file = self.folder.join(format!("block-{}.sh", self.blocks));
        self.blocks += 1;
        fs::write(&file, with_marks(block)).map_err(|error| error.to_string())?;
        // The block must not read what the shell is told next.
        self.say(&format!("source {} </dev/null", file.display()));
        self.say(&mark(END));
        let (mut printed, mut since_mark, started) = (String::new(), Vec::new(), Instant::now());
        loop {
            let line = match self.output.recv_timeout(BLOCK_LASTS_MAX.saturating_sub(started.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Err(format!("{printed}takes more than {BLOCK_LASTS_MAX:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("{printed}the last command failed")),
            };
            match line.strip_prefix(MARK) {
                Some(END) => return Ok(printed),
                Some(expected) if is_met(expected, &since_mark) => since_mark.clear(),
                Some(expected) => return Err(format!("{printed}this should have been printed: {expected}")),
                None => {
                    printed += &format!("{line}\n");
                    since_mark.push(line);
                }
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // With it ends what it has started and does not end by itself.
        if let Ok(group) = i32::try_from(self.child.id()) {
            // SAFETY: kill takes plain numbers; the child has not been waited for, so its group is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        drop(self.child.wait());
    }
}

/// A command that prints a mark in a line of its own.
fn mark(what: &str) -> String {
    format!("printf '\\n\\001%s\\n' '{}'", what.replace('\'', "'\\''"))
}

/// A block with a mark in place of each expectation.
fn with_marks(block: &str) -> String {
    let line = |line: &str| match line.strip_prefix(EXPECTATION) {
        Some(expected) => mark(expected) + "\n",
        None => format!("{line}\n"),
    };
    block.lines().map(line).collect()
}

/// Whether a line is what is expected. `…` at either end of it stands for anything.
fn is_met(expected: &str, lines: &[String]) -> bool {
    let (open_start, open_end) = (expected.starts_with('…'), expected.ends_with('…'));
    let text = expected.trim_matches('…');
    lines.iter().any(|line| match (open_start, open_end) {
        (false, false) => line == text,
        (true, false) => line.ends_with(text),
        (false, true) => line.starts_with(text),
        (true, true) => line.contains(text),
    })
}

#[test]
fn a_shell_keeps_what_a_block_defines_and_tells_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = || Shell::start(folder.path(), &[("PATH", std::env::var("PATH").expect("there is a PATH"))]);
    let mut shell = start();
    shell.run("greet() { echo \"hello $1\"; }\nNAME=you\n").expect("two definitions");
    assert!(
        shell.run("greet $NAME\n# → hello you\ngreet them\n# → …them\n").expect("greetings").contains("hello them")
    );
    let wrong = shell.run("greet $NAME\necho 200\n# → 20\n").expect_err("200 is not 20");
    assert!(wrong.contains("hello you\n200\n") && wrong.ends_with("this should have been printed: 20"), "{wrong}");
    for failing in ["false\necho on\n", "false | true\n", "echo $UNSET_VARIABLE\n", "cat >&2; exit 3\n"] {
        let wrong = start().run(failing).expect_err(failing);
        assert!(wrong.ends_with("the last command failed") && !wrong.contains("on\nthe"), "{failing}: {wrong}");
    }
}
