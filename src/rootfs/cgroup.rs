//! /sys/fs/cgroup inside, from the shape that the cgroup room describes.
//!
//! With a cgroup namespace the hierarchies are mounted anew, and then show the container's part alone. Without one, v2
//! shows the host's tree, since /proc/self/cgroup names paths in it: bound, because mounting it anew from the host's
//! namespace waits for a lock of all cgroups, which takes milliseconds. v1 shows the container's own folders, bound.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::build::Site;
use super::target::{Cover, Root, Target};
use super::{attributes, mount_on, mounts};
use crate::cgroup::{Kind, View, ViewTree};
use crate::error::{Context, Error, Result};
use crate::plan::{Mount, NamespaceKind};
use crate::sys::mount::Tree;

/// Flags of a folder that only holds mounts, whatever the bundle says.
const BARE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Makes one mount of type `cgroup`.
pub(super) fn make(site: &Site<'_>, root: &mut Root, mount: &Mount) -> Result<()> {
    let target = root.folder(&mount.destination)?;
    target.check(Cover::Other)?;
    match (site.cgroups.kind, site.cgroups.trees.as_slice()) {
        (_, []) => {
            return Err(Error::new("the host has no cgroup filesystem").hint("leave this mount out of config.json"));
        }
        (Kind::V2, [tree, ..]) => unified(site, mount, tree, &target)?,
        _ => separate(site, root, mount, site.cgroups, &target)?,
    }
    if !mount.propagation.is_empty() || mount.recursive_set | mount.recursive_clear != 0 {
        mounts::finish(site, mount, root.mounted(&target)?)?;
    }
    root.covered(&target)
}

/// A v2 host: one mount.
fn unified(site: &Site<'_>, mount: &Mount, tree: &ViewTree, target: &Target<'_>) -> Result<()> {
    let own = site.separate(NamespaceKind::Cgroup);
    if own {
        match mount_on(&target.fd, "cgroup", tree.fstype, mount.flags, &mount.data) {
            // A user namespace that does not own this cgroup namespace.
            Err(Errno::PERM | Errno::BUSY) => {}
            other => return other.context(|| format!("mount cgroup2 on {:?}", mount.destination)),
        }
    }
    let source = tree.container.as_ref().filter(|_| own).unwrap_or(&tree.mount);
    bind(source, &target.fd, mount.flags, mount.cleared)
}

/// A host with hierarchies of v1: a tmpfs that holds one folder for each, and links for those that share one.
fn separate(site: &Site<'_>, root: &Root, mount: &Mount, view: &View, target: &Target<'_>) -> Result<()> {
    let label = site.plan.rootfs.mount_label.as_ref().map(|label| format!(",context=\"{label}\""));
    let data = format!("mode=755{}", label.unwrap_or_default());
    mount_on(&target.fd, "tmpfs", "tmpfs", BARE, &data)
        .context(|| format!("mount tmpfs on {:?}", mount.destination))?;
    let folder = root.mounted(target)?;
    for tree in &view.trees {
        rustix::fs::mkdirat(&folder, tree.name.as_str(), Mode::from(0o755))
            .and_then(|()| {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&folder, tree.name.as_str(), flags, Mode::empty())
            })
            .context(|| format!("make {:?}", tree.name))
            .and_then(|place| hierarchy(site, mount, tree, place))
            .context(|| format!("cgroup {:?}", tree.name))?;
    }
    for (name, beside) in &view.links {
        match rustix::fs::symlinkat(beside.as_str(), &folder, name.as_str()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(|| format!("link {name:?}")),
        }
    }
    let read_only = mount.flags & MountFlags::RDONLY;
    attributes::change(&folder, read_only, MountFlags::empty()).context(|| "make the folder of cgroups read-only")
}

fn hierarchy(site: &Site<'_>, mount: &Mount, tree: &ViewTree, place: impl AsFd) -> Result<()> {
    if site.separate(NamespaceKind::Cgroup) {
        let flags = BARE | (mount.flags & MountFlags::RDONLY);
        match mount_on(&place, "cgroup", tree.fstype, flags, &tree.options) {
            Err(Errno::PERM | Errno::BUSY) => {}
            other => return other.context(|| format!("mount {}", tree.fstype)),
        }
    }
    match &tree.container {
        Some(own) => bind(own, place, mount.flags, mount.cleared),
        // The container has no cgroup of its own there, so what it sees is others'.
        None => bind(&tree.mount, place, mount.flags | MountFlags::RDONLY, mount.cleared - MountFlags::RDONLY),
    }
}

fn bind(source: &Path, place: impl AsFd, set: MountFlags, clear: MountFlags) -> Result<()> {
    let tree = match Tree::open(source, false) {
        // In a user namespace mounts below cannot be left out.
        Err(Errno::INVAL) => Tree::open(source, true),
        other => other,
    };
    let tree = tree.context(|| format!("open_tree {source:?}"))?;
    tree.attach(&place).context(|| format!("mount {source:?}"))?;
    attributes::change(&tree, set, clear).context(|| format!("set {set:?} on the mount of {source:?}"))
}
