//! `myrt sandbox`: the row that the engine's program shows, and the rows of the program that it becomes, `myrt-sandbox`.

mod clone;
mod commit;
mod diff;
mod discard;
mod export;
mod finish;
mod interrupts;
mod list;
mod outcome;
mod profile;
mod prune;
mod report_file;
mod run;
mod shell;
mod snapshot;
mod undo;

use std::ffi::OsString;
use std::path::PathBuf;

use super::beside;
use crate::cli::{self, Command, Group, Parsed};
use crate::error::{Error, Result};
use crate::log;
use crate::sandbox::{Box, BoxName, Store, changes};

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox",
    group: Group::Sandbox,
    about: "Run a program that sees the host and changes nothing of it",
    words: "COMMAND [ARGUMENT...]",
    details: "
Commands:
  sandbox run        Run a program in a box
  sandbox shell      Run a shell in a box
  sandbox list       List the boxes
  sandbox diff       Show what a box changed
  sandbox commit     Take changes of a box over to the host
  sandbox undo       Take the last commit of a box back
  sandbox snapshot   Keep the state of a box under a label, and bring it back
  sandbox clone      Make another box with the same changes
  sandbox export     Write a box's changes as a layer of an image
  sandbox discard    Remove boxes and all that they changed
  sandbox prune      Remove what nobody has asked to keep

`myrt sandbox COMMAND --help` tells more.

Examples:
  myrt sandbox shell
  sudo myrt sandbox run --name try --net host apt-get install -y hello
  sudo myrt sandbox diff try && sudo myrt sandbox discard try",
    flags: &[],
    run: |_, parsed| Err(not_beside(&parsed, beside::become_protected("myrt-sandbox"))),
};

/// A command that hands on a program's exit code does not end with one that could be a program's.
fn not_beside(parsed: &Parsed, error: Error) -> Error {
    match parsed.words.first().and_then(|word| word.to_str()) {
        Some("run" | "shell") => error.exit_with(cli::NOT_THE_PROGRAMS),
        _ => error,
    }
}

/// The commands of `myrt-sandbox`.
pub static ALL: &[Command] = &[
    run::COMMAND,
    shell::COMMAND,
    list::COMMAND,
    diff::COMMAND,
    commit::COMMAND,
    undo::COMMAND,
    snapshot::COMMAND,
    clone::COMMAND,
    export::COMMAND,
    discard::COMMAND,
    prune::COMMAND,
];

/// What the second program does: the same command line, understood from the start.
///
/// # Errors
/// Where a command fails.
pub fn main(words: Vec<OsString>) -> Result<u8> {
    beside::main(&COMMAND, ALL, words)
}

fn store(place: Option<PathBuf>) -> Result<Store> {
    Store::open(place)
}

/// The boxes that the words name.
fn names(parsed: &Parsed) -> Result<Vec<BoxName>> {
    parsed.words.iter().map(|word| BoxName::new(&word.to_string_lossy())).collect()
}

/// Says which changes a command leaves out.
fn warn_of_unmounted(held: &Box) -> Result<()> {
    for path in changes::unmounted(held)? {
        log::warn(format!("what the box saw at {path:?} is not mounted there now: its changes are left out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_command() {
        for command in ALL {
            let name = format!("  {} ", command.name);
            let line = COMMAND.details.lines().find(|line| line.starts_with(&name)).unwrap();
            assert!(line.ends_with(command.about), "{line}");
        }
    }
}
