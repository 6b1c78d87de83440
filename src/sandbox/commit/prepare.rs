//! What a commit is going to do: which changes the host gets, what stands in the way, and the journal of it. Nothing of the
//! host is changed.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;

use super::journal::{Act, Journal, Other};
use super::{Outcome, Winner, moves, plan, require_finished};
use crate::error::{Error, Result};
use crate::sandbox::base::{self, Base, Seen};
use crate::sandbox::changes::{self, Change, Kind};
use crate::sandbox::copy::Attributes;
use crate::sandbox::pattern::{self, Pattern};
use crate::sandbox::roots::{self, Folders, Roots};
use crate::sandbox::store::Box;

/// A commit before anything is written.
pub(super) enum Prepared {
    /// There is nothing to write.
    Ended(Outcome),
    Ready(Ready),
}

/// All that a commit is going to do.
pub(super) struct Ready {
    /// Those of the box.
    pub(super) changes: Vec<Change>,
    /// Which of them the host gets.
    pub(super) selected: BTreeSet<usize>,
    /// What is left to the host.
    pub(super) left: Vec<PathBuf>,
    /// Whether those are all.
    pub(super) whole: bool,
    pub(super) journal: Journal,
    /// The folders of the host that were compared.
    pub(super) folders: Folders,
}

/// Finds it out.
///
/// # Errors
/// Where an earlier commit is unfinished, a pattern means nothing, or host or box cannot be read.
pub(super) fn prepare(held: &mut Box, patterns: &[OsString], winner: Winner) -> Result<Prepared> {
    require_finished(held)?;
    base::settle(held)?;
    let changes = changes::of(held)?;
    let patterns = patterns.iter().map(|pattern| Pattern::typed(pattern)).collect::<Result<Vec<_>>>()?;
    let mut selected = pattern::select(held, &changes, &patterns)?;
    pattern::with_folders(&changes, &mut selected);
    let gone: Vec<bool> = (0..held.record.layers.len()).map(|place| !held.has_host(place)).collect();
    if let Some(lost) = selected.iter().map(|place| &changes[*place]).find(|change| gone[change.layer]) {
        let folder = &held.record.layers[lost.layer].path;
        return Err(Error::new(format!("{:?} cannot be taken over: the host has no {folder:?} any more", lost.path))
            .hint("make that folder, or name what else is to be taken over"));
    }
    let roots = roots::of(held)?;
    let seen = Base::read(held)?;
    let mut conflicts = Vec::new();
    for place in &selected {
        let change = &changes[*place];
        // The time of a folder is no work of anybody's: the later one stays, and nobody's entries are touched.
        if !change.is_folders_time() && base::differs(roots.of(change.layer)?, change, seen.of(&change.path))? {
            conflicts.push(*place);
        }
    }
    let paths = |places: &[usize]| places.iter().map(|place| changes[*place].path.clone()).collect::<Vec<_>>();
    let mut left = Vec::new();
    match winner {
        Winner::Nobody if !conflicts.is_empty() => return Ok(Prepared::Ended(Outcome::Conflicts(paths(&conflicts)))),
        Winner::Theirs => {
            // What the box put into a folder of its own cannot go where the host has something else by now. A folder that
            // both have keeps the host's mode and owner, and takes entries all the same.
            let lost = |change: &Change| {
                conflicts.iter().map(|place| &changes[*place]).any(|taken| {
                    change.path == taken.path || (taken.kind != Kind::Modified && change.path.starts_with(&taken.path))
                })
            };
            let all: Vec<usize> = selected.iter().copied().filter(|place| lost(&changes[*place])).collect();
            selected.retain(|place| !all.contains(place));
            left = paths(&all);
        }
        Winner::Nobody | Winner::Ours => {}
    }
    if selected.is_empty() {
        let outcome = if left.is_empty() { Outcome::Nothing } else { Outcome::Done { count: 0, left } };
        return Ok(Prepared::Ended(outcome));
    }
    let chosen: Vec<&Change> = selected.iter().map(|place| &changes[*place]).collect();
    let whole = chosen.len() == changes.len() && changes::unmounted(held)?.is_empty();
    let movable = if whole { moves::find(&chosen, &roots)? } else { HashMap::new() };
    let others = changes.iter().enumerate().filter(|(place, _)| !selected.contains(place)).map(|(_, change)| change);
    let journal = Journal {
        others: as_seen(others, &roots, &seen)?,
        ..plan::journal(&chosen, &changes, &roots, whole, movable)?
    };
    if winner != Winner::Ours {
        // Between the two looks somebody may have put another file there.
        let moved = moved(&journal, &roots, &seen)?;
        if !moved.is_empty() {
            return Ok(Prepared::Ended(Outcome::Conflicts(moved)));
        }
    }
    let folders = roots.folders()?;
    Ok(Prepared::Ready(Ready { changes, selected, left, whole, journal, folders }))
}

/// Those of which the host has what the box saw, as far as times of change tell it.
pub(super) fn as_seen<'a>(changes: impl Iterator<Item = &'a Change>, roots: &Roots, seen: &Base) -> Result<Vec<Other>> {
    let mut same = Vec::new();
    for change in changes {
        let seen = seen.of(&change.path);
        let by_times = matches!(seen, Some(Seen::File { .. } | Seen::Tree(_)));
        if by_times && roots.has(change.layer) && !base::differs(roots.of(change.layer)?, change, seen)? {
            same.push(Other(change.path.clone()));
        }
    }
    Ok(same)
}

/// Files that are to get other attributes and are not those that were seen.
fn moved(journal: &Journal, roots: &Roots, seen: &Base) -> Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for step in journal.steps.iter().filter(|step| matches!(step.act, Act::Set(_))) {
        let path = roots.of(step.layer)?.mount.join(&step.path);
        if is_another(step.old.as_ref(), seen.of(&path)) {
            moved.push(path);
        }
    }
    Ok(moved)
}

/// Whether a file that gets other attributes is not the one that was seen.
fn is_another(old: Option<&Attributes>, seen: Option<&Seen>) -> bool {
    match (old, seen) {
        (Some(old), Some(Seen::File { inode, changed })) => (old.inode, old.changed) != (*inode, *changed),
        (Some(old), Some(Seen::Folder { inode, .. })) => old.inode != *inode,
        _ => false,
    }
}
