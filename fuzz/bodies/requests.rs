//! What a stream of bytes is to our own readers of heads and of chunks: requests, until one cannot be read.

use cache_service::protocol::chunked::ChunkedDecoder;
use cache_service::protocol::head::{self, BodyLength, Head};

/// A request that is there as a whole.
pub struct Request<'s> {
    pub head: Head<'s>,
    pub body: Vec<u8>,
    /// Where its head begins and ends in the stream, and where its body ends.
    pub starts_at: usize,
    pub body_at: usize,
    pub ends_at: usize,
}

/// What follows the last whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing, or a head that is not complete.
    Head,
    /// A body that is not complete.
    Body,
    /// Something that is no head.
    BadHead,
    /// A chunked body that is none.
    BadBody,
}

pub fn read(stream: &[u8]) -> (Vec<Request<'_>>, Rest) {
    let (mut requests, mut at) = (Vec::new(), 0);
    loop {
        let Ok(parsed) = head::parse(&stream[at..]) else { return (requests, Rest::BadHead) };
        let Some((head, len)) = parsed else { return (requests, Rest::Head) };
        let (starts_at, body_at) = (at, at + len);
        match body_of(head.body, &stream[body_at..]) {
            Ok((body, len)) => {
                at = body_at + len;
                requests.push(Request { head, body, starts_at, body_at, ends_at: at });
            }
            Err(rest) => return (requests, rest),
        }
    }
}

/// The body at the beginning of `bytes`, and how many of them it takes.
fn body_of(length: BodyLength, bytes: &[u8]) -> Result<(Vec<u8>, usize), Rest> {
    match length {
        BodyLength::None => Ok((Vec::new(), 0)),
        BodyLength::Length(len) => {
            let len = usize::try_from(len).map_err(|_| Rest::Body)?;
            bytes.get(..len).map(|body| (body.to_vec(), len)).ok_or(Rest::Body)
        }
        BodyLength::Chunked => {
            let (body, len, done) = unchunk(bytes).map_err(|()| Rest::BadBody)?;
            if done { Ok((body, len)) } else { Err(Rest::Body) }
        }
    }
}

/// The chunked body at the beginning of `bytes`, how many of them it takes, and whether it is complete.
pub fn unchunk(bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), ()> {
    let (mut decoder, mut body, mut at) = (ChunkedDecoder::new(), Vec::new(), 0);
    while at < bytes.len() {
        let decoded = decoder.decode(&bytes[at..]).map_err(drop)?;
        body.extend_from_slice(decoded.data);
        at += decoded.consumed;
        if decoded.done {
            return Ok((body, at, true));
        }
        assert!(decoded.consumed > 0, "every call gets on");
    }
    Ok((body, at, false))
}
