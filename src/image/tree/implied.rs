//! Folders that are made because something is in them, without an entry of their own. In a layer that stands alone they are
//! remembered: what they are like, the layers below say.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Tree, path};
use crate::error::{Context, Error, Result};

/// So many bytes of paths are remembered of a layer; honest ones have a few folders of this kind, or none.
pub const MOST: usize = 4 << 20;

/// Paths from the root, and whether nothing but marks was put there.
pub type Implied = BTreeMap<Vec<u8>, bool>;

/// What is remembered while a layer is unpacked.
pub(super) struct Unnamed {
    /// By inode, since a link gives a folder several paths.
    folders: HashMap<u64, (Vec<u8>, bool)>,
    bytes: usize,
    /// Whether what is made now is made for marks.
    for_marks: bool,
}

impl Tree {
    /// From now on folders that no entry names are remembered, the root first.
    ///
    /// # Errors
    /// Where the root cannot be looked at.
    pub fn remember_implied(&mut self) -> Result<()> {
        let root = inode(self.root.openat(Path::new("."), OFlags::PATH).context(|| "open the root")?)?;
        let folders = HashMap::from([(root, (Vec::new(), true))]);
        self.unnamed = Some(Unnamed { folders, bytes: 0, for_marks: false });
        Ok(())
    }

    /// From now on nothing but marks is put into folders.
    pub fn marks_follow(&mut self) {
        if let Some(unnamed) = &mut self.unnamed {
            unnamed.for_marks = true;
        }
    }

    /// Those that are still what they were, and that no entry has named since.
    ///
    /// # Errors
    /// Where one cannot be looked at.
    pub fn take_implied(&mut self) -> Result<Implied> {
        let mut found = Implied::new();
        for (number, (folder, for_marks)) in self.unnamed.take().map(|unnamed| unnamed.folders).unwrap_or_default() {
            let shown = if folder.is_empty() { Path::new(".") } else { path(&folder) };
            match self.root.openat(shown, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) if inode(&fd)? == number => drop(found.insert(folder, for_marks)),
                // Something else has taken its place.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno).context(|| format!("open {shown:?}")),
            }
        }
        Ok(found)
    }
}

impl Unnamed {
    /// Remembers a folder that was just made below `root`.
    pub(super) fn add(&mut self, root: BorrowedFd<'_>, made: BorrowedFd<'_>) -> Result<(), Errno> {
        // The path by which it was reached may lead through links.
        let (root, made_at) = (place(root)?, place(made)?);
        let below = made_at.strip_prefix(&*root).unwrap_or(&made_at);
        let below = below.strip_prefix(b"/").unwrap_or(below);
        self.bytes += below.len() + 1;
        let stat = rustix::fs::fstat(made)?;
        self.folders.insert(stat.st_ino, (below.to_vec(), self.for_marks));
        Ok(())
    }

    /// Says that an entry names this folder.
    pub(super) fn named(&mut self, inode: u64) {
        self.folders.remove(&inode);
    }

    /// Refuses more than is to be remembered.
    pub(super) fn check(&self) -> Result<()> {
        if self.bytes <= MOST {
            return Ok(());
        }
        Err(Error::new("more folders without an entry of their own than the store remembers")
            .hint("`image unpack` takes the image"))
    }
}

/// Where an open folder is.
fn place(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::readlink(link, Vec::new()).map(std::ffi::CString::into_bytes)
}

fn inode(fd: impl AsFd) -> Result<u64> {
    Ok(rustix::fs::fstat(fd).context(|| "stat a folder")?.st_ino)
}
