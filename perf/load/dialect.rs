//! One connection's half of each protocol: how a request is written, and whether an answer to it is right.

use crate::http::{self, Path};
use crate::options::{Fixed, Options};
use crate::scramble::scramble;
use crate::values::{self, Form};
use crate::{Result, lines};
use std::collections::HashMap;
use std::ops::Range;

/// Keys of a batch.
pub const BATCH_KEYS: u64 = 100;
/// Between the keys of a batch, so that they are no neighbours; a prime that divides no round number of keys.
const BATCH_STRIDE: u64 = 7919;
/// Values from this length on are made once and kept, not once for each answer.
const KEPT_BYTES: usize = 16 * 1024;

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// The value of a key.
    Get(u64),
    /// A write, and its number.
    Put(u64, u32),
    /// The values of several keys, of which this is the first.
    Batch(u64),
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP with JSON, as the server's contract has it.
    Json,
    /// HTTP with bare values.
    Raw,
    /// Redis's protocol, version 2.
    Redis,
    /// memcached's text protocol.
    Memcached,
}

impl Speech {
    /// What arguments call them.
    pub const NAMES: [(&str, Self); 4] =
        [("json", Self::Json), ("raw", Self::Raw), ("redis", Self::Redis), ("memcached", Self::Memcached)];

    /// Where the server of this repository has its keys.
    pub fn usual_path(self) -> Path {
        Path::new("/v1/kv/{key}", if self == Self::Raw { "?raw=true" } else { "" })
    }
}

/// An answer that was right.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// All of it.
    pub wire_bytes: usize,
    /// Its body, or the value in it.
    pub body_bytes: usize,
    /// Whether it says that there is too much to do.
    pub refused: bool,
}

/// A protocol with all that requests and the check of answers depend on.
pub struct Dialect {
    speech: Speech,
    http: http::Writer,
    keys: u64,
    value_bytes: usize,
    fixed: Option<Fixed>,
    may_be_refused: bool,
    /// Long enough for every fixed body.
    filler: Vec<u8>,
    checker: Checker,
    body: Vec<u8>,
}

impl Dialect {
    /// As the options ask.
    pub fn new(options: &Options) -> Self {
        let longest = options.fixed.map_or(0, |fixed| fixed.get_bytes.max(fixed.put_bytes));
        let form = if options.speech == Speech::Json { Form::Text } else { Form::Bytes };
        Self {
            speech: options.speech,
            http: http::Writer::new(options.path.clone(), options.token.as_deref()),
            keys: options.keys,
            value_bytes: options.value_bytes,
            fixed: options.fixed,
            may_be_refused: options.lossy,
            filler: vec![b'y'; longest],
            checker: Checker { form, bytes: options.value_bytes, kept: HashMap::new(), scratch: Vec::new() },
            body: Vec::new(),
        }
    }

