//! Where values come from: each source is read into text, and figment lays them over each other and remembers which
//! source won. Nothing is interpreted here: a token like `00123` or `1e5` stays what was written.

use super::env_file;
use super::problem::{Problem, unknown_name};
use super::settings::{self, FILE_BYTES_MAX, Setting};
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The TOML file that is read if it exists and no other is named.
pub const CONFIG_FILE: &str = "/etc/cache-service/config.toml";

/// Where a configuration is to be read from. Kept by a server that may have to read it again.
#[derive(Clone, Default)]
pub struct Sources {
    /// The TOML file; `None` reads [`CONFIG_FILE`] if there is one.
    pub config_file: Option<PathBuf>,
    /// The environment file, if any.
    pub env_file: Option<PathBuf>,
    /// The environment, as far as it has our names.
    pub environment: BTreeMap<&'static str, OsString>,
    /// What the command line sets, by the names of the variables.
    pub arguments: BTreeMap<&'static str, OsString>,
}

impl Sources {
    /// Takes our variables from the environment of this process.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        let ours = settings::ALL.iter().filter_map(|setting| Some((setting.name, std::env::var_os(setting.name)?)));
        self.environment = ours.collect();
        self
    }
}

/// The sources, read and laid over each other.
pub(super) struct Raw {
    figment: Figment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// A value and the source that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sourced {
    pub text: String,
    pub source: String,
}

impl Raw {
    /// Reads every source. What cannot be read is a problem; the rest is kept, so that all problems are found at once.
    pub fn read(sources: &Sources) -> Self {
        let mut raw = Self { figment: Figment::new(), problems: Vec::new(), warnings: Vec::new() };
        if let Some(path) = config_file(sources) {
            let layer = raw.toml_layer(&path);
            raw.lay_over(layer);
        }
        if let Some(path) = &sources.env_file {
            let layer = raw.env_file_layer(path);
            raw.lay_over(layer);
        }
        let environment = raw.os_layer(Origin::Environment, &sources.environment);
        raw.lay_over(environment);
        let arguments = raw.os_layer(Origin::CommandLine, &sources.arguments);
        raw.lay_over(arguments);
        raw
    }

    /// The value that won, and where it came from.
    pub fn find(&self, setting: &Setting) -> Option<Sourced> {
        let value = self.figment.find_value(setting.key).ok()?;
        let metadata = self.figment.get_metadata(value.tag());
        let source = metadata.map(|of| of.interpolate(&Profile::Default, &[setting.key])).unwrap_or_default();
        Some(Sourced { text: value.into_string()?, source })
    }

    /// Gives a value to a setting that no source sets.
    pub fn set_default(&mut self, setting: &'static Setting, text: &str) {
        let mut layer = Layer::new(Origin::Default);
        layer.set(setting, text);
        self.figment = std::mem::take(&mut self.figment).join(layer);
    }

    fn lay_over(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }

    fn os_layer(&mut self, origin: Origin, values: &BTreeMap<&'static str, OsString>) -> Layer {
        let mut layer = Layer::new(origin);
        for (name, value) in values {
            let Some(setting) = Setting::by_name(name) else { continue };
            match value.to_str() {
                Some(text) => layer.set(setting, text),
                None => {
                    let source = layer.origin.describe(setting.key);
                    let shown = value.to_string_lossy();
                    self.problems.push(Problem::refused_since(setting, &shown, &source, "it is not UTF-8"));
                }
            }
        }
        layer
    }

    fn env_file_layer(&mut self, path: &Path) -> Layer {
        let mut layer = Layer::new(Origin::File(path.to_owned()));
        let Some(text) = self.read_file(path, "environment file") else { return layer };
        let (assignments, errors) = env_file::parse(&text);
        for error in errors {
            self.problems.push(Problem::other(&format!("{}, {error}", path.display())));
        }
        for assignment in assignments {
            match Setting::by_name(&assignment.name) {
                Some(setting) => layer.set(setting, &assignment.value),
                // Such a file may serve others too, so that a foreign name is no mistake; a misspelt one looks alike.
                None => self.warnings.push(format!(
                    "{}: no setting is called {}",
                    path.display(),
                    unknown_name(&assignment.name)
                )),
            }
        }
        layer
    }

    fn toml_layer(&mut self, path: &Path) -> Layer {
        let mut layer = Layer::new(Origin::File(path.to_owned()));
        let Some(text) = self.read_file(path, "configuration file") else { return layer };
        let values = match Toml::string(&text).data() {
            Ok(mut profiles) => profiles.remove(&Profile::Default).unwrap_or_default(),
            Err(error) => {
                let line = format!("{}: {}", path.display(), without_excerpt(&error.to_string()));
                self.problems.push(Problem::other(&line));
                return layer;
            }
        };
        for (key, value) in values {
            let Some(setting) = Setting::by_key(&key) else {
                let line = format!("{}: no setting is called {}", path.display(), unknown_name(&key));
                self.problems.push(Problem::other(&line));
                continue;
            };
            match toml_text(setting, &value) {
                Some(text) => layer.set(setting, &text),
                None => {
                    let source = layer.origin.describe(&key);
                    self.problems.push(Problem::refused_since(setting, "", &source, "it has the wrong type"));
                }
            }
        }
        layer
    }

