//! One entry of `mounts`, made.
//!
//! Owns the order of calls for each kind, and what is tried where the kernel refuses a user namespace a filesystem of
//! its own.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::build::{Site, cut_off};
use super::target::{Cover, Root, Target};
use super::{attributes, cgroup, copy_up, fd_path, mount_on};
use crate::error::{Context, Error, Result};
use crate::plan::{Mount, MountKind, NamespaceKind};
use crate::sys::beneath::Leaf;
use crate::sys::mount::{Attributes, Tree, set_attributes};

/// Filesystems that the kernel gives to a user namespace only together with another namespace; the caller's own, bound,
/// stands in where the container shares that namespace anyway.
const STAND_INS: [(&str, NamespaceKind, &str); 3] = [
    ("sysfs", NamespaceKind::Network, "/sys"),
    ("proc", NamespaceKind::Pid, "/proc"),
    ("mqueue", NamespaceKind::Ipc, "/dev/mqueue"),
];

/// Makes one mount.
pub(super) fn make(site: &Site<'_>, root: &mut Root, mount: &Mount) -> Result<()> {
    match &mount.kind {
        MountKind::Bind { source, recursive } => bind(site, root, mount, source, *recursive),
        MountKind::Filesystem { kind, source } => filesystem(site, root, mount, kind, source),
        MountKind::Cgroup => cgroup::make(site, root, mount),
        MountKind::Remount => remount(root, mount),
        MountKind::Overlay(_) => overlay(site, root, mount),
    }
}

fn bind(site: &Site<'_>, root: &mut Root, mount: &Mount, source: &Path, recursive: bool) -> Result<()> {
    let own;
    // In a sandbox nobody has a right over mounts, so that no flag needs a lock; and to let go of a tree that was made in vain
    // would wait for a grace period of the kernel's.
    let ready = if site.plan.own_first_process { site.prepared.source(mount) } else { site.prepared.mapped(mount) };
    let (tree, foreign) = match ready {
        Some(tree) => (tree, true),
        // Our own clone comes first: its flags are those that the kernel has locked for a user namespace.
        None => match Tree::open(source, recursive) {
            Ok(tree) => {
                own = tree;
                (&own, false)
            }
            Err(errno) => match site.prepared.source(mount) {
                Some(tree) => (tree, true),
                None => return Err(source_refused(source, errno)),
            },
        },
    };
    let target = root.any(&mount.destination, || Ok(if is_folder(tree)? { Leaf::Folder } else { Leaf::File }))?;
    target.check(if is_procfs(tree, &target)? { Cover::Proc } else { Cover::Other })?;
    if let Err(errno) = tree.attach(&target.fd) {
        let error = Error::call(format!("mount {source:?} on {:?}", mount.destination), errno);
        return Err(match (is_folder(tree)?, is_folder(&target.fd)?) {
            (false, true) => error.hint("the source is a file, but what is there is a folder"),
            (true, false) => error.hint("the source is a folder, but what is there is a file"),
            _ => error,
        });
    }
    if foreign {
        cut_off(site, tree)?;
    }
    attributes::change(tree, mount.flags, mount.cleared).context(|| flags_text(mount)).map_err(locked_hint)?;
    finish(site, mount, tree)?;
    root.covered(&target)
}

/// Attaches an overlay that the parent made.
fn overlay(site: &Site<'_>, root: &mut Root, mount: &Mount) -> Result<()> {
    // What lay below has gone from the host since somebody looked.
    let Some(tree) = site.prepared.source(mount) else { return Ok(()) };
    let target = root.folder(&mount.destination)?;
    target.check(Cover::Other)?;
    tree.attach(&target.fd).context(|| format!("mount an overlay on {:?}", mount.destination))?;
    cut_off(site, tree)?;
    root.covered(&target)
}

/// What a path leads to was missing or not ours to see.
fn source_refused(source: &Path, errno: Errno) -> Error {
    let error = Error::call(format!("source: open_tree {source:?}"), errno);
    match errno {
        Errno::NOENT => error.hint("create the source on the host, or correct its path"),
        Errno::ACCESS => error.hint("the container's root may not search the folders that lead there"),
        Errno::INVAL => {
            error.hint("the source is unbindable, or only a part of mounts that must stay together: try rbind")
        }
        _ => error,
    }
}

