//! What the arguments ask for.

use crate::Result;
use crate::dialect::Speech;
use crate::http::Path;
use crate::keys::Draw;
use crate::values;
use std::collections::BTreeMap;
use std::error::Error;
use std::str::FromStr;

/// What a run consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Reads.
    Get,
    /// Writes.
    Put,
    /// Nine reads and a write of ten.
    Mixed,
    /// Reads of 100 keys each.
    Batch,
}

/// Bodies that say nothing about keys.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// Length of an answer to a read.
    pub get_bytes: usize,
    /// Length of an answer to a write.
    pub put_bytes: usize,
}

/// The arguments, checked.
#[derive(Debug)]
pub struct Options {
    /// Where the server listens; connections go round these.
    pub addresses: Vec<String>,
    /// The protocol.
    pub speech: Speech,
    /// Where keys are, in HTTP.
    pub path: Path,
    /// What lets requests in, in HTTP.
    pub token: Option<String>,
    /// What is asked.
    pub ask: Ask,
    /// How many keys there are.
    pub keys: u64,
    /// Which one is next.
    pub draw: Draw,
    /// Length of every value.
    pub value_bytes: usize,
    /// Expect these bodies instead of values.
    pub fixed: Option<Fixed>,
    /// How many connections.
    pub connections: usize,
    /// Requests of a burst.
    pub depth: usize,
    /// After so many answers a closed loop ends.
    pub requests: u64,
    /// Measure latencies in a closed loop.
    pub time: bool,
    /// Wait for the word before the load, and before the end.
    pub wait: bool,
    /// Requests a second of an open loop.
    pub rate: Option<f64>,
    /// How long an open loop lasts.
    pub seconds: f64,
    /// Whether a request that finds no connection free is lost, and a refusal an answer as good as any.
    pub lossy: bool,
    /// Whether a connection of an open loop is given up for another one as soon as it has been answered.
    pub fresh: bool,
    /// Whether requests are due at random times.
    pub poisson: bool,
    /// Ask each shard for its own keys.
    pub topology: bool,
    /// But so many of a hundred for those of others.
    pub foreign_percent: u64,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// If one is missing, unknown or makes no sense.
    pub fn from_arguments() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut given = Given::new(&arguments)?;
        let speech = given.one_of("--dialect", &Speech::NAMES)?;
        let draw = given.one_of("--draw", &Draw::NAMES)?;
        let ask = [("get", Ask::Get), ("put", Ask::Put), ("mixed", Ask::Mixed), ("batch", Ask::Batch)];
        let options = Self {
            addresses: given.required::<String>("--address")?.split(',').map(str::to_owned).collect(),
            speech,
            path: given.or("--path", speech.usual_path())?,
            token: given.optional("--token")?,
            ask: given.one_of("--ask", &ask)?,
            keys: given.or("--keys", 1)?,
            draw,
            value_bytes: given.or("--value-bytes", 64)?,
            fixed: given.optional("--fixed")?,
            connections: given.or("--connections", 1)?,
            depth: given.or("--depth", 1)?,
            requests: given.or("--requests", 1)?,
            time: given.or("--time", 0)? != 0,
            wait: given.or("--wait", 0)? != 0,
            rate: given.optional("--rate")?,
            seconds: given.or("--seconds", 1.0)?,
            lossy: given.or("--lossy", 0)? != 0,
            fresh: given.or("--fresh", 0)? != 0,
            poisson: given.one_of("--arrivals", &[("even", false), ("poisson", true)])?,
            topology: given.or("--topology", 0)? != 0,
            foreign_percent: given.or("--foreign", 0)?,
        };
        given.nothing_else()?;
        options.checked()
    }

    fn checked(self) -> Result<Self> {
        let whole = [self.keys, self.requests, self.connections as u64, self.depth as u64];
        if whole.contains(&0) || self.rate.is_some_and(|rate| rate <= 0.0) || self.seconds <= 0.0 {
            Err("--keys, --requests, --connections, --depth, --rate and --seconds must be more than 0".into())
        } else if self.value_bytes < values::TEXT_MIN {
            Err(format!("values must have {} bytes at least", values::TEXT_MIN).into())
        } else if self.foreign_percent > 100 || (self.foreign_percent > 0 && self.addresses.len() < 2) {
            Err("--foreign: of a hundred, and for several addresses only".into())
        } else {
            Ok(self)
        }
    }
}

impl FromStr for Fixed {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Self> {
        let (get, put) = text.split_once(',').unwrap_or((text, text));
        Ok(Self { get_bytes: get.parse()?, put_bytes: put.parse()? })
    }
}

/// The arguments by their names, less those that were looked at.
struct Given<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Given<'a> {
    fn new(arguments: &'a [String]) -> Result<Self> {
        let (pairs, rest) = arguments.as_chunks::<2>();
        match rest.first() {
            Some(name) => Err(format!("{name} has no value").into()),
            None => Ok(Self(pairs.iter().map(|[name, value]| (name.as_str(), value.as_str())).collect())),
        }
    }

    fn optional<T: FromStr<Err: Into<Box<dyn Error>>>>(&mut self, name: &str) -> Result<Option<T>> {
        self.0.remove(name).map(|text| text.parse().map_err(Into::into)).transpose()
    }

    fn or<T: FromStr<Err: Into<Box<dyn Error>>>>(&mut self, name: &str, absent: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(absent))
    }

    fn required<T: FromStr<Err: Into<Box<dyn Error>>>>(&mut self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| format!("{name} is missing").into())
    }

    /// What the word that was given stands for, or the first.
    fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T> {
        let given = self.0.remove(name).unwrap_or(words[0].0);
        let found = words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("{name} {given}: one of {}", known.join(", ")).into()
        })
    }

    fn nothing_else(&self) -> Result<()> {
        self.0.keys().next().map_or(Ok(()), |name| Err(format!("{name} is unknown").into()))
    }
}
