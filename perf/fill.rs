//! A load generator that fills: writes, or reads back, over several keep-alive connections on one thread, with pipelining,
//! at a given rate (an open loop: what is due is sent whether or not the answers to what went before have come, as long as
//! `--depth` allows), and says how far it fell behind. Without `--rate` it sends as fast as answers come.
//!
//! Every answer is counted by its status, every value that is read is compared with what was written. It prints one line of
//! JSON.
//!
//! `fill --address A [--protocol http|memcached|redis] [--token T] [--connections 8] [--depth 64]`\
//! `[--method PUT|GET] [--requests COUNT] [--seconds S] [--rate PER_SECOND]`\
//! `[--order counter|random] [--first KEY] [--keys COUNT] [--seed NUMBER]`\
//! `[--value-bytes N|uniform:LOW-HIGH|log-uniform:LOW-HIGH] [--form bytes|text] [--ttl S | --expire-by UNIX_SECOND]`\
//! `[--latencies FILE]`
//!
//! Keys are `first` and the `keys` that follow it, one after another (from the first again after the last) or drawn at
//! random. It ends after `requests` or `seconds`, whichever is given or comes first. `--form text` writes JSON strings.
//! `--expire-by` gives each write the time to live that makes it expire within the second that ends then.
//! `--latencies` gets a line for each answer: when its request was due (in µs since 1970), and how many µs later than that,
//! and than when it was sent, its answer was there.

mod answers;
mod protocols;
mod scramble;
mod values;

use protocols::{Protocol, Put};
use scramble::scramble;
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use values::Form;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long the server may say nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that fall due within this are sent together, unless latencies are wanted.
const TICK: Duration = Duration::from_micros(500);
const READ_BYTES: usize = 256 * 1024;
/// No further request is made for a connection that has this much to send.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

struct Options {
    address: String,
    protocol: Protocol,
    connections: usize,
    depth: usize,
    put: bool,
    requests: u64,
    seconds: f64,
    rate: f64,
    random: bool,
    first: u64,
    keys: u64,
    seed: u64,
    lengths: Lengths,
    form: Form,
    lifetime: Lifetime,
    latencies: Option<String>,
}

/// How long values are.
#[derive(Clone, Copy)]
enum Lengths {
    Fixed(usize),
    Uniform(usize, usize),
    LogUniform(usize, usize),
}

/// When values expire.
#[derive(Clone, Copy)]
enum Lifetime {
    Forever,
    Seconds(u32),
    Until(f64),
}

/// A request that waits for its answer.
struct Awaited {
    key: u64,
    due: Instant,
    sent: Instant,
}

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    unsent_from: usize,
    unread: Vec<u8>,
    awaited: VecDeque<Awaited>,
}

struct Latency {
    due: Instant,
    since_due: Duration,
    since_sent: Duration,
}

#[derive(Default)]
struct Tally {
    answers: u64,
    statuses: BTreeMap<u16, u64>,
    /// Bytes of the values that were sent.
    put_bytes: u64,
    /// Bytes of the values that came back.
    got_bytes: u64,
    /// Most requests that were due and had not been sent, and how many at the end.
    behind_max: u64,
    behind_end: u64,
    latencies: Vec<Latency>,
}

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let mut filler = Filler::new(&options)?;
    let elapsed = filler.run()?;
    filler.write_latencies()?;
    println!("{}", filler.summary(elapsed));
    Ok(())
}

struct Filler<'a> {
    options: &'a Options,
    connections: Vec<Connection>,
    start: Instant,
    start_time: SystemTime,
    sent: u64,
    /// Where to look first for a connection that has room.
    turn: usize,
    input: Vec<u8>,
    scratch: Vec<u8>,
    tally: Tally,
}

