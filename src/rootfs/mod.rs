//! The container's filesystem: what [`crate::plan::Rootfs`] asks for becomes a tree of mounts that is the root.
//!
//! The steps, in the order in which a start calls them:
//!
//! 1. [`prepare()`], the parent, before the clone: descriptors of what only the host's rights
//!    can open.
//! 2. [`build()`], the child: the root is cloned onto itself, mounts, devices and links are made below it. The host's
//!    tree is still visible, since bind mounts take their sources from there.
//! 3. [`NewRoot::pivot`]: the tree becomes the root, the host's goes.
//! 4. [`Inside::console`], then [`Inside::finish`]: what must come last, because it forbids writing or hides something
//!    that the steps before needed.
//!
//! The files below the root are the image's, and a shared volume may change while we look at it. So each target is
//! opened once, beneath the root's descriptor, and mounted on through that descriptor; no path inside is ever joined to
//! a path outside. The classic mount(2) takes a path, and gets `self/fd/N` relative to a procfs that was verified, which
//! is the working folder while mounts are made.

mod attributes;
mod build;
mod cgroup;
mod copy_up;
mod devices;
mod finish;
mod machine;
mod mounts;
mod overlay;
mod pivot;
mod prepare;
mod target;

pub use build::{NewRoot, build};
pub use pivot::{Inside, unescape, words};
pub use prepare::{Prepared, prepare};

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::mount::MountFlags;

/// The path of a descriptor, relative to a procfs that is the working folder.
fn fd_path(fd: impl AsFd) -> String {
    format!("self/fd/{}", fd.as_fd().as_raw_fd())
}

/// mount(2) on a descriptor; the working folder is procfs.
fn mount_on(target: impl AsFd, source: &str, kind: &str, flags: MountFlags, data: &str) -> Result<(), Errno> {
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, fd_path(target), kind, flags, data.as_c_str())
}

#[cfg(test)]
mod tests;
