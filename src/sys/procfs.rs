//! Files of /proc that matter, reached through a descriptor that is known to be procfs.
//!
//! A container that can mount over /proc, or place a link there, would otherwise choose which file a label, a sysctl or
//! an id map is written to (CVE-2019-16884, CVE-2019-19921, CVE-2025-31133, CVE-2025-52881). The root of the mount is
//! checked once, by filesystem type and inode; every path below is resolved without leaving that mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// The inode of procfs's root directory (PROC_ROOT_INO in the kernel's fs/proc).
const ROOT_INODE: u64 = 1;

/// An open procfs.
#[derive(Debug)]
pub struct ProcFs(OwnedFd);

impl ProcFs {
    /// Opens /proc of the caller's mount namespace.
    ///
    /// # Errors
    /// Where /proc is missing or is not the root of a procfs.
    pub fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::verify(rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).context(|| "open /proc")?)
    }

    /// Takes a descriptor of a procfs root, for instance of a new mount.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn verify(fd: OwnedFd) -> Result<Self> {
        let magic = rustix::fs::fstatfs(&fd).context(|| "statfs /proc")?.f_type;
        let inode = rustix::fs::fstat(&fd).context(|| "stat /proc")?.st_ino;
        if magic as u64 != libc::PROC_SUPER_MAGIC as u64 || inode != ROOT_INODE {
            return Err(Error::new("/proc is not a procfs").hint("mount it: mount -t proc proc /proc"));
        }
        Ok(Self(fd))
    }

    /// Opens a file such as `self/attr/exec`. Nothing mounted over it, no magic link and no `..` is followed.
    ///
    /// # Errors
    /// The errno of openat2(2), bare.
    pub fn openat(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.0, path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Writes `data` with one write(2), as the files of procfs need it.
    ///
    /// # Errors
    /// The errno of the open or of the write, bare.
    pub fn write(&self, path: impl AsRef<Path>, data: &[u8]) -> Result<(), Errno> {
        let file = self.openat(path, OFlags::WRONLY)?;
        match rustix::io::write(&file, data)? {
            written if written == data.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The errno of the open or of a read, bare.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Errno> {
        let file = self.openat(path, OFlags::RDONLY)?;
        let mut text = Vec::with_capacity(1024);
        while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? > 0 {
            text.reserve(1024);
        }
        Ok(text)
    }
}

impl AsFd for ProcFs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let proc = ProcFs::open().unwrap();
        assert!(proc.read("self/stat").unwrap().starts_with(std::process::id().to_string().as_bytes()));
        // A magic link, and a way out.
        assert_eq!(proc.openat("self/exe", OFlags::PATH).unwrap_err(), Errno::LOOP);
        assert_eq!(proc.openat("../etc/passwd", OFlags::PATH).unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn another_filesystem_is_no_proc() {
        let fd = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(ProcFs::verify(fd).is_err());
    }
}
