//! Device nodes and links in /dev.
//!
//! Made beneath the open folder, never through a link that the image may have put there (CVE-2025-31133,
//! CVE-2025-52565): a name that exists must be the very device that was meant. Where the kernel lets nobody make nodes, in
//! a user namespace, the host's are bound instead.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::attributes;
use super::build::Site;
use super::target::Root;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::{Device, DeviceKind, MountKind, NamespaceKind};
use crate::sys::mount::Tree;

/// What every /dev has: config-linux.md, "Dev symbolic links".
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Major and minor number of the null device.
const NULL: (u32, u32) = (1, 3);

/// Makes devices and links, unless the bundle brings a /dev of its own, which is left as it is.
pub(super) fn fill(site: &Site<'_>, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    let own = |mount: &crate::plan::Mount| {
        mount.destination == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. })
    };
    if site.plan.rootfs.mounts.iter().any(own) {
        return Ok(());
    }
    let mut bind = site.separate(NamespaceKind::User);
    // Who owns the host's node may change its mode, bound or not; through a read-only mount nobody may.
    let host_root_inside = site.plan.namespaces.uid_map.iter().any(|line| line.outside == 0);
    // /dev/ptmx is a link into the container's own devpts, whatever the bundle says.
    let wanted = site.plan.rootfs.devices.iter().filter(|device| device.path != Path::new("/dev/ptmx"));
    for device in wanted {
        let elsewhere;
        let (folder, name) = match (device.path.parent(), device.path.file_name()) {
            (Some(parent), Some(name)) if parent == Path::new("/dev") => (dev, name),
            _ => {
                let (folder, name) = root.parent(&device.path)?;
                elsewhere = folder;
                (elsewhere.as_fd(), name)
            }
        };
        make(folder, name, device, &mut bind, host_root_inside)
            .context(|| format!("linux.devices: {:?}", device.path))?;
    }
    links(site, dev)
}

/// Makes one node. The first refusal to make one decides for all that follow.
fn make(folder: BorrowedFd<'_>, name: &OsStr, device: &Device, bind: &mut bool, locked: bool) -> Result<()> {
    let (kind, number) = (file_type(device), rustix::fs::makedev(device.major, device.minor));
    if *bind && device.kind != DeviceKind::Fifo {
        return bind_host(folder, name, device, locked);
    }
    match rustix::fs::mknodat(folder, name, kind, Mode::from(device.mode), number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => Ok(()),
        Ok(()) => {
            let (uid, gid) = (Some(Uid::from_raw(device.uid)), Some(Gid::from_raw(device.gid)));
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(|| "chown")
        }
        Err(Errno::EXIST) => {
            let found = stat(folder, name)?;
            if is(&found, device) { Ok(()) } else { Err(occupied(&found)) }
        }
        Err(Errno::PERM) => {
            *bind = true;
            bind_host(folder, name, device, locked)
        }
        Err(errno) => Err(errno).context(|| format!("mknod {}:{}", device.major, device.minor)),
    }
}

/// Binds the host's node of the same path onto an empty file. `locked`: so that its mode and owner cannot be changed;
/// reading and writing the device goes on.
fn bind_host(folder: BorrowedFd<'_>, name: &OsStr, device: &Device, locked: bool) -> Result<()> {
    let tree = Tree::open(&device.path, false).context(|| format!("open_tree {:?} of the host", device.path))?;
    if !is(&rustix::fs::fstat(&tree).context(|| "stat the host's node")?, device) {
        bail!("the host's {:?} is not the device {}:{}", device.path, device.major, device.minor);
    }
    let target = match open_file(folder, name)? {
        (_, found) if is(&found, device) => return Ok(()),
        (fd, found) if file_type_of(&found) == FileType::RegularFile => fd,
        (_, found) => return Err(occupied(&found)),
    };
    tree.attach(&target).context(|| "mount the host's node")?;
    if locked {
        attributes::change(&tree, MountFlags::RDONLY, MountFlags::empty())
            .context(|| "make the mount of the host's node read-only")?;
    }
    Ok(())
}

/// Opens a name without following it, or makes an empty file of it.
pub(super) fn open_file(folder: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, Stat)> {
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(folder, name, create, Mode::from(0o666)) {
        Err(Errno::EXIST) => {
            rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }
        other => other,
    };
    let fd = fd.context(|| format!("open {name:?}"))?;
    let found = rustix::fs::fstat(&fd).context(|| format!("stat {name:?}"))?;
    Ok((fd, found))
}

/// The container's null device, if the one that is there is none other.
pub(super) fn null(dev: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dev, "null", flags, Mode::empty()).context(|| "open /dev/null")?;
    let found = rustix::fs::fstat(&fd).context(|| "stat /dev/null")?;
    if file_type_of(&found) != FileType::CharacterDevice || found.st_rdev != rustix::fs::makedev(NULL.0, NULL.1) {
        return Err(Error::new("/dev/null of the container is not the null device")
            .hint("masked files are covered with it: leave /dev to the runtime, or put a real one there"));
    }
    Ok(fd)
}

fn links(site: &Site<'_>, dev: BorrowedFd<'_>) -> Result<()> {
    let link = |target: &str, name: &str| match rustix::fs::symlinkat(target, dev, name) {
        // An image may bring its own.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("link /dev/{name}")),
    };
    for (name, target) in LINKS {
        link(target, name)?;
    }
    if rustix::fs::accessat(site.proc, "kcore", rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok() {
        link("/proc/kcore", "core")?;
    }
    // Terminals must come from the container's own devpts, so here the image has no say.
    match rustix::fs::symlinkat("pts/ptmx", dev, "ptmx") {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dev, "ptmx", AtFlags::empty()).context(|| "remove /dev/ptmx of the image")?;
            link("pts/ptmx", "ptmx")
        }
        other => other.context(|| "link /dev/ptmx"),
    }
}

fn stat(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")
}

fn file_type(device: &Device) -> FileType {
    match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

fn file_type_of(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

fn is(found: &Stat, device: &Device) -> bool {
    let same_number =
        device.kind == DeviceKind::Fifo || found.st_rdev == rustix::fs::makedev(device.major, device.minor);
    file_type_of(found) == file_type(device) && same_number
}

fn occupied(found: &Stat) -> Error {
    Error::new(format!("the rootfs has something else of that name: {:?}", file_type_of(found)))
        .hint("remove it from the image, or mount a tmpfs on /dev")
}
