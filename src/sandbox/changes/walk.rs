//! The walk over one layer, folder by folder: of each path only the part below the layer is known, and each folder is
//! opened beneath the descriptor of the layer's root, however deep it lies. No link is followed. A large one is walked by
//! several threads (`team`).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::compare::{self, File};
use super::view::View;
use super::xattrs::{self, Notes};
use super::{Change, Detail, Kind};
use crate::error::{Context, Result};
use crate::sandbox::team;
use crate::sandbox::tree::{entries, open_folder};

/// A folder of the layer that is still to be looked at.
struct Pending {
    /// Below the layer's root.
    path: PathBuf,
    /// What the host has there.
    below: Below,
}

/// What lies below a folder of a layer, on the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    /// A folder, which shows through.
    Merged,
    /// A folder, of which nothing is seen.
    Covered,
    /// No folder; whether this one has been told of already.
    Nothing { told: bool },
}

/// Adds the changes of a layer.
pub(super) fn layer(place: usize, view: &View, detail: Detail, changes: &mut Vec<Change>) -> Result<()> {
    let first = changes.len();
    let (upper, lower) = (view.upper.as_fd(), view.lower.as_fd());
    let walk = Walk { upper, lower, notes: view.notes, mount: &view.mount, detail };
    let each = |folder: &Pending, pending: &mut Vec<Pending>, changes: &mut Vec<Change>| {
        walk.folder(folder, pending, changes).context(|| format!("{:?}", folder.path))
    };
    let mut pending = vec![Pending { path: PathBuf::new(), below: Below::Merged }];
    while let Some(folder) = pending.pop() {
        each(&folder, &mut pending, changes)?;
        if changes.len() - first >= team::WORTH && pending.len() > 1 {
            changes.append(&mut team::all(std::mem::take(&mut pending), true, each)?);
        }
    }
    changes[first..].iter_mut().for_each(|change| change.layer = place);
    Ok(())
}

/// A [`View`], for any thread.
struct Walk<'a> {
    upper: BorrowedFd<'a>,
    lower: BorrowedFd<'a>,
    notes: Notes,
    mount: &'a Path,
    detail: Detail,
}

impl Walk<'_> {
    fn folder(&self, pending: &Pending, rest: &mut Vec<Pending>, changes: &mut Vec<Change>) -> Result<()> {
        let path = &pending.path;
        let upper = open_folder(self.upper, path).context(|| "open the changed folder")?;
        let lower = match pending.below {
            Below::Merged | Below::Covered => match open_folder(self.lower, path) {
                Ok(lower) => Some(lower),
                // It has gone from the host since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => None,
                Err(errno) => return Err(errno).context(|| "open the folder of the host"),
            },
            Below::Nothing { .. } => None,
        };
        let before = changes.len();
        let mut quiet = true;
        let upper_names = entries(&upper).context(|| "read the changed folder")?;
        for name in &upper_names {
            let found = Found::new(self, path, name, upper.as_fd(), lower.as_ref().map(AsFd::as_fd))?;
            quiet &= !found.look(pending.below, rest, changes).context(|| format!("{name:?}"))?;
        }
        if let Some(lower) = lower.as_ref().filter(|_| pending.below == Below::Covered) {
            for name in entries(lower).context(|| "read the folder of the host")? {
                if !upper_names.contains(&name) {
                    let found = Found::new(self, path, &name, upper.as_fd(), Some(lower.as_fd()))?;
                    found.deleted(changes)?;
                }
            }
        }
        let quiet = quiet && changes.len() == before;
        let own = File::of_layer(self.notes, upper.as_fd(), c".")?;
        let full = self.full(path);
        match &lower {
            Some(lower) => {
                let host = File::of_host(lower.as_fd(), c".")?;
                if path.as_os_str().is_empty() && self.is_anothers(&host, &own) {
                    return Ok(());
                }
                changes.extend(compare::folders(full, &host, &own, quiet)?);
            }
            None if pending.below == (Below::Nothing { told: true }) => {}
            None => changes.push(compare::added(full, None, &own, self.detail)?),
        }
        Ok(())
    }

    /// Whether a layer's root stands for a folder of somebody else, whose owner an ordinary user could not give it; then
    /// what it has itself means nothing.
    fn is_anothers(&self, host: &File<'_>, own: &File<'_>) -> bool {
        let owner = |file: &File<'_>| (file.stat.st_uid, file.stat.st_gid);
        self.notes == Notes::User && owner(host) != owner(own)
    }

    fn full(&self, path: &Path) -> PathBuf {
        match path.as_os_str().is_empty() {
            true => self.mount.to_owned(),
            false => self.mount.join(path),
        }
    }
}

/// One name, in a folder of the layer and in that of the host.
struct Found<'a> {
    walk: &'a Walk<'a>,
    folder: &'a Path,
    name: &'a CStr,
    upper: Option<File<'a>>,
    lower: Option<File<'a>>,
}

impl<'a> Found<'a> {
    fn new(
        walk: &'a Walk<'_>,
        folder: &'a Path,
        name: &'a CStr,
        upper: BorrowedFd<'a>,
        lower: Option<BorrowedFd<'a>>,
    ) -> Result<Self> {
        let upper = File::find_in_layer(walk.notes, upper, name)?;
        let lower = lower.map(|lower| File::find_on_host(lower, name)).transpose()?.flatten();
        Ok(Self { walk, folder, name, upper, lower })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(OsStr::from_bytes(self.name.to_bytes()))
    }

    /// Tells of the one path, and leaves a folder for later. Gives whether the folder around was modified by it, as far as
    /// can be told: a file may have been put in the place of another.
    fn look(&self, around: Below, rest: &mut Vec<Pending>, changes: &mut Vec<Change>) -> Result<bool> {
        let upper = match &self.upper {
            Some(upper) if !upper.is_whiteout()? => upper,
            _ => return self.deleted(changes).map(|()| true),
        };
        let full = || self.walk.full(&self.path());
        let below = match &self.lower {
            None => {
                if !upper.is_folder() {
                    changes.push(compare::added(full(), None, upper, self.walk.detail)?);
                }
                Below::Nothing { told: false }
            }
            Some(lower) if lower.kind()? != upper.kind()? => {
                changes.push(compare::added(full(), Some(lower), upper, self.walk.detail)?);
                Below::Nothing { told: true }
            }
            Some(_) if upper.is_folder() => {
                let covered = around == Below::Covered || xattrs::is_opaque(self.walk.notes, upper.folder, self.name)?;
                if covered { Below::Covered } else { Below::Merged }
            }
            Some(lower) => {
                changes.extend(compare::files(full(), lower, upper, self.walk.detail)?);
                return Ok(true);
            }
        };
        if upper.is_folder() {
            rest.push(Pending { path: self.path(), below });
        }
        Ok(below != Below::Merged)
    }

    fn deleted(&self, changes: &mut Vec<Change>) -> Result<()> {
        if let Some(lower) = &self.lower {
            changes.push(Change::new(self.walk.full(&self.path()), Kind::Deleted, Some(lower.meta()?), None));
        }
        Ok(())
    }
}
