//! `myrt sandbox clone`: another box with the same changes.

use std::path::PathBuf;

use super::{names, store};
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::error::Result;

crate::args! {
    /// Flags of `sandbox clone`.
    pub struct Args {
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox clone",
    group: Group::Sandbox,
    about: "Make another box with the same changes",
    words: "NAME NEW",
    details: "
The new box has all that the old one changed, and from then on neither knows of the other. The old
one must be stopped. Its runs, its snapshots and what `undo` needs stay with it. Owners, modes,
times, extended attributes, hard links and holes are kept; on a filesystem with reflinks (btrfs,
xfs) nothing is stored twice.

Example:
  sudo myrt sandbox clone try other && sudo myrt sandbox shell --name other",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let names = names(&parsed)?;
    let [old, new] = names.as_slice() else { bail!("clone: the names of a box and of a new one are expected") };
    let store = store(args.store)?;
    let mut held = store.hold(old)?;
    store.clone_box(&mut held, new.clone()).map(|()| 0)
}
