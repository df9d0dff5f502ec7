use super::*;
use std::net::TcpListener;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A server that gives each connection its list of answers, one for each request, and then closes it.
fn serve(connections: Vec<Vec<&'static [u8]>>) -> (Arc<Peer>, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                requests.push(String::from_utf8(request).unwrap());
                // Who has heard enough to know that this is no answer hangs up before its end.
                let _ = answer.iter().try_for_each(|byte| stream.write_all(&[*byte]));
            }
        }
        requests
    });
    (Arc::new(Peer { address, host: "cache:1".to_owned(), token: "secret".to_owned() }), server)
}

const GET: Request<'_> = Request { method: "GET", target: "/x", fields: &[("A", "b")], body: None };

#[test]
fn an_answer_is_taken_byte_by_byte_and_the_connection_kept() {
    let ok = &b"HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 5\r\n\r\nhello"[..];
    let not_found = &b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..];
    let (peer, server) = serve(vec![vec![ok, not_found]]);
    let mut connection = Connection::new(peer, TIMEOUT);
    let answer = connection.ask(&GET).unwrap();
    assert_eq!((answer.status, answer.body, answer.field("etag")), (200, &b"hello"[..], Some("\"v\"")));
    assert_eq!(connection.ask_without_token(&GET).unwrap().status, 404);
    let requests = server.join().unwrap();
    assert_eq!(requests[0], "GET /x HTTP/1.1\r\nHost: cache:1\r\nX-API-Token: secret\r\nA: b\r\n\r\n");
    assert!(!requests[1].contains("secret"), "{requests:?}");
    assert_eq!(connection.reconnects, 0);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_opened_again() {
    let ok = &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..];
    let (peer, server) = serve(vec![vec![ok], vec![ok]]);
    let mut connection = Connection::new(peer, TIMEOUT);
    for _ in 0..2 {
        assert_eq!(connection.ask(&GET).unwrap().status, 200);
    }
    assert_eq!(connection.reconnects, 1);
    server.join().unwrap();
}

#[test]
fn an_answer_that_announces_the_end_is_believed() {
    let last = &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..];
    let (peer, server) = serve(vec![vec![last], vec![last]]);
    let mut connection = Connection::new(peer, TIMEOUT);
    for _ in 0..2 {
        assert_eq!(connection.ask(&GET).unwrap().status, 200);
    }
    assert_eq!(connection.reconnects, 0);
    server.join().unwrap();
}

#[test]
fn what_is_no_whole_answer_is_a_failure() {
    for (answer, told) in [
        (&b"SSH-2.0-x\r\n\r\n"[..], "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no usable length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell", "in the middle"),
        (b"", "before it answered"),
    ] {
        let (peer, server) = serve(vec![vec![answer]]);
        let failure = Connection::new(peer, TIMEOUT).ask(&GET).map(|answer| answer.status).unwrap_err();
        server.join().unwrap();
        assert!(matches!(&failure, Failure::Connection(text) if text.contains(told)), "{failure:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer { address: listener.local_addr().unwrap(), host: "x".to_owned(), token: String::new() };
    let timeout = Duration::from_millis(50);
    let failure = Connection::new(Arc::new(peer), timeout).ask(&GET).map(|answer| answer.status).unwrap_err();
    assert_eq!(failure, Failure::Timeout(timeout));
}

#[test]
fn a_refusal_tells_the_servers_reason_in_one_line() {
    let refusal = |body: &[u8]| Answer { status: 503, head: b"", body }.refused().to_string();
    assert_eq!(refusal(br#"{"error":{"code":"C","message":"a\nb"}}"#), "503 C: a\\nb");
    assert_eq!(refusal(b"<html>"), "503 with a body that says no reason");
}
