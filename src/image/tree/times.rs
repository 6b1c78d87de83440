//! Modification times of folders, which whatever is put into them changes: they are remembered, and set when nothing comes
//! any more.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Tree, path};
use crate::error::{Context, Result};
use crate::image::tar::Entry;

/// So many bytes of paths are remembered; then all times are set, and folders that are used again keep theirs.
const MOST: usize = 4 << 20;

/// Times to set.
#[derive(Default)]
pub(super) struct Times {
    /// By inode: links give a folder many paths. Not all of them may be there any more when times are set.
    known: HashMap<u64, (Vec<u8>, Timespec)>,
    /// Bytes of all these paths.
    bytes: usize,
    /// Whether folders that are used keep the time they have.
    keeps: bool,
}

impl Tree {
    /// From now on folders that were there before keep their time, unless an entry names another one.
    pub fn keep_times(&mut self) {
        self.times.keeps = true;
    }

    /// Between two entries: sees to it that not too much is remembered.
    ///
    /// # Errors
    /// As [`Tree::set_times`].
    pub fn settle(&mut self) -> Result<()> {
        if self.times.bytes < MOST {
            return Ok(());
        }
        self.times.keeps = true;
        self.set_times()
    }

    /// Sets the times of all folders that were used since the last call.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_times(&mut self) -> Result<()> {
        self.current = None;
        self.times.bytes = 0;
        for (inode, (folder, time)) in std::mem::take(&mut self.times.known) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let what = || format!("set the time of {:?}", String::from_utf8_lossy(&folder));
            let shown = if folder.is_empty() { Path::new(".") } else { path(&folder) };
            match self.root.openat(shown, flags) {
                Ok(fd) if rustix::fs::fstat(&fd).context(what)?.st_ino == inode => {
                    rustix::fs::futimens(fd, &timestamps(time)).context(what)?;
                }
                // A later entry took its place.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno).context(what),
            }
        }
        Ok(())
    }

    /// Keeps the time that a folder has now, if nobody has said another one.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn keep_time_of(&mut self, folder: &[u8], fd: impl AsFd) -> Result<()> {
        if self.times.keeps {
            let stat = rustix::fs::fstat(fd).context(|| "stat a folder")?;
            let bytes = &mut self.times.bytes;
            self.times.known.entry(stat.st_ino).or_insert_with(|| {
                *bytes += folder.len();
                (folder.to_vec(), Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ })
            });
        }
        Ok(())
    }

    /// The same of the folder in which the first one is made that is missing on the way to this one.
    ///
    /// # Errors
    /// As [`Tree::keep_time_of`].
    pub(super) fn keep_time_above(&mut self, mut folder: &[u8]) -> Result<()> {
        while self.times.keeps && !folder.is_empty() {
            folder = folder.iter().rposition(|byte| *byte == b'/').map_or(&[], |slash| &folder[..slash]);
            if let Some(fd) = self.existing(folder)? {
                return self.keep_time_of(folder, fd);
            }
        }
        Ok(())
    }

    /// Remembers the time that an entry gives to a folder.
    pub(super) fn set_time_later(&mut self, folder: Vec<u8>, fd: impl AsFd, time: Timespec) -> Result<()> {
        let stat = rustix::fs::fstat(fd).context(|| "stat a folder")?;
        self.times.bytes += folder.len();
        if let Some(unnamed) = &mut self.unnamed {
            unnamed.named(stat.st_ino);
        }
        self.times.known.insert(stat.st_ino, (folder, time));
        Ok(())
    }
}

pub(super) fn timespec(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() }
}

/// An access time of its own nobody needs: it is that of the modification.
pub(super) fn timestamps(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}
