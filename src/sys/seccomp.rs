//! seccomp(2), which no crate wraps.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
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

/// A system call that a filter hands to its listener, and whose task waits for the answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// What an [`answer`] is given for.
    pub id: u64,
    /// The task, as numbered here.
    pub pid: u32,
    /// AUDIT_ARCH_* number.
    pub arch: u32,
    /// The number of the call.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The next notification; waits for one.
///
/// # Errors
/// ENOENT where its task is gone.
pub fn receive(listener: impl AsFd) -> Result<Notification, Errno> {
    // SAFETY: all of it may be zero, which is also what the kernel wants to see.
    let mut found: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's number holds the size of the structure, which the kernel fills and does not keep.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, ptr::from_mut(&mut found))
    };
    check(result.into())?;
    let libc::seccomp_data { nr, arch, args, .. } = found.data;
    Ok(Notification { id: found.id, pid: found.pid, arch, number: nr as u32, args })
}

/// Whether the task of a notification still waits: what was read from its memory meanwhile is its own.
pub fn still_waits(listener: impl AsFd, id: u64) -> bool {
    // SAFETY: as in `receive`; the kernel reads a number.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, ptr::from_ref(&id))
    };
    result == 0
}

/// Answers: with an errno, or by letting the kernel do the call.
///
/// # Errors
/// ENOENT where the task is gone.
pub fn answer(listener: impl AsFd, id: u64, refusal: Option<Errno>) -> Result<(), Errno> {
    let error = refusal.map_or(0, |errno| -errno.raw_os_error());
    let flags = if refusal.is_none() { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
    let mut response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: as in `receive`; the kernel reads the structure.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, ptr::from_mut(&mut response))
    };
    check(result.into()).map(drop)
}
