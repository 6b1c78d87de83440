//! `myrt sandbox commit`: a box's changes become the host's.

use std::path::PathBuf;

use super::outcome::{self, Deed};
use super::store;
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::Format;
use crate::error::Result;
use crate::sandbox::BoxName;
use crate::sandbox::commit::{self, Winner};

crate::args! {
    /// Flags of `sandbox commit`.
    pub struct Args {
        /// Where the host has changed a path since the box saw it, take the box's
        ours: bool = "--ours",
        /// Likewise, leave the host's
        theirs: bool = "--theirs",
        /// Finish a commit that was interrupted
        resume: bool = "--resume",
        /// Take back what an interrupted commit has done
        rollback: bool = "--rollback",
        /// Write nothing: say what the host would get, and what stands in the way
        dry_run: bool = "--dry-run -n",
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox commit",
    group: Group::Sandbox,
    about: "Take changes of a box over to the host",
    words: "NAME [PATTERN...]",
    details: "
All changes, or those that a PATTERN means: a path, absolute or from the current folder, in which
* stands for any letters but /, ? for one, and a name ** for any number of names; it means all below
as well. Owners, modes, times, extended attributes, hard links and holes are kept.

Paths that the host has changed since the box saw them are conflicts: they are listed, nothing is
written, and the exit code is 3, unless --ours or --theirs says who wins. --dry-run looks for them
in the same way, and lists what would be written: A is added, M modified, D deleted, T becomes
another kind of file. What was renamed is deleted and added.

What fails halfway is taken back. After a commit that was killed, --resume or --rollback has to
come first. `myrt sandbox undo` takes the last commit back.

After a commit of everything the box is empty; after one of a part it still holds all.

Examples:
  sudo myrt sandbox commit try --dry-run
  sudo myrt sandbox commit try
  sudo myrt sandbox commit try '/etc/*.conf' /usr/local",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let winner = match (args.ours, args.theirs) {
        (true, true) => bail!("--ours and --theirs contradict each other"),
        (true, false) => Winner::Ours,
        (false, true) => Winner::Theirs,
        (false, false) => Winner::Nobody,
    };
    let Some((name, patterns)) = parsed.words.split_first() else { bail!("commit: the name of a box is expected") };
    let name = BoxName::new(&name.to_string_lossy())?;
    let mut held = store(args.store)?.hold(&name)?;
    super::warn_of_unmounted(&held)?;
    let plain = patterns.is_empty() && winner == Winner::Nobody && !args.dry_run;
    let outcome = match (args.resume, args.rollback) {
        (false, false) if args.dry_run => commit::preview(&mut held, patterns, winner)?,
        (false, false) => commit::commit(&mut held, patterns, winner)?,
        (true, true) => bail!("--resume and --rollback contradict each other"),
        _ if !plain => {
            bail!("--resume and --rollback mean the commit as it was begun: no pattern, no winner, no --dry-run")
        }
        (true, false) => commit::resume(&mut held)?,
        (false, true) => commit::rollback(&mut held)?,
    };
    let deed = Deed {
        done: if args.rollback { "taken back" } else { "taken over" },
        conflicts: "the host has changed these since",
        remedy: "look at both, then --ours takes the box's, --theirs leaves the host's",
    };
    outcome::tell(name.as_str(), &outcome, &deed, args.format.unwrap_or_default())
}
