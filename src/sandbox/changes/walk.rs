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
use super::xattrs::{self, Inherited, Notes};
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

/// What is told of a layer.
pub(super) enum Told {
    Change(Box<Change>),
    /// A folder of the layer, by its path there, has what the host's has, and that is not noted yet.
    Inherits(PathBuf),
}

impl Told {
    fn change(change: Change) -> Self {
        Self::Change(Box::new(change))
    }
}

/// All that is told of a layer, in no order.
pub(super) fn layer(view: &View, detail: Detail) -> Result<Vec<Told>> {
    let (upper, lower) = (view.upper.as_fd(), view.lower.as_fd());
    let walk = Walk { upper, lower, notes: view.notes, mount: &view.mount, gone: view.gone, detail };
    let each = |folder: &Pending, pending: &mut Vec<Pending>, told: &mut Vec<Told>| {
        walk.folder(folder, pending, told).context(|| format!("{:?}", folder.path))
    };
    let mut told = Vec::new();
    let mut pending = vec![Pending { path: PathBuf::new(), below: Below::Merged }];
    while let Some(folder) = pending.pop() {
        each(&folder, &mut pending, &mut told)?;
        if told.len() >= team::WORTH && pending.len() > 1 {
            told.append(&mut team::all(std::mem::take(&mut pending), true, each)?);
        }
    }
    Ok(told)
}

/// A [`View`], for any thread.
struct Walk<'a> {
    upper: BorrowedFd<'a>,
    lower: BorrowedFd<'a>,
    notes: Notes,
    mount: &'a Path,
    gone: bool,
    detail: Detail,
}

impl Walk<'_> {
    fn folder(&self, pending: &Pending, rest: &mut Vec<Pending>, told: &mut Vec<Told>) -> Result<()> {
        let path = &pending.path;
        let upper = open_folder(self.upper, path).context(|| "open the changed folder")?;
        let lower = match pending.below {
            Below::Merged | Below::Covered => match open_folder(self.lower, path) {
                Ok(lower) => Some(lower),
                // It has gone from the host since, or is there for others alone.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::ACCESS) => None,
                Err(errno) => return Err(errno).context(|| "open the folder of the host"),
            },
            Below::Nothing { .. } => None,
        };
        let before = told.len();
        let mut quiet = true;
        let upper_names = entries(&upper).context(|| "read the changed folder")?;
        for name in &upper_names {
            let found = Found::new(self, path, name, upper.as_fd(), lower.as_ref().map(AsFd::as_fd))?;
            quiet &= !found.look(pending.below, rest, told).context(|| format!("{name:?}"))?;
        }
        if let Some(lower) = lower.as_ref().filter(|_| pending.below == Below::Covered) {
            for name in entries(lower).context(|| "read the folder of the host")? {
                if !upper_names.contains(&name) {
                    let found = Found::new(self, path, &name, upper.as_fd(), Some(lower.as_fd()))?;
                    found.deleted(told)?;
                }
            }
        }
        let quiet = quiet && told.len() == before;
        let own = File::of_layer(self.notes, upper.as_fd(), c".")?;
        let full = self.full(path);
        match &lower {
            Some(lower) => {
                let host = File::of_host(lower.as_fd(), c".")?;
                if path.as_os_str().is_empty() && self.means_nothing(&host, &own) {
                    return Ok(());
                }
                told.extend(compare::folders(full, &host, &own, quiet)?.map(Told::change));
                let has = Inherited::of(&own.stat);
                if has == Inherited::of(&host.stat) && own.inherited()? != Some(has) {
                    told.push(Told::Inherits(path.clone()));
                }
            }
            None if pending.below == (Below::Nothing { told: true }) => {}
            None => told.push(Told::change(compare::added(full, None, &own, self.detail)?)),
        }
        Ok(())
    }

    /// Whether nothing is meant by what a layer's root has itself: the host's folder has gone, or it is somebody else's,
    /// whose owner an ordinary user could not give it.
    fn means_nothing(&self, host: &File<'_>, own: &File<'_>) -> bool {
        let owner = |file: &File<'_>| Inherited::of(&file.stat).owner;
        self.gone || self.notes == Notes::User && owner(host) != owner(own)
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
    fn look(&self, around: Below, rest: &mut Vec<Pending>, told: &mut Vec<Told>) -> Result<bool> {
        let upper = match &self.upper {
            Some(upper) if !upper.is_whiteout()? => upper,
            _ => return self.deleted(told).map(|()| true),
        };
        let full = || self.walk.full(&self.path());
        let below = match &self.lower {
            None => {
                if !upper.is_folder() || self.walk.detail == Detail::Tops {
                    told.push(Told::change(compare::added(full(), None, upper, self.walk.detail)?));
                }
                Below::Nothing { told: false }
            }
            Some(lower) if lower.kind()? != upper.kind()? => {
                told.push(Told::change(compare::added(full(), Some(lower), upper, self.walk.detail)?));
                Below::Nothing { told: true }
            }
            Some(_) if upper.is_folder() => {
                let covered = around == Below::Covered || xattrs::is_opaque(self.walk.notes, upper.folder, self.name)?;
                if covered { Below::Covered } else { Below::Merged }
            }
            Some(lower) => {
                told.extend(compare::files(full(), lower, upper, self.walk.detail)?.map(Told::change));
                return Ok(true);
            }
        };
        let is_top = self.walk.detail == Detail::Tops && matches!(below, Below::Nothing { .. });
        if upper.is_folder() && !is_top {
            rest.push(Pending { path: self.path(), below });
        }
        Ok(below != Below::Merged)
    }

    fn deleted(&self, told: &mut Vec<Told>) -> Result<()> {
        if let Some(lower) = &self.lower {
            let path = self.walk.full(&self.path());
            told.push(Told::change(Change::new(path, Kind::Deleted, Some(lower.meta()?), None)));
        }
        Ok(())
    }
}
