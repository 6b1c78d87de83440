//! Which filesystem something lies on: FS_IOC_GETFSUUID (Linux 6.9), which rustix lacks.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// `_IOR(0x15, 0, struct fsuuid2)` of the kernel's fs.h.
const GET_UUID: libc::Ioctl = 0x8011_1500_u32 as libc::Ioctl;

/// struct fsuuid2.
#[repr(C)]
struct Raw {
    length: u8,
    bytes: [u8; 16],
}

/// The number that was given to the filesystem when it was made, as bytes.
///
/// # Errors
/// ENOTTY where it has none, or the kernel does not tell.
pub fn uuid(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut raw = Raw { length: 0, bytes: [0; 16] };
    // SAFETY: the kernel writes one fsuuid2, which `raw` has the form of, and which lives across the call.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), GET_UUID, &raw mut raw) };
    super::check(result.into())?;
    Ok(raw.bytes[..usize::from(raw.length).min(raw.bytes.len())].to_vec())
}
