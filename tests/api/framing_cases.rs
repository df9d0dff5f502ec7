//! The table behind `framing`: one request in each case, as bytes, and what must become of it.

/// A request and what it must bring.
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// The whole request. The key `k` exists.
    pub bytes: &'static [u8],
    /// The status of its one answer.
    pub status: u16,
    /// Whether the connection goes on afterwards; else it is closed and nothing more is answered.
    pub kept: bool,
}

const fn kept(name: &'static str, status: u16, bytes: &'static [u8]) -> Case {
    Case { name, bytes, status, kept: true }
}

const fn closed(name: &'static str, status: u16, bytes: &'static [u8]) -> Case {
    Case { name, bytes, status, kept: false }
}

/// A GET with these bytes between its `Host` and its empty line.
macro_rules! get {
    ($fields:literal) => {
        concat!("GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n", $fields, "\r\n").as_bytes()
    };
}

/// A PUT with these bytes after its `Content-Type`: fields, empty line, body.
macro_rules! put {
    ($rest:literal) => {
        concat!(
            "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: a-token-for-tests-of-32-and-more-characters\r\n",
            "Content-Type: application/json\r\n",
            $rest
        )
        .as_bytes()
    };
}

/// All cases.
pub const CASES: &[Case] = &[
    // Well formed.
    kept("plain", 200, get!("")),
    kept("no blank after the colon", 200, get!("X:y\r\n")),
    kept("blanks and tabs around a value", 200, get!("X: \t y \t \r\n")),
    kept("empty value", 200, get!("X:\r\n")),
    kept("empty line before the request", 200, b"\r\nGET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("absolute target", 400, b"GET http://t/v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    kept("1.0 that asks to go on", 200, b"GET /v1/kv/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    closed("1.0", 200, b"GET /v1/kv/k HTTP/1.0\r\n\r\n"),
    closed("close", 200, get!("Connection: close\r\n")),
    closed("close in capitals among others", 200, get!("Connection: x, CLOSE\r\n")),
    kept("body with a length", 200, put!("Content-Length: 11\r\n\r\n{\"value\":1}")),
    closed("leading zeros in a length", 400, put!("Content-Length: 0011\r\n\r\n{\"value\":1}")),
    kept("no body where one is due", 400, put!("\r\n")),
    kept("bad JSON", 400, put!("Content-Length: 3\r\n\r\n{x}")),
    kept("body that nobody asked for", 200, get!("Content-Length: 5\r\n\r\nhel")),
    kept(
        "a request within a body is no request",
        200,
        b"GET /v1/kv/k HTTP/1.1\r\nHost: t\r\nContent-Length: 34\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n",
    ),
    kept("unknown path with a body", 404, b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"),
    kept("wrong method with a body", 405, b"POST /v1/kv/k HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"),
    kept("unknown method", 405, b"BREW /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    // Chunked.
    kept("chunks", 200, put!("Transfer-Encoding: chunked\r\n\r\n5\r\n{\"val\r\n6\r\nue\":1}\r\n0\r\n\r\n")),
    kept("chunked in capitals", 200, put!("Transfer-Encoding: Chunked\r\n\r\nB\r\n{\"value\":1}\r\n0\r\n\r\n")),
    kept("hex and zeros", 200, put!("Transfer-Encoding: chunked\r\n\r\n00b\r\n{\"value\":1}\r\n000\r\n\r\n")),
    kept("extension", 200, put!("Transfer-Encoding: chunked\r\n\r\nb;a=b;c=\"d\"\r\n{\"value\":1}\r\n0;e\r\n\r\n")),
    kept("trailer", 200, put!("Transfer-Encoding: chunked\r\n\r\nb\r\n{\"value\":1}\r\n0\r\nX: y\r\n\r\n")),
    kept("chunked body that nobody asked for", 200, get!("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")),
    // Ambiguous lengths.
    closed("length and chunked", 400, put!("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    closed("chunked and length", 400, put!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n")),
    closed("two lengths", 400, put!("Content-Length: 11\r\nContent-Length: 3\r\n\r\n{\"value\":1}")),
    closed("two lengths in a list", 400, put!("Content-Length: 11, 3\r\n\r\n{\"value\":1}")),
    closed("signed length", 400, put!("Content-Length: +11\r\n\r\n{\"value\":1}")),
    closed("negative length", 400, put!("Content-Length: -11\r\n\r\n")),
    closed("hexadecimal length", 400, put!("Content-Length: 0xb\r\n\r\n{\"value\":1}")),
    closed("length with a blank within", 400, put!("Content-Length: 1 1\r\n\r\n{\"value\":1}")),
    closed("empty length", 400, put!("Content-Length: \r\n\r\n")),
    closed("length beyond 64 bits", 400, put!("Content-Length: 18446744073709551627\r\n\r\n{\"value\":1}")),
    closed("bad length where no body is due", 400, get!("Content-Length: x\r\n")),
    closed("chunked twice", 400, put!("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
    closed(
        "chunked in two fields",
        400,
        put!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    closed("chunked not last", 400, put!("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")),
    closed("another coding", 400, put!("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
    closed("identity", 400, put!("Transfer-Encoding: identity\r\n\r\n")),
    closed("almost chunked", 400, put!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
    closed("quoted chunked", 400, put!("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n")),
    closed("vertical tab before chunked", 400, put!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n")),
    closed("empty coding", 400, put!("Transfer-Encoding: \r\n\r\n")),
    closed("chunked in 1.0", 400, b"GET /v1/kv/k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Bad chunks.
    closed("size that is no number", 400, put!("Transfer-Encoding: chunked\r\n\r\ng\r\n")),
    closed("signed size", 400, put!("Transfer-Encoding: chunked\r\n\r\n+b\r\n{\"value\":1}\r\n0\r\n\r\n")),
    closed("negative size", 400, put!("Transfer-Encoding: chunked\r\n\r\n-1\r\n")),
    closed("0x size", 400, put!("Transfer-Encoding: chunked\r\n\r\n0xb\r\n{\"value\":1}\r\n0\r\n\r\n")),
    closed("empty size", 400, put!("Transfer-Encoding: chunked\r\n\r\n\r\n")),
    closed("size beyond 64 bits", 400, put!("Transfer-Encoding: chunked\r\n\r\n1000000000000000b\r\n{\"value\":1}")),
    closed("blank before the size", 400, put!("Transfer-Encoding: chunked\r\n\r\n b\r\n{\"value\":1}\r\n0\r\n\r\n")),
    closed("size line with a bare LF", 400, put!("Transfer-Encoding: chunked\r\n\r\nb\n{\"value\":1}\r\n0\r\n\r\n")),
    closed("extension with a bare LF", 400, put!("Transfer-Encoding: chunked\r\n\r\nb;a\n{\"value\":1}\r\n0\r\n\r\n")),
    closed(
        "extension with a bare CR",
        400,
        put!("Transfer-Encoding: chunked\r\n\r\nb;a\rb\r\n{\"value\":1}\r\n0\r\n\r\n"),
    ),
    closed("data longer than its size", 400, put!("Transfer-Encoding: chunked\r\n\r\na\r\n{\"value\":1}\r\n0\r\n\r\n")),
    closed("data ended by a bare LF", 400, put!("Transfer-Encoding: chunked\r\n\r\nb\r\n{\"value\":1}\n0\r\n\r\n")),
    closed(
        "trailer with a bare LF",
        400,
        put!("Transfer-Encoding: chunked\r\n\r\nb\r\n{\"value\":1}\r\n0\r\nX: y\n\r\n"),
    ),
    closed("bad trailer", 400, put!("Transfer-Encoding: chunked\r\n\r\nb\r\n{\"value\":1}\r\n0\r\nX : y\r\n\r\n")),
    // Bad heads.
    closed("no host", 400, b"GET /v1/kv/k HTTP/1.1\r\n\r\n"),
    closed("two hosts", 400, get!("Host: u\r\n")),
    closed("the same host twice", 400, get!("Host: t\r\n")),
    closed("blank before the colon", 400, get!("X : y\r\n")),
    closed("blank before the colon of a length", 400, put!("Content-Length : 11\r\n\r\n{\"value\":1}")),
    closed("folded value", 400, get!("X: y\r\n z\r\n")),
    closed("value folded with a tab", 400, get!("X: y\r\n\tz\r\n")),
    closed("blank before the first field", 400, b"GET /v1/kv/k HTTP/1.1\r\n Host: t\r\n\r\n"),
    closed("bare LF everywhere", 400, b"GET /v1/kv/k HTTP/1.1\nHost: t\n\n"),
    closed("bare LF after the request line", 400, b"GET /v1/kv/k HTTP/1.1\nHost: t\r\n\r\n"),
    closed("bare LF after a field", 400, get!("X: y\nZ: z\r\n")),
    closed("bare LF as the empty line", 400, b"GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\n"),
    closed("bare LF before the request", 400, b"\nGET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("bare CR in a value", 400, get!("X: y\rz\r\n")),
    closed("bare CR in the request line", 400, b"GET /v1/kv/k\r HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("NUL in a value", 400, get!("X: y\0z\r\n")),
    closed("no colon", 400, get!("X\r\n")),
    closed("no name", 400, get!(": y\r\n")),
    closed("bad name", 400, get!("X(y): z\r\n")),
    closed("no version", 400, b"GET /v1/kv/k\r\nHost: t\r\n\r\n"),
    closed("lower-case version", 400, b"GET /v1/kv/k http/1.1\r\nHost: t\r\n\r\n"),
    closed("version 2", 400, b"GET /v1/kv/k HTTP/2.0\r\nHost: t\r\n\r\n"),
    closed("word after the version", 400, b"GET /v1/kv/k HTTP/1.1 x\r\nHost: t\r\n\r\n"),
    closed("two blanks", 400, b"GET  /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("blank in the target", 400, b"GET /v1/kv/k k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("tab instead of a blank", 400, b"GET\t/v1/kv/k\tHTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("control character in the target", 400, b"GET /v1/kv/k\x01 HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("no method", 400, b" /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("bad method", 400, b"GE(T /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n"),
    closed("TLS to a plain port", 400, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n"),
];
