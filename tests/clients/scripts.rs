//! Each client goes through the contract as its own users would use it, over connections that it keeps alive.
//!
//! Four shards, so that most keys live on another core than the connection, whatever the machine has.

use crate::support::{Server, TOKEN};
use crate::tools;
use std::process::Command;

/// Size of the large values that are sent both ways, in MiB.
const LARGE_MIB: &str = "20";

#[track_caller]
fn run(program: &str, script: &str) {
    let server = start();
    tools::succeed(client(program, script, &server));
}

fn start() -> Server {
    Server::start(&[("SHARDS", "4"), ("MEMORY_BUDGET_BYTES", "1073741824"), ("SHARD_PORTS_FROM", "0")])
}

fn client(program: &str, script: &str, server: &Server) -> Command {
    let mut command = tools::command(program);
    command.arg(format!("{}/tests/clients/scripts/{script}", env!("CARGO_MANIFEST_DIR")));
    command.env("CACHE_URL", format!("http://{}", server.address()));
    command.env("CACHE_TOKEN", TOKEN).env("LARGE_MIB", LARGE_MIB).env("CACHE_PID", server.pid().to_string());
    // Nothing is to be written beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
fn curl_goes_through_the_contract() {
    run("bash", "curl.sh");
}

#[test]
fn python_requests_goes_through_the_contract() {
    run("python", "requests_client.py");
}

#[test]
fn python_httpx_goes_through_the_contract() {
    run("python", "httpx_client.py");
}

#[test]
fn the_example_of_a_shard_aware_client_causes_no_hop() {
    let (server, other) = (start(), start());
    let mut command = client("python", "shard_aware_client.py", &server);
    command.env("CACHE_OTHER_URL", format!("http://{}", other.address()));
    tools::succeed(command);
}

#[test]
fn node_fetch_goes_through_the_contract() {
    run("node", "fetch.mjs");
}

#[test]
fn a_browser_reads_the_page_and_tries_the_api_on_it() {
    run("node", "browser.mjs");
}

/// With `SCREENSHOTS=DIRECTORY`, pictures of the page are left there.
#[test]
fn a_browser_watches_the_server_on_the_dashboard() {
    run("node", "dashboard.mjs");
}
