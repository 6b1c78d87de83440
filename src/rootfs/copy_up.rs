//! `tmpcopyup`: what a folder of the image holds is copied into the tmpfs that covers it.
//!
//! Both sides are walked by descriptor, and no link is followed. Modes, owners, times, links, hard links and special
//! files are kept.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::fd_path;
use crate::error::{Context, Result};

/// sendfile(2) moves at most this much at once.
const CHUNK: usize = 0x7fff_f000;

/// Copies what is below `from` into `to`; the working folder is procfs.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let mut copier = Copier { linked: HashMap::new() };
    copier.folder(from.as_fd(), to.as_fd())
}

struct Copier {
    /// The copies of files that have several names, by device and inode of the original.
    linked: HashMap<(u64, u64), OwnedFd>,
}

impl Copier {
    fn folder(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        for entry in Dir::read_from(from).context(|| "read a folder")? {
            let entry = entry.context(|| "read a folder")?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(from, to, name).context(|| format!("{name:?}"))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let found = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let original = (found.st_dev as u64, found.st_ino as u64);
        let several = kind != FileType::Directory && found.st_nlink > 1;
        if let Some(copy) = self.linked.get(&original).filter(|_| several) {
            let linked = rustix::fs::linkat(rustix::fs::CWD, fd_path(copy), to, name, AtFlags::SYMLINK_FOLLOW);
            return linked.context(|| "link");
        }
        match kind {
            FileType::Directory => self.subfolder(from, to, name, &found)?,
            FileType::RegularFile => file(from, to, name, &found)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).context(|| "readlink")?;
                rustix::fs::symlinkat(target.as_c_str(), to, name).context(|| "symlink")?;
            }
            // Nobody listens at the copy of a socket.
            FileType::Socket => return Ok(()),
            _ => rustix::fs::mknodat(to, name, kind, Mode::empty(), found.st_rdev).context(|| "mknod")?,
        }
        own(to, name, kind, &found)?;
        if several {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, Mode::empty()).context(|| "open the copy")?;
            self.linked.insert(original, copy);
        }
        Ok(())
    }

    fn subfolder(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, found: &Stat) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = rustix::fs::openat(from, name, flags, Mode::empty()).context(|| "open")?;
        match rustix::fs::mkdirat(to, name, Mode::from(found.st_mode & 0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(|| "mkdir"),
        }
        let copy = rustix::fs::openat(to, name, flags, Mode::empty()).context(|| "open the copy")?;
        self.folder(below.as_fd(), copy.as_fd())
    }
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, found: &Stat) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty()).context(|| "open")?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(to, name, create, Mode::from(0o600)).context(|| "create")?;
    let mut left = found.st_size as u64;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        match rustix::fs::sendfile(&copy, &source, None, part).context(|| "sendfile")? as u64 {
            // It shrank while we read.
            0 => break,
            sent => left = left.saturating_sub(sent),
        }
    }
    Ok(())
}

/// Owner, mode, times, in the order in which none undoes another.
fn own(to: BorrowedFd<'_>, name: &CStr, kind: FileType, found: &Stat) -> Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)));
    rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(|| "chown")?;
    if kind != FileType::Symlink {
        // We made it, in a filesystem that nobody else sees yet: it is no link.
        rustix::fs::chmodat(to, name, Mode::from(found.st_mode & 0o7777), AtFlags::empty()).context(|| "chmod")?;
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec as i64),
        last_modification: time(found.st_mtime, found.st_mtime_nsec as i64),
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW).context(|| "set the times")
}
