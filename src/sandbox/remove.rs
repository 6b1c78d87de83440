//! Removing what a box wrote: trees of any depth, with any names, that lead nowhere.
//!
//! Folders are moved up beside each other before they are emptied, so that neither the stack nor the number of open
//! descriptors grows with the depth of a tree. No link is followed.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// How often in a row nothing that was seen may be there any more: somebody else removes the same, and is a little faster.
const FASTER: u32 = 1000;

/// Removes a folder and all below it. Missing is fine, also when somebody else removes the same meanwhile.
///
/// # Errors
/// Names what cannot be removed.
pub(super) fn tree(path: &Path) -> Result<()> {
    let Some(top) = there(open(CWD, path.as_os_str())).context(|| format!("open {path:?}"))? else { return Ok(()) };
    let what = || format!("remove what is below {path:?}");
    let (mut count, mut idle) = (0, 0);
    loop {
        let Some(Left { folders, removed }) = there(round(&top, &mut count)).context(what)? else { return Ok(()) };
        if !folders {
            match rustix::fs::rmdir(path) {
                // Somebody else has moved a folder here.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                other => return there(other).context(|| format!("remove {path:?}")).map(drop),
            }
        }
        idle = if removed { 0 } else { idle + 1 };
        if idle > FASTER {
            return Err(Errno::NOTEMPTY).context(what);
        }
    }
}

/// What [`round`] found.
struct Left {
    /// Whether there were folders, whose own folders lie right here now.
    folders: bool,
    /// Whether anything was removed.
    removed: bool,
}

/// What lies right here: folders are emptied into this one, until nothing but files and empty folders is left.
fn round(top: &OwnedFd, count: &mut u64) -> Result<Left, Errno> {
    let mut left = Left { folders: false, removed: false };
    for (name, kind) in entries(top)? {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(top, &name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                other => {
                    left.removed |= there(other)?.is_some();
                    continue;
                }
            }
        }
        left.folders = true;
        left.removed |= there(flatten(top, &name, count))?.is_some();
    }
    Ok(left)
}

/// Moves the folders of `top/name` to `top`, removes its files, then itself.
///
/// # Errors
/// `ENOENT` as well, where somebody else was faster with one of them.
fn flatten(top: &OwnedFd, name: &CString, count: &mut u64) -> Result<(), Errno> {
    // An ordinary user's own folder may forbid even its owner to look inside; the kernel leaves such ones in `work`.
    let mode = Mode::from(0o700);
    let folder = match open(top, OsStr::from_bytes(name.to_bytes())) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(top, name, mode, AtFlags::empty())?;
            open(top, OsStr::from_bytes(name.to_bytes()))?
        }
        other => other?,
    };
    if rustix::fs::fstat(&folder)?.st_mode & 0o300 != 0o300 {
        rustix::fs::fchmod(&folder, mode)?;
    }
    for (inner, kind) in entries(&folder)? {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(&folder, &inner, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                other => {
                    there(other)?;
                    continue;
                }
            }
        }
        loop {
            *count += 1;
            match rustix::fs::renameat_with(
                &folder,
                &inner,
                top,
                format!(".moved-{count}"),
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => {}
                // A folder changes its parent only by who may write into it.
                Err(Errno::ACCESS) => rustix::fs::chmodat(&folder, &inner, mode, AtFlags::empty())?,
                Err(Errno::NOENT) => break,
                other => break other?,
            }
        }
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        // Somebody else has removed it, and moved another folder to its name.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Errno::NOENT),
        other => other,
    }
}

/// `None` for what is not there any more.
fn there<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}

fn open(folder: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// All entries, read before anything is changed.
fn entries(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_is_deeper_than_any_path_goes() {
        let top = std::env::temp_dir().join(format!("myrt-remove-{}", std::process::id()));
        let outside = std::env::temp_dir().join(format!("myrt-remove-{}-outside", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("stays"), "").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        let mut here = open(CWD, top.as_os_str()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "deep", Mode::from(0o700)).unwrap();
            rustix::fs::mkdirat(&here, "beside", Mode::from(0o000)).unwrap();
            here = open(&here, OsStr::new("deep")).unwrap();
        }
        drop(here);
        tree(&top).unwrap();
        assert!(!top.exists() && outside.join("stays").exists());
        tree(&top).unwrap();
        std::fs::remove_dir_all(outside).unwrap();
    }
}
