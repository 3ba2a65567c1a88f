//! The settings as arguments of a command.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use super::{
    load::{ConfigErrors, load},
    table::{Setting, Settings, TABLE},
    value::Form,
};

/// The argument that names the settings file, and its variable.
const FILE: (&str, &str) = ("config", "TRADEWIND_CONFIG");

/// One argument per setting, grouped under the headings of the reference page, and `--config` for the file.
/// Values stay texts: [`load`] checks them together with those of the other sources.
#[must_use]
pub fn args() -> Vec<Arg> {
    let file = Arg::new(FILE.0)
        .long(FILE.0)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help_heading("Settings file")
        .help("Settings file (YAML)")
        .long_help(format!(
            "Settings file (YAML). A flag wins over a variable, a variable over the file.\n\n[env: {}]",
            FILE.1
        ));
    std::iter::once(file).chain(TABLE.iter().map(arg)).collect()
}

/// Loads the settings of this process: the file that `--config` or `TRADEWIND_CONFIG` names, its environment, and `flags`.
///
/// # Errors
/// As [`load`].
pub fn from_process(flags: &ArgMatches) -> Result<Settings, ConfigErrors> {
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    load(file(flags, env).as_deref(), flags, env)
}

fn file(flags: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let flag = flags.try_get_one::<PathBuf>(FILE.0).ok().flatten().cloned();
    flag.or_else(|| env(FILE.1).filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn arg(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.field)
        .long(&*setting.flag)
        .value_name(setting.placeholder)
        .help_heading(setting.section)
        .help(plain(first_sentence(setting.meaning)))
        .long_help(long_help(setting))
        .aliases(setting.aliases.iter().map(String::as_str));
    match setting.form {
        Form::One => arg.action(ArgAction::Set).allow_hyphen_values(setting.placeholder == "NUMBER"),
        Form::Many => arg.action(ArgAction::Append),
        Form::Switch => arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

fn long_help(setting: &Setting) -> String {
    let mut help = plain(setting.meaning);
    for (word, meaning) in setting.words {
        help += &format!("\n  {word}: {}", plain(meaning));
    }
    if setting.words.is_empty() {
        help += &format!("\n\nAllowed: {}", setting.allowed());
    }
    let default = Some((setting.show)(&Settings::default())).filter(|text| !text.is_empty());
    let default = default.as_deref().unwrap_or("empty");
    help + &format!("\n\n[default: {default}] [env: {}] [file: {}]", setting.variable, setting.key)
}

/// Help is read on a terminal, where backticks are noise.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn the_arguments_are_valid_and_the_help_is_complete() {
        Command::new("t").args(args()).debug_assert();
        for (arg, setting) in args().iter().skip(1).zip(&*TABLE) {
            let help = arg.get_long_help().unwrap().to_string();
            let sources = format!("[env: {}] [file: {}]", setting.variable, setting.key);
            assert!(help.starts_with(&plain(setting.meaning)) && help.ends_with(&sources), "{help}");
            assert_eq!(arg.get_help_heading(), Some(setting.section));
        }
    }

    #[test]
    fn the_file_comes_from_the_flag_or_else_the_variable() {
        let matches =
            |words: &[&str]| Command::new("t").no_binary_name(true).args(args()).try_get_matches_from(words).unwrap();
        let env = |value: &'static str| move |name: &str| (name == "TRADEWIND_CONFIG").then(|| value.to_owned());
        assert_eq!(file(&matches(&["--config", "a"]), env("b")), Some("a".into()));
        assert_eq!(file(&matches(&[]), env("b")), Some("b".into()));
        assert_eq!(file(&matches(&[]), env("")), None);
    }
}
