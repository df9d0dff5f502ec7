//! Every block of the page, in order, and what must be true once the section has been done.

use crate::document::{self, Block};
use crate::machine::{Machine, SETTINGS};
use crate::shell::Shell;
use crate::support::metrics::Metrics;
use crate::support::{Client, eventually, eventually_equal, proc_fs};
use crate::{files, stand_ins};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// What the machine is given besides its defaults: something that differs where it matters.
const SETTINGS_OF_OWN: &str = "SHARDS=2\nMEMORY_BUDGET_BYTES=256MiB\n";
/// Sections whose steps restart the server; nothing else may.
const RESTARTING: [&str; 4] =
    ["Deploy and verify", "CPU and memory", "Ports for clients that choose their core", "Service outage"];
/// Entries that the server has at the beginning of each section, besides a greeting.
const ENTRIES: usize = 300;
/// Bytes of each.
const ENTRY_BYTES: usize = 30_000;

/// What was so before the section.
struct Before {
    tokens: Vec<String>,
    entries: f64,
    memory: f64,
    pid: u32,
}

fn metrics(machine: &Machine) -> Metrics {
    Metrics::scrape(machine.address())
}

fn status_with(machine: &Machine, token: &str) -> u16 {
    Client::with_token(machine.address(), Some(token)).get_path("/v1/admin/slowlog").status
}

/// A machine that has been at work: requests, refusals, a reload that went wrong.
fn lived_in() -> Machine {
    let machine = Machine::new(SETTINGS_OF_OWN);
    stand_ins::lay_out_clone(&machine);
    own_logrotate(&machine);
    Client::with_token(machine.address(), Some("stale")).delete("greeting").expect_status(401);
    let good = fs::read_to_string(machine.path(SETTINGS)).expect("the settings");
    fs::write(machine.path(SETTINGS), format!("{good}MAX_INFLIGHT=many\n")).expect("a file");
    machine.reload().expect_err("a mistake has the reload fail");
    machine.signal(libc::SIGHUP).expect("the server runs");
    machine.await_log("refused; nothing has changed");
    fs::write(machine.path(SETTINGS), good).expect("a file");
    machine.await_log("auth failed");
    machine
}

/// Has the log belong to who runs the test, and not to users that are made by an installation as root.
fn own_logrotate(machine: &Machine) {
    let path = machine.path("/etc/logrotate.d/cache-service");
    let rules = fs::read_to_string(&path).expect("the rules are installed");
    let name = |option: &str| {
        let mut command = crate::tools::command("id");
        command.args([option, "--name"]);
        String::from_utf8_lossy(&crate::tools::succeed(command).stdout).trim().to_owned()
    };
    let (user, group) = (name("--user"), name("--group"));
    let rules = machine
        .here(&rules)
        .replace("su cache-service adm", &format!("su {user} {group}"))
        .replace("create 0640 cache-service adm", &format!("create 0640 {user} {group}"));
    assert!(!rules.contains(" adm"), "{rules}");
    fs::write(path, rules).expect("a file");
}

fn shell(machine: &Machine) -> Shell {
    let path = std::env::var("PATH").expect("there is a PATH");
    let path = format!("{}:{path}:/usr/sbin:/sbin", machine.path("/stand-ins").display());
    let home = machine.path("/home");
    let variables = [
        ("PATH", path),
        ("HOME", home.display().to_string()),
        ("TERM", "dumb".to_owned()),
        // `systemd/install` then touches this folder only.
        ("DESTDIR", machine.root().display().to_string()),
    ];
    Shell::start(&home, &variables)
}

/// Gives the server something to lose.
fn fill(machine: &Machine) -> Before {
    let mut client = machine.client();
    client.put_value("greeting", "\"hello\"");
    if metrics(machine).sum("cache_entries_total") < ENTRIES as f64 {
        let value = format!("\"{}\"", "v".repeat(ENTRY_BYTES));
        for n in 0..ENTRIES {
            let status = client.put_value(&format!("entry-{n}"), &value).status;
            assert!(matches!(status, 200 | 201), "PUT is answered {status}");
        }
    }
    let metrics = metrics(machine);
    Before {
        tokens: machine.tokens(),
        entries: metrics.sum("cache_entries_total"),
        memory: metrics.sum("cache_memory_bytes"),
        pid: machine.pid().expect("the server runs"),
    }
}

fn run(machine: &Machine, shell: &mut Shell, block: &Block) -> Result<(), String> {
    match block.language.as_str() {
        "bash" => shell.run(&machine.here(&block.text)).map(drop),
        "toml" => files::toml(machine, block),
        "ini" => files::ini(machine, block),
        "yaml" => files::yaml(machine, block),
        // Asked by tests/monitoring.
        "promql" => Ok(()),
        other => Err(format!("nobody executes {other}")),
    }
}

