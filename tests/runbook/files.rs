//! Blocks that are files: each is put where the page says, and read by who will read it.

use crate::document::Block;
use crate::machine::Machine;
use crate::tools;
use std::fs;
use std::process::Output;

/// Has the server check a TOML file.
fn check_config(machine: &Machine, text: &str) -> Output {
    let file = machine.root().join("config.toml");
    fs::write(&file, text).expect("a file");
    let mut command = tools::command("env");
    command.args(["--ignore-environment"]).arg(machine.path("/usr/local/bin/cache-service"));
    command.arg("check-config").arg("--config").arg(file).output().expect("the server can be started")
}

/// What is wrong with the server's configuration as the page writes it.
pub fn toml(machine: &Machine, block: &Block) -> Result<(), String> {
    let output = check_config(machine, &block.text);
    // Whether a wrong name would be noticed at all.
    let unknown = check_config(machine, &format!("{}no_such_setting = 1\n", block.text));
    if unknown.status.code() != Some(78) {
        return Err(format!("a setting that does not exist is accepted: {unknown:?}"));
    }
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The file that the first line names.
fn named(block: &Block) -> Result<&str, String> {
    let first = block.text.lines().next().unwrap_or_default();
    first.strip_prefix("# ").ok_or_else(|| format!("does not begin with the name of its file: {first}"))
}

/// A drop-in of the unit: systemd's checker reads it with the unit.
pub fn ini(machine: &Machine, block: &Block) -> Result<(), String> {
    let path = named(block)?;
    if !path.starts_with("/etc/systemd/system/cache-service.service.d/") || !path.ends_with(".conf") {
        return Err(format!("{path} is no drop-in of the unit"));
    }
    let file = machine.path(path);
    fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder");
    fs::write(&file, block.text.replace('=', "NoSuchName=")).expect("a file");
    if machine.verify_unit().is_empty() {
        return Err("settings that do not exist are accepted".to_owned());
    }
    fs::write(&file, &block.text).expect("a file");
    let said = machine.verify_unit();
    if said.is_empty() { Ok(()) } else { Err(said) }
}

/// A further file of Compose, which reads it with ours.
pub fn yaml(machine: &Machine, block: &Block) -> Result<(), String> {
    let name = named(block)?;
    let folder = machine.path("/home/cache-service");
    fs::write(folder.join(name), &block.text).expect("a file");
    let mut command = tools::command("docker-compose");
    command.args(["--file", "docker-compose.yml", "--file", name, "config", "--quiet"]).current_dir(folder);
    let output = command.output().expect("docker-compose can be started");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
