//! The flags of a mount that stands already: set, cleared, or spread to the mounts below.
//!
//! mount_setattr(2) changes just the flags that are named, so that what the host's administrator forbade on the source
//! of a bind mount (`nosuid`, `noexec`, …) stays forbidden unless the bundle says otherwise, and a flag that the kernel
//! has locked in a user namespace is no trouble unless it is to be cleared. Before Linux 5.12 the flags there are read
//! first and all given again.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::StatVfs;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::fd_path;
use crate::sys::mount::{Attributes, set_attributes, set_attributes_at};

/// MS_* flags that belong to one mount, with their MOUNT_ATTR_* and ST_* (statvfs(3)) bits. The others belong to the
/// filesystem, and a bind mount cannot change them.
#[rustfmt::skip]
const PER_MOUNT: [(MountFlags, u64, u64); 6] = [
    (MountFlags::RDONLY,      libc::MOUNT_ATTR_RDONLY,      libc::ST_RDONLY),
    (MountFlags::NOSUID,      libc::MOUNT_ATTR_NOSUID,      libc::ST_NOSUID),
    (MountFlags::NODEV,       libc::MOUNT_ATTR_NODEV,       libc::ST_NODEV),
    (MountFlags::NOEXEC,      libc::MOUNT_ATTR_NOEXEC,      libc::ST_NOEXEC),
    (MountFlags::NODIRATIME,  libc::MOUNT_ATTR_NODIRATIME,  libc::ST_NODIRATIME),
    (MountFlags::NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW, ST_NOSYMFOLLOW),
];

/// Access-time modes: of several the first one holds, as in mount(2).
#[rustfmt::skip]
const ACCESS_TIME: [(MountFlags, u64, u64); 3] = [
    (MountFlags::STRICTATIME, libc::MOUNT_ATTR_STRICTATIME, 0),
    (MountFlags::NOATIME,     libc::MOUNT_ATTR_NOATIME,     libc::ST_NOATIME),
    (MountFlags::RELATIME,    libc::MOUNT_ATTR_RELATIME,    libc::ST_RELATIME),
];

/// ST_NOSYMFOLLOW of linux/statfs.h, which libc lacks.
const ST_NOSYMFOLLOW: u64 = 0x2000;

/// The attributes that MS_* flags to set and to clear stand for.
pub(super) fn attributes(set: MountFlags, clear: MountFlags) -> Attributes {
    let mut attributes = Attributes::default();
    for (flag, attribute, _) in PER_MOUNT {
        if set.contains(flag) {
            attributes.set |= attribute;
        } else if clear.contains(flag) {
            attributes.clear |= attribute;
        }
    }
    let mode = ACCESS_TIME.iter().find(|(flag, ..)| set.contains(*flag));
    if let Some((_, attribute, _)) = mode {
        attributes.set |= attribute;
        attributes.clear |= libc::MOUNT_ATTR__ATIME;
    } else if clear.intersects(MountFlags::NOATIME | MountFlags::STRICTATIME) {
        attributes.clear |= libc::MOUNT_ATTR__ATIME;
    }
    attributes
}

/// Sets and clears flags of the one mount whose root `mount` is. The working folder is procfs.
pub(super) fn change(mount: impl AsFd, set: MountFlags, clear: MountFlags) -> Result<(), Errno> {
    let attributes = attributes(set, clear);
    if attributes == Attributes::default() {
        return Ok(());
    }
    match set_attributes(&mount, false, attributes) {
        Err(errno) if old_way_may_help(errno) => {
            let present = rustix::fs::fstatvfs(&mount)?;
            remount(fd_path(&mount), (present_flags(&present) - clear) | set)
        }
        other => other,
    }
}

/// Makes the uppermost mount at an absolute path read-only, and leaves its other flags.
pub(super) fn read_only(path: &Path) -> Result<(), Errno> {
    match set_attributes_at(path, Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() }) {
        Err(errno) if old_way_may_help(errno) => {
            let present = rustix::fs::statvfs(path)?;
            remount(path, present_flags(&present) | MountFlags::RDONLY)
        }
        other => other,
    }
}

/// Whether mount(2) may do what mount_setattr(2) did not: the call is missing, a seccomp filter around us knows only the
/// older one, or `nosymfollow` is not yet among its attributes (Linux 5.14). What truly is forbidden fails once more.
fn old_way_may_help(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM | Errno::INVAL)
}

/// Changes how mounts below spread. The working folder is procfs.
pub(super) fn propagate(mount: impl AsFd, propagation: MountPropagationFlags) -> Result<(), Errno> {
    rustix::mount::mount_change(fd_path(mount), propagation)
}

fn remount(path: impl rustix::path::Arg, flags: MountFlags) -> Result<(), Errno> {
    rustix::mount::mount_remount(path, MountFlags::BIND | flags, "")
}

/// The flags that a mount has, as mount(2) takes them.
fn present_flags(present: &StatVfs) -> MountFlags {
    let bits = present.f_flag.bits();
    let rows = PER_MOUNT.iter().chain(&ACCESS_TIME);
    rows.filter(|(_, _, bit)| bits & bit != 0).map(|(flag, ..)| *flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_changed() {
        let found = attributes(MountFlags::RDONLY | MountFlags::SYNCHRONOUS, MountFlags::NODEV);
        let expected = Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: libc::MOUNT_ATTR_NODEV, propagation: 0 };
        assert_eq!(found, expected);
    }

    #[test]
    fn an_access_time_mode_replaces_the_one_before() {
        let found = attributes(MountFlags::NOATIME | MountFlags::RELATIME, MountFlags::empty());
        assert_eq!((found.set, found.clear), (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME));
        assert_eq!(attributes(MountFlags::empty(), MountFlags::NOATIME).clear, libc::MOUNT_ATTR__ATIME);
        assert_eq!(attributes(MountFlags::empty(), MountFlags::RELATIME), Attributes::default());
    }
}
