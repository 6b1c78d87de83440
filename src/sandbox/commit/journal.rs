//! The journal of a commit: what is done to the host, in order, and what was there before.
//!
//! A folder `commit` in the box: `journal.json`, written first and never changed; `backup/N`, what step N replaces or
//! removes; and empty files that say how far it came. Each step can be done again and taken back, whether or not it was
//! done, so that nothing has to be written between them.
//!
//! | file | says |
//! |---|---|
//! | `journal.json` | what is going to be done; the host is untouched |
//! | `applying` | all backups are made; the host is being changed |
//! | `applied` | the host has all of it; the layers are being put away |
//! | `done` | it is finished, and can be undone |
//! | `taken.json` | an undo is going to leave the times of these folders alone |
//! | `reverting` | it is being taken back |
//! | `reverted` | the host is as before; what was moved is copied into `anew`, for the layers |
//! | `renewed` | all copies are made; the layers are being brought back |
//!
//! A file that is moved needs no backup: what the host had is in the layer then, under the same name. Which of both is
//! where, the layer alone says, by the inode that the journal holds: nobody else can write there. The host may use a file
//! as long as it had it (be mapped, open, mounted somewhere, have further names), and a box writes to its files in place:
//! what comes back into a layer becomes a copy there.
//!
//! It holds across a power cut as well, since each of these files is made when what it says is on the disk, and is on the
//! disk itself before anything follows:
//!
//! | before | is on the disk |
//! |---|---|
//! | `applying` | the store's filesystem: the journal, all backups, and what the programs left in the layers |
//! | the first change of the host | `applying` |
//! | `applied`, `reverted` | each filesystem of the host that was changed |
//! | `renewed` | the store's filesystem: the copies |
//! | a layer is put away, a backup is dropped | `applied`, `reverted` |
//! | `done`, and before the folder goes after a rollback or undo | the store's filesystem: layers, base, `after.json` |
//! | the command says so | `done` |

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::sandbox::copy::Attributes;
use crate::sandbox::layers::UPPER;
use crate::sandbox::store::Box;
use crate::sandbox::{disk, remove, text};

/// The folder in a box.
pub(in crate::sandbox) const FOLDER: &str = "commit";
/// The file in it that is made when all is over.
pub(in crate::sandbox) const DONE: &str = "commit/done";
/// What may lie about after something was killed, in a box.
pub(in crate::sandbox) const REMAINS: [&str; 2] = [NEXT, OLD];
/// Where it is built until the journal is whole.
const NEXT: &str = "commit.next";
/// What it is called while it is removed.
const OLD: &str = "commit.old";
const JOURNAL: &str = "commit/journal.json";
const BACKUP: &str = "commit/backup";
const TAKEN: &str = "commit/taken.json";
const ANEW: &str = "commit/anew";

/// How far a commit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The host is untouched.
    Prepared,
    /// The host has a part of it, perhaps.
    Applying,
    /// The host has all of it.
    Applied,
    /// It is over.
    Done,
    /// It is being taken back.
    Reverting,
    /// The host is as before; what was moved is copied for the layers.
    Reverted,
    /// The layers are being brought back.
    Renewed,
}

impl Stage {
    /// The later ones, with the file that says so, the last one first.
    const FILES: [(Self, &'static str); 6] = [
        (Self::Renewed, "commit/renewed"),
        (Self::Reverted, "commit/reverted"),
        (Self::Reverting, "commit/reverting"),
        (Self::Done, DONE),
        (Self::Applied, "commit/applied"),
        (Self::Applying, "commit/applying"),
    ];
}

/// What is done, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Whether everything that the box changed is part of it: then its layers are put away.
    pub(super) whole: bool,
    /// What a file is called until it is in its place: nobody can know the name before.
    pub(super) next: String,
    /// How many changes these are.
    pub(super) paths: usize,
    /// In order: what goes, the deepest first; then what comes, folders first.
    pub(super) steps: Vec<Step>,
    /// Folders of the host that are not to look modified, or modified when the box modified them; the deepest first.
    pub(super) folders: Vec<Folder>,
    /// Changes that are no part of it, where the host has what the box saw. A file of several names has another time of change
    /// once one of them is kept or goes: that is no work of the host's.
    #[serde(default)]
    pub(super) others: Vec<Other>,
}

/// A path as a person knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Other(#[serde(with = "text::as_text")] pub(super) PathBuf);

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// The place of the layer.
    pub(super) layer: usize,
    /// Below the layer's root.
    #[serde(with = "text::as_text")]
    pub(super) path: PathBuf,
    /// What.
    pub(super) act: Act,
    /// What was there, if anything.
    pub(super) old: Option<Attributes>,
    /// Of an [`Act::Name`], the file that gets another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<Attributes>,
}

/// What a step does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    /// Removes a file or an empty folder.
    Remove,
    /// Makes a folder.
    MakeFolder(Attributes),
    /// Puts a copy of the layer's file there.
    Put,
    /// Puts the layer's file itself there; what the host had takes its place in the layer.
    Move(Moved),
    /// Gives the file another name of what an earlier step put there, by its place in [`Journal::steps`].
    Link(usize),
    /// Gives another name to a file that the host has already.
    Name(#[serde(with = "text::as_text")] PathBuf),
    /// Gives what is there other attributes.
    Set(Attributes),
}

