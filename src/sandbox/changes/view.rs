//! Host and layer side by side, through mounts of their own that nothing can be changed through.

use std::path::{Path, PathBuf};

use super::xattrs::Notes;
use crate::error::Result;
use crate::sandbox::store::HostFolder;
use crate::sandbox::tree::{self, Place, still};

/// A layer, open for reading.
#[derive(Debug)]
pub(super) struct View {
    /// What the box has.
    pub(super) upper: tree::Root,
    /// Where overlayfs keeps its notes there.
    pub(super) notes: Notes,
    /// What the host has.
    pub(super) lower: tree::Root,
    /// Whether that only stands for what has gone.
    pub(super) gone: bool,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
}

impl View {
    /// Opens the layer `upper` of what is mounted at `mount`; `host` is that, or stands for what has gone.
    pub(super) fn open(upper: &Path, notes: Notes, host: &HostFolder, mount: &Path) -> Result<Self> {
        Ok(Self { upper: still(upper)?, notes, lower: host.still()?, gone: host.gone, mount: mount.to_owned() })
    }

    /// Likewise, of a layer without an entry: nothing but the attributes of the two roots can be read through it, which
    /// takes no mount. The kernel waits for all CPUs before it lets go of one.
    pub(super) fn of_empty(upper: &Path, notes: Notes, host: &HostFolder, mount: &Path) -> Result<Self> {
        let (upper, lower) = (tree::Root::open(upper)?, host.open()?);
        Ok(Self { upper, notes, lower, gone: host.gone, mount: mount.to_owned() })
    }

    /// Where the layer has the file of this path.
    pub(super) fn own(&self, path: &Path) -> Result<Place> {
        Place::open(&self.upper, self.inner(path))
    }

    /// Where the host has it.
    pub(super) fn host(&self, path: &Path) -> Result<Place> {
        Place::open(&self.lower, self.inner(path))
    }

    /// The part of a path below the mount.
    pub(super) fn inner<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.mount).unwrap_or(path)
    }
}
