//! keyctl(2).

use std::ffi::CString;

use rustix::io::Errno;

use super::check;

/// Makes a session keyring of this name and joins it; its owner may search it.
///
/// # Errors
/// The errno of keyctl(2), bare.
pub fn join_session(name: &str) -> Result<(), Errno> {
    // KEY_POS_ALL, and KEY_USR_VIEW, READ, SEARCH and LINK (include/linux/key.h).
    const PERMISSIONS: u32 = 0x3f1b_0000;
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    // SAFETY: a command, a C string, and then numbers.
    let key = check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key, PERMISSIONS) }).map(drop)
}
