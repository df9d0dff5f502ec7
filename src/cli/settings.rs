//! An option for each setting, made from the table of settings.

use crate::config::settings::{ALL, Allowed, Setting};
use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Where settings stand in the help.
pub(super) const HEADING: &str = "Settings";

/// What the command line sets, by the names of the variables. Values are checked with those of the other sources, so
/// that all problems are told at once.
#[derive(Default)]
pub(super) struct SettingArguments {
    pub values: BTreeMap<&'static str, OsString>,
}

fn option(setting: &'static Setting) -> Arg {
    let help = format!("{} [default: {}; allowed: {}]", setting.help, setting.default, setting.allowed);
    let option = Arg::new(setting.name)
        .long(setting.option)
        .value_name(setting.value_name)
        .value_parser(OsStringValueParser::new())
        .allow_hyphen_values(matches!(setting.allowed, Allowed::Integer { .. } | Allowed::Bytes { .. }))
        .global(true)
        .help_heading(HEADING)
        .help(help);
    match setting.allowed {
        Allowed::Flag => option.num_args(0..=1).default_missing_value("true"),
        _ => option,
    }
}

impl Args for SettingArguments {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().copied().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in ALL {
            if let Some(value) = matches.get_one::<OsString>(setting.name) {
                self.values.insert(setting.name, value.clone());
            }
        }
        Ok(())
    }
}
