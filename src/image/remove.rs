//! Removing trees that somebody else filled: by descriptor, without following a link or entering a mount, however deep they
//! are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// A folder on the way down.
struct Level {
    name: Vec<u8>,
    /// Device and inode, by which it is known again on the way up.
    identity: (u64, u64),
    /// Folders in it that are left.
    folders: Vec<Vec<u8>>,
}

/// Removes a name of a folder and all below it. What is not there is no failure.
///
/// # Errors
/// Where something cannot be removed.
pub fn remove(folder: impl AsFd, name: &[u8]) -> Result<()> {
    let folder = folder.as_fd();
    let what = || format!("remove {:?}", String::from_utf8_lossy(name));
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX allows EPERM for a folder.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).context(what),
    }
    tree(folder, name).context(what)
}

/// One folder is open at a time: a tree may be deeper than there are descriptors, and than a path can be long.
fn tree(folder: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let mut here = open(folder, name).context(|| "open it")?;
    let mut levels = vec![empty(&here, name.to_vec())?];
    while let Some(level) = levels.last_mut() {
        if let Some(child) = level.folders.pop() {
            here = open(here.as_fd(), &child).context(|| "open a folder")?;
            levels.push(empty(&here, child)?);
            continue;
        }
        let done = levels.pop().map(|level| level.name).unwrap_or_default();
        let Some(above) = levels.last() else {
            return rustix::fs::unlinkat(folder, &*done, AtFlags::REMOVEDIR).context(|| "remove it");
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, "..", flags, Mode::empty()).context(|| "go back up")?;
        if identity(&here)? != above.identity {
            return Err(Error::new("somebody moves folders in it meanwhile").hint("try again when nobody does"));
        }
        rustix::fs::unlinkat(&here, &*done, AtFlags::REMOVEDIR).context(|| "remove a folder")?;
    }
    Ok(())
}

/// Removes all but folders.
fn empty(folder: &OwnedFd, name: Vec<u8>) -> Result<Level> {
    let mut folders = Vec::new();
    for (child, is_folder) in list(folder.as_fd()).context(|| "read a folder")? {
        if is_folder {
            folders.push(child);
        } else {
            rustix::fs::unlinkat(folder, child, AtFlags::empty()).context(|| "remove a file")?;
        }
    }
    Ok(Level { name, identity: identity(folder)?, folders })
}

fn identity(folder: &OwnedFd) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstat(folder).context(|| "stat a folder")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Opens a folder below another one; no part of the path may be a link or a mount. An empty path is the folder itself.
///
/// # Errors
/// The errno of openat2(2), bare; EXDEV where something is mounted there.
pub fn open(folder: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)
}

/// The names in a folder, and whether each is a folder.
///
/// # Errors
/// The errno of getdents64(2) or statx(2), bare.
pub fn list(folder: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, bool)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Not every filesystem says.
            FileType::Unknown => {
                FileType::from_raw_mode(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        names.push((name.to_bytes().to_vec(), kind == FileType::Directory));
    }
    Ok(names)
}
