//! Mounts as descriptors: a detached tree is cloned from a path, changed, and attached to a folder that is open already,
//! so that no name is looked up twice; mount_setattr(2), which rustix lacks.
//!
//! Owns the calls and their flags, not what is mounted where. A bind mount made this way costs less than by mount(2),
//! which has to find its target a second time to change its flags.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::check;

/// What mount_setattr(2) changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// MOUNT_ATTR_* bits to set.
    pub set: u64,
    /// MOUNT_ATTR_* bits to clear; they go first.
    pub clear: u64,
    /// One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0 leaves it.
    pub propagation: u64,
}

/// A clone of a mount or of a whole tree of mounts. Detached until [`Tree::attach`]; what is never attached goes away
/// with its descriptor. Afterwards the descriptor names the mount where it stands.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// Clones what is mounted at `path`, or the folder or file there; links are followed. `recursive` takes the mounts
    /// below as well.
    ///
    /// # Errors
    /// The errno of open_tree(2), bare: EINVAL for an unbindable mount, or in a user namespace for a part of a tree
    /// whose mounts the kernel holds together.
    pub fn open(path: &Path, recursive: bool) -> Result<Self, Errno> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        rustix::mount::open_tree(CWD, path, flags).map(Self)
    }

    /// Takes what fsmount(2) has made.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Clones what a descriptor refers to, without the mounts below.
    ///
    /// # Errors
    /// The errno of open_tree(2), bare: EINVAL where its mount is not in the caller's mount namespace.
    pub fn open_fd(fd: impl AsFd) -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(fd, "", flags).map(Self)
    }

    /// Attaches the tree on what `target` refers to: no name is looked up.
    ///
    /// # Errors
    /// The errno of move_mount(2), bare: ENOTDIR where one is a folder and the other is not.
    pub fn attach(&self, target: impl AsFd) -> Result<(), Errno> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, "", target, "", flags)
    }

    /// Attaches the tree at a trusted path, links followed.
    ///
    /// # Errors
    /// As [`Tree::attach`].
    pub fn attach_at(&self, path: &Path) -> Result<(), Errno> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        rustix::mount::move_mount(&self.0, "", CWD, path, flags)
    }

    /// Lets the ids of the files appear as `user_namespace` maps them. Only while the tree is detached. Linux 5.12.
    ///
    /// # Errors
    /// The errno of mount_setattr(2), bare: EINVAL where the filesystem cannot do it, ENOSYS before Linux 5.12.
    pub fn map_ids(&self, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: user_namespace.as_raw_fd() as u64,
        };
        mount_setattr(self.0.as_fd(), c"", recursive, attributes)
    }

    /// The descriptor itself.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Changes the mount whose root `mount` refers to; `recursive` includes the mounts below. Linux 5.12.
///
/// # Errors
/// The errno of mount_setattr(2), bare: EPERM for a flag that the kernel has locked, EINVAL where the descriptor is not
/// the root of a mount, ENOSYS before Linux 5.12.
pub fn set_attributes(mount: impl AsFd, recursive: bool, attributes: Attributes) -> Result<(), Errno> {
    mount_setattr(mount.as_fd(), c"", recursive, attributes.into())
}

/// Likewise, for the uppermost mount at a path.
///
/// # Errors
/// As [`set_attributes`].
pub fn set_attributes_at(path: &Path, attributes: Attributes) -> Result<(), Errno> {
    use rustix::path::Arg;
    path.into_with_c_str(|path| mount_setattr(CWD, path, false, attributes.into()))
}

/// Likewise, with all that is mounted below.
///
/// # Errors
/// As [`set_attributes`].
pub fn set_attributes_below(path: &Path, attributes: Attributes) -> Result<(), Errno> {
    use rustix::path::Arg;
    path.into_with_c_str(|path| mount_setattr(CWD, path, true, attributes.into()))
}

impl From<Attributes> for libc::mount_attr {
    fn from(from: Attributes) -> Self {
        Self { attr_set: from.set, attr_clr: from.clear, propagation: from.propagation, userns_fd: 0 }
    }
}

fn mount_setattr(
    folder: BorrowedFd<'_>,
    path: &std::ffi::CStr,
    recursive: bool,
    attributes: libc::mount_attr,
) -> Result<(), Errno> {
    let mut flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` ends in a zero and `attributes` is a live struct of the size we say; the kernel reads both and
    // writes to neither. A descriptor that is borrowed is open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}
