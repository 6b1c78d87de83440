//! Namespaces of the calling process: which kind a descriptor stands for (ioctl_ns(2)), and leaving for new ones.

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

/// Leaves namespaces for new ones: CLONE_NEW* bits; others are refused (unshare(2)).
///
/// # Errors
/// The errno, bare.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    const KINDS: libc::c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWTIME;
    if flags & !(KINDS as u64) != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: takes a number. Memory and descriptors stay shared as they were: the bits for those were refused above.
    super::check(unsafe { libc::unshare(flags as libc::c_int) }.into()).map(drop)
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
