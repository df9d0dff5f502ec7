//! Where lines end up: standard error or a file, exchangeable while the process runs.

use crate::cli::complain;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What lines are written to.
pub(super) struct Sink {
    output: Output,
    /// Whether the last line was cut, by a disk that was full; the next one then starts on a line of its own.
    mid_line: bool,
}

enum Output {
    StandardError,
    File(File),
}

impl Sink {
    pub const fn standard_error() -> Self {
        Self { output: Output::StandardError, mid_line: false }
    }

    const fn is_file(&self) -> bool {
        matches!(self.output, Output::File(_))
    }

    pub fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { output: Output::File(file), mid_line: false })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.mid_line {
            self.write_part(b"\n")?;
            self.mid_line = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let written = self.write_part(rest)?;
            rest = &rest[written..];
            self.mid_line = !rest.is_empty();
        }
        Ok(())
    }

    fn write_part(&mut self, part: &[u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.output {
                Output::StandardError => io::stderr().write(part),
                Output::File(file) => file.write(part),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                result => return result,
            }
        }
    }
}

/// The sink of the process, shared by the threads that write and whoever exchanges it. No core ever takes a lock of it.
pub(super) struct Target {
    sink: Mutex<Sink>,
    /// What takes the sink's place at the next line. Its lock is held for a moment only, whereas the other one is held
    /// for as long as a disk hangs.
    next: Mutex<Option<Sink>>,
    failed_lines: AtomicU64,
    /// Those of them that no line of the log has told of yet.
    untold_lines: AtomicU64,
}

impl Target {
    pub const fn new(sink: Sink) -> Self {
        let (failed_lines, untold_lines) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { sink: Mutex::new(sink), next: Mutex::new(None), failed_lines, untold_lines }
    }

    pub fn writer(self: &Arc<Self>) -> Writer {
        Writer(Arc::clone(self))
    }

    pub fn replace(&self, sink: Sink) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }

    pub fn failed_lines(&self) -> u64 {
        self.failed_lines.load(Ordering::Relaxed)
    }

    fn write_line(&self, line: &[u8]) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = self.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *sink = next;
        }
        let (written, is_file) = (sink.write_line(line), sink.is_file());
        drop(sink);
        match written {
            Ok(()) => self.tell_of_loss(),
            Err(error) => {
                self.failed_lines.fetch_add(1, Ordering::Relaxed);
                if self.untold_lines.fetch_add(1, Ordering::Relaxed) == 0 && is_file {
                    // The log cannot tell it.
                    complain(format_args!("LOG_FILE cannot be written: {error}; lines are lost until it can"));
                }
            }
        }
    }

    /// Where lines can be written again, one says how many could not.
    fn tell_of_loss(&self) {
        if let Some(lost) = self.take_untold() {
            tracing::warn!(lost, "lines were lost here: the log could not be written");
        }
    }

    /// How many lines are to be told of, which they are from now on; `None` if there are none.
    fn take_untold(&self) -> Option<u64> {
        Some(self.untold_lines.swap(0, Ordering::Relaxed)).filter(|lost| *lost > 0)
    }
}

/// What the writing thread writes whole lines to. It never fails: there is nobody who could be told.
pub(super) struct Writer(Arc<Target>);

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    /// Both queues of the log have a writing thread.
    #[test]
    fn a_loss_is_told_once_by_however_many_threads() {
        const ROUNDS: u64 = 5_000;
        let (target, round) = (Target::new(Sink::standard_error()), Barrier::new(2));
        let take = || {
            let mut told = Vec::new();
            for _ in 0..ROUNDS {
                if round.wait().is_leader() {
                    target.untold_lines.fetch_add(1, Ordering::Relaxed);
                }
                round.wait();
                told.extend(target.take_untold());
            }
            told
        };
        let told = thread::scope(|scope| [scope.spawn(take), scope.spawn(take)].map(|taking| taking.join().unwrap()));
        let told = told.concat();
        assert!(told.iter().all(|lost| *lost > 0), "a line says that none was lost");
        assert_eq!(told.iter().sum::<u64>(), ROUNDS);
    }
}