/// A file of a layer that is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    /// Its number: while the layer has it under the step's path, the host has not.
    pub(super) inode: u64,
    /// What overlayfs has noted on it, if anything: of which file it is a copy. The host's must not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<Vec<u8>>,
}

/// A folder's times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Folder {
    /// The place of the layer.
    pub(super) layer: usize,
    /// Below the layer's root.
    #[serde(with = "text::as_text")]
    pub(super) path: PathBuf,
    /// On the host, before; absent for one that the commit makes.
    pub(super) before: Option<Attributes>,
    /// In the box; absent where it has none of its own.
    pub(super) after: Option<Attributes>,
    /// The box's own, where files are moved: these come and go in it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<Attributes>,
    /// Whether a step writes right into it, which gives it a time that nobody means.
    #[serde(default)]
    pub(super) written: bool,
}

/// Notes which folders an undo is to leave as they are, by their place in [`Journal::folders`]: others have written to them
/// since the commit. Comes before the host is changed.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn note_taken(held: &Box, taken: &[usize]) -> Result<()> {
    held.write_file(TAKEN, &taken)
}

/// Those that were noted.
///
/// # Errors
/// Where the file is broken.
pub(super) fn taken(held: &Box) -> Result<Vec<usize>> {
    Ok(held.read_file(TAKEN)?.unwrap_or_default())
}

/// How far the last commit of a box came; `None`: there is none.
///
/// # Errors
/// Where the box cannot be read.
pub fn stage(held: &impl AsFd) -> Result<Option<Stage>> {
    let there =
        |name: &str| match rustix::fs::accessat(held, name, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("look for {name}")),
        };
    // On the path of every start, where there is none.
    if !there(FOLDER)? {
        return Ok(None);
    }
    for (stage, file) in Stage::FILES {
        if there(file)? {
            return Ok(Some(stage));
        }
    }
    Ok(there(JOURNAL)?.then_some(Stage::Prepared))
}

/// Says that the commit has come so far; afterwards a power cut cannot unsay it. What it says has to be on the disk before.
pub(super) fn mark(held: &Box, stage: Stage) -> Result<()> {
    let Some((_, file)) = Stage::FILES.into_iter().find(|(known, _)| *known == stage) else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::openat(held, file, flags, Mode::from(0o600)).context(|| format!("make {file}"))?;
    disk::file(open(held, FOLDER)?).context(|| format!("make {file}"))
}

impl Journal {
    /// The steps that move a file, with their numbers.
    pub(super) fn moves(&self) -> impl Iterator<Item = (usize, &Step, &Moved)> {
        self.steps.iter().enumerate().filter_map(|(number, step)| match &step.act {
            Act::Move(moved) => Some((number, step, moved)),
            _ => None,
        })
    }

    /// The layers to whose folders it writes.
    pub(super) fn layers(&self) -> BTreeSet<usize> {
        self.steps.iter().map(|step| step.layer).collect()
    }

    /// Begins a commit: from here on it can be found. What an earlier one kept for its undo goes.
    pub(super) fn begin(&self, held: &Box) -> Result<()> {
        end(held)?;
        remove::tree(&held.path().join(NEXT))?;
        let make = |name: &str| rustix::fs::mkdirat(held, name, Mode::from(0o700)).context(|| format!("make {name}"));
        make(NEXT)?;
        make("commit.next/backup")?;
        held.write_file("commit.next/journal.json", self)?;
        rustix::fs::renameat(held, NEXT, held, FOLDER).context(|| "begin the commit")
    }

    /// Reads that of the last commit.
    pub(super) fn read(held: &Box) -> Result<Option<Self>> {
        held.read_file(JOURNAL)
    }
}

/// Forgets the last commit. Its folder gets a name first that means nothing.
pub(super) fn end(held: &Box) -> Result<()> {
    remove::tree(&held.path().join(OLD))?;
    match rustix::fs::renameat(held, FOLDER, held, OLD) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context(|| "put the last commit away")?,
    }
    // A journal in part is none, but under its own name it would be believed.
    disk::file(held)?;
    remove::tree(&held.path().join(OLD))
}

/// Removes the backups, which no step needs any more. Where they are names of the host's own files, that changes these
/// once more.
pub(super) fn drop_backup(held: &Box) -> Result<()> {
    remove::tree(&held.path().join(BACKUP))
}

/// The folder of backups.
pub(super) fn backup(held: &Box) -> Result<OwnedFd> {
    open(held, BACKUP)
}

fn open(held: &Box, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(held, name, flags, Mode::empty()).context(|| format!("open {:?}", held.path().join(name)))
}

/// The folder of copies for the layers, made where it is missing.
pub(super) fn anew(held: &Box) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(held, ANEW, Mode::from(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open(held, ANEW),
        Err(errno) => Err(errno).context(|| format!("make {ANEW}")),
    }
}

/// Where the layer of a commit is now: put away, or still the box's.
pub(super) fn layer(held: &Box, place: usize) -> PathBuf {
    let kept = kept_layer(held, place);
    if kept.exists() { kept } else { held.layer_folder(place).join(UPPER) }
}

/// Where the layers of a whole commit are put away.
pub(super) fn kept_layer(held: &Box, place: usize) -> PathBuf {
    held.path().join(FOLDER).join(format!("layer-{place}"))
}
