//! `myrt sandbox`: the row that the engine's program shows, and the rows of the program that it becomes, `myrt-sandbox`.

mod commit;
mod diff;
mod discard;
mod finish;
mod list;
mod run;
mod shell;
mod undo;

use std::ffi::OsString;
use std::path::PathBuf;

use super::beside;
use crate::cli::{Command, Group, Parsed};
use crate::error::Result;
use crate::sandbox::{BoxName, Store};

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
  sandbox discard    Remove boxes and all that they changed

`myrt sandbox COMMAND --help` tells more.

Example:
  sudo myrt sandbox run --name try --net host apt-get install -y hello
  sudo myrt sandbox diff try && sudo myrt sandbox discard try",
    flags: &[],
    run: |_, _| Err(beside::become_program("myrt-sandbox")),
};

/// The commands of `myrt-sandbox`.
pub static ALL: &[Command] =
    &[run::COMMAND, shell::COMMAND, list::COMMAND, diff::COMMAND, commit::COMMAND, undo::COMMAND, discard::COMMAND];

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
