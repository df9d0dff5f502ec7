//! Log lines: made on the cores, written by a thread of their own.
//!
//! A core only formats a line and puts it into a bounded queue; a full queue or a disk that does not take it loses the
//! line, which is counted. Nothing here ever waits for a disk or a terminal on a core, and nothing panics over one.
//!
//! A JSON line is one flat object: `timestamp` (RFC 3339, UTC), `level` (lower case), `message`, then the fields.

mod line;
mod sink;

use crate::config::{LogConfig, LogLevel};
use line::LineFormat;
use sink::{Sink, Target};
use std::io;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

/// Lines that wait for a writing thread; further ones are lost and counted.
const QUEUE_LINES_MAX: usize = 8192;

/// The target of lines about single requests. Anybody can cause any number of them, so they have a queue of their own, in
/// which they push out no line about the server itself.
pub const REQUESTS: &str = "requests";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened for appending.
    #[error("LOG_FILE {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// Logging was started in this process before.
    #[error("logging was started already")]
    AlreadyStarted,
}

/// The log of this process. Dropping it writes what is queued, for at most about a second.
pub struct Handle {
    level: reload::Handle<LevelFilter, Registry>,
    format: LineFormat,
    target: Arc<Target>,
    lost: LostLines,
    _writing_threads: [WorkerGuard; 2],
}

/// Counts the lines that were lost.
#[derive(Clone)]
pub struct LostLines {
    in_queues: [ErrorCounter; 2],
    target: Arc<Target>,
}

impl LostLines {
    /// How many since the start: because a queue was full, or because nothing took them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.in_queues.iter().map(|queue| queue.dropped_lines() as u64).sum::<u64>() + self.target.failed_lines()
    }
}

/// The queues of the log; both end in the same place.
struct Queues {
    requests: NonBlocking,
    server: NonBlocking,
}

impl<'a> MakeWriter<'a> for Queues {
    type Writer = NonBlocking;

