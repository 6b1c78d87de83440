//! `myrt sandbox commit`: a box's changes become the host's.

use std::path::PathBuf;

use super::store;
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::output;
use crate::error::{Error, Result};
use crate::sandbox::commit::{self, Outcome, Winner};
use crate::sandbox::{BoxName, text};

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
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The exit code of a commit or an undo that wrote nothing, because of conflicts.
pub(super) const CONFLICTS: u8 = 3;

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox commit",
    group: Group::Sandbox,
    about: "Take changes of a box over to the host",
    words: "NAME [PATTERN...]",
    details: "
All changes, or those that a PATTERN means: a path, absolute or from the current folder, in which
* stands for any letters but / and ? for one; it means all below as well. Owners, modes, times,
extended attributes, hard links and holes are kept.

Paths that the host has changed since the box saw them are conflicts: they are listed, nothing is
written, and the exit code is 3, unless --ours or --theirs says who wins.

What fails halfway is taken back. After a commit that was killed, --resume or --rollback has to
come first. `myrt sandbox undo` takes the last commit back.

After a commit of everything the box is empty; after one of a part it still holds all.

Examples:
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
    let plain = patterns.is_empty() && winner == Winner::Nobody;
    let outcome = match (args.resume, args.rollback) {
        (false, false) => commit::commit(&mut held, patterns, winner)?,
        (true, true) => bail!("--resume and --rollback contradict each other"),
        _ if !plain => bail!("--resume and --rollback mean the commit as it was begun: no pattern, no winner"),
        (true, false) => commit::resume(&mut held)?,
        (false, true) => commit::rollback(&mut held)?,
    };
    report(&outcome, if args.rollback { "taken back" } else { "taken over" })
}

/// Paths, one a line, as `diff` writes them.
pub(super) fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("  {}\n", text::shown(path))).collect()
}

/// Says how it ended; gives the exit code.
pub(super) fn report(outcome: &Outcome, deed: &str) -> Result<u8> {
    match outcome {
        Outcome::Nothing => output::print("nothing to do\n").map(|()| 0),
        Outcome::Done { count, left } => {
            let left = match left.len() {
                0 => String::new(),
                more => format!("{more} left as the host has them:\n{}", lines(left)),
            };
            output::print(&format!("{count} {deed}\n{left}")).map(|()| 0)
        }
        Outcome::Conflicts(paths) => {
            let error = Error::new(format!("the host has changed these since:\n{}nothing was written", lines(paths)));
            Err(error
                .exit_with(CONFLICTS)
                .hint("look at both, then --ours takes the box's, --theirs leaves the host's"))
        }
    }
}
