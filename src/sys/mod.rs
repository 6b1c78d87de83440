//! The only room with `unsafe`: system calls that the crates lack, and the two handles through which paths that somebody
//! else controls are resolved.
//!
//! Stance: each wrapper sets the safe flags itself (CLOEXEC, NOFOLLOW, NO_MAGICLINKS), gives back owned descriptors, and
//! is a safe function: whatever it is called with, memory stays sound. Policy lives elsewhere.
#![allow(unsafe_code)]

pub mod beneath;
pub mod bpf;
pub mod clone;
pub mod entry;
pub mod exec;
pub mod filesystem;
pub mod handle;
pub mod interface;
pub mod keyring;
pub mod lease;
pub mod lookups;
pub mod mount;
pub mod nsfs;
pub mod procfs;
pub mod regex;
pub mod rlimit;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod spawn;
pub mod userns;
pub mod writeback;

use rustix::io::Errno;

/// The result of a raw system call: its value, or its errno.
pub(crate) fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        // libc's syscall(3) keeps the errno of the call in this thread's errno.
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(result)
}
