//! A box's changes for programs; docs/diff.md describes it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::listing::{Counts, as_path};
use crate::sandbox::changes::{Aspect, Change, FileKind, Kind, Meta};
use crate::sandbox::expect::Verdict;
use crate::sandbox::text;

/// Grows by one when a program that reads the older form would misunderstand.
const SCHEMA: u32 = 1;

/// A box's changes.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    #[serde(rename = "box")]
    name: &'a str,
    changes: Vec<Entry>,
    summary: Summary,
}

impl<'a> Document<'a> {
    pub(super) fn of(name: &'a str, changes: &[Change]) -> Self {
        let Counts { added, modified, deleted, type_changed, renamed } = Counts::of(changes);
        let summary = Summary { added, modified, deleted, type_changed, renamed };
        Self { schema: SCHEMA, name, changes: changes.iter().map(Entry::of).collect(), summary }
    }
}

/// What is not as expected.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    schema: u32,
    #[serde(rename = "box")]
    name: &'a str,
    same: bool,
    missing: Vec<Missing<'a>>,
    unexpected: Vec<Entry>,
}

#[derive(Serialize)]
struct Missing<'a> {
    line: usize,
    text: &'a str,
}

impl<'a> Report<'a> {
    pub(super) fn of(name: &'a str, verdict: &Verdict<'a>, changes: &[Change]) -> Self {
        let missing = verdict.missing.iter().map(|(line, text)| Missing { line: *line, text });
        let unexpected = verdict.unexpected.iter().map(|place| Entry::of(&changes[*place]));
        Self {
            schema: SCHEMA,
            name,
            same: verdict.is_same(),
            missing: missing.collect(),
            unexpected: unexpected.collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    added: usize,
    modified: usize,
    deleted: usize,
    type_changed: usize,
    renamed: usize,
}

/// One path.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    change: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_hex: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<Aspect>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Renamed,
    #[serde(untagged)]
    Plain(Kind),
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
    target_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
}

/// A path as text, and its bytes where that is not all of it.
pub(in crate::commands::sandbox) fn lossless(path: &Path) -> (String, Option<String>) {
    let bytes = path.as_os_str().as_bytes();
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (path.to_string_lossy().into_owned(), std::str::from_utf8(bytes).is_err().then(hex))
}

impl Entry {
    fn of(change: &Change) -> Self {
        let (path, path_hex) = lossless(&change.path);
        let from = change.from.as_ref().map(|from| lossless(&from.path));
        let (from, from_hex) = from.map_or((None, None), |(from, hex)| (Some(from), hex));
        Self {
            path,
            path_hex,
            change: if from.is_some() { What::Renamed } else { What::Plain(change.kind) },
            from,
            from_hex,
            what: change.aspects.clone(),
            xattrs: change.xattrs.iter().map(|name| text::shown(as_path(name))).collect(),
            before: change.before.as_ref().map(File::of),
            after: change.after.as_ref().map(File::of),
        }
    }
}

impl File {
    fn of(meta: &Meta) -> Self {
        let (seconds, nanoseconds) = meta.modified;
        let target = meta.target.as_deref().map(lossless);
        let (target, target_hex) = target.map_or((None, None), |(target, hex)| (Some(target), hex));
        Self {
            kind: meta.kind,
            mode: format!("{:04o}", meta.mode),
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            modified: crate::time::at(seconds, nanoseconds),
            target,
            target_hex,
            device: meta.device,
        }
    }
}
