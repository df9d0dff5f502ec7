//! A place in which the runbook's commands find what they expect: a service, its files, and the tools around it.

use crate::tools;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const PATIENCE_SECS: &str = "60";

pub struct Scene {
    root: TempDir,
    port: u16,
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Scene {
    /// A service that was installed and started, with nothing in it.
    pub fn new() -> Self {
        // Has everything installed that the commands need.
        let mut compose = tools::command("docker-compose");
        compose.arg("version");
        tools::succeed(compose);
        let root = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
        let scene = Self { root, port: free.port() };
        for folder in ["bin", "tmp", "etc/cache-service", "var/log/cache-service"] {
            fs::create_dir_all(scene.path(folder)).expect("a directory");
        }
        scene.install();
        assert!(scene.run("systemctl start cache-service").status.success());
        let up = scene.run("timeout 30 bash -c 'until curl -sf http://localhost:8080/readyz; do sleep 0.1; done'");
        assert!(up.status.success(), "{up:?}\n{}", scene.journal());
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn install(&self) {
        let settings = fs::read_to_string(repository("systemd/cache-service.env")).expect("the template");
        let settings = self.placed(&settings).replace("#HOST=0.0.0.0", "HOST=127.0.0.1");
        let settings = settings.replace("#PORT=8080", &format!("PORT={}", self.port));
        let settings = settings.replace("#MEMORY_BUDGET_BYTES=", "MEMORY_BUDGET_BYTES=134217728");
        fs::write(self.path("etc/cache-service/cache-service.env"), settings).expect("a file");
        fs::write(self.path("etc/cache-service/api-token"), format!("{}\n", "0f".repeat(32))).expect("a file");
        let unit = fs::read_to_string(repository("systemd/cache-service.service")).expect("the unit");
        let program = self.path("bin/cache-service");
        let unit = self.placed(&unit).replace("/usr/local/bin/cache-service", program.to_str().expect("text"));
        fs::write(self.path("unit"), unit).expect("a file");
        symlink(env!("CARGO_BIN_EXE_cache-service"), program).expect("a link");
        for stand_in in ["systemctl", "docker-compose"] {
            symlink(repository(&format!("tests/runbook/{stand_in}")), self.path("bin").join(stand_in)).expect("a link");
        }
        self.script("pgrep", "[ \"$*\" = '-x cache-service' ] || exit 5\ncat \"$SCENE/pid\"");
        self.script(
            "journalctl",
            "[ \"$1 $2 $3\" = '-u cache-service -n' ] || exit 5\ntail -n \"$4\" \"$SCENE/journal\"",
        );
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).expect("a file");
        let executable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(path, executable).expect("permissions");
    }

    /// The text with addresses and places of this scene. Nothing else of a command is changed.
    fn placed(&self, text: &str) -> String {
        let root = self.root.path().display();
        text.replace("localhost:8080", &format!("127.0.0.1:{}", self.port))
            .replace("/etc/cache-service", &format!("{root}/etc/cache-service"))
            .replace("-C /etc ", &format!("-C {root}/etc "))
            .replace("/var/log/cache-service", &format!("{root}/var/log/cache-service"))
            .replace("/tmp/cache-service", &format!("{root}/tmp/cache-service"))
    }

    /// Runs a command as the document has it.
    pub fn run(&self, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command.args([PATIENCE_SECS, "bash", "-euo", "pipefail", "-c", &self.placed(script)]);
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", self.path("bin").display()));
        command.env("SCENE", self.root.path()).env("REPOSITORY", repository(""));
        command.current_dir(self.root.path());
        command.output().expect("bash can be run")
    }

    /// What the server has written besides its log.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.path("journal")).unwrap_or_default()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Fails only if the server has ended already.
        drop(self.run("kill -KILL \"$(cat \"$SCENE/pid\")\""));
    }
}
