//! The image and the compose file: that they agree with each other, with the server and with what is in the repository.

use crate::{file, read, tools};
use cache_service::config::settings::{ALL, Default, PORT};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use tempfile::TempDir;

/// Where the server is in the image.
const SERVER: &str = "/usr/local/bin/cache-service";
/// What the operator makes and the repository must not have.
const TOKEN_FILE: &str = "./container/api-token";
/// Settings that the compose file gives itself, or that are of no use in a container.
const NOT_PASSED_ON: [&str; 5] = ["HOST", "PORT", "API_TOKEN", "API_TOKEN_FILE", "LOG_FILE"];

/// A YAML file of this repository.
#[track_caller]
fn yaml(path: &str) -> Value {
    let mut command = tools::command("/usr/bin/python3");
    command.args(["-c", "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)"]);
    command.arg(file(path));
    serde_json::from_slice(&tools::succeed(command).stdout).expect("Python writes JSON")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The instructions of the Dockerfile, with continued lines joined.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What follows an instruction that is there once.
#[track_caller]
fn instruction(name: &str) -> String {
    let all = instructions();
    let found: Vec<_> = all.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
    let [only] = found[..] else { panic!("{name}: {found:?}") };
    only.to_owned()
}

#[test]
fn compose_accepts_its_file() {
    for profile in [&[][..], &["--profile", "monitoring"]] {
        let mut command = tools::command("docker-compose");
        command.arg("--file").arg(file("docker-compose.yml")).args(profile).args(["config", "--quiet"]);
        tools::succeed(command);
    }
}

#[test]
fn every_file_that_compose_names_is_there() {
    let compose = yaml("docker-compose.yml");
    let mut named = BTreeSet::new();
    for service in compose["services"].as_object().expect("there are services").values() {
        named.extend(service["build"].as_str().into_iter().map(|folder| format!("./{folder}/Dockerfile")));
        named.extend(
            strings(&service["security_opt"])
                .iter()
                .filter_map(|option| option.strip_prefix("seccomp:"))
                .map(str::to_owned),
        );
        let volumes = strings(&service["volumes"]);
        let sources = volumes.iter().filter_map(|volume| volume.split(':').next());
        named.extend(sources.filter(|source| source.starts_with('.')).map(str::to_owned));
    }
    for secret in compose["secrets"].as_object().expect("there are secrets").values() {
        named.extend(secret["file"].as_str().map(str::to_owned));
    }
    assert!(named.remove(TOKEN_FILE), "{named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !file(path).exists()).collect();
    assert!(missing.is_empty(), "docker-compose.yml names what is not there: {missing:?}");
    let ignored = [read(".gitignore"), read(".dockerignore")];
    assert!(
        ignored[0].contains("/container/api-token") && ignored[1].lines().any(|line| line == "container"),
        "a token leaks"
    );
}

#[test]
fn prometheus_and_grafana_find_each_other_and_what_they_show() {
    let services = &yaml("docker-compose.yml")["services"];
    let mounted = |service: &str, source: &str| {
        let volumes = strings(&services[service]["volumes"]);
        let target = volumes.iter().find_map(|volume| volume.strip_prefix(source)?.strip_prefix(':'));
        target.map(|target| target.trim_end_matches(":ro").to_owned())
    };
    let own = yaml("container/prometheus.yml");
    let beside = yaml("monitoring/prometheus.yml");
    let job = |config: &Value| config["scrape_configs"][0]["job_name"].clone();
    assert_eq!(job(&own), job(&beside), "rules and dashboard select the job by its name");
    assert_eq!(own["global"]["scrape_interval"], beside["global"]["scrape_interval"]);
    let target = own["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().expect("there is a target");
    let Default::Value(port) = PORT.default else { panic!("PORT has a default") };
    assert_eq!(target, format!("cache-service:{port}"));
    assert!(services["cache-service"].is_object());
    // Rule files are named relative to the configuration.
    let config = mounted("prometheus", "./container/prometheus.yml").expect("Prometheus has its configuration");
    let rules = mounted("prometheus", "./monitoring/rules").expect("Prometheus has the rules");
    assert_eq!((config.as_str(), rules.as_str()), ("/etc/prometheus/prometheus.yml", "/etc/prometheus/rules"));
    assert_eq!(strings(&own["rule_files"]), ["rules/*.yml"]);

    let dashboards = yaml("monitoring/grafana/provisioning/dashboards/cache-service.yml");
    let folder = dashboards["providers"][0]["options"]["path"].as_str().expect("dashboards are read from a folder");
    let dashboard = mounted("grafana", "./monitoring/grafana/dashboard.json").expect("Grafana has the dashboard");
    assert_eq!(dashboard, format!("{folder}/dashboard.json"));
    assert!(mounted("grafana", "./monitoring/grafana/provisioning").is_some(), "Grafana is told nothing");
    assert_eq!(services["grafana"]["environment"]["PROMETHEUS_URL"], "http://prometheus:9090");
}

#[test]
fn the_container_gets_what_the_server_needs_and_no_more() {
    let compose = yaml("docker-compose.yml");
    let service = &compose["services"]["cache-service"];
    assert_eq!(service["ulimits"]["memlock"], -1);
    assert_eq!(service["ulimits"]["nofile"], 1_048_576);
    assert_eq!(service["ulimits"]["core"], 0);
    let threads_max = u64::from(cache_service::limits::SHARDS_MAX) * 2 + 16;
    assert!(service["pids_limit"].as_u64().is_some_and(|limit| limit >= threads_max), "{service}");
    assert_eq!(strings(&service["cap_drop"]), ["ALL"]);
    assert_eq!(service["read_only"], true);
    assert!(strings(&service["security_opt"]).contains(&"no-new-privileges:true"), "{service}");
    let token = service["environment"]["API_TOKEN_FILE"].as_str().expect("the token's file is set");
    let secret = token.strip_prefix("/run/secrets/").expect("it is a secret");
    assert!(strings(&service["secrets"]).contains(&secret) && compose["secrets"][secret].is_object(), "{secret}");
    let Default::Value(port) = PORT.default else { panic!("PORT has a default") };
    assert_eq!(strings(&service["ports"]), [format!("127.0.0.1:{port}:{port}")]);

    let passed_on: BTreeSet<&str> = service["environment"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|name| !NOT_PASSED_ON.contains(name))
        .collect();
    let wanted: BTreeSet<&str> =
        ALL.iter().map(|setting| setting.name).filter(|name| !NOT_PASSED_ON.contains(name)).collect();
    assert_eq!(passed_on, wanted, "docker-compose.yml passes on every setting that makes sense there");
}

#[test]
fn the_image_is_built_as_the_documents_say_and_runs_the_server_as_nobody_in_particular() {
    let build = "cargo build --release --locked";
    assert!(instruction("RUN").contains(build), "{:?}", instructions());
    assert!(read("systemd/README.md").contains(build), "systemd/README.md builds it in another way");
    let mut copies = instructions();
    copies.retain(|line| line.starts_with("COPY --from="));
    assert!(copies.len() == 1 && copies[0].ends_with(&format!(" {SERVER}")), "{copies:?}");
    assert_eq!(instruction("HEALTHCHECK").split_once("CMD ").unwrap().1, format!(r#"["{SERVER}", "healthcheck"]"#));
    assert_eq!(instruction("ENTRYPOINT"), r#"["cache-service"]"#);
    assert_eq!(instruction("CMD"), r#"["serve"]"#);
    assert_eq!(instruction("STOPSIGNAL"), "SIGTERM");
    let Default::Value(port) = PORT.default else { panic!("PORT has a default") };
    assert_eq!(instruction("EXPOSE"), port);
    let user = instruction("USER");
    assert!(user.split(':').all(|id| id.parse().is_ok_and(|id: u32| id > 0)), "{user} is root, or a name");
    assert!(
        read("docker-compose.yml").contains(&format!("-o {} /dev/stdin", user.split(':').next().unwrap())),
        "{user}"
    );
    let compose = yaml("docker-compose.yml");
    let check = &compose["services"]["cache-service"]["healthcheck"]["test"];
    assert_eq!(strings(check), ["CMD", SERVER, "healthcheck"]);
}

#[test]
fn nothing_that_the_build_needs_is_kept_from_it() {
    // The context as Docker would see it, as far as .dockerignore has names of folders and files and no more than that.
    let context = TempDir::new().unwrap();
    let ignored = read(".dockerignore");
    let mut command = Command::new("tar");
    command.arg("--create").arg("--file").arg(context.path().join("tar")).arg("--directory").arg(file(""));
    for pattern in ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pattern = pattern.strip_prefix("**/").map_or_else(|| format!("./{pattern}"), str::to_owned);
        command.arg(format!("--exclude={pattern}"));
    }
    tools::succeed({
        command.arg(".");
        command
    });
    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--file").arg(context.path().join("tar")).arg("--directory").arg(context.path());
    tools::succeed(unpack);
    for left_out in [".git", "target", "tests", "container", "systemd"] {
        assert!(!context.path().join(left_out).exists(), "{left_out} is in the context");
    }
    // Cargo tells what every target is built from.
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(context.path());
    let output = tools::succeed(metadata);
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let root =
        metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "cache-service").unwrap();
    for target in root["targets"].as_array().unwrap() {
        let path = std::path::Path::new(target["src_path"].as_str().unwrap());
        assert!(path.exists(), "{} is not in the context", path.display());
    }
    for name in ["Cargo.lock", ".cargo/config.toml", "build.rs"] {
        assert!(context.path().join(name).exists(), "{name} is not in the context");
    }
    // What is compiled in besides.
    let differs = Command::new("diff").arg("-rq").args([file("src"), context.path().join("src")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&differs.stdout), "", "src is not complete");
}
