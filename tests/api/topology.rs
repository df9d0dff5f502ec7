//! Clients that send each request to the core that owns its key: what they are told, and the ports that they use.

use crate::support::client::Request;
use crate::support::{Client, Launch, RawConnection, Server, TOKEN, eventually, free_ports, proc_fs};
use cache_service::routing::Router;
use serde_json::Value;
use std::net::SocketAddr;

fn topology(server: &Server) -> Value {
    server.client().get_path("/v1/topology").expect_status(200).json()
}

/// The ports of the cores, by their numbers.
fn ports(topology: &Value) -> Vec<u16> {
    let ports = topology["ports"].as_array().expect("there are ports");
    ports.iter().map(|port| port.as_u64().and_then(|port| port.try_into().ok()).expect("a port")).collect()
}

/// The router of the server, made from what it tells.
fn router(topology: &Value) -> Router {
    let half = |n: usize| u64::from_str_radix(topology["seed"][n].as_str().expect("text"), 16).expect("64 bits");
    Router::new(topology["shards"].as_u64().expect("a number") as u16, [half(0), half(1)])
}

fn on_port(port: u16) -> Client {
    Client::new(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn counted(server: &Server, name: &str) -> Vec<f64> {
    server.metrics().all(name).into_iter().map(|(_, count)| count).collect()
}

#[test]
fn the_topology_is_told_to_who_has_a_token_even_where_reads_need_none() {
    let server = Server::start(&[("SHARDS", "3"), ("READ_REQUIRES_AUTH", "false")]);
    let answer = server.client().get_path("/v1/topology").expect_status(200);
    assert_eq!(answer.required("Cache-Control"), "no-store");
    let told: Value = answer.json();
    assert_eq!(told["shards"], 3);
    assert_eq!(told["hash"], "siphash-1-3");
    assert_eq!(told["owner"], "((hash >> 32) * shards) >> 32");
    assert_eq!(told.get("ports"), None, "{told}");
    let seed: Vec<&str> = told["seed"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(seed.len() == 2 && seed.iter().all(|half| half.len() == 16), "{told}");
    assert_eq!(topology(&server), told, "every core tells the same");

    server.client_with(None).get_path("/v1/topology").expect_status(401);
    server.client_with(Some("wrong")).get_path("/v1/topology").expect_status(401);
    let head = Request { method: "HEAD", target: "/v1/topology", ..Request::default() };
    assert!(server.client().send(&head).expect_status(200).body.is_empty());
    server.client_with(None).send(&head).expect_status(401);
    server.client().post("/v1/topology", "{}").expect_status(405);
    assert_ne!(topology(&Server::with_shards(3))["seed"], told["seed"], "each start draws another seed");
}

#[test]
fn each_port_leads_to_its_own_core_and_serves_every_key() {
    let server = Server::start(&[("SHARDS", "4"), ("SHARD_PORTS_FROM", "0")]);
    let told = topology(&server);
    let (ports, router) = (ports(&told), router(&told));
    assert_eq!(ports.len(), 4);
    assert!(!ports.contains(&server.address().port()), "{ports:?}");
    for port in &ports {
        assert_eq!(proc_fs::listening_inodes(server.pid(), *port).len(), 1, "{port}");
    }
    let mut clients: Vec<Client> = ports.iter().map(|port| on_port(*port)).collect();
    let mut owned = vec![0.0; 4];
    for n in 0..400 {
        let key = format!("key-{n}");
        let owner = router.owner(router.hash(key.as_bytes())).index();
        clients[owner].put_value(&key, "1").expect_status(201);
        owned[owner] += 1.0;
    }
    assert_eq!(counted(&server, "cache_local_operations_total"), owned);
    assert_eq!(server.metrics().sum("cache_forwarded_requests_total"), 0.0);
    for client in &mut clients {
        client.get("key-7").expect_status(200);
        client.get_path("/readyz").expect_status(200);
        client.get_path("/v1/topology").expect_status(200);
    }
    assert_eq!(counted(&server, "cache_forwarded_requests_total").iter().filter(|count| **count == 1.0).count(), 3);
}

#[test]
fn ports_are_counted_from_the_one_that_is_set() {
    let from = free_ports(3);
    let server = Server::start(&[("SHARDS", "3"), ("SHARD_PORTS_FROM", &from.to_string())]);
    assert_eq!(ports(&topology(&server)), [from, from + 1, from + 2]);
    let line = server.log_line("where it listens", |line| line.contains("listening"));
    assert!(line.contains(&format!("{from}, {}, {}", from + 1, from + 2)), "{line}");
}

#[test]
fn what_is_in_flight_on_a_port_of_a_core_is_finished_and_nobody_else_gets_in() {
    let patient = ("REQUEST_TIMEOUT_MS", "60000");
    let mut server =
        Server::start(&[("SHARDS", "2"), ("SHARD_PORTS_FROM", "0"), ("SHUTDOWN_TIMEOUT_MS", "60000"), patient]);
    let ports = ports(&topology(&server));
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mut connection = RawConnection::open(address(ports[1]));
    connection.send(format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\n\
         Content-Length: 4\r\n\r\nab"
    ));
    eventually("the request is in flight", || (server.metrics().single("http_active_requests") >= 1.0).then_some(()));
    server.signal(libc::SIGTERM);
    for port in ports {
        eventually("newcomers are refused", || RawConnection::try_open(address(port)).is_err().then_some(()));
    }
    assert!(server.is_running(), "the server ended while a request was in flight");
    assert!(connection.exchange("cd").expect_status(201).closes());
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_server_that_was_killed_can_have_its_ports_again_at_once() {
    let common = free_ports(3);
    let (port, from) = (common.to_string(), (common + 1).to_string());
    let launch = Launch::new(&[("SHARDS", "2"), ("PORT", &port), ("SHARD_PORTS_FROM", &from)]);
    let server = launch.start();
    let mut kept: Vec<RawConnection> =
        ports(&topology(&server)).into_iter().map(|port| RawConnection::open(([127, 0, 0, 1], port).into())).collect();
    kept.iter_mut().for_each(RawConnection::assert_open);
    drop(server);
    on_port(*ports(&topology(&launch.start())).last().expect("two ports")).get("k").expect_status(404);
}
