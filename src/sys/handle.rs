//! What a filesystem calls an inode, whatever its names are: name_to_handle_at(2) and open_by_handle_at(2), which rustix
//! lacks.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// The largest handle there is (MAX_HANDLE_SZ of the kernel).
const LARGEST: usize = 128;

/// A handle. Two files of one filesystem are the same file where theirs are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle {
    /// How to read the bytes; each filesystem has its own.
    pub kind: u8,
    /// Number and generation of the inode, as a rule.
    pub bytes: Vec<u8>,
}

/// struct file_handle, with room for every filesystem's.
#[repr(C)]
struct Raw {
    size: u32,
    kind: i32,
    bytes: [u8; LARGEST],
}

/// The handle of one name in a folder; a link is not followed.
///
/// # Errors
/// The errno, bare: EOPNOTSUPP where the filesystem has none.
pub fn of(folder: impl AsFd, name: &CStr) -> Result<FileHandle, Errno> {
    let mut raw = Raw { size: LARGEST as u32, kind: 0, bytes: [0; LARGEST] };
    let mut mount = 0_i32;
    // SAFETY: the kernel writes at most `size` bytes behind the head of `raw`, which has room for them, and one int; the
    // name ends with a NUL; without flags nothing else is touched.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            folder.as_fd().as_raw_fd(),
            name.as_ptr(),
            &raw mut raw,
            &raw mut mount,
            0,
        )
    };
    check(result)?;
    let bytes = raw.bytes.get(..raw.size as usize).ok_or(Errno::OVERFLOW)?.to_vec();
    Ok(FileHandle { kind: u8::try_from(raw.kind).map_err(|_| Errno::OVERFLOW)?, bytes })
}

/// The file of a handle, of the filesystem on which `folder` lies, for nothing but to look at (`O_PATH`).
///
/// # Errors
/// The errno, bare: ESTALE where there is none any more, EPERM for who may not read everything (CAP_DAC_READ_SEARCH).
pub fn open(folder: impl AsFd, handle: &FileHandle) -> Result<OwnedFd, Errno> {
    let mut raw = Raw { size: handle.bytes.len() as u32, kind: i32::from(handle.kind), bytes: [0; LARGEST] };
    raw.bytes.get_mut(..handle.bytes.len()).ok_or(Errno::OVERFLOW)?.copy_from_slice(&handle.bytes);
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the kernel reads the head of `raw` and `size` bytes behind it, which are there.
    let result = unsafe { libc::syscall(libc::SYS_open_by_handle_at, folder.as_fd().as_raw_fd(), &raw mut raw, flags) };
    let fd = check(result)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn two_names_of_a_file_have_one_handle() {
        let top = std::env::temp_dir().join(format!("myrt-handle-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        std::fs::write(top.join("a"), "").unwrap();
        std::fs::write(top.join("c"), "").unwrap();
        std::fs::hard_link(top.join("a"), top.join("b")).unwrap();
        let handle = |name: &str| {
            let path = CString::new(top.join(name).as_os_str().as_bytes()).unwrap();
            of(rustix::fs::CWD, &path)
        };
        let all = ["a", "b", "c"].map(handle);
        assert_eq!(handle("missing"), Err(Errno::NOENT));
        std::fs::remove_dir_all(&top).unwrap();
        let [Ok(a), Ok(b), Ok(c)] = all else { panic!("{all:?}") };
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
