//! Where lines end up: standard error or a file, exchangeable while the process runs.

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

/// The sink of the process, shared by the thread that writes and whoever exchanges it. No core ever takes the lock.
pub(super) struct Target {
    sink: Mutex<Sink>,
    failed_lines: AtomicU64,
}

impl Target {
    pub const fn new(sink: Sink) -> Self {
        Self { sink: Mutex::new(sink), failed_lines: AtomicU64::new(0) }
    }

    pub fn writer(self: &Arc<Self>) -> Writer {
        Writer(Arc::clone(self))
    }

    pub fn replace(&self, sink: Sink) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    pub fn failed_lines(&self) -> u64 {
        self.failed_lines.load(Ordering::Relaxed)
    }

    fn write_line(&self, line: &[u8]) {
        let written = self.sink.lock().unwrap_or_else(PoisonError::into_inner).write_line(line);
        if written.is_err() {
            self.failed_lines.fetch_add(1, Ordering::Relaxed);
        }
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
