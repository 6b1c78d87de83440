//! prlimit64(2) by number: the crates know the resources only as an enumeration.

use rustix::io::Errno;
use rustix::process::Pid;

use super::check;

/// Sets soft and hard limit of a process, or of this one. `u64::MAX` is unlimited.
///
/// # Errors
/// The errno of prlimit64(2), bare.
pub fn set(pid: Option<Pid>, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let pid = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64 and writes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, std::ptr::null_mut::<libc::rlimit64>())
    };
    check(result).map(drop)
}
