//! `healthcheck`: asks the server at the configured address how it is, for containers and scripts.

use super::server::configured;
use super::{complain, load, say};
use crate::config::Sources;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Stands for the token that is not needed.
const NO_TOKEN: &str = "healthcheck-sends-no-token-at-all-to-anybody";
/// Longest that the whole question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of the answer as is looked at: more than its status line.
const ANSWER_BYTES_MAX: usize = 512;

pub(super) fn run(sources: &Sources) -> ExitCode {
    // Whoever asks needs no token, and must not be told that a server at this address would need one.
    let mut sources = sources.clone();
    sources.arguments.entry("API_TOKEN").or_insert_with(|| NO_TOKEN.into());
    let Ok(config) = load(&sources) else { return ExitCode::FAILURE };
    let address = match configured(&config) {
        Ok(address) => address,
        Err(code) => return code,
    };
    match status(address) {
        Ok(200) => {
            say(format_args!("{address} is healthy"));
            ExitCode::SUCCESS
        }
        Ok(status) => {
            complain(format_args!("{address} is not healthy: /healthz answers {status}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("{address} is not healthy: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The status code that `/healthz` answers with.
fn status(address: SocketAddr) -> io::Result<u16> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let mut buffer = [0; ANSWER_BYTES_MAX];
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    parse_status(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse_status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|&byte| byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn status_of(answer: &'static [u8]) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = peer.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
            peer.write_all(answer).unwrap();
        });
        let status = status(address);
        server.join().unwrap();
        status
    }

    #[test]
    fn the_status_of_the_answer_is_told() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap(), 200);
        assert_eq!(status_of(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap(), 503);
        assert!(status_of(b"SSH-2.0-x\r\n").is_err());
        assert!(status_of(b"").is_err());
    }
}
