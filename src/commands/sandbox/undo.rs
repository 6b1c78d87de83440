//! `myrt sandbox undo`: the host as it was before the last commit of a box.

use std::path::PathBuf;

use super::outcome::{self, Deed};
use super::{names, store};
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::Format;
use crate::error::Result;
use crate::sandbox::commit;

crate::args! {
    /// Flags of `sandbox undo`.
    pub struct Args {
        /// Also where the host has changed a path since the commit
        force: bool = "--force -f",
        /// table (default) or json
        format: Option<Format> = "--format FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox undo",
    group: Group::Sandbox,
    about: "Take the last commit of a box back",
    words: "NAME",
    details: "
The changes are the box's again, unless it has run since. Paths that the host has changed since
the commit are listed, nothing is written, and the exit code is 3, unless --force is given: the
host has what it had before the commit then, and of a file that came from the box itself, the box
what the host has made of it.

Example:
  sudo myrt sandbox undo try",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let names = names(&parsed)?;
    let [name] = names.as_slice() else { bail!("undo: the name of one box is expected") };
    let mut held = store(args.store)?.hold(name)?;
    let outcome = commit::undo(&mut held, args.force)?;
    let deed = Deed {
        done: "taken back",
        conflicts: "the host has changed these since the commit",
        remedy: "--force brings back what was there before the commit; what came after it is lost, or the box's",
    };
    outcome::tell(name.as_str(), &outcome, &deed, args.format.unwrap_or_default())
}
