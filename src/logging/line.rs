//! The form of one log line.

use crate::config::{LogFormat, one_line};
use std::fmt::{self, Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events in the form that was asked for last. Copies share it.
#[derive(Clone)]
pub(super) struct LineFormat {
    json: Arc<AtomicBool>,
}

impl LineFormat {
    pub fn new(format: LogFormat) -> Self {
        Self { json: Arc::new(AtomicBool::new(format == LogFormat::Json)) }
    }

    pub fn set(&self, format: LogFormat) {
        self.json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn write(&self, out: &mut dyn fmt::Write, event: &Event<'_>) -> fmt::Result {
        let now = jiff::Timestamp::now();
        let level = name_of(*event.metadata().level());
        let mut message = Message::default();
        event.record(&mut message);
        let Message(message) = message;
        if self.json.load(Ordering::Relaxed) {
            write!(out, "{{\"timestamp\":\"{now:.6}\",\"level\":\"{level}\",\"message\":")?;
            json_text(out, &message)?;
            JsonFields { out, result: Ok(()) }.record_all(event)?;
            out.write_str("}\n")
        } else {
            write!(out, "{now:.6} {level:<5} {}", one_line(&message))?;
            TextFields { out, result: Ok(()) }.record_all(event)?;
            out.write_char('\n')
        }
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        self.write(&mut out, event)
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

const MESSAGE: &str = "message";

/// The event's message, which comes first in a line wherever it stands among the fields.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            // Writing to a string fails only if the value's own `Debug` does, and then half of it is better than none.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0.push_str(value);
        }
    }
}

/// The other fields, as members of a JSON object.
struct JsonFields<'a> {
    out: &'a mut dyn fmt::Write,
    result: fmt::Result,
}

impl JsonFields<'_> {
    fn record_all(mut self, event: &Event<'_>) -> fmt::Result {
        event.record(&mut self);
        self.result
    }

    fn member(&mut self, field: &Field, value: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) {
        if field.name() == MESSAGE || self.result.is_err() {
            return;
        }
        self.result = (|| {
            self.out.write_char(',')?;
            json_text(self.out, field.name())?;
            self.out.write_char(':')?;
            value(self.out)
        })();
    }
}

impl Visit for JsonFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |out| json_text(out, &format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |out| json_text(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let quote = if value.is_finite() { "" } else { "\"" };
        self.member(field, |out| write!(out, "{quote}{value}{quote}"));
    }
}

/// The other fields, as `name=value`.
struct TextFields<'a> {
    out: &'a mut dyn fmt::Write,
    result: fmt::Result,
}

impl TextFields<'_> {
    fn record_all(mut self, event: &Event<'_>) -> fmt::Result {
        event.record(&mut self);
        self.result
    }
}

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != MESSAGE && self.result.is_ok() {
            self.result = write!(self.out, " {}={}", field.name(), one_line(&format!("{value:?}")));
        }
    }
}

/// The text as a JSON string, RFC 8259 section 7.
fn json_text(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.write_str(&text[plain_from..at])?;
        plain_from = at + 1;
        match byte {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            b'\n' => out.write_str("\\n")?,
            _ => write!(out, "\\u{byte:04x}")?,
        }
    }
    out.write_str(&text[plain_from..])?;
    out.write_char('"')
}
