//! seccomp(2), which no crate wraps.

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

use super::check;

/// Loads a filter for this thread. With `listener`, gives the descriptor that its notifications are read from; it is
/// CLOEXEC, the kernel sees to that.
///
/// # Errors
/// As seccomp(2), and E2BIG for more instructions than its length field holds.
pub fn install(code: &[libc::sock_filter], flags: u64, listener: bool) -> Result<Option<OwnedFd>, Errno> {
    let len = u16::try_from(code.len()).map_err(|_| Errno::TOOBIG)?;
    // The kernel reads through the pointer and does not keep it, so the cast to a mutable one is harmless.
    let program = libc::sock_fprog { len, filter: code.as_ptr().cast_mut() };
    let flags = flags | if listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: `program` and the instructions it points to live across the call, and `len` is their number.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, ptr::from_ref(&program)) };
    let result = check(result)?;
    // SAFETY: with NEW_LISTENER the result is a new descriptor that nobody else owns.
    Ok(listener.then(|| unsafe { OwnedFd::from_raw_fd(result as i32) }))
}

/// Whether the kernel knows a SECCOMP_FILTER_FLAG_*; some only count together with a listener.
pub fn has_flag(flag: u64, with_listener: bool) -> bool {
    let flags = flag | if with_listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: there is no program at address 0: a kernel that knows the flags answers EFAULT, one that does not EINVAL.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, ptr::null::<libc::c_void>()) };
    check(result) == Err(Errno::FAULT)
}
