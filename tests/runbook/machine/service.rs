//! What stands for systemd: it starts, stops and reloads the server as the installed unit says, and hears when it is ready.

use super::{Inner, UNIT, locked};
use crate::support::PATIENCE;
use crate::tools;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

impl Inner {
    /// The server's process ID, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut server = locked(&self.server);
        let child = server.child.as_mut()?;
        let pid = child.id();
        match child.try_wait().expect("the child can be waited for") {
            None => Some(pid),
            ended => {
                (server.ended, server.child) = (ended, None);
                None
            }
        }
    }

    /// How the last server ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        locked(&self.server).ended
    }

    pub fn starts(&self) -> usize {
        locked(&self.server).starts
    }

    pub fn reloads(&self) -> usize {
        locked(&self.server).reloads
    }

    /// The values of a setting of the installed unit, in order.
    fn unit(&self, name: &str) -> Vec<String> {
        let unit = fs::read_to_string(self.path(UNIT)).expect("the unit is installed");
        let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.map(|value| self.here(value)).collect()
    }

    /// A command line of the unit, whose output goes to the journal.
    fn command(&self, line: &str) -> Command {
        let pid = self.pid().map_or_else(String::new, |pid| pid.to_string());
        let words: Vec<String> = line.split_whitespace().map(|word| word.replace("$MAINPID", &pid)).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("NOTIFY_SOCKET", self.notify_path());
        let journal = || File::options().append(true).open(self.journal_path()).expect("the journal can be written to");
        command.stdin(Stdio::null()).stdout(journal()).stderr(journal());
        command
    }

    /// Waits for READY=1 beyond the first `heard` messages.
    fn await_ready(&self, heard: usize) -> Result<(), String> {
        let started = Instant::now();
        while !locked(&self.notified)[heard..].iter().any(|message| message.contains("READY=1")) {
            if self.pid().is_none() {
                return Err(format!("the server ended: {:?}", self.ended()));
            }
            if started.elapsed() > 2 * PATIENCE {
                return Err(format!("the server does not say that it is ready: {:?}", locked(&self.notified)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// `systemctl start`.
    pub fn start(&self) -> Result<(), String> {
        if self.pid().is_some() {
            return Ok(());
        }
        let [line] = &self.unit("ExecStart")[..] else { return Err("one ExecStart= is known here".to_owned()) };
        let heard = locked(&self.notified).len();
        let child = self.command(line).spawn().map_err(|error| format!("{line}: {error}"))?;
        {
            let mut server = locked(&self.server);
            (server.child, server.starts) = (Some(child), server.starts + 1);
        }
        self.await_ready(heard)
    }

    /// `systemctl stop`.
    pub fn stop(&self) -> Result<(), String> {
        self.signal(libc::SIGTERM)?;
        let seconds = self.unit("TimeoutStopSec").first().and_then(|seconds| seconds.parse().ok()).unwrap_or(90);
        let started = Instant::now();
        while self.pid().is_some() {
            if started.elapsed() > Duration::from_secs(seconds) {
                return Err("the server does not stop".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = self.ended().expect("it has ended");
        if ended.success() { Ok(()) } else { Err(format!("the server ended with {ended}")) }
    }

    /// `systemctl reload`: every ExecReload=, up to one that fails. The server tells when it has read its files; to wait for
    /// that keeps a busy machine from mattering.
    pub fn reload(&self) -> Result<(), String> {
        let heard = locked(&self.notified).len();
        for line in self.unit("ExecReload") {
            let status = self.command(&line).status().map_err(|error| format!("{line}: {error}"))?;
            if !status.success() {
                return Err(format!("{line}: {status}"));
            }
        }
        locked(&self.server).reloads += 1;
        self.await_ready(heard)
    }

    /// `systemctl kill`.
    pub fn signal(&self, signal: i32) -> Result<(), String> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).ok_or("the server does not run")?;
        // SAFETY: kill takes plain numbers; the child has not been waited for, so its ID is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        if sent == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    /// What systemd's own checker has to say of the unit with its drop-ins; nothing if all is well.
    pub fn verify_unit(&self) -> String {
        let folder = tempfile::tempdir_in(self.root()).expect("a folder to work in");
        let copy = |from: &Path, to: &Path| {
            let text = fs::read_to_string(from).expect("a file");
            // The documentation is installed elsewhere, and of what is in drop-ins paths stay as they are.
            fs::write(to, self.here(&text).replace("file:/usr", "file:///usr")).expect("a file");
        };
        copy(&self.path(UNIT), &folder.path().join("cache-service.service"));
        let drop_ins = folder.path().join("cache-service.service.d");
        fs::create_dir(&drop_ins).expect("a folder");
        for entry in fs::read_dir(self.path("/etc/systemd/system/cache-service.service.d")).into_iter().flatten() {
            let entry = entry.expect("an entry can be read");
            copy(&entry.path(), &drop_ins.join(entry.file_name()));
        }
        let mut command = tools::command("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(folder.path().join("cache-service.service"));
        let output = command.output().expect("systemd-analyze can be started");
        let failed = if output.status.success() { "" } else { "systemd-analyze fails" };
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat() + failed
    }
}

#[test]
fn a_wrong_unit_is_noticed() {
    let machine = crate::machine::Machine::new("SHARDS=1\nMEMORY_BUDGET_BYTES=64MiB\n");
    assert_eq!(machine.verify_unit(), "");
    let unit = fs::read_to_string(machine.path(UNIT)).expect("the unit");
    let with = |from: &str, to: &str| {
        assert!(unit.contains(from), "{from}");
        fs::write(machine.path(UNIT), unit.replace(from, to)).expect("a file");
    };
    with("ExecReload=/bin/kill -HUP $MAINPID", "ExecReload=/bin/kill -TERM $MAINPID");
    machine.reload().expect_err("the server is gone");
    with("--env-file /etc", "--env-file /no-such");
    machine.start().expect_err("there is no such file");
    with("WatchdogSec", "WatchdogSecs");
    assert!(machine.verify_unit().contains("WatchdogSecs"));
}
