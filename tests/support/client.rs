//! A client for tests that are about the cache and not about the wire.

use super::http::{Answer, RawConnection};
use std::net::SocketAddr;

/// The token that [`super::Server`] is started with unless a test says otherwise.
pub const TOKEN: &str = "a-token-for-tests-of-32-and-more-characters";

/// One keep-alive connection with a token. After an answer that closes it, the next request opens another.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<RawConnection>,
    token: Option<String>,
}

/// A request as a test words it.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The method, `GET` if empty.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// More header fields.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, sent with its length.
    pub body: Option<&'a [u8]>,
}

impl Client {
    /// A client that sends [`TOKEN`].
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, token: Some(TOKEN.to_owned()) }
    }

    /// The same with another token, or none.
    pub fn with_token(address: SocketAddr, token: Option<&str>) -> Self {
        Self { address, connection: None, token: token.map(str::to_owned) }
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn send(&mut self, request: &Request<'_>) -> Answer {
        let mut connection = self.connection.take().unwrap_or_else(|| RawConnection::open(self.address));
        // Who is refused early is answered while he still sends, and may find the connection closed before he has done so.
        connection.try_send(self.wire(request));
        let answer = if request.method == "HEAD" { connection.answer_to_head() } else { connection.answer() };
        if !answer.closes() {
            self.connection = Some(connection);
        }
        answer
    }

    /// The bytes of a request.
    pub fn wire(&self, request: &Request<'_>) -> Vec<u8> {
        let method = if request.method.is_empty() { "GET" } else { request.method };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", request.target, self.address);
        if let Some(token) = &self.token {
            head += &format!("X-API-Token: {token}\r\n");
        }
        for (name, value) in request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = request.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut wire = (head + "\r\n").into_bytes();
        wire.extend_from_slice(request.body.unwrap_or_default());
        wire
    }

    /// `GET` of a path and query.
    #[track_caller]
    pub fn get_path(&mut self, target: &str) -> Answer {
        self.send(&Request { target, ..Request::default() })
    }

    /// `GET` of a path and query with more header fields.
    #[track_caller]
    pub fn get_with(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(&Request { target, headers, ..Request::default() })
    }

    /// `GET` of a key, percent-encoded already.
    #[track_caller]
    pub fn get(&mut self, key: &str) -> Answer {
        self.get_path(&format!("/v1/kv/{key}"))
    }

    /// `HEAD` of a key.
    #[track_caller]
    pub fn head(&mut self, key: &str) -> Answer {
        self.send(&Request { method: "HEAD", target: &format!("/v1/kv/{key}"), ..Request::default() })
    }

    /// `PUT` of a key with a JSON body.
    #[track_caller]
    pub fn put(&mut self, key: &str, body: &str) -> Answer {
        self.put_with(key, body, &[])
    }

    /// `PUT` of a key with a JSON body and more header fields.
    #[track_caller]
    pub fn put_with(&mut self, key: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        self.json("PUT", &format!("/v1/kv/{key}"), body, headers)
    }

    /// `PUT` of a key with a value given as JSON text.
    #[track_caller]
    pub fn put_value(&mut self, key: &str, value: &str) -> Answer {
        self.put(key, &format!("{{\"value\":{value}}}"))
    }

    /// `PUT` of bytes with a media type, the key with its query.
    #[track_caller]
    pub fn put_bytes(&mut self, key_and_query: &str, media: &str, body: &[u8]) -> Answer {
        let target = format!("/v1/kv/{key_and_query}");
        self.send(&Request { method: "PUT", target: &target, headers: &[("Content-Type", media)], body: Some(body) })
    }

    /// `DELETE` of a key.
    #[track_caller]
    pub fn delete(&mut self, key: &str) -> Answer {
        self.delete_with(key, &[])
    }

    /// `DELETE` of a key with more header fields.
    #[track_caller]
    pub fn delete_with(&mut self, key: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(&Request { method: "DELETE", target: &format!("/v1/kv/{key}"), headers, body: None })
    }

    /// `POST` of a JSON body.
    #[track_caller]
    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        self.json("POST", target, body, &[])
    }

    #[track_caller]
    fn json(&mut self, method: &str, target: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.send(&Request { method, target, headers: &all, body: Some(body.as_bytes()) })
    }
}