    /// Appends a request.
    pub fn append(&mut self, output: &mut Vec<u8>, asked: Asked) {
        match (self.speech, asked) {
            (Speech::Json | Speech::Raw, Asked::Get(key)) => self.http.append_get(output, key),
            (Speech::Json, Asked::Put(key, write)) => {
                self.body.clear();
                self.body.extend_from_slice(b"{\"value\":\"");
                self.checker.append(&mut self.body, key, write);
                self.body.extend_from_slice(b"\"}");
                self.http.append_put(output, key, "application/json", &self.body);
            }
            (Speech::Raw, Asked::Put(key, write)) => {
                self.body.clear();
                self.checker.append(&mut self.body, key, write);
                self.http.append_put(output, key, "application/octet-stream", &self.body);
            }
            (Speech::Json | Speech::Raw, Asked::Batch(first)) => {
                self.http.append_batch(output, batch_keys(first, self.keys));
            }
            (Speech::Redis, Asked::Get(key)) => lines::append_redis_get(output, std::iter::once(key)),
            (Speech::Redis, Asked::Batch(first)) => lines::append_redis_get(output, batch_keys(first, self.keys)),
            (Speech::Redis, Asked::Put(key, write)) => {
                lines::append_redis_set(output, key, self.value_bytes);
                self.checker.append(output, key, write);
                output.extend_from_slice(b"\r\n");
            }
            (Speech::Memcached, Asked::Get(key)) => lines::append_memcached_get(output, std::iter::once(key)),
            (Speech::Memcached, Asked::Batch(first)) => {
                lines::append_memcached_get(output, batch_keys(first, self.keys));
            }
            (Speech::Memcached, Asked::Put(key, write)) => {
                lines::append_memcached_set(output, key, self.value_bytes);
                self.checker.append(output, key, write);
                output.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The answer to `asked` at the start of `bytes`, if it is complete.
    ///
    /// # Errors
    /// If it is not the right one.
    pub fn take(&mut self, bytes: &[u8], asked: Asked) -> Result<Option<Taken>> {
        match self.speech {
            Speech::Json | Speech::Raw => self.take_http(bytes, asked),
            Speech::Redis => self.take_redis(bytes, asked),
            Speech::Memcached => self.take_memcached(bytes, asked),
        }
    }

    fn take_http(&mut self, bytes: &[u8], asked: Asked) -> Result<Option<Taken>> {
        let Some(answer) = crate::answers::complete_answer(bytes)? else { return Ok(None) };
        if self.may_be_refused && answer.status == 503 && is_refusal(&bytes[..answer.body.start]) {
            return Ok(Some(Taken { wire_bytes: answer.body.end, body_bytes: answer.body.len(), refused: true }));
        }
        let body = &bytes[answer.body.clone()];
        let is_right = match (self.fixed, asked) {
            (Some(fixed), Asked::Put(..)) => body == &self.filler[..fixed.put_bytes],
            (Some(fixed), Asked::Get(key)) => self.checker.is_filler(key, body, &self.filler[..fixed.get_bytes]),
            (Some(fixed), Asked::Batch(first)) => {
                batch_keys(first, self.keys).for_each(|key| self.checker.make_and_forget(key));
                body == &self.filler[..fixed.get_bytes]
            }
            (None, Asked::Put(..)) if self.speech == Speech::Raw => true,
            (None, Asked::Put(..)) => http::has_version(body),
            (None, Asked::Batch(first)) => {
                let checker = &mut self.checker;
                let keys = batch_keys(first, self.keys);
                http::batch_values(body, keys)
                    .is_ok_and(|all| all.iter().all(|(key, value)| checker.is_right(*key, value)))
            }
            (None, Asked::Get(key)) if self.speech == Speech::Json => {
                http::json_value(body).is_some_and(|value| self.checker.is_right(key, value))
            }
            (None, Asked::Get(key)) => self.checker.is_right(key, body),
        };
        let is_success = match asked {
            Asked::Put(..) => matches!(answer.status, 200 | 201 | 204),
            _ => answer.status == 200,
        };
        if is_right && is_success {
            return Ok(Some(Taken { wire_bytes: answer.body.end, body_bytes: answer.body.len(), refused: false }));
        }
        Err(wrong(asked, &bytes[..answer.body.end]))
    }

    fn take_redis(&mut self, bytes: &[u8], asked: Asked) -> Result<Option<Taken>> {
        if let Asked::Put(..) = asked {
            return take_line(bytes, asked, b"+OK");
        }
        // A read of one key is one of several as well: an array of values, in the order of the keys.
        let count = if let Asked::Batch(_) = asked { BATCH_KEYS } else { 1 };
        let Some(values) = lines::redis_values(bytes, count)? else { return Ok(None) };
        self.check_all(bytes, asked, &values)
    }

    fn take_memcached(&mut self, bytes: &[u8], asked: Asked) -> Result<Option<Taken>> {
        if let Asked::Put(..) = asked {
            return take_line(bytes, asked, b"STORED");
        }
        let Some(values) = lines::memcached_values(bytes)? else { return Ok(None) };
        self.check_all(bytes, asked, &values)
    }

    fn check_all(&mut self, bytes: &[u8], asked: Asked, values: &lines::Values) -> Result<Option<Taken>> {
        let (first, count) = match asked {
            Asked::Get(key) | Asked::Put(key, _) => (key, 1),
            Asked::Batch(first) => (first, BATCH_KEYS),
        };
        let keys = batch_keys(first, self.keys).take(count as usize);
        let pairs = keys.zip(&values.ranges);
        let all_right = values.ranges.len() as u64 == count
            && pairs
                .into_iter()
                .all(|(key, range): (u64, &Range<usize>)| self.checker.is_right(key, &bytes[range.clone()]));
        if !all_right {
            return Err(wrong(asked, &bytes[..values.end]));
        }
        Ok(Some(Taken {
            wire_bytes: values.end,
            body_bytes: values.ranges.iter().map(Range::len).sum(),
            refused: false,
        }))
    }
}

/// Whether a head says when to ask again.
fn is_refusal(head: &[u8]) -> bool {
    let name = b"\r\nRetry-After: ";
    memchr::memmem::find(head, name).is_some_and(|at| head.get(at + name.len()).is_some_and(u8::is_ascii_digit))
}

/// The keys of a batch.
fn batch_keys(first: u64, keys: u64) -> impl Iterator<Item = u64> {
    (0..BATCH_KEYS).map(move |number| (first + number * BATCH_STRIDE) % keys)
}

fn take_line(bytes: &[u8], asked: Asked, expected: &[u8]) -> Result<Option<Taken>> {
    let Some(end) = lines::line_end(bytes) else { return Ok(None) };
    if bytes[..end] == [expected, b"\r\n"].concat() {
        Ok(Some(Taken { wire_bytes: end, body_bytes: 0, refused: false }))
    } else {
        Err(wrong(asked, &bytes[..end]))
    }
}

fn wrong(asked: Asked, answer: &[u8]) -> Box<dyn std::error::Error> {
    let shown = &answer[..answer.len().min(600)];
    format!("a wrong answer to {asked:?}, {} bytes: {}", answer.len(), String::from_utf8_lossy(shown)).into()
}

/// Makes values and knows them again.
struct Checker {
    form: Form,
    bytes: usize,
    kept: HashMap<u64, Vec<u8>>,
    scratch: Vec<u8>,
}

impl Checker {
    /// Whether a value is kept; then there is one for each key, whichever write it was.
    const fn keeps(&self) -> bool {
        self.bytes >= KEPT_BYTES
    }

    fn kept(&mut self, key: u64) -> &[u8] {
        let (form, length) = (self.form, self.bytes);
        self.kept.entry(key).or_insert_with(|| {
            let mut value = Vec::with_capacity(length);
            values::append_value(&mut value, form, key, length, 0);
            value
        })
    }

    fn append(&mut self, output: &mut Vec<u8>, key: u64, write: u32) {
        if self.keeps() {
            output.extend_from_slice(self.kept(key));
        } else {
            values::append_value(output, self.form, key, self.bytes, write);
        }
    }

    /// Whether the answer about a key is the filler, which takes as long as to know the key's own value. Whose answers are
    /// quickly checked would be asked more often, and a server that is asked more often sleeps less for each request.
    fn is_filler(&mut self, key: u64, answer: &[u8], filler: &[u8]) -> bool {
        if self.keeps() {
            return self.kept.entry(key).or_insert_with(|| filler.to_vec()) == answer;
        }
        self.make_and_forget(key);
        answer == filler
    }

    fn make_and_forget(&mut self, key: u64) {
        self.scratch.clear();
        values::append_value(&mut self.scratch, self.form, key, self.bytes, 0);
        std::hint::black_box(&self.scratch);
    }

    fn is_right(&mut self, key: u64, value: &[u8]) -> bool {
        if self.keeps() {
            return self.kept(key) == value;
        }
        value.len() == self.bytes && values::is_value_of(key, self.form, value, &mut self.scratch)
    }
}

/// The number of the write that an operation with this number is, which also tells apart what a key held before.
pub fn write_number(number: u64) -> u32 {
    scramble(number) as u32
}
