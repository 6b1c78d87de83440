//! `myrt sandbox snapshot`: states of a box under labels.

use std::path::PathBuf;

use serde::Serialize;

use super::store;
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::sandbox::snapshots::{self, Label, Snapshot};
use crate::sandbox::{BoxName, text};

crate::args! {
    /// Flags of `sandbox snapshot`.
    pub struct Args {
        /// Show the snapshots of the box
        list: bool = "--list -l",
        /// Give the box the state that it had; what it changed since is gone
        restore: Option<String> = "--restore LABEL",
        /// Forget a snapshot
        remove: Option<String> = "--remove LABEL",
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox snapshot",
    group: Group::Sandbox,
    about: "Keep the state of a box under a label, and bring it back",
    words: "NAME [LABEL]",
    details: "
Keeps all that the box has changed so far, under LABEL or under one made of the time, which is
printed. The box must be stopped. A snapshot is a copy, of which a filesystem with reflinks (btrfs,
xfs) stores nothing twice; it goes with its box. One that was brought back stays, too.

A snapshot is of the box, not of the host: what was committed stays on the host, and only
`myrt sandbox undo` takes it back.

Examples:
  sudo myrt sandbox snapshot try before-upgrade
  sudo myrt sandbox snapshot try --list
  sudo myrt sandbox snapshot try --restore before-upgrade",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let words: Vec<_> = parsed.words.iter().map(|word| word.to_string_lossy()).collect();
    let [name, label @ ..] = words.as_slice() else { bail!("snapshot: the name of a box is expected") };
    let asked = [args.list, args.restore.is_some(), args.remove.is_some(), !label.is_empty()];
    if asked.into_iter().filter(|asked| *asked).count() > 1 {
        bail!("snapshot: one of LABEL, --list, --restore and --remove is expected");
    }
    let label = label.first().map(|label| Label::new(label)).transpose()?;
    let restored = args.restore.as_deref().map(Label::new).transpose()?;
    let removed = args.remove.as_deref().map(Label::new).transpose()?;
    let format = args.format.unwrap_or_default();
    let mut held = store(args.store)?.hold(&BoxName::new(name)?)?;
    match (restored, removed) {
        (Some(label), _) => {
            snapshots::restore(&mut held, &label)?;
            done(Done { name, restored: Some(label.to_string()), removed: None }, format)?;
        }
        (_, Some(label)) => {
            snapshots::remove(&held, &label)?;
            done(Done { name, restored: None, removed: Some(label.to_string()) }, format)?;
        }
        _ if args.list => return list(&snapshots::list(&held)?, format).map(|()| 0),
        _ => {
            let label = label.unwrap_or_else(Label::of_now);
            snapshots::take(&mut held, &label)?;
            taken(&label, &snapshots::list(&held)?, format)?;
        }
    }
    Ok(0)
}

/// What was done, for programs; people see it by the exit code.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(rename = "box")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<String>,
}

fn done(done: Done<'_>, format: Format) -> Result<()> {
    if format == Format::Json { output::json(&done) } else { Ok(()) }
}

fn taken(label: &Label, all: &[Snapshot], format: Format) -> Result<()> {
    match (format, all.iter().find(|snapshot| snapshot.label == label.to_string())) {
        (Format::Json, Some(snapshot)) => output::json(snapshot),
        _ => output::print(&format!("{label}\n")),
    }
}

fn list(all: &[Snapshot], format: Format) -> Result<()> {
    if format == Format::Json {
        return output::json(&all);
    }
    let row = |snapshot: &Snapshot| [snapshot.label.clone(), snapshot.created.clone(), text::size(snapshot.bytes)];
    output::print(&output::table(["LABEL", "CREATED", "SIZE"], &all.iter().map(row).collect::<Vec<_>>()))
}
