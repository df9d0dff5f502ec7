//! A load generator: N keep-alive connections on one thread, each sending a burst of requests when the answers to its
//! last burst are all there (a closed loop), until a given number was answered.
//!
//! It checks every answer (its status, and that it is complete) and prints one line of JSON: how many answers, their
//! mean size, and which sizes of body there were. It measures no time: what is measured is the server's CPU, from outside.
//!
//! `load --address A --connections N --depth D --requests COUNT --method GET|PUT --keys K --value-bytes V [--token T]
//! [--fill 1]`. With `--fill 1` the keys are written one after another instead of drawn at random.

mod answers;
mod epoll;
mod scramble;

use answers::complete_answer;
use epoll::Epoll;
use scramble::scramble;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long the server may say nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 * 1024;

struct Options {
    address: String,
    connections: usize,
    depth: usize,
    requests: u64,
    put: bool,
    fill: bool,
    keys: usize,
    value_bytes: usize,
    token: String,
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    awaited: usize,
}

#[derive(Default)]
struct Tally {
    sent: u64,
    answered: u64,
    wire_bytes: u64,
    /// Answers by the length of their body.
    bodies: BTreeMap<usize, u64>,
}

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let requests = Requests::new(&options);
    let tally = run(&options, requests)?;
    let bodies: Vec<String> = tally.bodies.iter().map(|(length, count)| format!("\"{length}\": {count}")).collect();
    println!(
        "{{\"answers\": {}, \"answer_bytes_mean\": {:.1}, \"bodies\": {{{}}}}}",
        tally.answered,
        tally.wire_bytes as f64 / tally.answered as f64,
        bodies.join(", ")
    );
    Ok(())
}

fn run(options: &Options, mut requests: Requests) -> Result<Tally> {
    let epoll = Epoll::new()?;
    let mut connections = Vec::with_capacity(options.connections);
    for token in 0..options.connections {
        let stream = TcpStream::connect(&options.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll.watch(&stream, token as u64)?;
        connections.push(Connection { stream, unread: Vec::new(), awaited: 0 });
    }
    let (mut tally, mut output) = (Tally::default(), Vec::new());
    for connection in &mut connections {
        connection.send_burst(options, &mut requests, &mut tally, &mut output)?;
    }
    let (mut ready, mut input) = (Vec::new(), vec![0_u8; READ_BYTES]);
    while tally.answered < options.requests {
        epoll.wait(&mut ready, Some(PATIENCE))?;
        if ready.is_empty() {
            return Err(format!("no answer for {PATIENCE:?}, after {} answers", tally.answered).into());
        }
        for &token in &ready {
            let connection = &mut connections[token as usize];
            connection.read(&mut input, &mut tally)?;
            if connection.awaited == 0 {
                connection.send_burst(options, &mut requests, &mut tally, &mut output)?;
            }
        }
    }
    Ok(tally)
}

impl Connection {
    fn send_burst(
        &mut self,
        options: &Options,
        requests: &mut Requests,
        tally: &mut Tally,
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let left = usize::try_from(options.requests - tally.sent).unwrap_or(usize::MAX);
        let burst = options.depth.min(left);
        output.clear();
        for _ in 0..burst {
            requests.append_next(output);
        }
        tally.sent += burst as u64;
        self.awaited = burst;
        // A burst is far smaller than a socket's buffer, which is empty at this point.
        let written = if burst == 0 { 0 } else { self.stream.write(output)? };
        if written == output.len() { Ok(()) } else { Err("a burst did not fit into the socket's buffer".into()) }
    }

    fn read(&mut self, input: &mut [u8], tally: &mut Tally) -> Result<()> {
        let count = match self.stream.read(input) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error.into()),
        };
        self.unread.extend_from_slice(&input[..count]);
        let mut taken = 0;
        while let Some(answer) = complete_answer(&self.unread[taken..])? {
            if self.awaited == 0 {
                return Err("an answer to a request that was never sent".into());
            }
            if !matches!(answer.status, 200 | 201) {
                let text = String::from_utf8_lossy(&self.unread[taken..taken + answer.body.end]);
                return Err(format!("not a success: {text}").into());
            }
            taken += answer.body.end;
            self.awaited -= 1;
            tally.answered += 1;
            tally.wire_bytes += answer.body.end as u64;
            *tally.bodies.entry(answer.body.len()).or_default() += 1;
        }
        self.unread.drain(..taken);
        Ok(())
    }
}

/// The requests, made beforehand; which one is next follows from a fixed seed, so every run asks the same.
struct Requests {
    wires: Vec<Vec<u8>>,
    state: u64,
    in_order: bool,
}

impl Requests {
    fn new(options: &Options) -> Self {
        let wires = (0..options.keys).map(|key| wire(options, key)).collect();
        Self { wires, state: 0, in_order: options.fill }
    }

    fn append_next(&mut self, output: &mut Vec<u8>) {
        let draw = if self.in_order { self.state } else { scramble(self.state) };
        self.state += 1;
        output.extend_from_slice(&self.wires[(draw % self.wires.len() as u64) as usize]);
    }
}

fn wire(options: &Options, key: usize) -> Vec<u8> {
    let (method, address) = (if options.put { "PUT" } else { "GET" }, &options.address);
    let mut wire = format!("{method} /v1/kv/key-{key:012} HTTP/1.1\r\nHost: {address}\r\n");
    if options.put {
        let body = format!("{{\"value\":\"{}\"}}", "v".repeat(options.value_bytes));
        wire += &format!("X-API-Token: {}\r\nContent-Type: application/json\r\n", options.token);
        wire += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    } else {
        wire += "\r\n";
    }
    wire.into_bytes()
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let given: BTreeMap<&str, &str> =
            arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        let text = |name: &str| given.get(name).copied().ok_or_else(|| format!("{name} is missing"));
        let number = |name: &str| -> Result<usize> {
            let number = text(name)?.parse()?;
            if number == 0 { Err(format!("{name} must be at least 1").into()) } else { Ok(number) }
        };
        let method = text("--method")?;
        if !matches!(method, "GET" | "PUT") {
            return Err(format!("--method {method}: GET or PUT").into());
        }
        Ok(Self {
            address: text("--address")?.to_owned(),
            connections: number("--connections")?,
            depth: number("--depth")?,
            requests: number("--requests")? as u64,
            put: method == "PUT",
            fill: given.contains_key("--fill"),
            keys: number("--keys")?,
            value_bytes: number("--value-bytes")?,
            token: given.get("--token").copied().unwrap_or_default().to_owned(),
        })
    }
}
