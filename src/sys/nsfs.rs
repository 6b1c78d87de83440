//! Which namespace a descriptor stands for: its kind (ioctl_ns(2)), and whether it is our own.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// The CLONE_NEW* bit of the namespace behind a descriptor.
///
/// # Errors
/// ENOTTY where it is no namespace.
pub fn kind(fd: impl AsFd) -> Result<u64, Errno> {
    // SAFETY: NS_GET_NSTYPE takes no argument and touches no memory of ours.
    let flag = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::NS_GET_NSTYPE) };
    super::check(flag.into()).map(|flag| flag as u64)
}

/// Whether this process lives in the first user namespace of the machine: only there is root nobody else outside.
///
/// Its inode is fixed (USER_NS_INIT_INO of include/uapi/linux/nsfs.h). Where /proc cannot be looked at, yes.
pub fn in_first_user_namespace() -> bool {
    const FIRST: u64 = 0xEFFF_FFFD;
    rustix::fs::stat("/proc/self/ns/user").map_or(true, |found| found.st_ino == FIRST)
}

/// Whether a descriptor stands for the namespace that this process itself is in; `name` is that of /proc/self/ns.
///
/// # Errors
/// Where one of the two cannot be looked at.
pub fn is_own(fd: impl AsFd, name: &str) -> Result<bool, Errno> {
    let (other, own) = (rustix::fs::fstat(fd)?, rustix::fs::stat(format!("/proc/self/ns/{name}"))?);
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        for (name, flag) in [("net", libc::CLONE_NEWNET), ("mnt", libc::CLONE_NEWNS), ("user", libc::CLONE_NEWUSER)] {
            let file = std::fs::File::open(format!("/proc/self/ns/{name}")).unwrap();
            assert_eq!(kind(&file), Ok(flag as u64));
        }
        assert_eq!(kind(std::fs::File::open("/dev/null").unwrap()), Err(Errno::NOTTY));
    }
}
