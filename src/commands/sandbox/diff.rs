//! `myrt sandbox diff`: what a box changed, for people and for programs.

use std::path::PathBuf;

use serde::Serialize;

use super::{names, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::sandbox::changes::{self, Aspect, Change, FileKind, Kind, Meta};
use crate::sandbox::text;

crate::args! {
    /// Flags of `sandbox diff`.
    pub struct Args {
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox diff",
    group: Group::Sandbox,
    about: "Show what a box changed",
    words: "NAME",
    details: "
One line for each path that differs from the host as it is now: A added, M modified (with what
differs: content, mode, owner, xattr, times), D deleted, T another kind of file.
Bytes that a terminal should not see are written as \\xNN.

The JSON has one object a box: `changes`, each with path, change, what, before and after, and
`summary`. A path that is not UTF-8 has its bytes in `pathHex` as well.

Examples:
  sudo myrt sandbox diff try
  sudo myrt sandbox diff --format json try | jq -r '.changes[].path'",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let store = store(args.store)?;
    for name in names(&parsed)? {
        let changes = changes::of(&store.hold(&name)?)?;
        match args.format.unwrap_or_default() {
            Format::Json => output::json(&Document {
                name: name.as_str(),
                changes: changes.iter().map(Entry::of).collect(),
                summary: Summary::of(&changes),
            })?,
            Format::Table => output::print(&listing(&changes))?,
        }
    }
    Ok(0)
}

/// A line for each change, and one that counts them.
pub(super) fn listing(changes: &[Change]) -> String {
    let mut lines: String = changes.iter().map(line).collect();
    lines.push_str(&summary(changes));
    lines.push('\n');
    lines
}

/// The line that counts them.
pub(super) fn summary(changes: &[Change]) -> String {
    let Summary { added, modified, deleted, type_changed } = Summary::of(changes);
    let counts = [(added, "added"), (modified, "modified"), (deleted, "deleted"), (type_changed, "of another kind")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "nothing changed".to_owned() } else { counts.join(", ") }
}

fn line(change: &Change) -> String {
    let path = text::shown(&change.path);
    let folder = |meta: &Option<Meta>| meta.as_ref().is_some_and(|meta| meta.kind == FileKind::Folder);
    let slash = if folder(&change.after) || change.after.is_none() && folder(&change.before) { "/" } else { "" };
    let letter = match change.kind {
        Kind::Added => 'A',
        Kind::Modified => 'M',
        Kind::Deleted => 'D',
        Kind::TypeChanged => 'T',
    };
    let more = match (change.kind, &change.before, &change.after) {
        (Kind::Added, _, Some(after)) => match &after.target {
            Some(target) => format!(" -> {}", text::shown(target)),
            None if after.kind == FileKind::File => format!("  {}{}", text::size(after.size), rights(after.mode)),
            None => String::new(),
        },
        (Kind::TypeChanged, Some(before), Some(after)) => {
            format!("  {} became {}", word(before.kind), word(after.kind))
        }
        (Kind::Modified, Some(before), Some(after)) => {
            let words: Vec<String> = change.aspects.iter().map(|aspect| told(*aspect, before, after)).collect();
            format!("  {}", words.join(", "))
        }
        _ => String::new(),
    };
    format!("{letter} {path}{slash}{more}\n")
}

fn told(aspect: Aspect, before: &Meta, after: &Meta) -> String {
    match aspect {
        Aspect::Content if before.size == after.size => "content".to_owned(),
        Aspect::Content => format!("content {} to {}", text::size(before.size), text::size(after.size)),
        Aspect::Mode => format!("mode {:o} to {:o}", before.mode, after.mode),
        Aspect::Owner => format!("owner {}:{} to {}:{}", before.uid, before.gid, after.uid, after.gid),
        Aspect::Xattr => "xattr".to_owned(),
        Aspect::Times => "times".to_owned(),
    }
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Folder => "folder",
        FileKind::Link => "link",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice | FileKind::BlockDevice => "device",
    }
}

/// What a new file gives to whoever runs it.
fn rights(mode: u32) -> &'static str {
    match mode & 0o6000 {
        0 => "",
        0o2000 => ", setgid",
        _ => ", setuid",
    }
}

/// A box's changes, for programs.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "box")]
    name: &'a str,
    changes: Vec<Entry>,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    added: usize,
    modified: usize,
    deleted: usize,
    type_changed: usize,
}

impl Summary {
    fn of(changes: &[Change]) -> Self {
        let count = |kind| changes.iter().filter(|change| change.kind == kind).count();
        Self {
            added: count(Kind::Added),
            modified: count(Kind::Modified),
            deleted: count(Kind::Deleted),
            type_changed: count(Kind::TypeChanged),
        }
    }
}

/// One path, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    change: Kind,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<Aspect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: FileKind,
    /// As chmod(1) writes it.
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
}

impl Entry {
    fn of(change: &Change) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let bytes = change.path.as_os_str().as_bytes();
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            path: change.path.to_string_lossy().into_owned(),
            path_hex: std::str::from_utf8(bytes).is_err().then(hex),
            change: change.kind,
            what: change.aspects.clone(),
            before: change.before.as_ref().map(File::of),
            after: change.after.as_ref().map(File::of),
        }
    }
}

impl File {
    fn of(meta: &Meta) -> Self {
        let (seconds, nanoseconds) = meta.modified;
        Self {
            kind: meta.kind,
            mode: format!("{:04o}", meta.mode),
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            modified: crate::time::at(seconds, nanoseconds),
            target: meta.target.as_ref().map(|target| target.to_string_lossy().into_owned()),
            device: meta.device,
        }
    }
}
