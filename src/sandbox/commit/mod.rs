//! Taking a box's changes over to the host, whole or not at all, and back again.
//!
//! [`commit()`] compares each target with what the box saw there (`base`), writes a journal, keeps what it replaces, and
//! only then changes the host, step by step. Whatever fails is taken back at once; whatever is killed is finished by
//! [`resume`] or taken back by [`rollback`]; what is finished is taken back by [`undo`], as long as the journal is there.

mod crowd;
mod journal;
mod links;
mod moves;
mod plan;
mod prepare;
mod steps;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(super) use journal::{DONE, FOLDER, REMAINS};
pub use journal::{Stage, stage};

use self::journal::{Act, Journal, Other, Step, mark};
use self::prepare::{Prepared, Ready, as_seen, prepare};
use self::steps::Site;
use super::base::{self, Base, Seen};
use super::changes::{self, Change, Kind};
use super::disk;
use super::layers::UPPER;
use super::roots::{self, Folders, Roots};
use super::store::Box;
use super::text;
use crate::error::{Context, Error, Result};
use crate::log;

/// What the host has right after a commit, for the undo.
const AFTER: &str = "commit/after.json";

/// Who wins where box and host changed the same path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Winner {
    /// Nobody: nothing is written.
    #[default]
    Nobody,
    /// The box.
    Ours,
    /// The host.
    Theirs,
}

/// How a commit or an undo ended.
#[derive(Debug)]
pub enum Outcome {
    /// There was nothing to do.
    Nothing,
    /// Nothing was written: the host has changed these paths since.
    Conflicts(Vec<PathBuf>),
    /// The host has it now.
    Done {
        /// How many paths.
        count: usize,
        /// Those that were left to the host.
        left: Vec<PathBuf>,
    },
    /// Nothing was written, since that was not asked for.
    Possible {
        /// What the host would get: each path, and what would happen to it.
        paths: Vec<(PathBuf, Kind)>,
        /// Those that would be left to the host.
        left: Vec<PathBuf>,
    },
}

