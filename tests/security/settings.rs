//! Settings with a token in them that are wrong in every way: what is said about them has no token in it.

use crate::assert_untold;
use crate::support::Launch;
use std::fs;
use tempfile::TempDir;

/// A token as people make them, in hexadecimal, and one in base 64.
const HEX: &str = "5f1d2c3b4a59687786950a1b2c3d4e5f";
const BASE64: &str = "c2VjcmV0IHRva2VuIG9mIHRoZSBjYWNoZQ";

/// Configuration files in which a token stands where the parser stumbles, or beside that.
fn toml_files(token: &str) -> Vec<String> {
    vec![
        format!("api_token = {token}\n"),
        format!("api_token = \"{token}\n"),
        format!("api_token = '{token}\n"),
        format!("api_token = \"{token}\" and more\n"),
        format!("api_token = \"{token}\\q\"\n"),
        format!("api_token = [\"{token}\", 1]\n"),
        format!("api_token = [\"{token}\", \"{token}\n"),
        format!("api_token = {{ first = \"{token}\" }}\n"),
        format!("api_token = {{ {token} = 1 }}\n"),
        format!("[api_token]\nfirst = \"{token}\"\n"),
        format!("[[api_token]]\nfirst = \"{token}\"\n"),
        format!("api_token.{token} = 1\n"),
        format!("api_token: {token}\n"),
        format!("api_token {token}\n"),
        format!("api_token = \"{token}\"\napi_token = \"{token}\"\n"),
        format!("api_tokens = \"{token}\"\n"),
        format!("api_token = \"{token} with blanks\"\n"),
        format!("api_token = \"{token}\u{e9}\"\n"),
        format!("api_token = \"{token}\"\nshards = none\n"),
        format!("api_token = \"\"\"\n{token}\n"),
        format!("api_token = \"{}\"\n", token.repeat(100)),
        format!("{token}\n"),
        format!("{token} = 1\n"),
        format!("\"{token}\" = \"{token}\"\n"),
        format!("shards = \"{token}\n"),
    ]
}

/// The same for environment files.
fn env_files(token: &str) -> Vec<String> {
    vec![
        format!("API_TOKEN=\"{token}\n"),
        format!("API_TOKEN='{token}\n"),
        format!("API_TOKEN={token} with blanks\n"),
        format!("API_TOKEN={token}\u{e9}\n"),
        format!("API_TOKEN: {token}\n"),
        format!("API_TOKEN {token}\n"),
        format!("set API_TOKEN={token}\n"),
        format!("API_TOKENS={token}\n"),
        format!("API_TOKEN={token},\n{token}\n"),
        format!("API_TOKEN={token},\n{token}=\n"),
        format!("API_TOKEN={token},\n{token}==\n"),
        format!("{token}\n"),
        format!("export {token}\n"),
        format!("API_TOKEN={}\n", token.repeat(100)),
        format!("API_TOKEN={}\n", format!("{token},").repeat(100)),
        format!("API_TOKEN={token}\nSHARDS=none\n"),
    ]
}

/// Has every command that reads settings read these; gives what they said.
fn said(launch: &Launch) -> Vec<u8> {
    let commands = ["check-config", "print-config", "serve"];
    let outputs = commands.iter().map(|command| launch.clone().args(&[command]).run_to_end().1);
    outputs.collect::<String>().into_bytes()
}

/// Settings by which no server can start, whatever else they say.
fn broken() -> Launch {
    Launch::new(&[("MAX_INFLIGHT", "none")]).without("API_TOKEN")
}

#[test]
fn no_mistake_in_a_file_gives_a_token_away() {
    let folder = TempDir::new().expect("a folder to work in");
    let path = folder.path().join("settings");
    let name = path.to_str().expect("the path is text");
    for token in [HEX, BASE64] {
        let toml = toml_files(token).into_iter().map(|text| ("--config", text));
        let env = env_files(token).into_iter().map(|text| ("--env-file", text));
        for (option, text) in toml.chain(env) {
            fs::write(&path, &text).expect("a file can be made");
            let words = said(&broken().args(&[option, name]));
            assert!(!words.is_empty());
            assert_untold(token, &format!("what is said of {text:?}"), &words);
        }
    }
}

#[test]
fn no_mistake_in_the_environment_or_the_arguments_gives_a_token_away() {
    let folder = TempDir::new().expect("a folder to work in");
    let file = folder.path().join("token");
    for token in [HEX, BASE64] {
        for value in
            [format!("{token} and"), format!("{token}\u{e9}"), token.repeat(100), format!("{token},").repeat(100)]
        {
            fs::write(&file, &value).expect("a file can be made");
            let launches = [
                broken().env("API_TOKEN", &value),
                broken().env("API_TOKEN_FILE", file.to_str().expect("the path is text")),
                broken().args(&["--api-token", &value]),
                broken().args(&[&format!("--api-token={value}")]),
            ];
            for launch in launches {
                assert_untold(token, "what is said of a bad token", &said(&launch));
            }
        }
        // What is good is not shown either, and a word that the command line does not know is not repeated whole.
        for args in [vec!["--api-token", token], vec!["--api-tokens", token], vec!["--api_token", token]] {
            assert_untold(token, "what is said of good settings", &said(&broken().args(&args)));
        }
    }
}

#[test]
fn what_is_printed_of_good_settings_hides_every_token_and_how_long_it_is() {
    let print = |tokens: &str| {
        let (status, output) = Launch::new(&[("API_TOKEN", tokens)]).args(&["print-config"]).run_to_end();
        assert!(status.success(), "{output}");
        assert_untold(HEX, "print-config", output.as_bytes());
        output.lines().find(|line| line.starts_with("API_TOKEN=")).expect("the setting is printed").to_owned()
    };
    assert_eq!(print(HEX), print(&HEX.repeat(2)), "as long as each other or not");
}
