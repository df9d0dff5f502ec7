//! A real Prometheus with a copy of our configuration, which scrapes one server each second.

use crate::support::PATIENCE;
use crate::{repository, text_of, tools};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the copy of the configuration says instead, so that a test takes seconds.
const REPLACED: [(&str, &str); 3] = [
    ("scrape_interval: 15s", "scrape_interval: 1s"),
    ("scrape_timeout: 10s", "scrape_timeout: 1s"),
    ("evaluation_interval: 15s", "evaluation_interval: 1s"),
];
/// The target in the configuration.
const TARGET: &str = "[\"localhost:8080\"]";
/// How many free ports are tried: somebody else may take one between our finding it and Prometheus' taking it.
const STARTS_MAX: usize = 5;

/// Runs until it is dropped.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// With what it wrote, if it does not.
    #[track_caller]
    pub fn start(server: SocketAddr) -> Self {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            let mut prometheus = Self::spawn(server);
            if prometheus.becomes_ready() {
                return prometheus;
            }
            said = prometheus.log();
        }
        panic!("Prometheus does not start:\n{said}");
    }

    fn spawn(server: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder to work in");
        configure(folder.path(), server);
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("there is a free port");
        let log = File::create(folder.path().join("log")).expect("a file can be made");
        let mut command = tools::command("prometheus");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("prometheus can be started");
        Self { child, address, folder }
    }

    /// False if it ends instead.
    fn becomes_ready(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.child.try_wait().expect("the child can be waited for").is_some() {
                return false;
            }
            if self.ask("/-/ready", &[]).is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The answer to a GET, if one comes, whatever its status.
    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Vec<u8>> {
        let mut command = tools::command("curl");
        command.args(["--silent", "--noproxy", "*", "--max-time", "10", "--get"]);
        for (name, value) in parameters {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let output = command.arg(format!("http://{}{path}", self.address)).output().expect("curl can be started");
        output.status.success().then_some(output.stdout)
    }

    /// The `data` of an answer of its API, or the error that it names.
    #[track_caller]
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let text = self.ask(path, parameters).unwrap_or_else(|| panic!("no answer:\n{}", self.log()));
        let mut answer: Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// The values of an expression now, those that are no number as well; or why it has none.
    #[track_caller]
    pub fn values(&self, expression: &str) -> Result<Vec<f64>, String> {
        let data = self.api("/api/v1/query", &[("query", expression)])?;
        let series = data["result"].as_array().ok_or("not a vector")?;
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        series.iter().map(|series| value(series).ok_or_else(|| format!("no value: {series}"))).collect()
    }

    /// Waits until it has scraped the server so many more times, without a failure.
    #[track_caller]
    pub fn wait_for_scrapes(&self, count: usize) {
        let scrapes =
            || self.values("sum_over_time(up{job=\"cache-service\"}[5m])").unwrap_or_default().iter().sum::<f64>();
        let (wanted, started) = (scrapes() + count as f64, Instant::now());
        while scrapes() < wanted {
            assert!(started.elapsed() < 2 * PATIENCE, "not scraped {count} times:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either fails only if it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Our configuration and rules in a folder, with what [`REPLACED`] says and the server as the target.
#[track_caller]
fn configure(folder: &Path, server: SocketAddr) {
    let mut text = text_of("monitoring/prometheus.yml");
    let target = format!("[\"{server}\"]");
    for (from, to) in REPLACED.into_iter().chain([(TARGET, target.as_str())]) {
        assert_eq!(text.matches(from).count(), 1, "{from:?} is not in prometheus.yml exactly once");
        text = text.replace(from, to);
    }
    fs::write(folder.join("prometheus.yml"), text).expect("a file can be written");
    fs::create_dir(folder.join("rules")).expect("a folder can be made");
    for entry in fs::read_dir(repository("monitoring/rules")).expect("there are rules") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().expect("an entry has a name");
        fs::copy(&path, folder.join("rules").join(name)).expect("a file can be copied");
    }
}
