//! The contract with clients, tried out operation by operation over one connection.

use super::bulk::delete_keys;
use super::connection::{Answer, Connection, Failure, Request};
use serde_json::Value;
use std::time::{Duration, Instant};

mod checks;

pub use checks::CHECKS;

/// How much longer than its expiry a key may still be there.
const EXPIRY_LAG_MAX: Duration = Duration::from_secs(2);
/// How often an expiring key is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One thing that the contract says.
pub struct Check {
    /// What, in a few words.
    pub name: &'static str,
    run: fn(&mut Prober) -> Result<(), Wrong>,
}

impl Check {
    /// Tries it out.
    ///
    /// # Errors
    /// In words, if the server does otherwise.
    pub fn run(&self, prober: &mut Prober) -> Result<(), Wrong> {
        (self.run)(prober)
    }
}

/// What the server did otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It cannot be asked any more, or refuses the token, so that all further checks would fail as well.
    #[error("{0}")]
    Hopeless(String),
    /// This, and nothing else yet.
    #[error("{0}")]
    Answer(String),
}

/// Asks, under keys of its own.
pub struct Prober {
    connection: Connection,
    prefix: String,
    keys: Vec<String>,
}

/// An answer kept.
struct Kept {
    head: Vec<u8>,
    body: Vec<u8>,
    status: u16,
}

impl Kept {
    fn field(&self, name: &str) -> Option<String> {
        let Self { status, head, body } = self;
        Answer { status: *status, head, body }.field(name).map(str::to_owned)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn version(&self) -> Result<String, Wrong> {
        let version = self.json()["version"].as_str().unwrap_or_default().to_owned();
        require("a version in the answer", !version.is_empty(), &self.json()).map(|()| version)
    }
}

/// Says that something else was expected, unless it `holds`.
fn require(expected: &str, holds: bool, got: &impl ToString) -> Result<(), Wrong> {
    let got = || crate::config::one_line(&got.to_string());
    if holds { Ok(()) } else { Err(Wrong::Answer(format!("expected {expected}, got {}", got()))) }
}

impl Prober {
    /// Asks over this connection, under keys that begin with `prefix`.
    #[must_use]
    pub const fn new(connection: Connection, prefix: String) -> Self {
        Self { connection, prefix, keys: Vec::new() }
    }

    /// Deletes every key that a check may have left.
    ///
    /// # Errors
    /// In words, if one of them may still be there.
    pub fn delete_keys(&mut self) -> Result<(), String> {
        if self.keys.is_empty() { Ok(()) } else { delete_keys(&mut self.connection, &self.keys) }
    }

    /// A key that will be deleted at the end.
    fn key(&mut self, name: &str) -> String {
        let key = format!("{}{name}", self.prefix);
        if !self.keys.contains(&key) {
            self.keys.push(key.clone());
        }
        key
    }

    /// The target of such a key.
    fn target(&mut self, name: &str) -> String {
        format!("/v1/kv/{}", self.key(name))
    }

    fn ask(&mut self, status: u16, request: &Request<'_>) -> Result<Kept, Wrong> {
        judge(status, request, self.connection.ask(request))
    }

    fn get(&mut self, status: u16, target: &str) -> Result<Kept, Wrong> {
        self.ask(status, &Request { method: "GET", target, fields: &[], body: None })
    }

    fn put(&mut self, status: u16, target: &str, body: &Value, fields: &[(&str, &str)]) -> Result<Kept, Wrong> {
        let fields = [&[("Content-Type", "application/json")], fields].concat();
        let body = body.to_string();
        self.ask(status, &Request { method: "PUT", target, fields: &fields, body: Some(body.as_bytes()) })
    }

    fn post(&mut self, target: &str, body: &Value) -> Result<Value, Wrong> {
        let body = body.to_string();
        let fields = [("Content-Type", "application/json")];
        let request = Request { method: "POST", target, fields: &fields, body: Some(body.as_bytes()) };
        self.ask(200, &request).map(|answer| answer.json())
    }

    fn delete(&mut self, status: u16, target: &str) -> Result<(), Wrong> {
        self.ask(status, &Request { method: "DELETE", target, fields: &[], body: None }).map(drop)
    }

    /// Waits until a key that lives for a second is gone.
    fn wait_for_expiry(&mut self, target: &str) -> Result<(), Wrong> {
        let began = Instant::now();
        loop {
            let asked_after = began.elapsed();
            let request = Request { method: "GET", target, fields: &[], body: None };
            let answer = self.connection.ask(&request).map_err(|failure| hopeless(&request, &failure))?;
            match answer.status {
                404 => return Ok(()),
                200 if asked_after < Duration::from_secs(1) + EXPIRY_LAG_MAX => std::thread::sleep(LOOK_EVERY),
                200 => return require("404 after ttlSec 1", false, &format!("200 after {asked_after:.1?}")),
                _ => return Err(Wrong::Answer(format!("GET {target}: expected 404, got {}", answer.refused()))),
            }
        }
    }
}

fn hopeless(request: &Request<'_>, failure: &Failure) -> Wrong {
    Wrong::Hopeless(format!("{} {}: {failure}", request.method, request.target))
}

fn judge(status: u16, request: &Request<'_>, answer: Result<Answer<'_>, Failure>) -> Result<Kept, Wrong> {
    let answer = answer.map_err(|failure| hopeless(request, &failure))?;
    if answer.status == status {
        return Ok(Kept { head: answer.head.to_vec(), body: answer.body.to_vec(), status });
    }
    let told = if answer.status < 400 { answer.status.to_string() } else { answer.refused().to_string() };
    let words = format!("{} {}: expected {status}, got {told}", request.method, request.target);
    if answer.status == 401 {
        return Err(Wrong::Hopeless(words));
    }
    Err(Wrong::Answer(words))
}
