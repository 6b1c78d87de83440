//! Which kind of namespace a descriptor stands for (ioctl_ns(2)).

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
