//! New folders that inherit nothing: a setgid bit, a group or a default access control list of the folder above would reach
//! all that is made in them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Attributes with access control lists: of a file itself, and what a folder hands down.
pub const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Makes a folder, and says so, or opens the one that is there as it is; `path` may contain links.
///
/// # Errors
/// Where it cannot be made or opened.
pub fn ensure(path: &Path, mode: u32) -> Result<(OwnedFd, bool)> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match path.file_name() {
        // A path that ends in `.` or `..` is there, or nowhere.
        None => open(rustix::fs::CWD, path).map(|folder| (folder, false)),
        Some(name) => open(rustix::fs::CWD, parent).and_then(|parent| make(parent, Path::new(name), mode)),
    }
    .context(|| format!("make {path:?}"))
}

/// Makes a folder in another one, and says so; where there is one, opens it as it is.
///
/// # Errors
/// Where it cannot be made or opened.
pub fn make(parent: impl AsFd, name: &Path, mode: u32) -> Result<(OwnedFd, bool)> {
    let made = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno).context(|| format!("make the folder {name:?}")),
    };
    let folder = open(parent.as_fd(), name)?;
    if made {
        strip(&folder, mode).context(|| format!("give {name:?} its mode"))?;
    }
    Ok((folder, made))
}

/// Takes away what a new folder has inherited.
///
/// # Errors
/// The errno of the call that failed, bare.
pub fn strip(folder: impl AsFd, mode: u32) -> Result<(), Errno> {
    strip_lists(&folder)?;
    rustix::fs::fchown(&folder, Some(rustix::process::geteuid()), Some(rustix::process::getegid()))?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))
}

/// Takes the access control lists of an open file away.
///
/// # Errors
/// The errno of fremovexattr(2), bare.
pub fn strip_lists(file: impl AsFd) -> Result<(), Errno> {
    LISTS.iter().try_for_each(|name| absent(rustix::fs::fremovexattr(&file, *name)))
}

/// An attribute that is not there, or that this filesystem does not have, is gone.
///
/// # Errors
/// Any other errno.
pub fn absent(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

fn open(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).context(|| format!("open the folder {name:?}"))
}
