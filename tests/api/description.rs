//! The description against the live server: whatever is documented can be provoked, and nothing else is answered.
//! (Bodies are checked against their schemas by `tests/contract`.)

use crate::support::client::Request;
use crate::support::{Answer, Server};
use serde_json::Value;
use std::collections::BTreeSet;

/// An operation, as the description names it, and a status of its answers.
type Case = (String, String, u16);

struct Description {
    document: Value,
    provoked: BTreeSet<Case>,
}

impl Description {
    fn of(server: &Server) -> Self {
        let document = server.client_with(None).get_path("/openapi.json").expect_status(200).json();
        Self { document, provoked: BTreeSet::new() }
    }

    fn resolved<'d>(&'d self, node: &'d Value) -> &'d Value {
        let pointer = node["$ref"].as_str();
        pointer.map_or(node, |pointer| self.document.pointer(&pointer[1..]).expect("references lead somewhere"))
    }

    /// All operations: method and path template.
    fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().expect("there are paths");
        let methods =
            |path: &Value| path.as_object().expect("a path has operations").keys().cloned().collect::<Vec<_>>();
        let of_path = |(path, operations)| methods(operations).into_iter().map(move |it| (it, String::clone(path)));
        paths.iter().flat_map(of_path).map(|(method, path)| (method.to_uppercase(), path)).collect()
    }

    fn documented(&self) -> BTreeSet<Case> {
        let mut all = BTreeSet::new();
        for (method, path) in self.operations() {
            let responses = &self.document["paths"][&path][method.to_lowercase()]["responses"];
            for status in responses.as_object().expect("an operation has answers").keys() {
                all.insert((method.clone(), path.clone(), status.parse().expect("a status")));
            }
        }
        all
    }

    /// Holds `answer`, to an operation, against the description.
    #[track_caller]
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let response = &self.document["paths"][path][method.to_lowercase()]["responses"][&status];
        assert!(response.is_object(), "{method} {path} answers {status}, which is not documented: {answer:?}");
        self.check_response(self.resolved(response), method, answer);
        self.provoked.insert((method.to_owned(), path.to_owned(), answer.status));
    }

    #[track_caller]
    fn check_response(&self, response: &Value, method: &str, answer: &Answer) {
        let none = serde_json::Map::new();
        let documented = response["headers"].as_object().unwrap_or(&none);
        let is = |documented: &str, name: &str| documented.eq_ignore_ascii_case(name);
        for (name, _) in answer.headers.iter().filter(|(name, _)| !is(name, "Content-Type")) {
            assert!(documented.keys().any(|known| is(known, name)), "{name} is not documented: {answer:?}");
        }
        for (name, header) in documented {
            let (header, value) = (self.resolved(header), answer.header(name));
            assert!(header["required"] != true || value.is_some(), "no {name}: {answer:?}");
            let schema = &header["schema"];
            let allowed = schema["enum"].as_array().cloned().or_else(|| Some(vec![schema.get("const")?.clone()]));
            if let (Some(value), Some(allowed)) = (value, allowed) {
                assert!(allowed.contains(&value.into()), "{name}: {value} is not one of {allowed:?}");
            }
        }
        let media = answer.header("Content-Type").map(|it| it.split(';').next().unwrap_or(it).to_owned());
        match (response["content"].as_object(), media) {
            (Some(content), Some(media)) => {
                let known = content.keys().any(|range| *range == media || range == "*/*");
                assert!(known, "{media} is not documented: {answer:?}");
            }
            (Some(_), None) => panic!("no media type: {answer:?}"),
            (None, media) => assert!(media.is_none() || method == "HEAD", "{media:?} is not documented: {answer:?}"),
        }
    }

    /// Sends a request of an operation and checks the answer.
    #[track_caller]
    fn ask(&mut self, server: &Server, path: &str, request: &Request<'_>) -> Answer {
        let answer = server.client().send(request);
        self.check(request.method, path, &answer);
        answer
    }

    /// Sends the same to every operation that `wanted` names, and finds every answer documented and of `status`.
    #[track_caller]
    fn provoke_everywhere(&mut self, status: u16, exchange: impl Fn(&str, &str) -> Answer) {
        for (method, path) in self.operations() {
            let answer = exchange(&method, &concrete(&path)).expect_status(status);
            self.check(&method, &path, &answer);
        }
    }
}

/// A path of `template`.
fn concrete(template: &str) -> String {
    template.replace("{key}", "k")
}

/// The answer to exactly these bytes.
#[track_caller]
fn answer_to(server: &Server, method: &str, wire: &str) -> Answer {
    let mut connection = server.connect();
    connection.send(wire);
    if method == "HEAD" { connection.answer_to_head() } else { connection.answer() }
}

