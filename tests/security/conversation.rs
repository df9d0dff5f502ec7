//! Everything that a server says in its life, on every way out, searched for what it must not say.

use crate::support::{Launch, PATIENCE, Server, eventually};
use crate::{assert_untold, part_of};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use tempfile::TempDir;

/// Valid one after the other, and both for a while.
const OLD: &str = "old-3bd7f0c95e2a41648d1f7a";
const NEW: &str = "new-71e8b3d60f925ca4e7d0b8";
/// Never valid, but nearly: what a client sends that has mistyped the token, which whoever reads the log could guess.
const MISTYPED: &str = "old-3bd7f0c95e2a41648d1f7b";
/// What the cache holds, under a key that is no secret: short, long enough to travel in pieces, as JSON, as a counter's.
const VALUE: &str = "value-6f70617175652d76616c7565";

/// The methods that a route may know or not.
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"];

/// How a request says who it is from.
#[derive(Clone, Copy, Debug)]
struct From(&'static str);

const OWNER: From = From("X-API-Token: old-3bd7f0c95e2a41648d1f7a\r\n");
const STRANGERS: [From; 7] = [
    From(""),
    From("X-API-Token: old-3bd7f0c95e2a41648d1f7b\r\n"),
    From("Authorization: Bearer old-3bd7f0c95e2a41648d1f7b\r\n"),
    // Right tokens in the wrong way.
    From("Authorization: Basic old-3bd7f0c95e2a41648d1f7a\r\n"),
    From("X-API-Token: old-3bd7f0c95e2a41648d1f7a\r\nX-API-Token: old-3bd7f0c95e2a41648d1f7a\r\n"),
    From("Cookie: token=old-3bd7f0c95e2a41648d1f7a\r\n"),
    From("Proxy-Authorization: Bearer old-3bd7f0c95e2a41648d1f7a\r\n"),
];

/// Sends bytes on a connection of their own; gives all that comes back.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    // The server may have refused and closed before it has read all.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server does not close"),
        // What came before a reset was said.
        _ => answer,
    }
}

/// Whether a part of the value is in what was said, as it is or in base 64, as JSON has bytes.
fn tells_the_value(said: &[u8]) -> bool {
    let mut encoded = [0; 64];
    let len = BASE64_STANDARD.encode_slice(VALUE, &mut encoded).expect("there is room");
    let encoded = std::str::from_utf8(&encoded[..len]).expect("base 64 is text");
    [VALUE, encoded].iter().any(|secret| part_of(secret, said).is_some())
}

fn request(from: From, method: &str, target: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{}{fields}Content-Length: {length}\r\n\r\n{body}",
        from.0
    )
    .into_bytes()
}

/// A server that tells all that it may tell, with a value in it.
struct Talkative {
    server: Server,
    token: PathBuf,
    log: PathBuf,
    _folder: TempDir,
}

impl Talkative {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder to work in");
        let [settings, token, log] = ["settings", "token", "log"].map(|name| folder.path().join(name));
        fs::write(&token, OLD).expect("a file can be made");
        let text = format!("API_TOKEN_FILE={}\nREAD_REQUIRES_AUTH=true\nLOG_LEVEL=debug\n", token.display());
        fs::write(&settings, &text).expect("a file can be made");
        let launch = Launch::new(&[("SHARDS", "2"), ("SLOW_REQUEST_MS", "0"), ("MAX_ITEM_BYTES", "100000")]);
        let launch = launch.env("REQUEST_TIMEOUT_MS", "200").env("HEADER_TIMEOUT_MS", "200").without("API_TOKEN");
        let server = launch.args(&["--env-file", settings.to_str().expect("the path is text")]).start();
        // Only now, so that the server could say on its standard error where it listens.
        fs::write(&settings, format!("{text}LOG_FILE={}\n", log.display())).expect("a file can be written");
        let talkative = Self { server, token, log, _folder: folder };
        talkative.reload();
        let mut owner = talkative.server.client_with(Some(OLD));
        owner.put_bytes("short", "text/plain", VALUE.as_bytes()).expect_status(201);
        owner.put_bytes("long", "text/plain", VALUE.repeat(2_000).as_bytes()).expect_status(201);
        owner.put_value("json", &format!("{{\"inside\":\"{VALUE}\"}}")).expect_status(201);
        talkative
    }

    fn reload(&self) {
        let before = self.in_log("in force");
        self.server.signal(libc::SIGHUP);
        eventually("the settings were read again", || (self.in_log("in force") > before).then_some(()));
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn in_log(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }
}