/// What must be true after a section; `false` if there is nothing to say about it.
#[track_caller]
fn check(heading: &str, machine: &Machine, before: &Before) -> bool {
    match heading {
        "Log lines dropped" => {
            machine.client().get("greeting").expect_status(200);
            assert!(!machine.log().contains(r#""message":"request""#), "no request is logged at this level");
        }
        "Deploy and verify" => {
            assert!(machine.path("/home/cache-service/CHANGELOG.md").exists(), "the newer version was not pulled");
            assert!(
                metrics(machine).sum("cache_entries_total") < 10.0,
                "a new process is empty, up to load-smoke's keys"
            );
        }
        "Change the configuration" => {
            assert!(machine.log().contains(r#""level":"debug","message":"request""#), "debug was not in force");
            // From the signal on it is not any more.
            eventually("requests are not logged any more", || {
                let lines = machine.log().matches(r#""message":"request""#).count();
                machine.client().get("greeting").expect_status(200);
                std::thread::sleep(std::time::Duration::from_millis(50));
                (machine.log().matches(r#""message":"request""#).count() == lines).then_some(())
            });
        }
        "Rotate a token" | "A token has leaked" => {
            let [new] = &machine.tokens()[..] else { panic!("{:?}", machine.tokens()) };
            assert_ne!(before.tokens, std::slice::from_ref(new));
            assert_eq!(before.tokens.iter().map(|old| status_with(machine, old)).collect::<Vec<_>>(), [401]);
            assert_eq!(status_with(machine, new), 200);
            assert_eq!(metrics(machine).sum("cache_entries_total"), before.entries, "entries are lost");
        }
        "Memory exhaustion" => {
            let budget = before.memory / 2.0;
            eventually("the memory is below the new budget", || {
                let metrics = metrics(machine);
                (metrics.sum("cache_memory_bytes") <= budget && metrics.sum("cache_evictions_total") > 0.0)
                    .then_some(())
            });
            let metrics = metrics(machine);
            // What connections and operators' pages take has changed a little in between.
            let new = metrics.single("memory_budget_bytes");
            assert!((new / budget - 1.0).abs() < 0.1, "{new} is not half of {}", before.memory);
            assert!(metrics.sum("cache_entries_total") > 10.0, "eviction goes too far");
        }
        "Rotate the log" => {
            let rotated = machine.path("/var/log/cache-service/cache-service.log.1");
            let lines = |text: &str| text.matches("auth failed").count();
            let old = fs::read_to_string(&rotated).expect("the log was rotated");
            Client::with_token(machine.address(), None).delete("greeting").expect_status(401);
            eventually_equal("refusals in the new file", &1, || lines(&machine.log()));
            assert_eq!(fs::read_to_string(&rotated).expect("it is still there"), old, "the old file grows");
        }
        "Back up the configuration" => {
            let home = machine.path("/home");
            let mut list = crate::tools::command("tar");
            list.arg("--list").arg("--file").arg(home.join("cache-config.tar.gz"));
            let list = String::from_utf8_lossy(&crate::tools::succeed(list).stdout).into_owned();
            for name in ["api-token", "cache-service.env", "logrotate.d/cache-service"] {
                assert!(list.lines().any(|line| line.ends_with(name)), "{name} is not in the archive: {list}");
            }
            let mode = fs::metadata(home.join("cache-config.tar.gz")).expect("the archive").permissions().mode();
            assert_eq!(mode & 0o077, 0, "others can read the tokens in the archive");
            let settings = fs::read_to_string(home.join("cache-config.txt")).expect("the settings");
            let leaked = machine.tokens().iter().any(|token| settings.contains(token));
            assert!(settings.contains("MEMORY_BUDGET_BYTES") && !leaked, "{settings}");
        }
        "Containers" => {
            let tokens = fs::read_to_string(machine.path("/home/cache-service/container/api-token")).expect("tokens");
            let tokens: Vec<&str> = tokens.lines().collect();
            assert!(matches!(tokens[..], ["a-token", new] if new.len() == 64), "{tokens:?}");
        }
        "CPU and memory" => {
            let cores = proc_fs::threads(machine.pid().expect("the server runs"));
            let cores = cores.iter().filter(|thread| thread.name.starts_with("core-"));
            assert!(cores.into_iter().all(|core| core.cpus.len() == 1), "a core is not pinned");
        }
        _ => return false,
    }
    true
}

#[test]
fn every_step_does_what_the_page_says() {
    let blocks = document::blocks(&document::text());
    let machine = lived_in();
    let mut shell = shell(&machine);
    let (mut checked, mut restarted) = (BTreeSet::new(), BTreeSet::new());
    for section in blocks.chunk_by(|one, other| one.heading == other.heading) {
        let heading = section[0].heading.as_str();
        let (before, starts) = (fill(&machine), machine.starts());
        for block in section {
            let result = run(&machine, &mut shell, block);
            if let Err(why) = result {
                panic!(
                    "docs/runbook.md:{}, {heading}:\n{}---\n{why}\n--- the log ends with:\n{}--- the journal:\n{}",
                    block.line,
                    block.text,
                    machine.log().lines().rev().take(10).map(|line| format!("{line}\n")).collect::<String>(),
                    machine.journal(),
                );
            }
        }
        if check(heading, &machine, &before) {
            checked.insert(heading);
        }
        if machine.starts() > starts {
            restarted.insert(heading);
        } else {
            assert_eq!(machine.pid(), Some(before.pid), "{heading}: another process");
        }
    }
    assert_eq!(restarted, BTreeSet::from(RESTARTING));
    assert_eq!(checked.len(), 10, "a section that is checked here has another name now: {checked:?}");
    assert!(machine.reloads() >= 8, "{} reloads", machine.reloads());
}