/// Makes a new mount of a filesystem type, or binds the caller's own where the kernel refuses.
fn filesystem(site: &Site<'_>, root: &mut Root, mount: &Mount, kind: &str, source: &str) -> Result<()> {
    let destination = &mount.destination;
    let target = match kind {
        "proc" | "sysfs" => root.real_folder(destination)?,
        _ => root.folder(destination)?,
    };
    target.check(if kind == "proc" { Cover::Proc } else { Cover::Other })?;
    let data = data(site, mount, kind, &target)?;
    let flags = if late_read_only(mount) { mount.flags - MountFlags::RDONLY } else { mount.flags };
    let below = mount.copy_up.then(|| readable(&target.fd)).transpose()?;
    if let Err(errno) = mount_with(&target, source, kind, flags, &data, site) {
        let stand_in = STAND_INS
            .iter()
            .find(|(name, namespace, _)| *name == kind && errno == Errno::PERM && shares(site, *namespace));
        let failure = || refused(Error::call(format!("mount {kind} on {destination:?}"), errno), kind, errno);
        let &(_, _, host) = stand_in.ok_or_else(failure)?;
        bind_whole(&target, Path::new(host), mount)?;
    }
    if below.is_some() || !mount.propagation.is_empty() || mount.recursive_set | mount.recursive_clear != 0 {
        let mounted = root.mounted(&target)?;
        if let Some(below) = below {
            copy_up::copy(&below, &mounted).context(|| format!("tmpcopyup: copy {destination:?}"))?;
        }
        finish(site, mount, &mounted)?;
    }
    root.covered(&target)
}

/// Whether the caller's filesystem shows what the container would see. The sysfs of a network namespace that is joined
/// differs in nothing but the devices of the network, and many do without those.
fn shares(site: &Site<'_>, namespace: NamespaceKind) -> bool {
    match namespace {
        NamespaceKind::Network => !site.plan.namespaces.creates(namespace),
        _ => !site.separate(namespace),
    }
}

/// mount(2), once more with less where a part of the data is what the kernel refuses.
fn mount_with(
    target: &Target<'_>,
    source: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
    site: &Site<'_>,
) -> Result<(), Errno> {
    let attempt = |data: &str| mount_on(&target.fd, source, kind, flags, data);
    match (attempt(data), kind) {
        // The usual gid=5 (tty) has no meaning where a user namespace does not map it.
        (Err(Errno::INVAL), "devpts") if site.separate(NamespaceKind::User) => attempt(&without_gid(data)),
        // Older kernels know no label for it.
        (Err(Errno::INVAL), "mqueue") if site.plan.rootfs.mount_label.is_some() => attempt(""),
        (result, _) => result,
    }
}

/// Binds the caller's whole tree in place of a filesystem that it may not mount, with the flags on each mount of it.
fn bind_whole(target: &Target<'_>, host: &Path, mount: &Mount) -> Result<()> {
    let tree = Tree::open(host, true).context(|| format!("open_tree {host:?}"))?;
    tree.attach(&target.fd).context(|| format!("mount {host:?} on {:?}", mount.destination))?;
    let whole = Attributes { clear: 0, ..attributes::attributes(mount.flags & !ACCESS_TIME, MountFlags::empty()) };
    match set_attributes(&tree, true, whole) {
        Err(Errno::NOSYS) => attributes::change(&tree, mount.flags & !ACCESS_TIME, MountFlags::empty()),
        other => other,
    }
    .context(|| flags_text(mount))
}

/// A user namespace cannot change these on mounts that it was given.
const ACCESS_TIME: MountFlags = MountFlags::NOATIME.union(MountFlags::RELATIME).union(MountFlags::STRICTATIME);

fn remount(root: &Root, mount: &Mount) -> Result<()> {
    let target = root.any(&mount.destination, || Err(Error::new("remount: nothing is there")))?;
    if mount.flags.contains(MountFlags::BIND) {
        attributes::change(&target.fd, mount.flags, mount.cleared)
    } else {
        rustix::mount::mount_remount(fd_path(&target.fd), mount.flags, mount.data.as_str())
    }
    .context(|| format!("remount {:?}", mount.destination))
}

