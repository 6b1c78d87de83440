//! What has reached the disk: until then a change is in memory alone, and a power cut takes it.
//!
//! One call for a whole filesystem, not one for each file: a commit of ten thousand files would otherwise wait ten thousand
//! times. It takes what others have written there along.

use std::os::fd::AsFd;

use crate::error::{Context, Result};
use crate::sys::writeback;

/// Waits until all of a filesystem is on the disk: contents, names, attributes. `of`: a folder or file of it, open.
///
/// # Errors
/// Where something of it could not be written.
pub(super) fn filesystem(of: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(of).context(|| "write the filesystem out")
}

/// Waits until a file's content, or the names in a folder, are on the disk.
///
/// # Errors
/// Where they could not be written.
pub(super) fn file(file: impl AsFd) -> Result<()> {
    rustix::fs::fsync(file).context(|| "write out")
}

/// Has a file's content written soon, and waits for nothing: a filesystem whose renames overtake what was written would
/// otherwise have an empty file under the new name for half a minute.
pub(super) fn soon(file: impl AsFd) {
    // Where it is refused, the kernel writes it in its own time. (Advice that it is not needed would begin likewise, but
    // then wait for every CPU.)
    let _ = writeback::begin(file);
}
