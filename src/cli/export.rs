//! The tables as a clap command, for what clap's companions make of it: completions and man pages.
//!
//! Not on the way of any other command; parsing is `args`' own.

use clap::builder::{Arg, ArgAction, Command as Clap};

use super::help::sentence;
use super::{Args, Command, Flag, Global};

/// The whole program.
pub fn clap_command(commands: &'static [Command]) -> Clap {
    Clap::new("myrt")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run OCI containers in milliseconds")
        .disable_version_flag(true)
        .args(Global::FLAGS.iter().filter(|flag| flag.long() != "help").map(flag))
        .subcommands(commands.iter().map(command))
}

fn command(command: &'static Command) -> Clap {
    // A word can bear a flag's name, but no flag's name begins with a digit.
    let words = command.words.split(' ').filter(|word| !word.is_empty());
    let words = words.zip(["1st", "2nd", "3rd", "4th"]).map(|(word, id)| {
        let name = word.trim_matches(['[', ']', '.']);
        let arg = Arg::new(id).value_name(name).required(!word.starts_with('['));
        if word.contains("...") { arg.action(ArgAction::Append).num_args(0..) } else { arg }
    });
    Clap::new(command.name)
        .about(command.about)
        .after_help(command.details.trim_matches('\n'))
        .args(command.flags.iter().map(flag))
        .args(words)
}

fn flag(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.long()).long(flag.long()).help(sentence(flag.help)).hide(flag.hidden());
    let arg = flag.short().into_iter().fold(arg, Arg::short);
    match flag.value_name() {
        Some(name) => arg.value_name(name).action(ArgAction::Append).value_hint(hint(name)),
        None => arg.action(ArgAction::SetTrue),
    }
}

/// What a shell completes after the flag.
fn hint(value_name: &str) -> clap::ValueHint {
    match value_name {
        "FILE" | "SOCKET" => clap::ValueHint::FilePath,
        "DIR" => clap::ValueHint::DirPath,
        _ => clap::ValueHint::Unknown,
    }
}