/// What comes after the mount itself, the same for all kinds: recursive attributes, then propagation.
pub(super) fn finish(site: &Site<'_>, mount: &Mount, mounted: impl AsFd) -> Result<()> {
    if mount.recursive_set | mount.recursive_clear != 0 {
        let whole = Attributes { set: mount.recursive_set, clear: mount.recursive_clear, propagation: 0 };
        set_attributes(&mounted, true, whole).context(|| "mount_setattr of the whole tree").map_err(
            |error| match error.errno() {
                Some(Errno::NOSYS) => error.hint("recursive options such as rro need Linux 5.12"),
                Some(Errno::INVAL) => error.hint("rnosymfollow needs Linux 5.14"),
                _ => locked_hint(error),
            },
        )?;
    }
    for propagation in mount.propagation.iter().filter(|flags| !(site.all_private && is_private(**flags))) {
        attributes::propagate(&mounted, *propagation).context(|| format!("mount with {propagation:?}"))?;
    }
    Ok(())
}

fn is_private(flags: MountPropagationFlags) -> bool {
    flags.contains(MountPropagationFlags::PRIVATE)
}

/// Whether a mount becomes read-only at the end only: a tmpfs is still written to by later entries, and /dev by us.
pub(super) fn late_read_only(mount: &Mount) -> bool {
    let MountKind::Filesystem { kind, .. } = &mount.kind else { return false };
    mount.flags.contains(MountFlags::RDONLY) && (kind == "tmpfs" || mount.destination == Path::new("/dev"))
}

/// The filesystem's own options, with what the runtime adds.
fn data(site: &Site<'_>, mount: &Mount, kind: &str, target: &Target<'_>) -> Result<String> {
    let mut data = mount.data.clone();
    let mut add = |option: &str| {
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(option);
    };
    if kind == "tmpfs" && !target.made && !mount.data.split(',').any(|option| option.starts_with("mode=")) {
        // A tmpfs over /tmp stays what /tmp was.
        let mode = rustix::fs::fstat(&target.fd).context(|| format!("stat {:?}", mount.destination))?.st_mode;
        add(&format!("mode={:o}", mode & 0o7777));
    }
    if let Some(label) = site.plan.rootfs.mount_label.as_ref().filter(|_| !matches!(kind, "proc" | "sysfs")) {
        add(&format!("context=\"{label}\""));
    }
    Ok(data)
}

fn without_gid(data: &str) -> String {
    data.split(',').filter(|option| !option.starts_with("gid=")).collect::<Vec<_>>().join(",")
}

/// A folder that is about to be covered, opened so that what lies in it can still be read.
fn readable(folder: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, Mode::empty()).context(|| "tmpcopyup: open the folder below")
}

fn is_folder(fd: impl AsFd) -> Result<bool> {
    let mode = rustix::fs::fstat(fd).context(|| "stat")?.st_mode;
    Ok(FileType::from_raw_mode(mode) == FileType::Directory)
}

/// Whether a bind mount brings a procfs; only asked where that matters.
fn is_procfs(tree: &Tree, target: &Target<'_>) -> Result<bool> {
    if target.path != Path::new("/proc") {
        return Ok(false);
    }
    let kind = rustix::fs::fstatfs(tree).context(|| "statfs the source")?.f_type;
    Ok(kind as u64 == libc::PROC_SUPER_MAGIC as u64)
}

fn flags_text(mount: &Mount) -> String {
    format!("set {:?} and clear {:?} on {:?}", mount.flags, mount.cleared, mount.destination)
}

fn locked_hint(error: Error) -> Error {
    match error.errno() {
        Some(Errno::PERM) => error.hint("the host's mount forbids it, and a user namespace cannot lift that"),
        _ => error,
    }
}

fn refused(error: Error, kind: &str, errno: Errno) -> Error {
    match (errno, kind) {
        (Errno::NODEV, _) => error.hint("the kernel does not know this filesystem: is its module loaded?"),
        (Errno::PERM, "proc") => error.hint(
            "a user namespace gets a proc of its own only where nothing of the caller's /proc is hidden: \
             run outside of a container, or share the pid namespace",
        ),
        (Errno::PERM, _) => error.hint("a user namespace may not mount this filesystem"),
        (Errno::INVAL, _) => error.hint("an option of this mount is not one that the filesystem knows: see `dmesg`"),
        _ => error,
    }
}
