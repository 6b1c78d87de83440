//! `myrt delete`: everything that a container holds is given back.

use super::{id, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::error::{Error, Result};
use crate::sys::regex::Regex;
use crate::{container, log};

crate::args! {
    /// Flags of `delete`.
    pub struct Args {
        /// Kill what still runs; an unknown ID is no failure
        force: bool = "--force -f",
        /// ID is a pattern: every container whose id matches it
        regex: bool = "--regex",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "delete",
    group: Group::LifeCycle,
    about: "Remove a container and all that it holds",
    words: "ID",
    details: "
A pattern is a POSIX extended regular expression and may match anywhere in the id: ^ and $
stand for its ends.

Examples:
  sudo myrt delete web
  sudo myrt delete --force --regex '^test-'",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let store = store(global)?;
    if !args.regex {
        container::delete(&store, &id(&parsed)?, args.force)?;
        return Ok(0);
    }
    let pattern = Regex::new(parsed.id()?)?;
    let mut failed = Vec::new();
    for (id, _) in container::list(&store)?.into_iter().filter(|(id, _)| pattern.matches(id.as_str())) {
        if let Err(error) = container::delete(&store, &id, args.force) {
            log::warn(&error);
            failed.push(id.to_string());
        }
    }
    match failed.as_slice() {
        [] => Ok(0),
        _ => Err(Error::new(format!("delete: not removed: {}", failed.join(", ")))),
    }
}
