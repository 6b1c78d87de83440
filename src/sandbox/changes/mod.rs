//! What a box changed, read from its layers and compared with the host as it is now.
//!
//! [`of`] walks the layers (`walk`), compares what is there twice (`compare`), and gives a list sorted by path. It changes
//! nothing, not even an access time, and believes nothing: contents are compared byte by byte, whatever the times say.

mod compare;
mod walk;
pub mod xattrs;

use std::path::PathBuf;

use serde::Serialize;

use super::layers::UPPER;
use super::store::Box;
use crate::error::{Context, Result};

/// One path that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, on the host.
    pub path: PathBuf,
    /// The place of its layer in the box.
    pub(super) layer: usize,
    /// What happened.
    pub kind: Kind,
    /// Of a modified one, what differs.
    pub aspects: Vec<Aspect>,
    /// What the host has there.
    pub before: Option<Meta>,
    /// What the box has there.
    pub after: Option<Meta>,
}

impl Change {
    /// Whether all that happened is that a folder of the host has a later time.
    pub(super) fn is_folders_time(&self) -> bool {
        self.kind == Kind::Modified
            && self.aspects == [Aspect::Times]
            && self.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    }
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The host has nothing there.
    Added,
    /// The same kind of file is there, but not the same.
    Modified,
    /// The box has nothing there.
    Deleted,
    /// Another kind of file is there.
    TypeChanged,
}

/// What differs of a file that is there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// The bytes; of a link, where it leads; of a device, its numbers.
    Content,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Extended attributes, access control lists and file capabilities among them.
    Xattr,
    /// When it was modified. Of a folder only where no entry of it says so already, and the box's time is the later one.
    Times,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    #[allow(missing_docs, reason = "the names of inode(7)")]
    File,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    Folder,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    Link,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    Fifo,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    Socket,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    CharDevice,
    #[allow(missing_docs, reason = "the names of inode(7)")]
    BlockDevice,
}

/// What is known of a file without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes; of a link, the length of where it leads.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Of a link, where it leads.
    pub target: Option<PathBuf>,
    /// Of a device, its numbers.
    pub device: Option<(u32, u32)>,
}

/// All changes of a box, by path.
///
/// # Errors
/// Names the file that cannot be read.
pub fn of(held: &Box) -> Result<Vec<Change>> {
    let mut all = Vec::new();
    for (place, layer) in held.record.layers.iter().enumerate() {
        let upper = held.layer_folder(place).join(UPPER);
        if !upper.exists() {
            // Put away by a commit, and no run since.
            continue;
        }
        walk::layer(place, &upper, &layer.path, &mut all).context(|| format!("the changes of {:?}", layer.path))?;
    }
    all.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}
