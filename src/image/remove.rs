//! Removing trees that somebody else filled: by descriptor, without following a link, however deep they are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::name::join;
use crate::error::{Context, Result};

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
    // Paths and not descriptors are kept: a tree may be deeper than there are descriptors.
    let (mut pending, mut emptied) = (vec![name.to_vec()], Vec::new());
    while let Some(path) = pending.pop() {
        let here = open(folder, &path).context(what)?;
        for (child, is_folder) in list(here.as_fd()).context(what)? {
            if is_folder {
                pending.push(join(&path, &child));
            } else {
                rustix::fs::unlinkat(&here, child, AtFlags::empty()).context(what)?;
            }
        }
        emptied.push(path);
    }
    for path in emptied.into_iter().rev() {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let result = match slash {
            Some(slash) => open(folder, &path[..slash])
                .and_then(|parent| rustix::fs::unlinkat(parent, &path[slash + 1..], AtFlags::REMOVEDIR)),
            None => rustix::fs::unlinkat(folder, path, AtFlags::REMOVEDIR),
        };
        result.context(what)?;
    }
    Ok(())
}

/// Opens a folder below another one; no part of the path may be a link. An empty path is the folder itself.
///
/// # Errors
/// The errno of openat2(2), bare.
pub fn open(folder: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
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
