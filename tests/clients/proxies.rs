//! A real nginx, a real HAProxy and a real Varnish in front of a server, each with connections upstream that it keeps and shares.

use crate::support::eventually;
use crate::tools;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

/// Who the proxies run as where the tests run as root: Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// Which proxy.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// nginx, HTTP/1.1 upstream, bodies passed on as they come.
    Nginx,
    /// HAProxy with `http-reuse always`.
    HaProxy,
    /// Varnish that keeps no answer of its own.
    Varnish,
}

/// A proxy in the foreground, which ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Proxy {
    /// Starts a proxy that keeps up to `upstream_connections` open to the server at `upstream`, and waits for a silent
    /// client for so long as `idle`.
    #[track_caller]
    pub fn start(kind: Kind, upstream: SocketAddr, upstream_connections: usize, idle: Duration) -> Self {
        let directory = TempDir::new().expect("a directory for temporary files");
        let address = free_address();
        let idle_ms = idle.as_millis();
        let settings = Settings { directory: directory.path(), address, upstream, upstream_connections, idle_ms };
        let config = directory.path().join("proxy.conf");
        let mut command = match kind {
            Kind::Nginx => settings.nginx(&config),
            Kind::HaProxy => settings.haproxy(&config),
            Kind::Varnish => settings.varnish(&config),
        };
        run_as_nobody(&mut command, directory.path());
        let log = fs::File::create(directory.path().join("stderr")).expect("a file can be made");
        command.stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut proxy = Self { child, address, directory };
        eventually("the proxy listens", || {
            let ended = proxy.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "{kind:?} ended ({ended:?}):\n{}", proxy.log());
            TcpStream::connect(address).ok()
        });
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("process IDs fit");
        // SIGTERM and not SIGKILL: nginx ends its workers then.
        // SAFETY: kill takes plain numbers; the child has not been waited for, so its ID is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the proxy wrote:\n{}---", self.log());
        }
    }
}

/// What goes into a proxy's configuration.
struct Settings<'a> {
    directory: &'a Path,
    address: SocketAddr,
    upstream: SocketAddr,
    upstream_connections: usize,
    idle_ms: u128,
}

impl Settings<'_> {
    fn nginx(&self, config: &Path) -> Command {
        let Self { directory, address, upstream, upstream_connections, idle_ms } = self;
        let directory = directory.display();
        let text = format!(
            "daemon off;
            worker_processes 1;
            error_log stderr warn;
            pid {directory}/pid;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                client_body_temp_path {directory}/body;
                proxy_temp_path {directory}/proxy;
                fastcgi_temp_path {directory}/fastcgi;
                uwsgi_temp_path {directory}/uwsgi;
                scgi_temp_path {directory}/scgi;
                client_max_body_size 0;
                client_header_timeout {idle_ms}ms;
                client_body_timeout {idle_ms}ms;
                keepalive_timeout {idle_ms}ms;
                keepalive_requests 1000000;
                upstream cache {{
                    server {upstream};
                    keepalive {upstream_connections};
                    keepalive_requests 1000000;
                }}
                server {{
                    listen {address};
                    location / {{
                        proxy_pass http://cache;
                        proxy_http_version 1.1;
                        proxy_set_header Connection \"\";
                        proxy_request_buffering off;
                        proxy_next_upstream off;
                    }}
                }}
            }}
            "
        );
        fs::write(config, text).expect("a file can be written");
        let mut command = tools::command("nginx");
        command.arg("-c").arg(config).arg("-e").arg("stderr");
        command
    }

    fn haproxy(&self, config: &Path) -> Command {
        let Self { address, upstream, upstream_connections, idle_ms, .. } = self;
        let text = format!(
            "global
                nbthread 1
                maxconn 1000
            defaults
                mode http
                retries 0
                option http-keep-alive
                timeout connect 5s
                timeout client {idle_ms}ms
                timeout server 30s
            frontend front
                bind {address}
                default_backend cache
            backend cache
                http-reuse always
                server cache {upstream} maxconn {upstream_connections} pool-max-conn {upstream_connections}\n"
        );
        fs::write(config, text).expect("a file can be written");
        let mut command = tools::command("haproxy");
        // -db: in the foreground.
        command.arg("-db").arg("-f").arg(config);
        command
    }
}

impl Settings<'_> {
    /// Connections to a backend are taken from those that are idle, the latest first, so that clients one after the other
    /// share one.
    fn varnish(&self, config: &Path) -> Command {
        let Self { directory, address, upstream, idle_ms, .. } = self;
        let (host, port) = (upstream.ip(), upstream.port());
        let text = format!(
            "vcl 4.1;
            backend cache {{ .host = \"{host}\"; .port = \"{port}\"; }}
            sub vcl_recv {{ return (pass); }}\n"
        );
        fs::write(config, text).expect("a file can be written");
        let idle_secs = *idle_ms as f64 / 1_000.0;
        let mut command = tools::command("varnishd");
        // -F: in the foreground; -j none: it has no rights to give up.
        command.args(["-F", "-j", "none", "-s", "malloc,16m", "-a", &address.to_string()]);
        command.arg("-n").arg(directory.join("work")).arg("-f").arg(config);
        let set = |name: &str| format!("{name}={idle_secs}");
        command.args(["-p", &set("timeout_idle"), "-p", &set("timeout_linger"), "-p", &set("idle_send_timeout")]);
        command.env("TMPDIR", directory);
        command
    }
}

/// A proxy has no business with the rights of whoever runs the tests in a container.
fn run_as_nobody(command: &mut Command, directory: &Path) {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("root may give a directory away");
        for file in fs::read_dir(directory).expect("the directory is there").flatten() {
            chown(file.path(), Some(NOBODY), Some(NOBODY)).expect("root may give a file away");
        }
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// A port that nobody listens on: neither proxy takes port 0 and tells which one it became.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    listener.local_addr().expect("a listener has an address")
}
