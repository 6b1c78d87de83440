//! The steps of a commit, each done and taken back. All of them may be asked of one that is done already, or in part.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::copy::{self, Attributes, Side};
use super::journal::{Act, Folder, Journal, Step};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::sandbox::base::Root;
use crate::sandbox::tree::Place;

/// A commit at work.
pub(super) struct Site<'a> {
    pub(super) journal: &'a Journal,
    pub(super) roots: &'a [Root],
    pub(super) backup: OwnedFd,
    /// A name in any folder that nobody else takes.
    pub(super) next: CString,
}

fn is_folder(attributes: &Attributes) -> bool {
    FileType::from_raw_mode(attributes.mode) == FileType::Directory
}

impl Site<'_> {
    /// Keeps what the steps replace or remove: as another name of the same file where that is possible, otherwise as a copy.
    pub(super) fn keep_old(&self) -> Result<()> {
        for (place, step) in self.journal.steps.iter().enumerate() {
            if !matches!(step.act, Act::Remove | Act::Put | Act::Link(_)) || step.old.as_ref().is_none_or(is_folder) {
                continue;
            }
            let old = self.host(step)?;
            let to = self.kept(place)?;
            match copy::link(&old, &to, c"next") {
                Ok(()) => Ok(()),
                Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                    copy::put(&old, Side::Host, &to, c"next")
                }
                Err(errno) => Err(errno).context(|| "link"),
            }
            .context(|| format!("keep the old {:?}", self.shown(step)))?;
        }
        Ok(())
    }

    /// Does all of it.
    pub(super) fn apply(&self) -> Result<()> {
        for step in &self.journal.steps {
            self.apply_one(step).context(|| format!("{:?}", self.shown(step)))?;
        }
        for folder in &self.journal.folders {
            if let Some(times) = &folder.after {
                self.give_times(folder, times)?;
            }
        }
        Ok(())
    }

    fn apply_one(&self, step: &Step) -> Result<()> {
        let place = match (&step.act, Place::find(&self.roots[step.layer].host, &step.path)?) {
            (_, Some(place)) => place,
            // Its folder is gone: it was done before.
            (Act::Remove, None) => return Ok(()),
            (_, None) => self.host(step)?,
        };
        match &step.act {
            Act::Remove => remove(&place),
            Act::MakeFolder(attributes) => {
                match rustix::fs::mkdirat(&place.folder, &place.name, Mode::from(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno).context(|| "mkdir"),
                }
                attributes.give(place.folder.as_fd(), &place.name)
            }
            Act::Put => {
                let root = &self.roots[step.layer];
                let upper = root.upper.as_ref().ok_or_else(|| Error::new("the layer is gone"))?;
                copy::put(&Place::open(upper, &step.path)?, Side::Layer, &place, &self.next)
            }
            Act::Link(first) => {
                let first = self.host(&self.journal.steps[*first])?;
                copy::link(&first, &place, &self.next).context(|| "link")
            }
            Act::Set(attributes) => attributes.give(place.folder.as_fd(), &place.name),
        }
    }

    /// Takes all of it back.
    pub(super) fn revert(&self) -> Result<()> {
        // What is not in its place yet may be what has filled the disk.
        for step in &self.journal.steps {
            if let Some(place) = Place::find(&self.roots[step.layer].host, &step.path)? {
                copy::remove_file(&place.folder, &self.next)?;
            }
        }
        for (place, step) in self.journal.steps.iter().enumerate().rev() {
            self.revert_one(place, step).context(|| format!("{:?}", self.shown(step)))?;
        }
        for folder in &self.journal.folders {
            if let Some(times) = &folder.before {
                self.give_times(folder, times)?;
            }
        }
        Ok(())
    }

    fn revert_one(&self, number: usize, step: &Step) -> Result<()> {
        // Its folder may be gone, or never have been made.
        let root = &self.roots[step.layer];
        let Some(place) = Place::find(&root.host, &step.path)? else { return Ok(()) };
        match (&step.act, &step.old) {
            (Act::Set(_), Some(old)) => old.give(place.folder.as_fd(), &place.name),
            (Act::Remove, Some(old)) if is_folder(old) => {
                match rustix::fs::mkdirat(&place.folder, &place.name, Mode::from(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno).context(|| "mkdir"),
                }
                old.give(place.folder.as_fd(), &place.name)
            }
            (Act::Remove | Act::Put | Act::Link(_), Some(old)) => {
                // The old one is there still: this step was not done.
                if place.stat()?.is_some_and(|stat| stat.st_ino == old.inode && stat.st_mode == old.mode) {
                    return Ok(());
                }
                let kept = self.kept(number)?;
                match copy::link(&kept, &place, &self.next) {
                    Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                        copy::put(&kept, Side::Host, &place, &self.next)
                    }
                    other => other.context(|| "link"),
                }
            }
            (Act::Put | Act::Link(_), None) => copy::remove_file(&place.folder, &place.name),
            (Act::MakeFolder(_), _) => match rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    log::warn(format!("{:?} stays: the host has put something into it", self.shown(step)));
                    Ok(())
                }
                Err(errno) => Err(errno).context(|| "rmdir"),
            },
            (Act::Remove | Act::Set(_), None) => Ok(()),
        }
    }

    fn give_times(&self, folder: &Folder, times: &Attributes) -> Result<()> {
        let Some(place) = Place::find(&self.roots[folder.layer].host, &folder.path)? else { return Ok(()) };
        match place.stat()? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                times.give_times(place.folder.as_fd(), &place.name)
            }
            _ => Ok(()),
        }
    }

    fn host(&self, step: &Step) -> Result<Place> {
        Place::open(&self.roots[step.layer].host, &step.path)
    }

    fn kept(&self, number: usize) -> Result<Place> {
        let folder = rustix::io::fcntl_dupfd_cloexec(&self.backup, 0).context(|| "duplicate a descriptor")?;
        let name = CString::new(number.to_string()).map_err(|_| Error::new("a number holds no NUL"))?;
        Ok(Place { folder, name })
    }

    fn shown(&self, step: &Step) -> std::path::PathBuf {
        self.roots[step.layer].mount.join(&step.path)
    }
}

fn remove(place: &Place) -> Result<()> {
    let flags = match place.stat()? {
        None => return Ok(()),
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => AtFlags::REMOVEDIR,
        Some(_) => AtFlags::empty(),
    };
    rustix::fs::unlinkat(&place.folder, &place.name, flags).context(|| "remove")
}

/// A name for what is not in its place yet.
pub(super) fn next_name(name: &str) -> Result<CString> {
    CString::new(format!(".myrt-commit-{name}")).map_err(|_| Error::new("a name holds no NUL"))
}
