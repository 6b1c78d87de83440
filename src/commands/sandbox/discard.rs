//! `myrt sandbox discard`: boxes and all that they changed, gone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{names, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::error::Result;
use crate::sandbox::BoxName;
use crate::sandbox::commit::require_finished;

crate::args! {
    /// Flags of `sandbox discard`.
    pub struct Args {
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox discard",
    group: Group::Sandbox,
    about: "Remove boxes and all that they changed",
    words: "NAME [NAME...]",
    details: "
A box in use is not removed: end its program first. What was committed stays on the host, and
cannot be undone any more.

Example:
  sudo myrt sandbox discard try box-3fa1c2",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let store = store(args.store)?;
    // All of them are found before the first is touched.
    let names: BTreeSet<BoxName> = names(&parsed)?.into_iter().collect();
    let held = names.iter().map(|name| store.hold(name)).collect::<Result<Vec<_>>>()?;
    // Half a commit would stay on the host for good.
    held.iter().try_for_each(require_finished)?;
    held.into_iter().try_for_each(|held| store.remove(held)).map(|()| 0)
}
