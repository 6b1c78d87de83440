//! States of a box that are kept under a label, and brought back.
//!
//! A snapshot is a folder `snapshots/LABEL` in the box: `state.json`, `base.json` and `layers` as the box itself has them.
//! It is built under a name that no label can have. Bringing one back begins with a whole copy beside the box's own files,
//! `restore`; from the moment on at which it has that name, whoever holds the box next finishes it ([`finish`]), so that a
//! box has either all of the one state or all of the other.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::base::{self, Base};
use super::store::{Box, LAYERS, Layer};
use super::tree;
use super::{BoxName, commit, disk, duplicate, remove, usage};
use crate::bail;
use crate::error::{Context, Error, Result};

/// The folder in a box.
const FOLDER: &str = "snapshots";
/// The file with a snapshot's [`State`].
const STATE: &str = "state.json";
/// A state that is being brought back, whole.
const RESTORE: &str = "restore";
/// What may lie about after something was killed, in a box.
pub(super) const REMAINS: [&str; 3] = ["restore.next", "restore.old", "layers.old"];
/// How a snapshot begins that is not whole, or is being removed; no label begins so.
const HIDDEN: &str = ".";

/// The label of a snapshot: what a box may be called as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    /// Checks a label.
    ///
    /// # Errors
    /// Where it holds a letter that no label may have.
    pub fn new(text: &str) -> Result<Self> {
        if BoxName::new(text).is_err() {
            return Err(Error::new(format!("a snapshot may not be called {text:?}"))
                .hint("a label has letters, digits, _, + and -, and dots but not first"));
        }
        Ok(Self(text.to_owned()))
    }

    /// One made of the time, such as 20261128-143201.
    pub fn of_now() -> Self {
        let time = crate::time::now_seconds();
        Self(
            time.chars()
                .filter(|letter| letter.is_ascii_digit() || *letter == 'T')
                .collect::<String>()
                .replace('T', "-"),
        )
    }
}

impl Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot, as it is listed.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Its label.
    pub label: String,
    /// When it was taken, RFC 3339.
    pub created: String,
    /// What it takes on disk; blocks that a filesystem shares with other files are counted as well.
    pub bytes: u64,
}

/// What a snapshot remembers beside the layers themselves.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    created: String,
    layers: Vec<Layer>,
}

/// Keeps the box's state under a label.
///
/// # Errors
/// Where the label is taken, a commit is unfinished, or the layers cannot be copied.
pub fn take(held: &mut Box, label: &Label) -> Result<()> {
    commit::require_finished(held)?;
    base::settle(held)?;
    let folder = held.path().join(FOLDER);
    let target = folder.join(&label.0);
    if target.exists() {
        bail!("the box {} has a snapshot {label} already", held.name());
    }
    make_if_missing(&folder)?;
    clear(held)?;
    let next = folder.join(format!("{HIDDEN}next-{label}"));
    make(&next)?;
    let result = fill(held, &next).and_then(|()| {
        // A name must not come to the disk before what it names.
        disk::filesystem(&*held)?;
        rustix::fs::renameat_with(CWD, &next, CWD, &target, RenameFlags::NOREPLACE)
            .context(|| "give the snapshot its label")?;
        disk::file(tree::Root::open(&folder)?)
    });
    result.inspect_err(|_| {
        // The reason for the failure matters more than one more.
        let _ = remove::tree(&next);
    })
}

fn fill(held: &Box, next: &Path) -> Result<()> {
    duplicate::state(held.path(), held.record.layers.len(), next)?;
    let state = State { created: crate::time::now(), layers: held.record.layers.clone() };
    let text = serde_json::to_vec(&state).map_err(|error| Error::new(format!("write {STATE}: {error}")))?;
    std::fs::write(next.join(STATE), text).context(|| format!("write {:?}", next.join(STATE)))
}

/// All snapshots of a box, the oldest first.
///
/// # Errors
/// Where they cannot be read.
pub fn list(held: &Box) -> Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    for label in labels(held)? {
        let state = read(held, &label)?;
        let bytes = usage::of(&folder_of(held, &label))?;
        all.push(Snapshot { label: label.0, created: state.created, bytes });
    }
    all.sort_by(|one, other| (&one.created, &one.label).cmp(&(&other.created, &other.label)));
    Ok(all)
}

/// Whether a box has any.
///
/// # Errors
/// Where that cannot be read.
pub(super) fn any(held: &Box) -> Result<bool> {
    Ok(!labels(held)?.is_empty())
}

