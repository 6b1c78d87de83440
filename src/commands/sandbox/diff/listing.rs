//! Changes for people: a line each, and one that counts them.

use std::path::Path;

use super::paint::Paint;
use crate::sandbox::changes::{Aspect, Change, FileKind, Kind, Meta};
use crate::sandbox::{expect, text};

/// A line for each change, and one that counts them.
pub(super) fn list(changes: &[Change], paint: Paint) -> String {
    let mut lines: String = changes.iter().map(|change| line(change, &change.path, paint) + "\n").collect();
    lines.push_str(&count(changes));
    lines.push('\n');
    lines
}

/// The line of a change, in which its path is written as `name`.
pub(super) fn line(change: &Change, name: &Path, paint: Paint) -> String {
    let letter = if change.from.is_some() { 'R' } else { expect::letter(change.kind) };
    let slash = if is_folder(change) { "/" } else { "" };
    let head = paint.letter(letter, &format!("{letter} {}{slash}", text::shown(name)));
    format!("{head}{}", more(change))
}

/// Whether what is there, or was, is a folder.
pub(super) fn is_folder(change: &Change) -> bool {
    change.after.as_ref().or(change.before.as_ref()).is_some_and(|meta| meta.kind == FileKind::Folder)
}

fn more(change: &Change) -> String {
    let told = match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            change.aspects.iter().map(|aspect| told(change, *aspect, before, after)).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let words = match (change.kind, &change.from, &change.before, &change.after) {
        (_, Some(from), ..) => {
            let was = format!("was {}", text::shown(&from.path));
            std::iter::once(was).chain(told).collect()
        }
        (Kind::TypeChanged, _, Some(before), Some(after)) => {
            let became = format!("{} became {}", before.kind.word(), after.kind.word());
            std::iter::once(became).chain(rights(change)).collect()
        }
        (Kind::Added, _, _, Some(after)) => match &after.target {
            Some(target) => return format!(" -> {}", text::shown(target)),
            None if after.kind == FileKind::File => {
                std::iter::once(text::size(after.size)).chain(rights(change)).collect()
            }
            None => Vec::new(),
        },
        (Kind::Modified, ..) => told,
        _ => Vec::new(),
    };
    if words.is_empty() { String::new() } else { format!("  {}", words.join(", ")) }
}

fn rights(change: &Change) -> impl Iterator<Item = String> {
    change.rights().into_iter().map(str::to_owned)
}

fn told(change: &Change, aspect: Aspect, before: &Meta, after: &Meta) -> String {
    match aspect {
        Aspect::Content => match (&before.target, &after.target) {
            (Some(before), Some(after)) => format!("-> {}, was -> {}", text::shown(after), text::shown(before)),
            _ if before.size == after.size => "content".to_owned(),
            _ => format!("content {} to {}", text::size(before.size), text::size(after.size)),
        },
        Aspect::Mode => format!("mode {:o} to {:o}", before.mode, after.mode),
        Aspect::Owner => format!("owner {}:{} to {}:{}", before.uid, before.gid, after.uid, after.gid),
        Aspect::Xattr => {
            let names = change.xattrs.iter().map(|name| text::shown(as_path(name)));
            format!("xattr {}", names.collect::<Vec<_>>().join(" "))
        }
        Aspect::Times => "times".to_owned(),
    }
}

/// A name of an attribute is hostile as a path is.
pub(super) fn as_path(name: &std::ffi::CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// How many there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) added: usize,
    pub(super) modified: usize,
    pub(super) deleted: usize,
    pub(super) type_changed: usize,
    pub(super) renamed: usize,
}

impl Counts {
    pub(super) fn add(&mut self, change: &Change) {
        let one = match change.kind {
            _ if change.from.is_some() => &mut self.renamed,
            Kind::Added => &mut self.added,
            Kind::Modified => &mut self.modified,
            Kind::Deleted => &mut self.deleted,
            Kind::TypeChanged => &mut self.type_changed,
        };
        *one += 1;
    }

    pub(super) fn of(changes: &[Change]) -> Self {
        let mut counts = Self::default();
        changes.iter().for_each(|change| counts.add(change));
        counts
    }

    /// `2 added, 1 modified`
    pub(super) fn told(self) -> String {
        let rows = [
            (self.added, "added"),
            (self.modified, "modified"),
            (self.deleted, "deleted"),
            (self.type_changed, "of another kind"),
            (self.renamed, "renamed"),
        ];
        let counts = rows.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() { "nothing changed".to_owned() } else { counts.join(", ") }
    }
}

/// The line that counts them.
pub(in crate::commands::sandbox) fn count(changes: &[Change]) -> String {
    Counts::of(changes).told()
}