#[derive(Serialize, Deserialize)]
struct After(#[serde(with = "text::as_text")] PathBuf, Option<Seen>);

/// Takes the changes over that the patterns mean, all without a pattern.
///
/// # Errors
/// Where an earlier commit is unfinished, a pattern means nothing, or the host cannot be written to; then it is as before.
pub fn commit(held: &mut Box, patterns: &[OsString], winner: Winner) -> Result<Outcome> {
    let Ready { changes, selected, left, whole, journal, folders } = match prepare(held, patterns, winner)? {
        Prepared::Ended(outcome) => return Ok(outcome),
        Prepared::Ready(ready) => ready,
    };
    journal.begin(held)?;
    match finish(held, &journal, Some(&folders)) {
        // It was taken back, and each file can still be copied.
        Err(error) if journal.moves().next().is_some() && moves::are_refused(&error) && stage(held)?.is_none() => {
            let chosen: Vec<&Change> = selected.iter().map(|place| &changes[*place]).collect();
            let roots = roots::of(held)?;
            roots.require(&journal.layers(), Some(&folders))?;
            let journal = plan::journal(&chosen, &changes, &roots, whole, HashMap::new())?;
            journal.begin(held)?;
            finish(held, &journal, Some(&folders))?;
        }
        other => other?,
    }
    Ok(Outcome::Done { count: selected.len(), left })
}

/// What [`commit()`] would do, found out in the same way; nothing of the host is changed.
///
/// # Errors
/// As those of a commit, as far as they show before it writes.
pub fn preview(held: &mut Box, patterns: &[OsString], winner: Winner) -> Result<Outcome> {
    match prepare(held, patterns, winner)? {
        Prepared::Ended(Outcome::Done { left, .. }) => Ok(Outcome::Possible { paths: Vec::new(), left }),
        Prepared::Ended(outcome) => Ok(outcome),
        Prepared::Ready(Ready { changes, selected, left, .. }) => {
            let paths = selected.iter().map(|place| (changes[*place].path.clone(), changes[*place].kind)).collect();
            Ok(Outcome::Possible { paths, left })
        }
    }
}

/// Finishes a commit that was killed.
///
/// # Errors
/// Where there is none, or the host cannot be written to; then it is as before.
pub fn resume(held: &mut Box) -> Result<Outcome> {
    match stage(held)? {
        Some(Stage::Reverting | Stage::Reverted | Stage::Renewed) => {
            return Err(Error::new("the commit is being taken back already").hint("finish that: commit --rollback"));
        }
        Some(Stage::Done) | None => return Ok(Outcome::Nothing),
        Some(_) => {}
    }
    let journal = read(held)?;
    finish(held, &journal, None)?;
    Ok(Outcome::Done { count: journal.paths, left: Vec::new() })
}

/// Takes a commit back that was killed.
///
/// # Errors
/// Where something cannot be restored; it can be tried again.
pub fn rollback(held: &mut Box) -> Result<Outcome> {
    match stage(held)? {
        Some(Stage::Done) | None => Ok(Outcome::Nothing),
        Some(_) => revert(held, None),
    }
}

/// Takes the last commit back. `force`: also where the host has changed one of its paths since.
///
/// # Errors
/// Where there is none, it is unfinished, or something cannot be restored; it can be tried again.
pub fn undo(held: &mut Box, force: bool) -> Result<Outcome> {
    require_finished(held)?;
    if stage(held)?.is_none() {
        return Err(Error::new(format!("the box {} has no commit to undo", held.name()))
            .hint("an undo takes back the last commit, once"));
    }
    let mut conflicts = Vec::new();
    let roots = roots::of(held)?;
    let after: Vec<After> = held.read_file(AFTER)?.unwrap_or_default();
    let journal = read(held)?;
    for (step, After(path, seen)) in journal.steps.iter().zip(&after) {
        if base::now_at(roots.of(step.layer)?, &step.path)? != *seen {
            conflicts.push(path.clone());
        }
    }
    let folders = roots.folders()?;
    drop(roots);
    if !conflicts.is_empty() && !force {
        return Ok(Outcome::Conflicts(conflicts));
    }
    revert(held, Some(&folders))
}

/// Forgets what an undo of the last commit needs.
///
/// # Errors
/// Where it cannot be removed.
pub(super) fn forget(held: &Box) -> Result<()> {
    // The backups may be names of the host's own files, which are changed by losing one. That is no conflict.
    let changes = changes::of(held)?;
    let roots = roots::of(held)?;
    let mut base = Base::read(held)?;
    let mut same = Vec::new();
    for change in &changes {
        if !base::differs(roots.of(change.layer)?, change, base.of(&change.path))? {
            same.push(change.path.as_path());
        }
    }
    journal::end(held)?;
    base.forget(same);
    base.note(held, &changes, None)?;
    base.write(held)
}

/// Whether the last commit of a box was begun and not finished: half of it would stay on the host for good.
///
/// # Errors
/// Where the box cannot be read.
pub fn is_unfinished(held: &impl AsFd) -> Result<bool> {
    Ok(stage(held)?.is_some_and(|stage| stage != Stage::Done))
}

/// Refuses to go on where a commit was killed.
///
/// # Errors
/// Then.
pub fn require_finished(held: &Box) -> Result<()> {
    match is_unfinished(held)? {
        false => Ok(()),
        true => {
            let name = held.name();
            Err(Error::new(format!("a commit of the box {name} was interrupted")).hint(format!(
                "`{}` finishes it, `--rollback` brings the host back",
                held.command("commit", format_args!("--resume {name}"))
            )))
        }
    }
}

fn read(held: &Box) -> Result<Journal> {
    Journal::read(held)?.ok_or_else(|| Error::new("the commit has no journal"))
}

/// From whatever stage up to the end. What fails before the host has all of it is taken back. `folders`: those of the host
/// that were compared, as far as this is known.
fn finish(held: &mut Box, journal: &Journal, folders: Option<&Folders>) -> Result<()> {
    let mut made = Vec::new();
    if stage(held)? < Some(Stage::Applied) {
        made = match write(held, journal, folders) {
            Ok(made) => made,
            Err(error) => {
                return Err(match revert(held, folders) {
                    Ok(_) => error.context("the commit was taken back"),
                    Err(second) => {
                        log::warn(format!("the commit could not be taken back: {second}"));
                        let again = held.command("commit", format_args!("--rollback {}", held.name()));
                        error.hint(format!("`{again}` tries it again"))
                    }
                });
            }
        };
    }
    seal(held, journal, made).map_err(|error| {
        let resume = held.command("commit", format_args!("--resume {}", held.name()));
        error
            .context("the host has all of it, but that is not noted yet")
            .hint(format!("once the reason is gone `{resume}` finishes the commit, and `--rollback` takes it back"))
    })
}

/// The box's part, once the host has all of it.
fn seal(held: &Box, journal: &Journal, made: Vec<Option<Seen>>) -> Result<()> {
    if stage(held)? < Some(Stage::Applied) {
        mark(held, Stage::Applied)?;
    }
    note_after(held, journal, made)?;
    if journal.whole {
        for place in 0..held.record.layers.len() {
            let (from, to) = (held.layer_folder(place).join(UPPER), journal::kept_layer(held, place));
            if from.exists() && !to.exists() {
                rustix::fs::rename(&from, &to).context(|| format!("put {from:?} away"))?;
            }
        }
    }
    // While it can still be repeated: a box that is compared with an old host would find conflicts everywhere.
    if journal.whole {
        // It has no changes any more.
        Base::default().write(held)?;
    } else {
        note_base(held, journal, &journal.others, |_| Ok(true))?;
    }
    disk::filesystem(held)?;
    mark(held, Stage::Done)
}

/// Gives what it has put on the host, by the place of a step.
fn write(held: &Box, journal: &Journal, folders: Option<&Folders>) -> Result<Vec<Option<Seen>>> {
    let roots = roots::of(held)?;
    let site = site(held, journal, &roots, folders)?;
    let again = stage(held)? >= Some(Stage::Applying);
    if !again {
        site.keep_old()?;
        disk::filesystem(held)?;
        mark(held, Stage::Applying)?;
    }
    let made = site.apply(held, again)?;
    site.write_out().map(|()| made)
}

fn revert(held: &mut Box, folders: Option<&Folders>) -> Result<Outcome> {
    let journal = read(held)?;
    if stage(held)? == Some(Stage::Prepared) {
        // Backups may be names of the host's files, but these are as they were, and so are the layers.
        mark(held, Stage::Renewed)?;
    }
    let others = others_as_seen(held, &journal)?;
    let roots = roots::with(held, |place| journal::layer(held, place))?;
    if stage(held)? < Some(Stage::Reverted) {
        let site = site(held, &journal, &roots, folders)?;
        // As long as nothing but others' writing can have changed it.
        if stage(held)? == Some(Stage::Done) {
            journal::note_taken(held, &site.taken()?)?;
        }
        mark(held, Stage::Reverting)?;
        site.revert(&journal::taken(held)?)?;
        site.write_out()?;
        mark(held, Stage::Reverted)?;
    }
    if journal.moves().next().is_some() {
        renew(held, &journal, &roots)?;
    }
    drop(roots);
    for place in 0..held.record.layers.len() {
        bring_back(&journal::kept_layer(held, place), &held.layer_folder(place).join(UPPER))?;
    }
    journal::drop_backup(held)?;
    let roots = roots::of(held)?;
    // What the host has put in the place of a file since was seen by nobody.
    note_base(held, &journal, &others, |step| {
        Ok(!matches!(step.act, Act::Move(_)) || moves::is_as_before(roots.of(step.layer)?, step)?)
    })?;
    drop(roots);
    disk::filesystem(&*held)?;
    journal::end(held)?;
    Ok(Outcome::Done { count: journal.paths, left: Vec::new() })
}

/// Of the changes that were no part of the commit, those of which the host still has what was seen.
fn others_as_seen(held: &Box, journal: &Journal) -> Result<Vec<Other>> {
    if journal.others.is_empty() {
        return Ok(Vec::new());
    }
    let (changes, roots, seen) = (changes::of(held)?, roots::of(held)?, Base::read(held)?);
    let known: BTreeSet<&Path> = journal.others.iter().map(|Other(path)| path.as_path()).collect();
    as_seen(changes.iter().filter(|change| known.contains(change.path.as_path())), &roots, &seen)
}

/// Makes what came back into the layers theirs alone.
fn renew(held: &Box, journal: &Journal, roots: &Roots) -> Result<()> {
    let anew = journal::anew(held)?;
    if stage(held)? < Some(Stage::Renewed) {
        moves::copy(journal, roots, &anew)
            .map_err(|error| error.context("the host is as before, but the box has not got its changes back"))?;
        disk::filesystem(held)?;
        mark(held, Stage::Renewed)?;
    }
    moves::put_back(journal, roots, &anew)
}

/// Gives a box a layer back that was put away, unless it has changes by now that would be lost.
fn bring_back(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    // An empty one is what a run leaves that changed nothing.
    match rustix::fs::rmdir(to) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::rename(from, to).context(|| format!("bring {to:?} back")),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            log::warn("the box has changed more since: what the commit took over is gone from it");
            Ok(())
        }
        Err(errno) => Err(errno).context(|| format!("remove {to:?}")),
    }
}