impl<'a> Filler<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let connections = (0..options.connections).map(|_| Connection::new(&options.address));
        Ok(Self {
            options,
            connections: connections.collect::<Result<_>>()?,
            start: Instant::now(),
            start_time: SystemTime::now(),
            sent: 0,
            turn: 0,
            input: vec![0; READ_BYTES],
            scratch: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Sends what there is to send and waits for the last answer; how long that took.
    fn run(&mut self) -> Result<Duration> {
        let mut heard = self.start;
        loop {
            let now = Instant::now();
            let ended = now.duration_since(self.start).as_secs_f64() >= self.options.seconds;
            if !ended {
                self.send_what_is_due(now)?;
            }
            if (ended || self.sent == self.options.requests) && self.connections.iter().all(|c| c.awaited.is_empty()) {
                return Ok(self.start.elapsed());
            }
            let answers = self.tally.answers;
            self.wait_and_read(ended, now)?;
            if self.tally.answers > answers || self.connections.iter().all(|c| c.awaited.is_empty()) {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                return Err(format!("no answer for {PATIENCE:?}, after {} answers", self.tally.answers).into());
            }
        }
    }

    fn send_what_is_due(&mut self, now: Instant) -> Result<()> {
        let due = self.due_at(now);
        while self.sent < due {
            let Some(index) = self.connection_with_room() else { break };
            let awaited = Awaited { key: self.key(self.sent), due: self.due_time(self.sent, now), sent: now };
            self.append_request(index, awaited.key)?;
            self.connections[index].awaited.push_back(awaited);
            self.sent += 1;
        }
        for connection in &mut self.connections {
            connection.send()?;
        }
        if self.options.rate.is_finite() {
            self.tally.behind_end = due - self.sent;
            self.tally.behind_max = self.tally.behind_max.max(self.tally.behind_end);
        }
        Ok(())
    }

    /// How many requests should have been sent by now.
    fn due_at(&self, now: Instant) -> u64 {
        let due = now.duration_since(self.start).as_secs_f64() * self.options.rate;
        if due.is_finite() { self.options.requests.min(due as u64 + 1) } else { self.options.requests }
    }

    fn due_time(&self, number: u64, now: Instant) -> Instant {
        if !self.options.rate.is_finite() {
            return now;
        }
        self.start + Duration::from_secs_f64(number as f64 / self.options.rate)
    }

    fn connection_with_room(&mut self) -> Option<usize> {
        let count = self.connections.len();
        let index = (self.turn..self.turn + count).map(|index| index % count).find(|&index| {
            let connection = &self.connections[index];
            connection.awaited.len() < self.options.depth && connection.unsent_bytes() < UNSENT_BYTES_MAX
        })?;
        self.turn = index + 1;
        Some(index)
    }

    fn key(&self, number: u64) -> u64 {
        let draw = if self.options.random { scramble(self.options.seed ^ scramble(number)) } else { number };
        self.options.first + draw % self.options.keys
    }

    fn append_request(&mut self, index: usize, key: u64) -> Result<()> {
        let (options, output) = (self.options, &mut self.connections[index].unsent);
        if !options.put {
            options.protocol.append_get(output, key);
            return Ok(());
        }
        let length = options.lengths.draw(scramble(options.seed.wrapping_add(self.sent)));
        let write = (options.seed << 24).wrapping_add(self.sent) as u32;
        options.protocol.append_put(output, options.form, Put { key, length, write, ttl: options.lifetime.ttl()? });
        self.tally.put_bytes += length as u64;
        Ok(())
    }

    /// Waits until a request is due or something has come, and takes all that has.
    fn wait_and_read(&mut self, ended: bool, now: Instant) -> Result<()> {
        let blocked = ended || self.sent == self.options.requests || self.sent < self.due_at(now);
        if blocked {
            self.read_ready(PATIENCE)
        } else {
            let pause = self.due_time(self.sent, now).saturating_duration_since(Instant::now());
            if self.options.latencies.is_some() {
                self.read_ready(pause)
            } else {
                std::thread::sleep(pause.max(TICK));
                self.read_ready(Duration::ZERO)
            }
        }
    }

    fn read_ready(&mut self, patience: Duration) -> Result<()> {
        let mut polls: Vec<libc::pollfd> = self.connections.iter().map(Connection::interest).collect();
        poll(&mut polls, patience)?;
        for (index, poll) in polls.iter().enumerate() {
            if poll.revents & libc::POLLOUT != 0 {
                self.connections[index].send()?;
            }
            if poll.revents & !libc::POLLOUT != 0 {
                self.read(index)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let count = match connection.stream.read(&mut self.input) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        connection.unread.extend_from_slice(&self.input[..count]);
        let mut taken = 0;
        while let Some((answer, length)) = self.options.protocol.complete_answer(&connection.unread[taken..])? {
            let awaited = connection.awaited.pop_front().ok_or("an answer to a request that was never sent")?;
            if !self.options.put && answer.status == 200 {
                let value = &connection.unread[taken..][answer.body];
                if !values::is_value_of(awaited.key, self.options.form, value, &mut self.scratch) {
                    return Err(format!("key number {} has a value that nobody wrote", awaited.key).into());
                }
                self.tally.got_bytes += value.len() as u64;
            }
            taken += length;
            self.tally.answers += 1;
            *self.tally.statuses.entry(answer.status).or_default() += 1;
            if self.options.latencies.is_some() {
                let (since_due, since_sent) = (now.duration_since(awaited.due), now.duration_since(awaited.sent));
                self.tally.latencies.push(Latency { due: awaited.due, since_due, since_sent });
            }
        }
        connection.unread.drain(..taken);
        Ok(())
    }

    fn write_latencies(&self) -> Result<()> {
        let Some(path) = &self.options.latencies else { return Ok(()) };
        let mut text = String::new();
        for latency in &self.tally.latencies {
            let due = (self.start_time + latency.due.duration_since(self.start)).duration_since(UNIX_EPOCH)?;
            let (since_due, since_sent) = (latency.since_due.as_micros(), latency.since_sent.as_micros());
            writeln!(text, "{} {since_due} {since_sent}", due.as_micros())?;
        }
        Ok(std::fs::write(path, text)?)
    }

    fn summary(&self, elapsed: Duration) -> String {
        let tally = &self.tally;
        let seconds = elapsed.as_secs_f64();
        let statuses: Vec<String> = tally.statuses.iter().map(|(code, count)| format!("\"{code}\": {count}")).collect();
        let behind = |requests: u64| if requests == 0 { 0.0 } else { requests as f64 / self.options.rate };
        format!(
            "{{\"answers\": {}, \"seconds\": {seconds:.3}, \"rate\": {:.1}, \"behind_max_seconds\": {:.3}, \
             \"behind_end_seconds\": {:.3}, \"put_bytes\": {}, \"got_bytes\": {}, \"statuses\": {{{}}}}}",
            tally.answers,
            tally.answers as f64 / seconds,
            behind(tally.behind_max),
            behind(tally.behind_end),
            tally.put_bytes,
            tally.got_bytes,
            statuses.join(", ")
        )
    }
}

impl Connection {
    fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unsent: Vec::new(), unsent_from: 0, unread: Vec::new(), awaited: VecDeque::new() })
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.unsent_from
    }

    fn interest(&self) -> libc::pollfd {
        let events = if self.unsent_bytes() > 0 { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
        libc::pollfd { fd: self.stream.as_raw_fd(), events, revents: 0 }
    }

    /// Sends as much as the socket takes.
    fn send(&mut self) -> Result<()> {
        while self.unsent_bytes() > 0 {
            match self.stream.write(&self.unsent[self.unsent_from..]) {
                Ok(count) => self.unsent_from += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.clear();
        self.unsent_from = 0;
        Ok(())
    }
}

impl Lengths {
    /// The length that follows from a number that may be any with the same likelihood.
    fn draw(self, number: u64) -> usize {
        let unit = (number >> 11) as f64 / (1_u64 << 53) as f64;
        match self {
            Self::Fixed(length) => length,
            Self::Uniform(low, high) => low + (unit * (high - low + 1) as f64) as usize,
            Self::LogUniform(low, high) => {
                let (from, to) = ((low as f64).ln(), ((high + 1) as f64).ln());
                ((from + unit * (to - from)).exp() as usize).clamp(low, high)
            }
        }
    }

    fn least(self) -> usize {
        match self {
            Self::Fixed(low) | Self::Uniform(low, _) | Self::LogUniform(low, _) => low,
        }
    }
}

impl FromStr for Lengths {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Self> {
        let Some((kind, range)) = text.split_once(':') else { return Ok(Self::Fixed(text.parse()?)) };
        let (low, high) = range.split_once('-').ok_or("a range of lengths is LOW-HIGH")?;
        match (kind, low.parse::<usize>()?, high.parse::<usize>()?) {
            ("uniform", low, high) if low <= high => Ok(Self::Uniform(low, high)),
            ("log-uniform", low, high) if low <= high => Ok(Self::LogUniform(low, high)),
            _ => Err(format!("--value-bytes {text}: N, uniform:LOW-HIGH or log-uniform:LOW-HIGH").into()),
        }
    }
}

impl Lifetime {
    /// The time to live of a write that is made now.
    fn ttl(self) -> Result<Option<u32>> {
        let Self::Until(end) = self else {
            return Ok(if let Self::Seconds(seconds) = self { Some(seconds) } else { None });
        };
        let left = end - SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        if left < 1.0 { Err("writing takes longer than --expire-by leaves".into()) } else { Ok(Some(left as u32)) }
    }
}

/// Waits until something can be done for one of `polls`, or `patience` is over, to the nanosecond.
fn poll(polls: &mut [libc::pollfd], patience: Duration) -> Result<()> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(patience.as_secs())?,
        tv_nsec: libc::c_long::from(patience.subsec_nanos()),
    };
    let count = libc::nfds_t::try_from(polls.len())?;
    // SAFETY: `polls` has `count` elements, and both it and the timeout live until the call returns.
    let done = unsafe { libc::ppoll(polls.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
    if done >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error.into()) }
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let given = Given(arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect());
        let address: String = given.required("--address")?;
        let token: String = given.or("--token", String::new())?;
        let protocol = match given.or("--protocol", "http".to_owned())?.as_str() {
            "http" => Protocol::Http { host: address.clone(), token },
            "memcached" => Protocol::Memcached,
            "redis" => Protocol::Redis,
            other => return Err(format!("--protocol {other}: http, memcached or redis").into()),
        };
        let requests = given.or("--requests", u64::MAX)?;
        let lifetime = match (given.optional("--ttl")?, given.optional("--expire-by")?) {
            (None, None) => Lifetime::Forever,
            (Some(seconds), None) => Lifetime::Seconds(seconds),
            (None, Some(end)) => Lifetime::Until(end),
            (Some(_), Some(_)) => return Err("--ttl or --expire-by, not both".into()),
        };
        let options = Self {
            address,
            protocol,
            connections: given.or("--connections", 8)?,
            depth: given.or("--depth", 64)?,
            put: given.one_of("--method", ["PUT", "GET"])? == "PUT",
            requests,
            seconds: given.or("--seconds", f64::INFINITY)?,
            rate: given.or("--rate", f64::INFINITY)?,
            random: given.one_of("--order", ["counter", "random"])? == "random",
            first: given.or("--first", 0)?,
            keys: given.or("--keys", requests)?,
            seed: given.or("--seed", 0)?,
            lengths: given.or("--value-bytes", Lengths::Fixed(64))?,
            form: if given.one_of("--form", ["bytes", "text"])? == "text" { Form::Text } else { Form::Bytes },
            lifetime,
            latencies: given.optional("--latencies")?,
        };
        options.checked()
    }

    fn checked(self) -> Result<Self> {
        let shortest = if self.form == Form::Text { values::TEXT_MIN } else { values::BYTES_MIN };
        if self.requests == u64::MAX && self.seconds == f64::INFINITY {
            Err("--requests or --seconds is missing".into())
        } else if self.lengths.least() < shortest {
            Err(format!("values must have {shortest} bytes at least").into())
        } else if self.connections == 0 || self.depth == 0 || self.keys == 0 || self.rate.is_nan() || self.rate <= 0.0 {
            Err("--connections, --depth, --keys and --rate must be more than 0".into())
        } else {
            Ok(self)
        }
    }
}

/// The arguments by their names.
struct Given<'a>(BTreeMap<&'a str, &'a str>);

impl Given<'_> {
    fn optional<T: FromStr<Err: Into<Box<dyn Error>>>>(&self, name: &str) -> Result<Option<T>> {
        self.0.get(name).map(|text| text.parse().map_err(Into::into)).transpose()
    }

    fn or<T: FromStr<Err: Into<Box<dyn Error>>>>(&self, name: &str, absent: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(absent))
    }

    fn required<T: FromStr<Err: Into<Box<dyn Error>>>>(&self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| format!("{name} is missing").into())
    }

    /// The one of two words that was given, or the first.
    fn one_of<'b>(&self, name: &str, words: [&'b str; 2]) -> Result<&'b str> {
        let given = self.0.get(name).copied().unwrap_or(words[0]);
        words.into_iter().find(|word| *word == given).ok_or_else(|| format!("{name} {given}: {words:?}").into())
    }
}
