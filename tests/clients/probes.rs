//! Requests about whose end, or whose very being a request, two readers may disagree. Each hides a second request.

use crate::support::TOKEN;

/// The ID of every probe.
pub const PROBE_ID: &str = "probe";
/// The ID of the request that each of them hides.
pub const SMUGGLED_ID: &str = "smuggled";
/// What the hidden request asks for, and nothing else here does.
pub const SMUGGLED_ROUTE: &str = "/readyz";

/// A body in chunks that ends early for a reader of chunks, and covers the hidden request for a reader of lengths.
const EMPTY_CHUNKS: &str = "0\r\n\r\n";

/// What a probe hides, and how it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// A whole request, whose answer somebody else may get.
    Request,
    /// The beginning of one, which may swallow the request of somebody else.
    Prefix,
}

impl Hidden {
    fn text(self) -> String {
        let head = format!("GET {SMUGGLED_ROUTE} HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {SMUGGLED_ID}\r\n");
        match self {
            Self::Request => head + "\r\n",
            Self::Prefix => head + "X-Swallowed: ",
        }
    }
}

/// What a probe is about, and its bytes.
pub type Probe = (&'static str, Vec<u8>);

/// All probes that hide such a request.
pub fn probes(hidden: Hidden) -> Vec<Probe> {
    let hidden = hidden.text();
    [encodings, lengths, chunks, hop_by_hop, expectations, early_answers, lines]
        .iter()
        .flat_map(|of| of(&hidden))
        .collect()
}

/// A PUT with these fields and this body.
fn put(fields: &str, body: &str) -> Vec<u8> {
    format!(
        "PUT /v1/kv/probe HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {PROBE_ID}\r\nX-API-Token: {TOKEN}\r\n\
         Content-Type: text/plain\r\n{fields}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Ways to write the transfer encoding, each beside a length.
fn encodings(hidden: &str) -> Vec<Probe> {
    let written = [
        ("both framings", "Transfer-Encoding: chunked"),
        ("an encoding unknown", "Transfer-Encoding: xchunked"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked and another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("identity", "Transfer-Encoding: identity"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip"),
        ("chunked behind another", "Transfer-Encoding: gzip, chunked"),
        ("chunked in quotes", "Transfer-Encoding: \"chunked\""),
        ("chunked in capitals", "Transfer-Encoding: CHUNKED"),
        ("chunked behind a tab", "Transfer-Encoding:\tchunked"),
        ("chunked behind a vertical tab", "Transfer-Encoding: \u{b}chunked"),
        ("chunked with a comma", "Transfer-Encoding: ,chunked"),
        ("chunked with a parameter", "Transfer-Encoding: chunked;q=1"),
        ("a space before the colon", "Transfer-Encoding : chunked"),
        ("a space before the name", " Transfer-Encoding: chunked"),
        ("a folded value", "Transfer-Encoding:\r\n chunked"),
        ("a folded field", "X: x\r\n Transfer-Encoding: chunked"),
        ("a field behind a bare LF", "X: x\nTransfer-Encoding: chunked"),
        ("a field behind a bare CR", "X: x\rTransfer-Encoding: chunked"),
        ("an underscore", "Transfer_Encoding: chunked"),
        ("a NUL in a name", "Transfer-Encoding\0: chunked"),
        ("a NUL in a value", "Transfer-Encoding: chunked\0"),
    ];
    let mut all = Vec::new();
    for (what, field) in written {
        // One reader sees the end before the hidden request, the other behind it.
        let body = EMPTY_CHUNKS.to_owned() + hidden;
        all.push((what, put(&format!("Content-Length: {}\r\n{field}", body.len()), &body)));
        // And the other way round.
        let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", hidden.len(), hidden);
        all.push((what, put(&format!("{field}\r\nContent-Length: 4"), &body)));
        // With no length at all.
        all.push((what, put(field, &body)));
    }
    all
}

fn lengths(hidden: &str) -> Vec<Probe> {
    let whole = hidden.len();
    let written = [
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {whole}")),
        ("two lengths the other way", format!("Content-Length: {whole}\r\nContent-Length: 0")),
        ("the same length twice", format!("Content-Length: {whole}\r\nContent-Length: {whole}")),
        ("a list of lengths", format!("Content-Length: 0, {whole}")),
        ("a list of one length", format!("Content-Length: {whole}, {whole}")),
        ("a length with a plus", format!("Content-Length: +{whole}")),
        ("a length with a minus", "Content-Length: -1".to_owned()),
        ("a length in hexadecimal", format!("Content-Length: 0x{whole:x}")),
        ("a length with leading zeros", format!("Content-Length: 000{whole}")),
        ("a length with a point", format!("Content-Length: {whole}.0")),
        ("a length beyond 64 bits", "Content-Length: 18446744073709551616".to_owned()),
        ("a length that is empty", "Content-Length:".to_owned()),
        ("a length in two words", format!("Content-Length: 0 {whole}")),
        ("a length before a space and a colon", format!("Content-Length : {whole}")),
        ("a length behind a form feed", format!("Content-Length: \u{c}{whole}")),
        ("a length behind a space", format!(" Content-Length: {whole}")),
        ("a length on a folded line", format!("Content-Length:\r\n {whole}")),
        ("a length behind a folded field", format!("X: x\r\n Content-Length: {whole}")),
        ("a length before a tab and a colon", format!("Content-Length\t: {whole}")),
        ("a length with an underscore", format!("Content_Length: {whole}")),
        ("a length behind a bare LF", format!("X: x\nContent-Length: {whole}")),
        ("a length behind a bare CR", format!("X: x\rContent-Length: {whole}")),
        ("a length with a NUL", format!("Content-Length: {whole}\0")),
        ("a length with a NUL in its name", format!("Content-Length\0: {whole}")),
        ("a length with a semicolon", format!("Content-Length: {whole};0")),
        ("a length of the largest number", "Content-Length: 18446744073709551615".to_owned()),
        ("a length beyond what is signed", "Content-Length: 9223372036854775808".to_owned()),
        ("a length of zero in words", "Content-Length: -0".to_owned()),
        ("a line of a space", format!("X: x\r\n \r\nContent-Length: {whole}")),
        ("no length", "X: x".to_owned()),
    ];
    written.into_iter().map(|(what, field)| (what, put(&field, hidden))).collect()
}

fn chunks(hidden: &str) -> Vec<Probe> {
    let written = [
        ("a chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with a minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with leading zeros", "00000000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size beyond 32 bits", "100000005\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size before a space", "5 \r\nhello\r\n0\r\n\r\n"),
        ("a chunk size behind a space", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size that is empty", "\r\nhello\r\n0\r\n\r\n"),
        ("a chunk extension", "5;name=value\r\nhello\r\n0\r\n\r\n"),
        ("a chunk extension in quotes", "5;name=\"a\r\nb\"\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF in a chunk extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("a bare CR in a chunk extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk", "5\r\nhello\n0\r\n\r\n"),
        ("a bare CR behind a chunk size", "5\rhello\r\n0\r\n\r\n"),
        ("nothing behind a chunk", "5\r\nhello0\r\n\r\n"),
        ("two bytes too many behind a chunk", "5\r\nhelloXX0\r\n\r\n"),
        ("a trailer", "5\r\nhello\r\n0\r\nX: x\r\n\r\n"),
        ("a length in a trailer", "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),
        ("an encoding in a trailer", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a trailer that ends with bare LFs", "5\r\nhello\r\n0\n\n"),
        ("a last chunk of many zeros", "5\r\nhello\r\n0000\r\n\r\n"),
        ("a chunk size of the largest number", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size that becomes zero in 64 bits", "10000000000000000\r\n\r\n"),
        ("a chunk size that becomes zero in 32 bits", "100000000\r\n\r\n"),
        ("a chunk size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with a NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size before a tab", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("a chunk extension that is empty", "5;\r\nhello\r\n0\r\n\r\n"),
        ("a chunk extension on the last chunk", "5\r\nhello\r\n0;a=b\r\n\r\n"),
        ("a bare LF in an extension of the last chunk", "5\r\nhello\r\n0;a\n\r\n"),
        ("a bare CR behind a chunk", "5\r\nhello\r0\r\n\r\n"),
        ("a bare CR instead of the last line", "5\r\nhello\r\n0\r\n\r"),
        ("a host in a trailer", "5\r\nhello\r\n0\r\nHost: other\r\n\r\n"),
        ("a connection in a trailer", "5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"),
        ("an expectation in a trailer", "5\r\nhello\r\n0\r\nExpect: 100-continue\r\n\r\n"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX: x\r\n y\r\n\r\n"),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
    ];
    let chunked = |body: &str| put("Transfer-Encoding: chunked", &(body.to_owned() + hidden));
    written.into_iter().map(|(what, body)| (what, chunked(body))).collect()
}

/// Fields that a proxy is told to take away, or to treat in a way of their own.
fn hop_by_hop(hidden: &str) -> Vec<Probe> {
    let length = format!("Content-Length: {}", hidden.len());
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", hidden.len(), hidden);
    vec![
        ("a length named in Connection", put(&format!("Connection: Content-Length\r\n{length}"), hidden)),
        ("an encoding named in Connection", put("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", &body)),
        ("a host named in Connection", put(&format!("Connection: Host\r\n{length}"), hidden)),
        ("keep-alive and close", put(&format!("Connection: keep-alive, close\r\n{length}"), hidden)),
        ("an upgrade to h2c", put(&format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{length}"), hidden)),
        ("an upgrade to a socket", put(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{length}"), hidden)),
        ("an expectation", put(&format!("Expect: 100-continue\r\n{length}"), hidden)),
        ("an expectation with chunks", put("Expect: 100-continue\r\nTransfer-Encoding: chunked", &body)),
        ("an expectation unknown", put(&format!("Expect: 200-ok\r\n{length}"), hidden)),
        ("an expectation with no body", put("Expect: 100-continue\r\nContent-Length: 0", "")),
    ]
}

/// Announcements of a body that a server may answer before it comes, or never wait for.
fn expectations(hidden: &str) -> Vec<Probe> {
    let length = format!("Content-Length: {}", hidden.len());
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", hidden.len(), hidden);
    let nobody = |method: &str, fields: &str, body: &str| {
        let line = format!("{method} /v1/kv/probe HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {PROBE_ID}\r\n");
        format!("{line}{fields}\r\n\r\n{body}").into_bytes()
    };
    let plain = "Expect: 100-continue";
    vec![
        ("an expectation with no token", nobody("PUT", &format!("{plain}\r\n{length}"), hidden)),
        (
            "an expectation with no token, in chunks",
            nobody("PUT", &format!("{plain}\r\nTransfer-Encoding: chunked"), &chunked),
        ),
        ("an expectation of a GET", nobody("GET", &format!("{plain}\r\n{length}"), hidden)),
        ("an expectation of a DELETE", nobody("DELETE", &format!("{plain}\r\n{length}"), hidden)),
        ("an expectation of OPTIONS", nobody("OPTIONS", &format!("{plain}\r\n{length}"), hidden)),
        ("an expectation twice", put(&format!("{plain}\r\n{plain}\r\n{length}"), hidden)),
        ("an expectation and another", put(&format!("Expect: 100-continue, x\r\n{length}"), hidden)),
        ("an expectation behind a word", put(&format!("Expect: y 100-continue\r\n{length}"), hidden)),
        ("an expectation before a space and a colon", put(&format!("Expect : 100-continue\r\n{length}"), hidden)),
        ("an expectation that is folded", put(&format!("Expect:\r\n 100-continue\r\n{length}"), hidden)),
        (
            "an expectation with both framings",
            put(&format!("{plain}\r\n{length}\r\nTransfer-Encoding: chunked"), &chunked),
        ),
        ("an expectation with two lengths", put(&format!("{plain}\r\nContent-Length: 0\r\n{length}"), hidden)),
        ("an expectation that is too large", put(&format!("{plain}\r\nContent-Length: 999999999999"), hidden)),
    ]
}

/// Requests that are answered from their head, with the hidden request as their body.
fn early_answers(hidden: &str) -> Vec<Probe> {
    let request = |line: &str, fields: &str, body: &str| {
        format!("{line} HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {PROBE_ID}\r\n{fields}\r\n\r\n{body}").into_bytes()
    };
    let length = format!("Content-Length: {}", hidden.len());
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", hidden.len(), hidden);
    let many = hidden.repeat(3_000);
    let large = format!("Content-Length: {}", many.len());
    vec![
        ("a GET with a body", request("GET /v1/kv/probe", &length, hidden)),
        ("a GET with chunks", request("GET /v1/kv/probe", "Transfer-Encoding: chunked", &chunked)),
        ("a GET of health with a body", request("GET /healthz", &length, hidden)),
        ("a DELETE with a body", request("DELETE /v1/kv/probe", &length, hidden)),
        ("a DELETE with chunks", request("DELETE /v1/kv/probe", "Transfer-Encoding: chunked", &chunked)),
        ("a PUT with no token", request("PUT /v1/kv/probe", &length, hidden)),
        ("a large PUT with no token", request("PUT /v1/kv/probe", &large, &many)),
        ("a large body for no route", request("POST /nowhere", &large, &many)),
        ("a body for no route", request("POST /nowhere", &length, hidden)),
        ("chunks for no route", request("POST /nowhere", "Transfer-Encoding: chunked", &chunked)),
        ("a body for a method not allowed", request("PATCH /v1/kv/probe", &length, hidden)),
        ("OPTIONS with a body", request("OPTIONS *", &length, hidden)),
    ]
}

/// Odd request lines and hosts.
fn lines(hidden: &str) -> Vec<Probe> {
    let head = |line: &str, fields: &str| format!("{line}\r\n{fields}X-Request-ID: {PROBE_ID}\r\n\r\n").into_bytes();
    let host = "Host: cache\r\n";
    let body = EMPTY_CHUNKS.to_owned() + hidden;
    let old = |fields: &str| {
        let line = "PUT /v1/kv/probe HTTP/1.0";
        format!("{line}\r\n{host}X-Request-ID: {PROBE_ID}\r\nX-API-Token: {TOKEN}\r\n{fields}\r\n\r\n{body}")
            .into_bytes()
    };
    vec![
        (
            "both framings in HTTP/1.0",
            old(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\nConnection: keep-alive", body.len())),
        ),
        ("chunks in HTTP/1.0", old("Transfer-Encoding: chunked\r\nConnection: keep-alive")),
        ("a length in HTTP/1.0", old(&format!("Content-Length: {}\r\nConnection: keep-alive", body.len()))),
        ("HTTP/1.2", head("GET /v1/kv/probe HTTP/1.2", host)),
        ("an absolute target", head("GET http://cache/v1/kv/probe HTTP/1.1", host)),
        ("an absolute target of another host", head("GET http://other/v1/kv/probe HTTP/1.1", host)),
        ("a target with a fragment", head("GET /v1/kv/probe#x HTTP/1.1", host)),
        ("a target with a bare space", head("GET /v1/kv/pro be HTTP/1.1", host)),
        ("an encoded line end in a target", head("GET /v1/kv/a%0d%0aX:%20x HTTP/1.1", host)),
        ("an encoded request in a target", head("GET /v1/kv/a%20HTTP/1.1%0d%0a%0d%0aGET%20/ HTTP/1.1", host)),
        ("dots in a target", head("GET /v1/kv/../../healthz HTTP/1.1", host)),
        ("a second version in a line", head("GET /v1/kv/probe HTTP/1.1 HTTP/1.0", host)),
        ("a bare CR in a line", head("GET /v1/kv/probe HTTP/1.1\rX: x", host)),
        ("a bare LF behind a line", head("GET /v1/kv/probe HTTP/1.1\nX: x", host)),
        ("a NUL in a target", head("GET /v1/kv/pro\0be HTTP/1.1", host)),
        ("an absolute target without a host", head("GET http://cache/v1/kv/probe HTTP/1.1", "")),
        ("an absolute target of another scheme", head("GET ftp://cache/v1/kv/probe HTTP/1.1", host)),
        ("a target of a host alone", head("GET cache:80 HTTP/1.1", host)),
        ("a tunnel", head("CONNECT cache:80 HTTP/1.1", host)),
        ("a host in two words", head("GET /v1/kv/probe HTTP/1.1", "Host: cache, other\r\n")),
        ("a host before a space and a colon", head("GET /v1/kv/probe HTTP/1.1", "Host: cache\r\nHost : other\r\n")),
        ("two hosts", head("GET /v1/kv/probe HTTP/1.1", "Host: cache\r\nHost: other\r\n")),
        ("no host", head("GET /v1/kv/probe HTTP/1.1", "")),
        ("a bad host", head("GET /v1/kv/probe HTTP/1.1", "Host: a b\r\n")),
        ("empty lines first", [b"\r\n\r\n".to_vec(), head("GET /v1/kv/probe HTTP/1.1", host)].concat()),
        ("two spaces in a line", head("GET  /v1/kv/probe HTTP/1.1", host)),
        ("a tab in a line", head("GET\t/v1/kv/probe HTTP/1.1", host)),
        ("small letters in a method", head("get /v1/kv/probe HTTP/1.1", host)),
    ]
}
