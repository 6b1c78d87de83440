//! What a folder takes on disk.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::tree;
use crate::error::Result;

/// Bytes of a block, as stat(2) counts them.
const BLOCK: u64 = 512;

/// The bytes of a folder and all below it, each inode once; none where there is no such folder.
///
/// # Errors
/// Where something cannot be read.
pub(super) fn of(path: &Path) -> Result<u64> {
    let root = match tree::Root::open(path) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(0),
        other => other?,
    };
    let mut bytes = 0;
    let mut seen = HashSet::new();
    let visited = tree::visit(&root, Path::new(""), &mut |_, stat| {
        let shared = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
        if !shared || seen.insert(stat.st_ino) {
            bytes += stat.st_blocks as u64 * BLOCK;
        }
        Ok(())
    });
    match visited {
        // Somebody is removing it.
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(bytes),
        other => other.map(|()| bytes),
    }
}
