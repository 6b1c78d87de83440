//! What is said to be there survives a power cut: first the contents reach the disk, then the name.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Result};

/// Waits until everything in the filesystem of this file is on disk. One call for thousands of files: a wait for each of
/// them would be a commit of the journal each.
///
/// # Errors
/// Where the disk fails, now or since the file was opened.
pub fn all(file: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(file).context(|| "write what was unpacked to the disk")
}

/// Waits until the names in a folder are on disk.
///
/// # Errors
/// Where the disk fails.
pub fn names(folder: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(folder, flags, Mode::empty());
    fd.and_then(rustix::fs::fsync).context(|| format!("write the folder {folder:?} to the disk"))
}
