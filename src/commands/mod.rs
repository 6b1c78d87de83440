//! The commands, one file a door: arguments → engine → output.
//!
//! Owns the list of commands. A door declares its flags (`args!`) and its row ([`Command`]), reads what it was given
//! into the engine's types, calls one function of the engine, and prints what comes back through `output`. It decides
//! nothing about containers.

mod beside;
mod bundle;
mod check;
mod checkpoint;
mod completion;
mod create;
mod delete;
mod events;
mod exec;
mod features;
pub mod image;
mod kill;
mod list;
mod man;
pub mod output;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
pub mod sandbox;
mod spec;
mod start;
mod state;
mod update;

use crate::cli::{Command, Global, Parsed};
use crate::container::Store;
use crate::error::Result;
use crate::plan::ContainerId;
use crate::{log, trace};
use spec::has_single_tree;

/// All commands, in the order of the help.
pub static ALL: &[Command] = &[
    run::COMMAND,
    create::COMMAND,
    start::COMMAND,
    exec::COMMAND,
    kill::COMMAND,
    delete::COMMAND,
    list::COMMAND,
    state::COMMAND,
    ps::COMMAND,
    events::COMMAND,
    update::COMMAND,
    pause::COMMAND,
    resume::COMMAND,
    checkpoint::COMMAND,
    restore::COMMAND,
    image::COMMAND,
    sandbox::COMMAND,
    spec::COMMAND,
    check::COMMAND,
    features::COMMAND,
    completion::COMMAND,
    man::COMMAND,
];

/// What a program of ours ends with: the code of its command, or that of its failure, which is told here, once.
pub fn exit_code(result: Result<u8>) -> u8 {
    let traced = trace::finish();
    result.and_then(|code| traced.map(|()| code)).unwrap_or_else(|error| {
        log::failure(&error);
        error.exit_code()
    })
}

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

crate::choices! { Format { "table" => Self::Table, "json" => Self::Json } }

/// Where the containers are.
fn store(global: &Global) -> Result<Store> {
    Store::open(global.root.clone())
}

/// The container that the first word names.
fn id(parsed: &Parsed) -> Result<ContainerId> {
    ContainerId::new(parsed.id()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Args, Global};

    #[test]
    fn help_fits_in_a_hundred_columns() {
        for command in ALL.iter().chain(sandbox::ALL).chain(image::ALL) {
            for line in crate::cli::command_help(command).lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.name);
            }
        }
    }

    #[test]
    fn every_row_is_whole() {
        for command in ALL {
            assert!(!command.about.is_empty() && !command.about.ends_with('.'), "{}", command.name);
            let mut names = std::collections::BTreeSet::new();
            for flag in command.flags.iter().chain(Global::FLAGS) {
                let named = flag.spec.rsplit(' ').next().is_some_and(|last| !last.starts_with('-'));
                assert_eq!(named, flag.takes_value, "{} {}", command.name, flag.spec);
                assert!(flag.spec.starts_with("--"), "{} {}", command.name, flag.spec);
            }
            for flag in command.flags {
                assert!(names.insert(flag.long().to_owned()), "{} {}", command.name, flag.spec);
                assert!(flag.short().is_none_or(|short| names.insert(short.to_string())), "{}", flag.spec);
            }
        }
    }
}