/// `folders`: those that the roots must have, as far as this is known.
fn site<'a>(held: &Box, journal: &'a Journal, roots: &'a Roots, folders: Option<&Folders>) -> Result<Site<'a>> {
    roots.require(&journal.layers(), folders)?;
    let next = CString::new(journal.next.as_str()).map_err(|_| Error::new("a name holds no NUL"))?;
    Ok(Site { journal, roots, backup: Rc::new(journal::backup(held)?), next })
}

/// What the host has at each path of the journal, for the undo. `made`: what of it is known, by the place of a step.
fn note_after(held: &Box, journal: &Journal, made: Vec<Option<Seen>>) -> Result<()> {
    let roots = roots::of(held)?;
    let line = |(step, made): (&Step, Option<Seen>)| {
        let root = roots.of(step.layer)?;
        let now = match made {
            Some(file) => Some(file),
            None => base::now_at(root, &step.path)?,
        };
        Ok(After(root.mount.join(&step.path), now))
    };
    let made = made.into_iter().chain(std::iter::repeat(None));
    held.write_file(AFTER, &journal.steps.iter().zip(made).map(line).collect::<Result<Vec<_>>>()?)
}

/// What the host has now is what the box is compared with from here on, at the places of these steps and at `others`.
fn note_base(held: &Box, journal: &Journal, others: &[Other], which: impl Fn(&Step) -> Result<bool>) -> Result<()> {
    let changes = changes::of(held)?;
    let mut base = Base::read(held)?;
    base.forget(others.iter().map(|Other(path)| path.as_path()));
    for step in &journal.steps {
        if which(step)? {
            base.forget([held.record.layers[step.layer].path.join(&step.path).as_path()]);
        }
    }
    base.note(held, &changes, None)?;
    base.write(held)
}
