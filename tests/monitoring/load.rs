//! Some seconds of what clients do, a little of each.

use crate::support::client::Request;
use crate::support::{Client, Server};
use std::time::{Duration, Instant};

/// How long it lasts: several scrapes.
const LASTS: Duration = Duration::from_secs(5);
/// Connections, so that with two cores each certainly has some.
const CLIENTS: usize = 16;
/// Rounds of all clients; each is some seven requests.
const ROUNDS: usize = 8;

/// How long the requests took, as clients see it.
pub struct Durations(Vec<Duration>);

impl Durations {
    /// The share of requests that took longer.
    pub fn share_above(&self, bound: Duration) -> f64 {
        self.0.iter().filter(|duration| **duration > bound).count() as f64 / self.0.len() as f64
    }
}

/// Works until it is done.
///
/// # Panics
/// If an answer has another status than it should.
pub fn mixed(server: &Server) -> Durations {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    let mut durations = Durations(Vec::new());
    let pause = LASTS / u32::try_from(ROUNDS * CLIENTS).expect("a small number");
    for round in 0..ROUNDS {
        for (number, client) in clients.iter_mut().enumerate() {
            of_client(client, &format!("{round}-{number}"), &mut durations);
            std::thread::sleep(pause);
        }
        once(&mut clients[round % CLIENTS], server, round, &mut durations);
    }
    durations
}

fn timed(
    durations: &mut Durations,
    status: u16,
    ask: impl FnOnce() -> crate::support::Answer,
) -> crate::support::Answer {
    let asked = Instant::now();
    let answer = ask();
    durations.0.push(asked.elapsed());
    answer.expect_status(status)
}

/// What each client does in each round.
fn of_client(client: &mut Client, key: &str, durations: &mut Durations) {
    timed(durations, 201, || client.put_value(key, "\"some text\""));
    let version = timed(durations, 200, || client.get(key)).version();
    let quoted = format!("\"{version}\"");
    timed(durations, 304, || client.get_with(&format!("/v1/kv/{key}"), &[("If-None-Match", &quoted)]));
    timed(durations, 200, || client.put_value(key, "{\"of\":[1,2,3]}"));
    timed(durations, 200, || client.get(key));
    timed(durations, 404, || client.get(&format!("none-{key}")));
    timed(durations, 200, || client.head(key));
}

/// What happens once in each round.
fn once(client: &mut Client, server: &Server, round: usize, durations: &mut Durations) {
    let ttl = r#"{"value":true,"ttlSec":1}"#;
    timed(durations, 201, || client.put(&format!("short-{round}"), ttl));
    timed(durations, 201, || client.put_bytes(&format!("bytes-{round}"), "image/png", &[7; 2000]));
    timed(durations, 201, || client.put_value(&format!("gone-{round}"), "1"));
    timed(durations, 204, || client.delete(&format!("gone-{round}")));
    timed(durations, 404, || client.delete(&format!("gone-{round}")));
    timed(durations, 200, || client.post("/v1/kv/incr", r#"{"key":"visits","delta":1}"#));
    let items = r#"{"items":[{"key":"a","value":1},{"key":"b","value":2},{"key":"c","value":3}]}"#;
    timed(durations, 200, || client.post("/v1/kv/batch/set", items));
    timed(durations, 200, || client.post("/v1/kv/batch/get", r#"{"keys":["a","b","c","none"]}"#));
    timed(durations, 200, || client.post("/v1/kv/batch/delete", r#"{"keys":["a","b"]}"#));
    timed(durations, 409, || client.put_with("visits", r#"{"value":1}"#, &[("If-Match", "0000000000000000")]));
    timed(durations, 200, || client.get_path("/healthz"));
    timed(durations, 200, || client.get_path("/readyz"));
    // Few enough that no alert is due: one in a hundred requests.
    let token = round.is_multiple_of(2).then_some("not-the-token");
    let mut stranger = server.client_with(token);
    let request = Request { method: "DELETE", target: "/v1/kv/visits", ..Request::default() };
    timed(durations, 401, || stranger.send(&request));
}
