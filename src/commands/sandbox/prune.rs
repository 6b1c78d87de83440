//! `myrt sandbox prune`: what nobody has asked to keep, gone.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::finish::{self, Answer};
use super::store;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::sandbox::text;
use crate::sandbox::{Leftover, What};

crate::args! {
    /// Flags of `sandbox prune`.
    pub struct Args {
        /// Remove nothing, say what would be removed
        dry_run: bool = "--dry-run -n",
        /// Only what was not used for so long, such as 36h or 30m
        older_than: Option<Duration> = "--older-than DURATION",
        /// Do not ask
        force: bool = "--force -f",
        /// table (default) or json
        format: Option<Format> = "--format FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox prune",
    group: Group::Sandbox,
    about: "Remove what nobody has asked to keep",
    words: "",
    details: "
That is: boxes that were not given a name and have no snapshot, with all that they changed; what
`undo` needs of commits that are done; what is left of commands that were killed. Boxes in use and
boxes with an interrupted commit stay. Boxes with a name stay, without their undo.

In a terminal you are asked first; elsewhere, and with --force, you are not. The sizes are what the
files take on disk; blocks that a filesystem shares with other files are counted as well.

Examples:
  sudo myrt sandbox prune --dry-run
  sudo myrt sandbox prune --force --older-than 168h",
    flags: Args::FLAGS,
    run,
};

/// What was removed, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    dry_run: bool,
    removed: &'a [Leftover],
    bytes: u64,
}

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let store = store(args.store)?;
    let unused_for = args.older_than.unwrap_or_default();
    let mut found = store.leftovers(unused_for)?;
    let asks = !found.is_empty() && !args.dry_run && !args.force && finish::in_a_terminal();
    if asks && !agreed(&found)? {
        return Ok(1);
    }
    if !args.dry_run {
        let mut removed = Vec::new();
        for leftover in found {
            if store.remove_leftover(&leftover, unused_for)? {
                removed.push(leftover);
            }
        }
        found = removed;
    }
    let document = Document { dry_run: args.dry_run, removed: &found, bytes: total(&found) };
    match args.format.unwrap_or_default() {
        Format::Json => output::json(&document)?,
        Format::Table => {
            // Who was asked has seen them.
            let lines = if asks { String::new() } else { lines(&found) };
            output::print(&(lines + &summary(&document)))?;
        }
    }
    Ok(0)
}

fn agreed(found: &[Leftover]) -> Result<bool> {
    output::note(&format!("{}myrt: remove all of it, {}? [y/N] ", lines(found), text::size(total(found))));
    Ok(matches!(finish::answer(None)?, Answer::Line(answer) if matches!(answer.as_str(), "y" | "yes")))
}

/// `2 leftovers removed, 8.0 KiB`
fn summary(document: &Document<'_>) -> String {
    let deed = if document.dry_run { "would be removed" } else { "removed" };
    match document.removed.len() {
        0 => "nothing to remove\n".to_owned(),
        1 => format!("1 leftover {deed}, {}\n", text::size(document.bytes)),
        count => format!("{count} leftovers {deed}, {}\n", text::size(document.bytes)),
    }
}

fn total(found: &[Leftover]) -> u64 {
    found.iter().map(|leftover| leftover.bytes).sum()
}

fn lines(found: &[Leftover]) -> String {
    let line = |leftover: &Leftover| {
        let name = leftover.name.as_deref().unwrap_or_default();
        let what = match (leftover.what, &leftover.name) {
            (What::Box, _) => format!("the box {name}"),
            (What::Undo, _) => format!("the undo of {name}"),
            (What::Remains, Some(_)) => format!("remains in {name}"),
            (What::Remains, None) => "remains of boxes".to_owned(),
        };
        format!("{what}  {}\n", text::size(leftover.bytes))
    };
    found.iter().map(line).collect()
}