/// A request whose head promises so many bytes of JSON, of which none comes.
fn promising(method: &str, path: &str, len: usize) -> String {
    let token = crate::support::TOKEN;
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nX-API-Token: {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n"
    )
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Everything that the operations of one key answer, by what the key is: `path` is the template, `target` one of its.
fn provoke_key(it: &mut Description, server: &Server, path: &str) {
    let target = &concrete(path);
    let body = Some(br#"{"value":"v"}"#.as_slice());
    let plain = |method| Request { method, target, headers: &[], body: None };
    for method in ["GET", "HEAD", "DELETE"] {
        it.ask(server, path, &plain(method));
    }
    let if_match = |method, body| Request { method, target, headers: &[JSON, ("If-Match", "nonesuch")], body };
    it.ask(server, path, &if_match("PUT", body)).expect_status(409);
    for _ in 0..2 {
        it.ask(server, path, &Request { method: "PUT", target, headers: &[JSON], body });
    }
    it.ask(server, path, &if_match("DELETE", None)).expect_status(409);
    for method in ["GET", "HEAD"] {
        for suffix in ["", "?includeMeta=true", "?raw=true"] {
            let target = &format!("{target}{suffix}");
            let answer = it.ask(server, path, &Request { target, ..plain(method) }).expect_status(200);
            let headers = &[("If-None-Match", answer.required("ETag"))];
            it.ask(server, path, &Request { headers, ..plain(method) }).expect_status(304);
        }
    }
    for media in ["application/octet-stream", "text/html; charset=utf-8"] {
        it.ask(server, path, &Request { method: "PUT", target, headers: &[("Content-Type", media)], body });
        let raw = format!("{target}?raw=true");
        assert_eq!(it.ask(server, path, &Request { target: &raw, ..plain("GET") }).required("Content-Type"), media);
    }
    it.ask(server, path, &plain("DELETE")).expect_status(204);
    let too_long = answer_to(server, "PUT", &promising("PUT", target, 1 << 20)).expect_status(413);
    it.check("PUT", path, &too_long);
}

fn provoke_posts(it: &mut Description, server: &Server) {
    let bodies = [
        ("/v1/kv/incr", r#"{"key":"n","delta":1}"#),
        ("/v1/kv/batch/set", r#"{"items":[{"key":"n","value":1},{}]}"#),
        ("/v1/kv/batch/get", r#"{"keys":["n","m"]}"#),
        ("/v1/kv/batch/delete", r#"{"keys":["n","m",""]}"#),
    ];
    for (target, body) in bodies {
        let body = Some(body.as_bytes());
        it.ask(server, target, &Request { method: "POST", target, headers: &[JSON], body }).expect_status(200);
        let too_long = answer_to(server, "POST", &promising("POST", target, 8 << 20)).expect_status(413);
        it.check("POST", target, &too_long);
    }
}

fn provoke_reports_and_files(it: &mut Description, server: &Server) {
    let pages = ["/openapi.json", "/docs", "/dashboard"];
    let reports = ["/healthz", "/readyz", "/metrics", "/v1/admin/hotkeys", "/v1/admin/slowlog", "/v1/topology"];
    for target in reports.into_iter().chain(pages) {
        for method in ["GET", "HEAD"] {
            let answer = it.ask(server, target, &Request { method, target, ..Request::default() }).expect_status(200);
            if let Some(tag) = answer.header("ETag") {
                let headers = &[("If-None-Match", tag)];
                it.ask(server, target, &Request { method, target, headers, body: None }).expect_status(304);
            }
        }
    }
    let headers = &[("Accept", "application/openmetrics-text; version=1.0.0")];
    it.ask(server, "/metrics", &Request { method: "GET", target: "/metrics", headers, body: None });
}

#[test]
fn every_documented_answer_can_be_provoked_and_no_other_is_given() {
    let server = Server::start(&[("MAX_ITEM_BYTES", "1000"), ("SHARDS", "1")]);
    let it = &mut Description::of(&server);
    for path in ["/v1/kv/{key}", "/v1/kv/incr"] {
        provoke_key(it, &server, path);
    }
    provoke_posts(it, &server);
    provoke_reports_and_files(it, &server);
    it.provoke_everywhere(400, |method, path| answer_to(&server, method, &format!("{method} {path} HTTP/1.1\r\n\r\n")));
    let fields = "X-Field: 1\r\n".repeat(65);
    it.provoke_everywhere(431, |method, path| {
        answer_to(&server, method, &format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    });

    let closed = Server::start(&[("READ_REQUIRES_AUTH", "true"), ("SHARDS", "1")]);
    for (method, path) in it.operations() {
        let target = &concrete(&path);
        let request = Request { method: &method, target, ..Request::default() };
        let answer = closed.client_with(None).send(&request);
        let open_to_all = it.document["paths"][&path][method.to_lowercase()]["security"] == Value::Array(Vec::new());
        assert_eq!(answer.status == 401, !open_to_all, "{method} {path}: {answer:?}");
        it.check(&method, &path, &answer);
    }

    let hasty = Server::start(&[("HEADER_TIMEOUT_MS", "50"), ("SHARDS", "1")]);
    it.provoke_everywhere(408, |method, path| {
        let mut connection = hasty.connect();
        connection.send(format!("{method} {path} HTTP/1.1\r\n"));
        connection.answer()
    });

    let small = Server::start(&[("MAX_CONNECTIONS", "1"), ("SHARDS", "1")]);
    let mut only = small.connect();
    only.assert_open();
    it.provoke_everywhere(503, |_, _| small.connect().answer());

    let missing: Vec<_> = it.documented().difference(&it.provoked).cloned().collect();
    assert!(missing.is_empty(), "documented, but never answered: {missing:?}");
}

#[test]
fn a_method_that_a_path_does_not_list_is_405_and_allow_names_those_that_it_does() {
    let server = Server::with_shards(1);
    let it = Description::of(&server);
    let response = &it.document["components"]["responses"]["MethodNotAllowed"];
    for (path, operations) in it.document["paths"].as_object().expect("there are paths") {
        let known: BTreeSet<_> =
            operations.as_object().expect("operations").keys().map(|it| it.to_uppercase()).collect();
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            if known.contains(method) {
                continue;
            }
            let answer = server.client().send(&Request { method, target: &concrete(path), ..Request::default() });
            let answer = answer.expect_status(405);
            it.check_response(response, method, &answer);
            let allowed: BTreeSet<_> = answer.required("Allow").split(", ").map(str::to_owned).collect();
            assert_eq!(allowed, known, "{method} {path}");
        }
    }
}
