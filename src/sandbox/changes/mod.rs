//! What a box changed, read from its layers and compared with the host as it is now.
//!
//! [`Changes::of`] walks the layers (`walk`), compares what is there twice (`compare`), and gives a list sorted by path. It
//! changes nothing, not even an access time, and believes nothing: contents are compared byte by byte, whatever the times
//! say. For people, [`Changes::told`] makes one line of a path that went and another that came (`renames`).

mod compare;
mod content;
mod renames;
mod view;
mod walk;
pub mod xattrs;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use serde::Serialize;

pub use content::Content;

use self::view::View;
use self::walk::Told;
use self::xattrs::Inherited;
use super::layers::{self, UPPER};
use super::store::Box;
use super::tree;
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
    /// Names of extended attributes: of a modified one those that differ, of a new one those that it has.
    pub xattrs: Vec<CString>,
    /// Of one that was renamed, where it was: then `before` is what the host has there.
    pub from: Option<From>,
    /// What the host has there.
    pub before: Option<Meta>,
    /// What the box has there.
    pub after: Option<Meta>,
    /// Whether the box's file has further names.
    pub(super) several_names: bool,
}

/// Where a file was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// On the host.
    pub path: PathBuf,
    /// The place of its layer in the box.
    pub(super) layer: usize,
}

impl Change {
    /// Whether all that happened is that a folder of the host has a later time.
    pub(super) fn is_folders_time(&self) -> bool {
        self.kind == Kind::Modified
            && self.aspects == [Aspect::Times]
            && self.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    }

    /// Whether it is a folder where the host has none.
    pub(super) fn is_new_folder(&self) -> bool {
        matches!(self.kind, Kind::Added | Kind::TypeChanged)
            && self.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    }

    /// What a new file gives to whoever runs it.
    pub fn rights(&self) -> Vec<&'static str> {
        let Some(after) = self.after.as_ref().filter(|after| after.kind == FileKind::File) else { return Vec::new() };
        let capabilities = self.xattrs.iter().any(|name| name.as_c_str() == c"security.capability");
        let rows = [
            (after.mode & 0o4000 != 0, "setuid"),
            (after.mode & 0o2000 != 0, "setgid"),
            (capabilities, "capabilities"),
        ];
        rows.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect()
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

impl FileKind {
    /// The word for it in a listing.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice | Self::BlockDevice => "device",
        }
    }
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

/// How much is read of what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// All that can be told.
    All,
    /// Which paths differ; of a new file nothing else, and of one with another content that alone.
    Enough,
    /// Likewise; of a new folder not what is in it.
    Tops,
}

/// What a box changed, with host and layers still open for a closer look.
#[derive(Debug)]
pub struct Changes {
    /// By path. None of them is told as a renaming.
    pub all: Vec<Change>,
    /// One for each layer; absent where it holds nothing.
    views: Vec<Option<View>>,
    /// Folders of the layers, by their place and path there, that have what the host's have; to be noted by [`noted`].
    inheriting: Vec<(usize, PathBuf)>,
}

impl Changes {
    /// Those of a box, but for those of a filesystem that is not mounted ([`unmounted`]).
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn of(held: &Box) -> Result<Self> {
        Self::read(held, Detail::All)
    }

    fn read(held: &Box, detail: Detail) -> Result<Self> {
        let (mut all, mut views, mut inheriting) = (Vec::new(), Vec::new(), Vec::new());
        let unmounted = layers::unmounted(held)?;
        for (place, layer) in held.record.layers.iter().enumerate() {
            let upper = held.layer_folder(place).join(UPPER);
            // Put away by a commit, and no run since; or without anything to compare it with.
            if !upper.exists() || unmounted.contains(&place) {
                views.push(None);
                continue;
            }
            let what = || format!("the changes of {:?}", layer.path);
            let open = if held.is_unchanged(place) { View::of_empty } else { View::open };
            let view = open(&upper, held.record.notes, &held.host_folder(place)?, &layer.path).context(what)?;
            for told in walk::layer(&view, detail).context(what)? {
                match told {
                    Told::Change(change) => all.push(Change { layer: place, ..*change }),
                    Told::Inherits(path) => inheriting.push((place, path)),
                }
            }
            views.push(Some(view));
        }
        // In order already, folder by folder.
        all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { all, views, inheriting })
    }
}

/// All changes of a box, by path, likewise, for who takes them over or notes what the host has there: what else differs of a
/// file whose content does is not told, nor what attributes a new one has.
///
/// # Errors
/// Names the file that cannot be read.
pub(super) fn of(held: &Box) -> Result<Vec<Change>> {
    Changes::read(held, Detail::Enough).map(|changes| changes.all)
}

/// Likewise, after a run, but for what is in new folders; and of each folder that is in a layer and has what the host's has,
/// it is noted what that is.
///
/// # Errors
/// Names the file that cannot be read, or the folder that gets no note.
pub(super) fn noted(held: &Box) -> Result<Vec<Change>> {
    let Changes { all, inheriting, .. } = Changes::read(held, Detail::Tops)?;
    for layer in inheriting.chunk_by(|one, other| one.0 == other.0) {
        let upper = tree::Root::open(&held.layer_folder(layer[0].0).join(UPPER))?;
        for (_, path) in layer {
            let what = || format!("note what the host has at {path:?}");
            let folder = tree::open_folder(&upper, path).context(what)?;
            let has = Inherited::of(&rustix::fs::fstat(&folder).context(what)?);
            has.note(held.record.notes, folder.as_fd()).context(what)?;
        }
    }
    Ok(all)
}

/// Where a box has changes of a filesystem that is not mounted there now: nothing can be said about them.
///
/// # Errors
/// Where the box or the host's mounts cannot be read.
pub fn unmounted(held: &Box) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for place in layers::unmounted(held)? {
        if !held.is_unchanged(place) {
            paths.push(held.record.layers[place].path.clone());
        }
    }
    Ok(paths)
}
