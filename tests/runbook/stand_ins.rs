//! The commands of the page that cannot be themselves in a test. Each refuses what it does not know, so that a new command
//! in the page is noticed. All else that the page calls is the real thing.

use crate::machine::{Inner, write_program};
use crate::{repository, tools};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Weak};

/// Those that ask the test what to do.
const ASKING: [&str; 7] = ["cargo", "docker", "docker-compose", "journalctl", "pgrep", "sysctl", "systemctl"];
/// What they are: they hand over where they are and what they are asked, and do as they are told.
const ASK: &str = r#"#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\0' "$#" "$PWD" "${0##*/}" "$@" >&3
read -r code <&3
cat <&3
exit "$code"
"#;
/// Looks once, where the real one looks until it is interrupted.
const WATCH: &str = r#"#!/bin/bash
[[ $# -eq 3 && $1 == -n && $2 =~ ^[0-9]+$ ]] || { echo "watch $*: not expected"; exit 2; }
exec bash -euo pipefail -c "$3"
"#;
/// The real one, but that this machine's own record of rotations is left alone.
const LOGROTATE: &str = r#"#!/bin/bash
PATH=$PATH:/usr/sbin exec -a logrotate "$(PATH=/usr/sbin:/usr/bin command -v logrotate)" --state ROOT/logrotate.state "$@"
"#;
/// The installed server. Its latencies are not judged: it is not built for speed, and the machine is busy with other tests.
const SERVER: &str = r#"#!/bin/bash
[[ ${1-} == load-smoke ]] && set -- "$@" --p95-ms 60000
exec ROOT/usr/local/bin/cache-service "$@"
"#;
/// What an answer is.
type Answer = Result<String, String>;

/// A call of a stand-in.
struct Call {
    folder: String,
    program: String,
    arguments: Vec<String>,
}

/// Puts the stand-ins into a folder of the machine, and answers them for as long as the machine is there.
pub fn lay_out(machine: &Arc<Inner>) {
    let folder = machine.path("/stand-ins");
    fs::create_dir(&folder).expect("a folder");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    for program in ASKING {
        write_program(&folder.join(program), &ASK.replace("PORT", &port));
    }
    let root = machine.root().display().to_string();
    for (program, text) in [("watch", WATCH), ("logrotate", LOGROTATE), ("cache-service", SERVER)] {
        write_program(&folder.join(program), &text.replace("ROOT", &root));
    }
    let machine = Arc::downgrade(machine);
    std::thread::spawn(move || answer_all(&listener, &machine));
}

fn answer_all(listener: &TcpListener, machine: &Weak<Inner>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let Some(machine) = machine.upgrade() else { return };
        // Who goes without waiting for the answer has no use for it.
        drop(answer_one(stream, &machine));
    }
}

fn answer_one(mut stream: TcpStream, machine: &Inner) -> std::io::Result<()> {
    let call = read_call(&stream)?;
    let (code, text) = match answer(machine, &call) {
        Ok(text) => (0, text),
        Err(text) => (1, format!("{} {}: {text}\n", call.program, call.arguments.join(" "))),
    };
    write!(stream, "{code}\n{text}")
}

fn read_call(stream: &TcpStream) -> std::io::Result<Call> {
    let mut reader = BufReader::new(stream);
    let mut word = || {
        let mut bytes = Vec::new();
        reader.read_until(0, &mut bytes)?;
        bytes.pop();
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let count: usize = word()?.parse().map_err(std::io::Error::other)?;
    let (folder, program) = (word()?, word()?);
    let arguments = (0..count).map(|_| word()).collect::<Result<_, _>>()?;
    Ok(Call { folder, program, arguments })
}

fn answer(machine: &Inner, call: &Call) -> Answer {
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let folder = Path::new(&call.folder);
    match call.program.as_str() {
        "systemctl" => systemctl(machine, &arguments),
        "journalctl" => journalctl(machine, &arguments),
        "pgrep" if arguments == ["-x", "cache-service"] => {
            machine.pid().map(|pid| format!("{pid}\n")).ok_or_else(String::new)
        }
        "sysctl" => sysctl(machine, &arguments),
        "cargo" => cargo(folder, &arguments),
        "docker" => docker(folder, &arguments),
        "docker-compose" => docker_compose(folder, &arguments),
        _ => Err("not expected".to_owned()),
    }
}

fn systemctl(machine: &Inner, arguments: &[&str]) -> Answer {
    let silent = |result: Result<(), String>| result.map(|()| String::new());
    match arguments {
        ["restart", "cache-service"] => silent(machine.stop().and_then(|()| machine.start())),
        ["start", "cache-service"] => silent(machine.start()),
        ["stop", "cache-service"] => silent(machine.stop()),
        ["reload", "cache-service"] => silent(machine.reload()),
        ["is-active", "--quiet", "cache-service.service"] => {
            machine.pid().map(|_| String::new()).ok_or_else(|| "inactive".to_owned())
        }
        ["kill", "--kill-whom=main", "--signal=HUP", "cache-service.service"] => silent(machine.signal(libc::SIGHUP)),
        ["daemon-reload"] => {
            let said = machine.verify_unit();
            if said.is_empty() { Ok(said) } else { Err(said) }
        }
        ["status", "cache-service", "--no-pager"] => match machine.pid() {
            Some(pid) => Ok(format!("     Active: active (running)\n   Main PID: {pid} (cache-service)\n")),
            None => Err("inactive (dead)".to_owned()),
        },
        ["show", "cache-service", properties @ ..] => show(machine, properties),
        _ => Err("not expected".to_owned()),
    }
}

/// Properties as `-p NAME -p NAME`.
fn show(machine: &Inner, properties: &[&str]) -> Answer {
    let line = |pair: &[&str]| match pair {
        ["-p", "Result"] => Ok(format!("Result={}\n", if machine.pid().is_some() { "success" } else { "exit-code" })),
        ["-p", "ExecMainStatus"] => {
            // Of a server that runs it is 0.
            let code = machine.ended().filter(|_| machine.pid().is_none()).and_then(|status| status.code());
            Ok(format!("ExecMainStatus={}\n", code.unwrap_or_default()))
        }
        ["-p", "NRestarts"] => Ok("NRestarts=0\n".to_owned()),
        _ => Err("not expected".to_owned()),
    };
    properties.chunks(2).map(line).collect()
}

fn journalctl(machine: &Inner, arguments: &[&str]) -> Answer {
    let ["-u", "cache-service", "-n", count, "--no-pager"] = arguments else { return Err("not expected".to_owned()) };
    let count: usize = count.parse().map_err(|_| "not a number".to_owned())?;
    let journal = machine.journal();
    let lines: Vec<&str> = journal.lines().collect();
    Ok(lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("{line}\n")).collect())
}

/// Changes nothing of this machine's kernel: tells what the installed file has for it.
fn sysctl(machine: &Inner, arguments: &[&str]) -> Answer {
    let file = machine.path("/usr/local/lib/sysctl.d/60-cache-service.conf");
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let settings: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if arguments == ["--system"] {
        return Ok(settings.iter().map(|line| format!("{line}\n")).collect());
    }
    let of_name = |name: &&str| settings.iter().find(|line| line.split(" = ").next() == Some(name));
    arguments
        .iter()
        .map(|name| Some(format!("{}\n", of_name(name)?)))
        .collect::<Option<_>>()
        .ok_or("not expected".into())
}

/// Builds nothing: the server that these tests were built with is put where cargo would put one.
fn cargo(folder: &Path, arguments: &[&str]) -> Answer {
    if arguments != ["build", "--release", "--locked"] || !folder.join("Cargo.toml").exists() {
        return Err("not expected".to_owned());
    }
    let target = folder.join("target/release");
    let copied = fs::create_dir_all(&target)
        .and_then(|()| fs::copy(env!("CARGO_BIN_EXE_cache-service"), target.join("cache-service")));
    copied.map(|_| String::new()).map_err(|error| error.to_string())
}

fn docker(folder: &Path, arguments: &[&str]) -> Answer {
    match arguments {
        ["ps", "-a"] => {
            let lines = services(folder)?.into_iter().map(|service| format!("0123456789ab   {service}   Up 2 hours\n"));
            Ok(lines.collect())
        }
        ["build", "-t", "cache-service", "."] if folder.join("Dockerfile").exists() => Ok(String::new()),
        _ => Err("not expected".to_owned()),
    }
}

fn docker_compose(folder: &Path, arguments: &[&str]) -> Answer {
    let services = services(folder)?;
    let of = match arguments {
        ["ps" | "down" | "build"] | ["up", "-d"] => return Ok(String::new()),
        ["logs", tail, service] if tail.starts_with("--tail=") => service,
        ["restart", service] | ["up", "-d", "--no-deps", service] | ["kill", "-s", "HUP", service] => service,
        _ => return Err("not expected".to_owned()),
    };
    if services.iter().any(|service| service == of) {
        Ok(String::new())
    } else {
        Err(format!("there are {services:?}"))
    }
}

/// The services of the Compose file in a folder, as Compose itself reads it.
fn services(folder: &Path) -> Result<Vec<String>, String> {
    let mut command = tools::command("docker-compose");
    let output =
        command.args(["config", "--services"]).current_dir(folder).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What the operator has a clone of.
const CLONED: [&str; 8] =
    ["Cargo.toml", "Dockerfile", "docker-compose.yml", "README.md", "container", "docs", "monitoring", "systemd"];

/// Makes the clone `~/cache-service`, and a newer version where it is from.
pub fn lay_out_clone(machine: &Inner) {
    let (origin, home) = (machine.path("/origin"), machine.path("/home"));
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false"]);
        command.args(arguments).current_dir(folder).env("HOME", machine.path("/home"));
        tools::succeed(command);
    };
    fs::create_dir(&origin).expect("a folder");
    git(&origin, &["init", "--quiet", "--initial-branch=main"]);
    for name in CLONED {
        let mut copy = Command::new("cp");
        tools::succeed({
            copy.arg("--recursive").arg(repository(name)).arg(&origin);
            copy
        });
    }
    // A developer may have made one here.
    drop(fs::remove_file(origin.join("container/api-token")));
    git(&origin, &["add", "--all"]);
    git(&origin, &["commit", "--quiet", "--message=The version that runs"]);
    git(&home, &["clone", "--quiet", &origin.display().to_string(), "cache-service"]);
    fs::write(home.join("cache-service/container/api-token"), "a-token\n").expect("a file");
    fs::write(origin.join("CHANGELOG.md"), "Newer.\n").expect("a file");
    git(&origin, &["add", "--all"]);
    git(&origin, &["commit", "--quiet", "--message=A newer version"]);
}

#[test]
fn what_is_not_known_is_refused() {
    let machine = crate::machine::Machine::new("SHARDS=1\nMEMORY_BUDGET_BYTES=64MiB\n");
    let path = format!("{}:{}", machine.path("/stand-ins").display(), std::env::var("PATH").expect("there is a PATH"));
    let run = |line: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(repository("")).env("PATH", &path);
        command.output().expect("bash can be started")
    };
    for known in ["systemctl status cache-service --no-pager", "docker-compose logs --tail=5 cache-service"] {
        let output = run(known);
        assert!(output.status.success(), "{known}: {output:?}");
    }
    for unknown in [
        "systemctl mask cache-service",
        "systemctl restart cache",
        "journalctl -f",
        "pgrep cache-service",
        "sysctl -w net.core.somaxconn=1",
        "sysctl net.core.no_such_thing",
        "cargo build",
        "docker system prune",
        "docker-compose logs --tail=5 no-such-service",
        "watch true",
    ] {
        let output = run(unknown);
        assert!(!output.status.success(), "{unknown}: {output:?}");
    }
}
