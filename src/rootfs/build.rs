//! The story of the child's filesystem up to the change of root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::prepare::Prepared;
use super::target::Root;
use super::{attributes, devices, mounts};
use crate::cgroup::View;
use crate::error::{Context, Error, Result};
use crate::plan::{NamespaceKind, Plan};
use crate::sys::mount::Tree;
use crate::sys::procfs::ProcFs;

/// What the steps of the building share.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) plan: &'a Plan,
    pub(super) prepared: &'a Prepared,
    pub(super) cgroups: &'a View,
    pub(super) proc: &'a ProcFs,
    /// Nothing in the tree is shared or a slave of anything, and nothing is going to be: private need not be said.
    pub(super) all_private: bool,
}

impl Site<'_> {
    /// Whether the container has a namespace of this kind that is not the caller's.
    pub(super) fn separate(&self, kind: NamespaceKind) -> bool {
        self.plan.namespaces.separate(kind)
    }
}

/// The container's root, mounted and filled, seen from the host's.
#[derive(Debug)]
pub struct NewRoot {
    pub(super) root: OwnedFd,
    pub(super) dev: OwnedFd,
    /// The host's root, where the change of root needs it again.
    pub(super) old_root: Option<OwnedFd>,
    pub(super) propagation: MountPropagationFlags,
}

/// Builds the container's filesystem in the caller's mount namespace, which is the container's own. Needs the host's
/// tree, a verified procfs, and to be the process that stays: afterwards the working folder is the new root.
///
/// # Errors
/// Names the entry of `mounts` or the device that cannot be made, with the call that failed.
pub fn build(plan: &Plan, prepared: &Prepared, cgroups: &View, proc: &ProcFs) -> Result<NewRoot> {
    let site = Site { plan, prepared, cgroups, proc, all_private: all_private(plan) };
    // What is made gets the mode that is said here.
    let umask = rustix::process::umask(Mode::empty());
    // First of all: from here on nothing that is mounted reaches the host.
    let old_root = separate_from_host(plan)?;
    // Descriptors are named below here, so that not even the host's /proc is looked up by name.
    rustix::process::fchdir(proc).context(|| "fchdir /proc")?;
    let mut root = open_root(&site)?;
    for mount in &plan.rootfs.mounts {
        mounts::make(&site, &mut root, mount).context(|| format!("mounts[{}]", mount.index))?;
    }
    // Devices come after the mounts, one of which is the /dev that they stand in.
    let dev = root.dev()?;
    devices::fill(&site, &root, dev.as_fd())?;
    rustix::process::umask(umask);
    // Hooks that run now find themselves in the root, as they do with other runtimes.
    rustix::process::fchdir(&root).context(|| "fchdir to the new root")?;
    Ok(NewRoot { root: root.into_fd(), dev, old_root, propagation: plan.rootfs.propagation })
}

fn all_private(plan: &Plan) -> bool {
    let private = |flags: &MountPropagationFlags| flags.contains(MountPropagationFlags::PRIVATE);
    plan.rootfs.propagation == MountPropagationFlags::PRIVATE | MountPropagationFlags::REC
        && plan.rootfs.mounts.iter().flat_map(|mount| &mount.propagation).all(private)
}

/// Changes how mounts of the caller's tree spread, as `linux.rootfsPropagation` says. Gives the host's root where some
/// of its mounts stay shared, so that taking it down must not spread either.
fn separate_from_host(plan: &Plan) -> Result<Option<OwnedFd>> {
    let mut propagation = plan.rootfs.propagation;
    if propagation.contains(MountPropagationFlags::UNBINDABLE) {
        // What cannot be bound cannot be cloned to become the root: this can only come at the end.
        propagation = MountPropagationFlags::PRIVATE | (propagation & MountPropagationFlags::REC);
    }
    rustix::mount::mount_change("/", propagation).context(|| format!("mount / with {propagation:?}"))?;
    if propagation.contains(MountPropagationFlags::REC) && !propagation.contains(MountPropagationFlags::SHARED) {
        return Ok(None);
    }
    // The mount that holds the rootfs may still be shared: pivot_root(2) refuses that, and a root mounted there would
    // appear on the host. The first folder upwards that is a mount is the one; others answer EINVAL.
    let path = &plan.rootfs.path;
    let path = path.canonicalize().context(|| format!("root.path: resolve {path:?}"))?;
    for folder in path.ancestors() {
        match rustix::mount::mount_change(folder, MountPropagationFlags::PRIVATE) {
            Err(Errno::INVAL) => {}
            other => {
                other.context(|| format!("make {folder:?} private"))?;
                break;
            }
        }
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/", flags, Mode::empty()).map(Some).context(|| "open /")
}

/// Clones the rootfs and mounts the clone where it stands, since only a mount can become the root. Where a user
/// namespace may not reach it, the parent's clone is mounted on the host's root instead: the place does not matter, the
/// change of root takes it from there. So it is with an overlay, which has no place of its own.
fn open_root(site: &Site<'_>) -> Result<Root> {
    let path = &site.plan.rootfs.path;
    if site.plan.rootfs.overlay.is_some() {
        let tree = site.prepared.root().ok_or_else(|| Error::new("the root's overlay was not prepared"))?;
        return attach_prepared(site, tree, path);
    }
    let failure = match Tree::open(path, true).and_then(|tree| tree.attach_at(path).map(|()| tree)) {
        Ok(tree) => return Ok(Root::new(tree.into_fd(), path, true)),
        Err(errno) => Error::call(format!("root.path: mount {path:?} on itself"), errno),
    };
    match site.prepared.root() {
        Some(tree) => attach_prepared(site, tree, path),
        None => Err(failure),
    }
}

fn attach_prepared(site: &Site<'_>, tree: &Tree, path: &Path) -> Result<Root> {
    tree.attach_at(Path::new("/")).context(|| format!("root.path: mount {path:?} on /"))?;
    cut_off(site, tree)?;
    let fd = rustix::io::fcntl_dupfd_cloexec(tree, 0).context(|| "duplicate the root's descriptor")?;
    Ok(Root::new(fd, path, false))
}

/// A tree that the parent cloned was never made private with the rest: it still is a peer of the host's mounts.
pub(super) fn cut_off(site: &Site<'_>, tree: &Tree) -> Result<()> {
    let slave =
        site.plan.rootfs.propagation.intersects(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::SHARED);
    let kind = if slave { MountPropagationFlags::DOWNSTREAM } else { MountPropagationFlags::PRIVATE };
    attributes::propagate(tree, kind | MountPropagationFlags::REC).context(|| "cut a cloned tree off from the host")
}
