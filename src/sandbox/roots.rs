//! The layers of a box beside the host's folders that they stand for, open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::changes::xattrs::Notes;
use super::layers::{self, UPPER};
use super::store::Box;
use super::tree;
use crate::bail;
use crate::error::{Context, Error, Result};

/// A layer's filesystem and its changes, open.
pub(super) struct Root {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The host's.
    pub(super) host: tree::Root,
    /// The box's; absent where there are none.
    pub(super) upper: Option<tree::Root>,
    /// Where overlayfs keeps its notes there.
    pub(super) notes: Notes,
    /// Whether the host's only stands for what has gone.
    gone: bool,
}

impl Root {
    /// The part of a path that lies in it.
    pub(super) fn inner<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.mount).unwrap_or(path)
    }

    /// Which folder of the host it is.
    fn folder(&self) -> Result<(u64, u64)> {
        let found = rustix::fs::fstat(&self.host).context(|| format!("stat {:?}", self.mount))?;
        Ok((found.st_dev, found.st_ino))
    }
}

/// The layers of a box, as far as their filesystems are mounted.
pub(super) struct Roots(Vec<(PathBuf, Option<Root>)>);

impl Roots {
    /// One of them.
    ///
    /// # Errors
    /// Where its filesystem is not mounted.
    pub(super) fn of(&self, layer: usize) -> Result<&Root> {
        let (mount, root) = &self.0[layer];
        root.as_ref().ok_or_else(|| {
            Error::new(format!("what the box saw at {mount:?} is not mounted there now")).hint("mount it again")
        })
    }

    /// Which folders of the host they are.
    ///
    /// # Errors
    /// Where one cannot be looked at.
    pub(super) fn folders(&self) -> Result<Folders> {
        self.0.iter().map(|(_, root)| root.as_ref().map(Root::folder).transpose()).collect::<Result<_>>().map(Folders)
    }

    /// Refuses to write where the host has not the folder of one of these layers any more, or another one than was compared:
    /// they may have been opened anew since. `compared`: as far as that is known.
    ///
    /// # Errors
    /// Then, and where a filesystem is not mounted.
    pub(super) fn require(&self, layers: &BTreeSet<usize>, compared: Option<&Folders>) -> Result<()> {
        for layer in layers {
            let root = self.of(*layer)?;
            if root.gone {
                return Err(Error::new(format!("the host has no {:?} any more", root.mount)).hint("make that folder"));
            }
            let folder = Some(root.folder()?);
            if compared.is_some_and(|Folders(compared)| compared[*layer] != folder) {
                bail!("somebody has put another folder in the place of {:?}", root.mount);
            }
        }
        Ok(())
    }

    /// Whether the filesystem of one is mounted.
    pub(super) fn has(&self, layer: usize) -> bool {
        self.0[layer].1.is_some()
    }

    /// Those whose filesystems are not.
    pub(super) fn unmounted(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, (_, root))| root.is_none()).map(|(place, _)| place)
    }

    /// The one in which a path lies; `None` where it is not mounted.
    pub(super) fn around(&self, path: &Path) -> Option<&Root> {
        let around = self.0.iter().filter(|(mount, _)| path.starts_with(mount));
        around.max_by_key(|(mount, _)| mount.as_os_str().len()).and_then(|(_, root)| root.as_ref())
    }

    /// A path in one, as a person knows it.
    pub(super) fn shown(&self, layer: usize, path: &Path) -> PathBuf {
        self.0[layer].0.join(path)
    }
}

/// Which folders of the host [`Roots`] have: device and inode of each that is mounted.
pub(super) struct Folders(Vec<Option<(u64, u64)>>);

/// All layers of a box.
///
/// # Errors
/// Where one cannot be opened.
pub(super) fn of(held: &Box) -> Result<Roots> {
    with(held, |place| held.layer_folder(place).join(UPPER))
}

/// Likewise; `upper`: where a layer's changes are, by its place.
///
/// # Errors
/// Where one cannot be opened.
pub(super) fn with(held: &Box, upper: impl Fn(usize) -> PathBuf) -> Result<Roots> {
    let unmounted = layers::unmounted(held)?;
    let open = |(place, layer): (usize, &super::store::Layer)| {
        if unmounted.contains(&place) {
            return Ok((layer.path.clone(), None));
        }
        let upper = match tree::Root::open(&upper(place)) {
            Err(error) if error.errno() == Some(Errno::NOENT) => None,
            other => Some(other?),
        };
        let folder = held.host_folder(place)?;
        let host = folder.open().context(|| format!("{:?}", layer.path))?;
        let root = Root { mount: layer.path.clone(), host, upper, notes: held.record.notes, gone: folder.gone };
        Ok((layer.path.clone(), Some(root)))
    };
    held.record.layers.iter().enumerate().map(open).collect::<Result<_>>().map(Roots)
}
