//! What nobody has asked to keep: boxes without a name, what an undo needs, what was killed halfway.
//!
//! Looking and removing are two things, so that a person can be asked in between. Each box is held while it is looked at
//! and again while something of it is removed; what it has become in the meantime is looked at anew.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::commit::{self, Stage};
use super::store::{Box, Store};
use super::{BoxName, remove, snapshots, usage};
use crate::error::{Context, Result};
use crate::log;

/// What something is that can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A box that nobody gave a name, with all that it changed.
    Box,
    /// What an undo of a box's last commit needs.
    Undo,
    /// What was killed while it was made or removed.
    Remains,
}

/// Something that can go.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    /// What it is.
    pub what: What,
    /// Of which box; absent for remains of boxes that are no more.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it takes on disk.
    pub bytes: u64,
}

impl Store {
    /// All that can go and was not used for so long; remains can always go. A box in use is left alone.
    ///
    /// # Errors
    /// Where the store cannot be read. A box that cannot be read is a warning.
    pub fn leftovers(&self, unused_for: Duration) -> Result<Vec<Leftover>> {
        let mut all = Vec::new();
        let bytes = self.remains()?.iter().map(|path| usage::of(path)).sum::<Result<u64>>()?;
        if !self.remains()?.is_empty() {
            all.push(Leftover { what: What::Remains, name: None, bytes });
        }
        for listed in self.list()?.into_iter().filter(|listed| !listed.busy) {
            let held = self.hold_if_free(&listed.name);
            match held.and_then(|held| held.map_or(Ok(Vec::new()), |held| of_box(&held, unused_for))) {
                Ok(found) => all.extend(found),
                Err(error) => log::warn(format!("{}: {error}", listed.name)),
            }
        }
        Ok(all)
    }

    /// Removes something that was found, unless it is needed by now. Gives whether it did.
    ///
    /// # Errors
    /// Where it cannot be removed in full.
    pub fn remove_leftover(&self, leftover: &Leftover, unused_for: Duration) -> Result<bool> {
        let Some(name) = &leftover.name else { return self.empty_trash().map(|()| true) };
        let held = match self.hold_if_free(&BoxName::new(name)?) {
            Ok(Some(held)) => held,
            // Somebody else was faster.
            Ok(None) => return Ok(false),
            Err(error) => {
                log::warn(error);
                return Ok(false);
            }
        };
        if !of_box(&held, unused_for)?.iter().any(|found| found.what == leftover.what) {
            return Ok(false);
        }
        match leftover.what {
            What::Box => self.remove(held)?,
            What::Undo => commit::forget(&held)?,
            What::Remains => remains(&held)?.iter().try_for_each(|path| remove::tree(path))?,
        }
        Ok(true)
    }
}

fn of_box(held: &Box, unused_for: Duration) -> Result<Vec<Leftover>> {
    let leftover = |what, bytes| Leftover { what, name: Some(held.name().to_string()), bytes };
    let stage = commit::stage(held)?;
    // Half a commit would stay on the host for good; a snapshot has a name that somebody gave.
    let unfinished = stage.is_some_and(|stage| stage != Stage::Done);
    if held.record.unnamed && !unfinished && !snapshots::any(held)? && unused(held, super::store::RECORD, unused_for)? {
        return Ok(vec![leftover(What::Box, usage::of(held.path())?)]);
    }
    let mut all = Vec::new();
    if stage == Some(Stage::Done) && unused(held, commit::DONE, unused_for)? {
        all.push(leftover(What::Undo, usage::of(&held.path().join(commit::FOLDER))?));
    }
    let remains = remains(held)?;
    if !remains.is_empty() {
        all.push(leftover(What::Remains, remains.iter().map(|path| usage::of(path)).sum::<Result<u64>>()?));
    }
    Ok(all)
}

/// Whether the last change of a file of the box, which is written at each use, is long enough ago.
fn unused(held: &Box, file: &str, unused_for: Duration) -> Result<bool> {
    let path = held.path().join(file);
    let changed = std::fs::metadata(&path).and_then(|found| found.modified()).context(|| format!("stat {path:?}"))?;
    // A clock that was set back makes nothing old.
    Ok(unused_for.is_zero() || SystemTime::now().duration_since(changed).is_ok_and(|age| age >= unused_for))
}

fn remains(held: &Box) -> Result<Vec<PathBuf>> {
    let of_commits = commit::REMAINS.iter().map(|name| held.path().join(name)).filter(|path| path.exists());
    Ok(of_commits.chain(snapshots::remains(held)?).collect())
}
