//! The server that is asked: its address, what it is called, and the token that it takes.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

/// A server that a connection could be opened to.
#[derive(Clone)]
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What stands in the field `Host`.
    pub host: String,
    /// The token that goes with every request.
    pub token: String,
}

impl Peer {
    /// Finds the address behind `url` that answers: a name may stand for several, of which a server may listen on one.
    ///
    /// # Errors
    /// That of the last address tried.
    pub fn find(url: &Url, token: String, timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
        for address in url.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(_) => return Ok(Self { address, host: url.authority.clone(), token }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// `http://HOST:PORT`: as much of a URL as says where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port, the host in brackets if it is an address of IPv6.
    authority: String,
}

impl From<SocketAddr> for Url {
    fn from(address: SocketAddr) -> Self {
        Self { authority: address.to_string() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("https://") {
            return Err("the server speaks plain HTTP only: give http://HOST:PORT");
        }
        let rest = text.strip_prefix("http://").ok_or("expected http://HOST:PORT")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err("expected http://HOST:PORT without a path");
        }
        if authority.contains('@') {
            return Err("expected http://HOST:PORT without a user: the token is given by --api-token or API_TOKEN");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let valid = if bracketed {
            host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.chars().all(plain)
        };
        if !valid {
            return Err("expected http://HOST:PORT with a name or an address as HOST, one of IPv6 in brackets");
        }
        match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Self { authority: format!("{host}:{port}") }),
            _ => Err("expected http://HOST:PORT with a port from 1 to 65535"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080"),
            ("http://cache.internal", "http://cache.internal:80"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Url>().map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn whatever_else_a_url_may_have_is_refused() {
        for text in [
            "",
            "localhost:8080",
            "https://localhost:8080",
            "http://",
            "http://:8080",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://a:1/v1",
            "http://a:1?x",
            "http://u:p@a:1",
            "http://::1:80",
            "http://[::g]:80",
            "http://a\r\nb:1",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_address_that_listens_is_the_one_that_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url: Url = format!("http://localhost:{}", address.port()).parse().unwrap();
        let peer = Peer::find(&url, "token".to_owned(), Duration::from_secs(5)).unwrap();
        assert_eq!((peer.address, peer.host), (address, format!("localhost:{}", address.port())));
        drop(listener);
        let error = Peer::find(&url, "token".to_owned(), Duration::from_secs(5)).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::ConnectionRefused));
    }
}
