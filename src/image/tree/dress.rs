//! Owner, mode, attributes and time of what was made: an entry's, and nothing that the folder around it hands down.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::times::{timespec, timestamps};
use super::{Tree, path};
use crate::error::{Context, Error, Result};
use crate::image::fresh;
use crate::image::name::Name;
use crate::image::tar::{Entry, Kind};

/// Attributes that would change what a mount of the tree means to the kernel, or what the host's policy says of a file.
const FOREIGN_XATTRS: [&[u8]; 4] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.SMACK64"];

impl Tree {
    /// Owner, mode and attributes of an open file or folder, in this order: a change of owner takes away setuid bits and
    /// capabilities. The mode is set where opening could not have set all of it.
    pub(super) fn dress(&mut self, fd: &OwnedFd, entry: &Entry, mode: bool) -> Result<()> {
        if self.owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(|errno| no_owner(entry, errno))?;
        }
        if self.inherits {
            fresh::strip_lists(fd).context(|| "take inherited access control lists away")?;
        }
        if mode || self.inherits || entry.mode & 0o7000 != 0 {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).context(|| "set the mode")?;
        }
        for (name, value) in &entry.xattrs {
            if is_kept(name) {
                let result = rustix::fs::fsetxattr(fd, path(name), value, XattrFlags::empty());
                self.inherits |= name == fresh::LISTS[1].as_bytes();
                self.xattr_result(name, result)?;
            }
        }
        Ok(())
    }

    /// The same for what cannot be opened: links, devices, pipes.
    pub(super) fn dress_by_name(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let (owners, inherits) = (self.owners, self.inherits && !matches!(entry.kind, Kind::Symlink(_)));
        let last = path(&name.last);
        let folder = self.parent(&name.folder)?;
        if owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(folder, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| no_owner(entry, errno))?;
        }
        // There is no call for attributes by descriptor and name; the descriptor's own link in procfs leads to the folder.
        let file = || Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(last);
        if inherits {
            let what = || "take an inherited access control list away";
            fresh::absent(rustix::fs::lremovexattr(file(), fresh::LISTS[0])).context(what)?;
            let mode = Mode::from_raw_mode(entry.mode & 0o777);
            rustix::fs::chmodat(folder, last, mode, AtFlags::empty()).context(|| "set the mode")?;
        }
        let mut results = Vec::new();
        for (xattr, value) in entry.xattrs.iter().filter(|(name, _)| is_kept(name)) {
            results.push((xattr, rustix::fs::lsetxattr(file(), path(xattr), value, XattrFlags::empty())));
        }
        let time = timestamps(timespec(entry));
        rustix::fs::utimensat(folder, last, &time, AtFlags::SYMLINK_NOFOLLOW).context(|| "set the time")?;
        results.into_iter().try_for_each(|(xattr, result)| self.xattr_result(xattr, result))
    }

    fn xattr_result(&mut self, name: &[u8], result: Result<(), Errno>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            // A filesystem without them, or attributes that only the host's root may set.
            Err(Errno::NOTSUP | Errno::PERM) => {
                self.lost.attribute(name);
                Ok(())
            }
            Err(errno) => Err(errno).context(|| format!("set the attribute {:?}", String::from_utf8_lossy(name))),
        }
    }

    /// A folder of a lower layer has its own attributes; those of the upper layer's entry are all it is to have.
    pub(super) fn forget_xattrs(&self, fd: &OwnedFd) -> Result<()> {
        let mut names = vec![0; 64 << 10];
        let length = match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno).context(|| "list attributes"),
        };
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_kept(name)) {
            match rustix::fs::fremovexattr(fd, path(name)) {
                Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno).context(|| "remove an attribute"),
            }
        }
        Ok(())
    }
}

/// Whether an attribute of this name is the image's to give.
pub fn is_kept(xattr: &[u8]) -> bool {
    !FOREIGN_XATTRS.iter().any(|foreign| xattr.starts_with(foreign))
}

fn no_owner(entry: &Entry, errno: Errno) -> Error {
    let error = Error::call(format!("give it to user {} and group {}", entry.uid, entry.gid), errno);
    match errno {
        Errno::INVAL => error.hint("the image uses more ids than /etc/subuid and /etc/subgid grant to you"),
        _ => error,
    }
}
