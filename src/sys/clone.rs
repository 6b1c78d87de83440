//! clone3(2), setns(2) and unshare(2): new processes and the namespaces they live in.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;

use super::check;

/// A child process, by number and by descriptor. The descriptor cannot mean another process; the number is for messages.
#[derive(Debug)]
pub struct Child {
    /// The number, as the caller sees it.
    pub pid: Pid,
    /// pidfd_open(2)'s kind of descriptor, CLOEXEC.
    pub pidfd: OwnedFd,
}

/// Which side of the fork we are on.
#[derive(Debug)]
pub enum Forked {
    /// The caller.
    Parent(Child),
    /// The new process: a copy of the caller's memory and descriptors.
    Child,
}

/// Forks with new namespaces (CLONE_NEW* bits), born in `cgroup` when one is given (v2, Linux 5.7).
///
/// `flags` may also hold CLONE_PARENT, which makes the new process a child of the caller's parent.
///
/// # Errors
/// The errno of clone3(2), bare; the caller knows what EPERM or EINVAL means for its flags.
pub fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    // Flags that share memory or skip the signal would break the promise that the child owns a copy.
    let allowed = NAMESPACES | libc::CLONE_PARENT as u64;
    if flags & !allowed != 0 {
        return Err(Errno::INVAL);
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain numbers; all zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // With CLONE_PARENT the signal is the one the caller itself was made with, and must be left out.
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with a null stack this is fork(2): the child runs on its own copy of this stack. The
    // process is single-threaded (an invariant of the crate), so no lock is held by a thread that does not exist there.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    match Pid::from_raw(pid as i32) {
        None => Ok(Forked::Child),
        // SAFETY: the kernel has put a new descriptor there, which nobody else owns.
        Some(pid) => Ok(Forked::Parent(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })),
    }
}

/// Joins namespaces: `fd` is a namespace file, or a pidfd with the kinds as CLONE_NEW* bits (Linux 5.8).
///
/// # Errors
/// The errno of setns(2), bare.
pub fn setns(fd: impl AsFd, flags: u64) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and a number.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_fd().as_raw_fd(), flags as libc::c_int) }).map(drop)
}

/// Leaves namespaces for new ones (CLONE_NEW* bits; others are refused).
///
/// # Errors
/// The errno of unshare(2), bare.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    if flags & !NAMESPACES != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: takes a number; namespaces alone change nothing that Rust relies on.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// CLONE_INTO_CGROUP; libc has it as a signed number that does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// All CLONE_NEW* bits.
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWTIME) as u64;