    fn read_file(&mut self, path: &Path, what: &str) -> Option<String> {
        read_bounded(path)
            .map_err(|error| {
                let line = format!("{what} {}: {error}", path.display());
                self.problems.push(Problem::other(&line));
            })
            .ok()
    }
}

fn config_file(sources: &Sources) -> Option<PathBuf> {
    let usual = Path::new(CONFIG_FILE);
    // What cannot be looked at may be there: reading it then says why it cannot be read.
    let present = || usual.try_exists().unwrap_or(true);
    sources.config_file.clone().or_else(|| present().then(|| usual.to_owned()))
}

/// Reads a text file of at most [`FILE_BYTES_MAX`].
///
/// # Errors
/// If the file cannot be read, is larger, or is not UTF-8.
pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB"));
    }
    Ok(text)
}

/// A TOML value as the text that the same setting would have in an environment. A list is possible for tokens only.
fn toml_text(setting: &Setting, value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => Some(match number.to_i128() {
            Some(integer) => integer.to_string(),
            None => format!("{:?}", number.to_f64()?),
        }),
        Value::Array(_, items) if setting.is_secret() => {
            items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|tokens| tokens.join(","))
        }
        _ => None,
    }
}

/// The TOML parser's message without the line of the file that it quotes, which may hold a token.
fn without_excerpt(message: &str) -> String {
    let is_excerpt =
        |line: &&str| line.split_once('|').is_some_and(|(n, _)| n.trim().parse::<u64>().is_ok() || n.trim().is_empty());
    message.lines().filter(|line| !is_excerpt(line)).map(str::trim).collect::<Vec<_>>().join(": ")
}

/// Which kind of source a layer is, for the people who have to find the value that won.
#[derive(Clone, Debug)]
enum Origin {
    Default,
    File(PathBuf),
    Environment,
    CommandLine,
}

impl Origin {
    fn describe(&self, key: &str) -> String {
        let setting = Setting::by_key(key);
        match self {
            Self::Default => setting.map_or_else(|| "default".to_owned(), default_source),
            Self::File(path) => path.display().to_string(),
            Self::Environment => format!("environment variable {}", key.to_uppercase()),
            Self::CommandLine => format!("command line --{}", setting.map_or(key, |setting| setting.option)),
        }
    }
}

/// What stands for the source where no source set a value.
pub(super) fn default_source(setting: &Setting) -> String {
    match setting.default {
        settings::Default::Value(_) => "default".to_owned(),
        settings::Default::Computed(why) | settings::Default::Unset(why) => format!("default: {why}"),
    }
}

/// What one source sets; figment tags each value with it.
struct Layer {
    origin: Origin,
    values: Dict,
}

impl Layer {
    const fn new(origin: Origin) -> Self {
        Self { origin, values: Dict::new() }
    }

    /// An empty value counts as none, so that `NAME=` in a template means "not set".
    fn set(&mut self, setting: &Setting, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            self.values.remove(setting.key);
        } else {
            self.values.insert(setting.key.to_owned(), Value::from(text));
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let origin = self.origin.clone();
        Metadata::named("configuration").interpolater(move |_, keys| origin.describe(&keys.join(".")))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Raw {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, toml).unwrap();
        Raw::read(&Sources { config_file: Some(path), ..Sources::default() })
    }

    #[test]
    fn text_that_looks_like_a_number_stays_as_it_was_written() {
        let environment = BTreeMap::from([("API_TOKEN", OsString::from("00123"))]);
        let arguments = BTreeMap::from([("LOG_FILE", OsString::from("1e5"))]);
        let raw = Raw::read(&Sources { environment, arguments, ..Sources::default() });
        let (token, file) = (raw.find(&settings::API_TOKEN).unwrap(), raw.find(&settings::LOG_FILE).unwrap());
        assert_eq!((token.text.as_str(), token.source.as_str()), ("00123", "environment variable API_TOKEN"));
        assert_eq!((file.text.as_str(), file.source.as_str()), ("1e5", "command line --log-file"));
    }

    #[test]
    fn toml_values_may_be_integers_strings_flags_and_lists_of_tokens() {
        let raw = read("port = 1_000\nshards = \"3\"\nread_requires_auth = true\napi_token = [\"a\", \"007\"]\n");
        assert_eq!(raw.problems, []);
        let text = |setting| raw.find(setting).unwrap().text;
        assert_eq!(text(&settings::PORT), "1000");
        assert_eq!(text(&settings::SHARDS), "3");
        assert_eq!(text(&settings::READ_REQUIRES_AUTH), "true");
        assert_eq!(text(&settings::API_TOKEN), "a,007");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_problems() {
        let raw = read("max_inflght = 3\nport = [1]\nhost = 1979-05-27\n[limits]\nshards = 2\n");
        let lines: Vec<_> = raw.problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("no setting is called \"max_inflght\"")), "{lines:#?}");
    }

    #[test]
    fn a_syntax_error_names_its_place_and_shows_no_secret() {
        let raw = read("port = 1\napi_token = s3cret\n");
        let line = raw.problems[0].to_string();
        assert!(line.contains("line 2") && !line.contains("s3cret") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let raw = Raw::read(&Sources { env_file: Some("/dev/zero".into()), ..Sources::default() });
        assert!(raw.problems[0].to_string().contains("larger than 1 MiB"), "{:?}", raw.problems);
    }
}