/// Gives a box the state that a snapshot keeps. What it has changed since is gone; the snapshot stays.
///
/// # Errors
/// Where there is no such snapshot, a commit is unfinished, or it cannot be copied; the box is as before then.
pub fn restore(held: &mut Box, label: &Label) -> Result<()> {
    commit::require_finished(held)?;
    let from = folder_of(held, label);
    let state = read(held, label)?;
    let next = held.path().join("restore.next");
    remove::tree(&next)?;
    make(&next)?;
    let copied = duplicate::state(&from, state.layers.len(), &next)
        .and_then(|()| std::fs::copy(from.join(STATE), next.join(STATE)).map(drop).context(|| "copy its state"))
        .and_then(|()| disk::filesystem(&*held))
        .and_then(|()| {
            rustix::fs::renameat(&*held, "restore.next", &*held, RESTORE).context(|| "begin to bring it back")
        });
    copied.inspect_err(|_| {
        let _ = remove::tree(&next);
    })?;
    finish(held)
}

/// Finishes what [`restore`] has begun, if it has. Each step can be done again.
///
/// # Errors
/// Where something cannot be replaced; it can be tried again.
pub(super) fn finish(held: &mut Box) -> Result<()> {
    let Some(state) = held.read_file::<State>(&format!("{RESTORE}/{STATE}"))? else { return Ok(()) };
    let path = |name: &str| held.path().join(name);
    let new = path(RESTORE).join(LAYERS);
    if new.exists() {
        if path(LAYERS).exists() {
            remove::tree(&path("layers.old"))?;
            rustix::fs::rename(path(LAYERS), path("layers.old")).context(|| "put the layers away")?;
        }
        rustix::fs::rename(&new, path(LAYERS)).context(|| "bring the layers back")?;
    }
    Base::read_from(held, &format!("{RESTORE}/{}", base::FILE))?.write(held)?;
    held.record.layers = state.layers;
    base::settled(held)?;
    held.save()?;
    remove::tree(&held.path().join("restore.old"))?;
    disk::filesystem(&*held)?;
    rustix::fs::renameat(&*held, RESTORE, &*held, "restore.old").context(|| "end bringing it back")?;
    disk::file(&*held)?;
    clear(held)
}

/// Removes a snapshot.
///
/// # Errors
/// Where there is none, or it cannot be removed in full; it is gone from the list then.
pub fn remove(held: &Box, label: &Label) -> Result<()> {
    read(held, label)?;
    let hidden = held.path().join(FOLDER).join(format!("{HIDDEN}gone-{label}"));
    remove::tree(&hidden)?;
    rustix::fs::rename(folder_of(held, label), &hidden).context(|| format!("put the snapshot {label} away"))?;
    clear(held)?;
    match rustix::fs::unlinkat(held, FOLDER, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("remove the folder {FOLDER}")),
    }
}

/// What was killed has left in a box: paths.
///
/// # Errors
/// Where the box cannot be read.
pub(super) fn remains(held: &Box) -> Result<Vec<PathBuf>> {
    let hidden = entries(held)?.into_iter().filter(|name| name.starts_with(HIDDEN));
    let hidden = hidden.map(|name| held.path().join(FOLDER).join(name));
    Ok(REMAINS.iter().map(|name| held.path().join(name)).filter(|path| path.exists()).chain(hidden).collect())
}

fn clear(held: &Box) -> Result<()> {
    remains(held)?.iter().try_for_each(|path| remove::tree(path))
}

fn labels(held: &Box) -> Result<Vec<Label>> {
    let mut labels: Vec<Label> = entries(held)?.iter().filter_map(|name| Label::new(name).ok()).collect();
    labels.sort_unstable();
    Ok(labels)
}

fn entries(held: &Box) -> Result<Vec<String>> {
    match std::fs::read_dir(held.path().join(FOLDER)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let all = other.context(|| format!("read {FOLDER}"))?.flatten();
            Ok(all.filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
    }
}

fn read(held: &Box, label: &Label) -> Result<State> {
    held.read_file(&format!("{FOLDER}/{label}/{STATE}"))?.ok_or_else(|| {
        let name = held.name();
        Error::new(format!("the box {name} has no snapshot {label}"))
            .hint(format!("`{}` shows them", held.command("snapshot", format_args!("{name} --list"))))
    })
}

fn folder_of(held: &Box, label: &Label) -> PathBuf {
    held.path().join(FOLDER).join(&label.0)
}

fn make(path: &Path) -> Result<()> {
    rustix::fs::mkdirat(CWD, path, Mode::from(0o700)).context(|| format!("make {path:?}"))
}

fn make_if_missing(path: &Path) -> Result<()> {
    match rustix::fs::mkdirat(CWD, path, Mode::from(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("make {path:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_folder_that_is_seen() {
        for text in ["before", "1.2_3+x", "20261128-143201"] {
            assert_eq!(Label::new(text).unwrap().to_string(), text);
        }
        for text in ["", ".next-x", "-x", "a/b", ".."] {
            assert!(Label::new(text).is_err(), "{text:?}");
        }
        assert!(Label::new(&Label::of_now().to_string()).is_ok());
    }
}
