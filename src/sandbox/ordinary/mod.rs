//! What an ordinary user sees of the host, and may change of it.
//!
//! The kernel does not let an ordinary user take a mount apart from what is mounted below it, so that there is no overlay
//! of `/`. It is made of pieces instead. Folders on the way to a mount are made anew, in a filesystem of this run alone
//! that nothing can be written to ([`cut`]); everything in them is an overlay of its own. An overlay without a layer shows
//! what the caller could not write to anyway: its files keep their owners and rights, and a socket seen through it is not
//! the host's. What the caller can write to is an overlay with a layer ([`places`]), whose root is the caller's own: to
//! change a file, the kernel must be able to give its folders to the layer as well, and those of others it cannot.

mod cut;
mod places;

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use self::cut::Cut;
use super::host::{HostMount, Treatment};
use super::layers;
use super::store::Box;
use crate::error::{Context, Result};
use crate::log;
use crate::plan::{Above, Overlay};

/// The folder in a box where the pieces of the root are put together while it runs.
const SKELETON: &str = "skeleton";

/// The pieces.
pub(super) struct View {
    /// Where an overlay stands; the first is `/`.
    pub(super) overlays: Vec<(PathBuf, Overlay)>,
    /// Files that are bound read-only.
    pub(super) files: Vec<PathBuf>,
    /// What has to stay until the overlays are made.
    pub(super) skeleton: Option<Skeleton>,
}

/// The filesystem of a run in which the pieces of the root are put together. It is mounted in this process's mount
/// namespace alone, and taken away before the box may be.
pub(super) struct Skeleton(PathBuf);

impl Drop for Skeleton {
    fn drop(&mut self) {
        // Whatever is still in use goes with the process.
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Puts the view together, with the box's layers.
///
/// # Errors
/// Where a folder cannot be read, or a layer cannot be made.
pub(super) fn view(held: &mut Box, mounts: &[HostMount]) -> Result<View> {
    let known: Vec<PathBuf> = held.record.layers.iter().map(|layer| layer.path.clone()).collect();
    let places = places::find(mounts, &known);
    let lost = known.iter().enumerate().filter(|(place, path)| !places.contains(*path) && !held.is_unchanged(*place));
    for (_, lost) in lost {
        log::warn(format!("the box has changes of {lost:?}, but nothing can be written there now"));
    }
    let skeleton = Skeleton::mount(held.path().join(SKELETON))?;
    let Cut { pieces, files } = cut::cut(mounts, places, &skeleton.0.join("root"))?;
    let nothing = || Above::Nothing { empty: skeleton.0.join("empty") };
    let root = Overlay {
        lower: skeleton.0.join("root"),
        above: nothing(),
        user_notes: true,
        attributes: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV,
        or_read_only: false,
    };
    let mut overlays = vec![(PathBuf::from("/"), root)];
    let before = held.record.layers.len();
    for piece in pieces {
        let mount = mount_of(mounts, &piece.path);
        let overlay = match piece.changes {
            true => match layers::of_place(held, &piece.path, piece.lower, mount)? {
                Some(overlay) => overlay,
                None => continue,
            },
            false => Overlay {
                lower: piece.lower,
                above: nothing(),
                user_notes: true,
                attributes: layers::attributes(mount, true),
                // A filesystem that lies below no overlay, such as that of a stick: nobody listens on its sockets.
                or_read_only: mount.path == piece.path,
            },
        };
        overlays.push((piece.path, overlay));
    }
    if held.record.layers.len() != before {
        held.save()?;
    }
    Ok(View { overlays, files, skeleton: Some(skeleton) })
}

impl Skeleton {
    fn mount(path: PathBuf) -> Result<Self> {
        let what = || format!("make {path:?}");
        std::fs::create_dir_all(&path).context(what)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mounted = rustix::mount::mount("tmpfs", &path, "tmpfs", flags, Some(c"mode=700"));
        mounted.context(|| format!("mount on {path:?}"))?;
        let mounted = Self(path);
        for name in ["root", "empty"] {
            std::fs::create_dir(mounted.0.join(name)).context(|| format!("make {name} in {:?}", mounted.0))?;
        }
        Ok(mounted)
    }
}

/// The mount that a path lies on.
fn mount_of<'a>(mounts: &'a [HostMount], path: &Path) -> &'a HostMount {
    // They are sorted, parents first, and the first one is `/`.
    mounts.iter().rev().find(|mount| path.starts_with(&mount.path)).unwrap_or(&mounts[0])
}

/// Whether a path lies where the box has the kernel's own files, or nothing.
fn is_fresh(mounts: &[HostMount], path: &Path) -> bool {
    mount_of(mounts, path).treatment == Treatment::Fresh
}