/// Paths of the description, with keys that hold something, and some that lead nowhere.
fn targets() -> Vec<String> {
    let description: serde_json::Value =
        serde_json::from_str(include_str!("../../src/site/openapi.json")).expect("the description is JSON");
    let paths = description["paths"].as_object().expect("there are paths");
    assert!(paths.len() >= 14, "{paths:?}");
    let described = paths.keys().flat_map(|path| ["short", "long", "json"].map(|key| path.replace("{key}", key)));
    let mut all: BTreeSet<String> = described.collect();
    all.extend(["/v1/kv/short?raw=true", "/v1/kv/long?raw=true", "/v1/kv/json?includeMeta=true"].map(str::to_owned));
    all.extend(["/", "/v1", "/v1/kv/", "/v1/kv/a/b", "/docs/swagger-ui.css", "/v1/kv/%ff"].map(str::to_owned));
    all.into_iter().collect()
}

/// Bodies that some route takes, and that none does. All are about keys that nothing is kept under.
const BODIES: [&str; 8] = [
    "",
    "{",
    r#"{"value":1}"#,
    r#"{"key":"short","delta":1}"#,
    r#"{"keys":["short","long","json"]}"#,
    r#"{"items":[{"key":"new","value":null}]}"#,
    "\u{0}\u{1}",
    "[[[[[[",
];

#[test]
fn no_stranger_hears_of_a_value_and_nobody_of_a_token_whatever_is_asked() {
    let talkative = Talkative::start();
    let address = talkative.server.address();
    let mut asked = 0;
    for target in targets() {
        for method in METHODS {
            for body in BODIES {
                // What strangers are told must not depend on who asked before them: heads are remembered.
                for from in STRANGERS {
                    let answer = say(address, &request(from, method, &target, "", body));
                    let what = format!("{method} {target} {body:?} from {from:?}");
                    assert!(answer.starts_with(b"HTTP/1.1 "), "{what} has no answer");
                    assert!(!tells_the_value(&answer), "{what}: {}", String::from_utf8_lossy(&answer));
                    [OLD, NEW, MISTYPED].iter().for_each(|token| assert_untold(token, &what, &answer));
                    asked += 1;
                    if !body.is_empty() {
                        break;
                    }
                }
            }
        }
    }
    println!("{asked} requests of strangers");
    // The owner is told what is there, by the same paths, and even so no token.
    let mut told = 0;
    for target in targets() {
        let answer = say(address, &request(OWNER, "GET", &target, "", ""));
        told += usize::from(tells_the_value(&answer));
        [OLD, NEW].iter().for_each(|token| assert_untold(token, &target, &answer));
        let is_key = target.starts_with("/v1/kv/");
        assert!(is_key || !tells_the_value(&answer), "{target} tells a value");
    }
    assert_eq!(told, 6, "the test would find a value, had it been told: {told}");
    everything_else_is_silent(talkative);
}