    fn make_writer(&'a self) -> NonBlocking {
        self.server.clone()
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> NonBlocking {
        if line.target() == REQUESTS { self.requests.clone() } else { self.server.clone() }
    }
}

/// Starts the log of this process. To be called once, before the cores start.
///
/// # Errors
/// If the file cannot be opened, or logging was started before.
pub fn start(config: &LogConfig) -> Result<Handle, LogError> {
    survive_long_files();
    let (subscriber, handle) = build(config)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    Ok(handle)
}

/// Where a limit on the length of files (`LimitFSIZE`, `ulimit -f`) is reached, the kernel sends a signal that would end the
/// process. Without it the write fails, as on a full disk.
fn survive_long_files() {
    // SAFETY: to ignore a signal runs no code of ours, and no other part of the process handles this one.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

fn build(config: &LogConfig) -> Result<(impl Subscriber + Send + Sync, Handle), LogError> {
    let target = Arc::new(Target::new(open(config)?));
    let queue = |name| {
        let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES_MAX).thread_name(name);
        queue.finish(target.writer())
    };
    let ((requests, of_requests), (server, of_server)) = (queue("log-requests"), queue("log"));
    let in_queues = [requests.error_counter(), server.error_counter()];
    let lost = LostLines { in_queues, target: Arc::clone(&target) };
    let writer = Queues { requests, server };
    let format = LineFormat::new(config.format);
    let (filter, level) = reload::Layer::new(filter_of(config.level));
    // The library would report its own failures with `eprintln!`, which panics when standard error is gone.
    let lines = fmt::layer().event_format(format.clone()).with_writer(writer).log_internal_errors(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    Ok((subscriber, Handle { level, format, target, lost, _writing_threads: [of_requests, of_server] }))
}

fn open(config: &LogConfig) -> Result<Sink, LogError> {
    let Some(path) = &config.file else { return Ok(Sink::standard_error()) };
    Sink::file(path).map_err(|error| LogError::File { path: path.display().to_string(), error })
}

const fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

impl Handle {
    /// Goes on as `config` says: opens its file anew (which is how a rotated file is let go) and takes its level and its
    /// format. May wait for the disk: to be called from a thread that is no core.
    ///
    /// # Errors
    /// If the file cannot be opened; everything then stays as it was.
    pub fn apply(&self, config: &LogConfig) -> Result<(), LogError> {
        self.target.replace(open(config)?);
        self.format.set(config.format);
        // Fails only when the subscriber is gone, and then there is nothing to filter.
        let _ = self.level.reload(filter_of(config.level));
        Ok(())
    }

    /// What counts the lines that were lost.
    #[must_use]
    pub fn lost_lines(&self) -> LostLines {
        self.lost.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use std::path::Path;

    fn to_file(path: &Path, format: LogFormat) -> LogConfig {
        LogConfig { level: LogLevel::Info, format, file: Some(path.to_owned()) }
    }

    /// The lines that `body` logs, given the handle.
    fn logged(config: &LogConfig, body: impl FnOnce(&Handle)) -> Vec<String> {
        let (subscriber, handle) = build(config).unwrap();
        tracing::subscriber::with_default(subscriber, || body(&handle));
        drop(handle);
        lines_of(config.file.as_ref().unwrap())
    }

    fn lines_of(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_handle_can_be_shared_by_threads() {
        const fn shared<T: Send + Sync>() {}
        const { shared::<Handle>() };
    }

    #[test]
    fn a_json_line_is_flat_and_survives_any_text() {
        let dir = tempfile::tempdir().unwrap();
        let lines = logged(&to_file(&dir.path().join("log"), LogFormat::Json), |_| {
            tracing::warn!(status = 401, ok = true, ratio = 0.5, peer = %"1.2.3.4:5", "auth \"failed\"\n\u{1}é");
        });
        assert_eq!(lines.len(), 1);
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], "auth \"failed\"\n\u{1}é");
        assert_eq!((&line["level"], &line["peer"]), (&"warn".into(), &"1.2.3.4:5".into()));
        assert_eq!((&line["status"], &line["ok"], &line["ratio"]), (&401.into(), &true.into(), &0.5.into()));
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z') && timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
    }

    #[test]
    fn a_number_that_json_cannot_write_becomes_text() {
        let dir = tempfile::tempdir().unwrap();
        let lines = logged(&to_file(&dir.path().join("log"), LogFormat::Json), |_| {
            tracing::info!(nan = f64::NAN, big = u128::MAX, "numbers");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["nan"], "NaN");
        assert_eq!(line["big"], u128::MAX.to_string());
    }

    #[test]
    fn a_text_line_cannot_be_forged() {
        let dir = tempfile::tempdir().unwrap();
        let lines = logged(&to_file(&dir.path().join("log"), LogFormat::Text), |_| {
            tracing::info!(key = "a b\nERROR forged", "hello\nworld");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(r#" info  hello\nworld key="a b\nERROR forged""#), "{}", lines[0]);
    }

    #[test]
    fn level_format_and_file_change_while_running() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let first = to_file(&old, LogFormat::Text);
        logged(&first, |handle| {
            tracing::debug!("unseen");
            tracing::info!("one");
            let second = LogConfig { level: LogLevel::Debug, format: LogFormat::Json, file: Some(new.clone()) };
            // The queue is emptied by another thread: what was logged before goes to one of the two files.
            handle.apply(&second).unwrap();
            tracing::debug!("two");
        });
        let (old, new) = (lines_of(&old), lines_of(&new));
        assert_eq!(old.len() + new.len(), 2, "{old:?} {new:?}");
        assert!(new.last().unwrap().contains("\"message\":\"two\""), "{new:?}");
    }

    #[test]
    fn a_rotated_file_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let config = to_file(&path, LogFormat::Json);
        let lines = logged(&config, |handle| {
            std::fs::rename(&path, &rotated).unwrap();
            handle.apply(&config).unwrap();
            tracing::info!("after the rotation");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = to_file(&dir.path().join("log"), LogFormat::Json);
        let lines = logged(&config, |handle| {
            assert!(handle.apply(&to_file(Path::new("/nowhere/log"), LogFormat::Json)).is_err());
            tracing::info!("still here");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let config = to_file(Path::new("/dev/full"), LogFormat::Json);
        let (subscriber, handle) = build(&config).unwrap();
        let target = Arc::clone(&handle.target);
        tracing::subscriber::with_default(subscriber, || (0..3).for_each(|n| tracing::info!(n, "lost")));
        drop(handle);
        assert_eq!(target.failed_lines(), 3);
    }
}