/// Heads and bodies that are refused for what they are, with a token and a value in the part that is wrong.
fn mistakes() -> Vec<Vec<u8>> {
    let put = |fields: &str, body: &str| {
        format!("PUT /v1/kv/wrong HTTP/1.1\r\nHost: t\r\nX-API-Token: {OLD}\r\n{fields}\r\n{body}").into_bytes()
    };
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let json =
        |body: &str| put(&format!("Connection: close\r\nContent-Type: application/json\r\n{}", length(body)), body);
    let too_long = VALUE.repeat(5_000);
    vec![
        put("X-API-Token : again\r\n", ""),
        put(&format!("X-API-Token: {OLD}\u{1}\r\n"), ""),
        put(&format!("{OLD}\r\n"), ""),
        put(&format!("Host: {OLD}\r\n"), ""),
        put(&format!("Content-Length: {VALUE}\r\n"), ""),
        put(&format!("Transfer-Encoding: {VALUE}\r\n"), ""),
        put("Transfer-Encoding: chunked\r\n", VALUE),
        put("Transfer-Encoding: chunked\r\n", &format!("5;{VALUE}\r\nhello\r\n0\r\n{VALUE} : x\r\n\r\n")),
        put(&format!("Connection: close\r\nIf-Match: \"{VALUE}\r\n{}", length("x")), "x"),
        put(&format!("Connection: close\r\nContent-Type: {VALUE}\u{e9}/\r\n{}", length("x")), "x"),
        // Late, and never whole.
        put("Content-Length: 1000\r\n", VALUE),
        format!("GET /v1/kv/short HTTP/1.1\r\nX-API-Token: {OLD}").into_bytes(),
        format!("{OLD} /v1/kv/short HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").into_bytes(),
        format!("GET /v1/kv/short?token={OLD} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").into_bytes(),
        format!("GET /v1/kv/short?raw={VALUE} HTTP/1.1\r\nHost: t\r\nX-API-Token: {OLD}\r\nConnection: close\r\n\r\n")
            .into_bytes(),
        format!("GET /{OLD}/{VALUE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").into_bytes(),
        format!("GET /v1/kv/a/{VALUE} http/1.1\r\n\r\n").into_bytes(),
        format!("GET /{too_long} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes(),
        put(&format!("X: {too_long}\r\n"), ""),
        put(&format!("Connection: close\r\n{}", length(&too_long)), &too_long),
        json(&format!("{{\"value\":\"{VALUE}")),
        json(&format!("{{\"value\":{VALUE}}}")),
        json(&format!("{{\"value\":\"{VALUE}\"}} {VALUE}")),
        json(&format!("{{\"value\":\"\\u{VALUE}\"}}")),
        json(&format!("{{\"value\":\"{VALUE}\",\"ttlSec\":\"{VALUE}\"}}")),
        json(&format!("{{\"value\":null,\"{VALUE}\":\"{OLD}\"}}")),
        json(&format!("[\"{VALUE}\"]")),
        json(&format!("{{\"value\":\"{too_long}\"}}")),
    ]
}

#[test]
fn no_mistake_in_a_request_has_its_secrets_repeated() {
    let talkative = Talkative::start();
    let address = talkative.server.address();
    for mistake in mistakes() {
        let answer = say(address, &mistake);
        let what = format!("the answer to {:?}", String::from_utf8_lossy(&mistake[..mistake.len().min(200)]));
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{what} is {:?}", String::from_utf8_lossy(&answer));
        [OLD, VALUE].iter().for_each(|secret| assert_untold(secret, &what, &answer));
    }
    everything_else_is_silent(talkative);
}

#[test]
fn a_rotation_of_tokens_is_silent() {
    let talkative = Talkative::start();
    let address = talkative.server.address();
    for tokens in [format!("{OLD}\n{NEW}\n"), NEW.to_owned(), format!("{NEW} {OLD}"), String::new(), OLD.to_owned()] {
        fs::write(&talkative.token, &tokens).expect("a file can be written");
        let before = talkative.in_log("configuration was read again");
        talkative.server.signal(libc::SIGHUP);
        eventually("the token was read again", || {
            (talkative.in_log("configuration was read again") > before).then_some(())
        });
        for path in ["/metrics", "/v1/topology", "/v1/admin/slowlog", "/v1/admin/hotkeys", "/readyz"] {
            let answer = say(address, &request(OWNER, "GET", path, "", ""));
            [OLD, NEW].iter().for_each(|token| assert_untold(token, path, &answer));
        }
    }
    assert!(talkative.in_log("refused; nothing has changed") >= 2, "{}", talkative.log());
    everything_else_is_silent(talkative);
}

/// The log, both outputs, what the kernel shows of the process to others; to the end.
#[track_caller]
fn everything_else_is_silent(mut talkative: Talkative) {
    let command_line = fs::read(format!("/proc/{}/cmdline", talkative.server.pid())).expect("the server lives");
    assert_eq!(talkative.server.term().code(), Some(0));
    let (log, outputs) = (talkative.log(), talkative.server.log_lines().join("\n"));
    assert!(log.contains("stopped") && outputs.contains("listening"), "{log}\n{outputs}");
    assert!(!log.contains("/v1/kv/short") && log.contains("/v1/kv/:key"), "a key is in the log: {log}");
    for (what, said) in [("the log", log.as_bytes()), ("an output", outputs.as_bytes()), ("ps", &command_line)] {
        [OLD, NEW, MISTYPED, VALUE].iter().for_each(|secret| assert_untold(secret, what, said));
    }
}
