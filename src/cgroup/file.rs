//! Files and folders of a cgroup filesystem: one open, one read or write.
//!
//! Errnos come back bare, since a missing file or a refused value is an answer here. There are no links in cgroupfs and
//! nothing in it can be renamed by a container, so absolute paths are as good as descriptors.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Opens a file of a cgroup for writing; none is ever made.
pub(super) fn open_for_writing(folder: &Path, file: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, folder.join(file), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes one value with one write(2): cgroupfs takes each as a whole.
pub(super) fn write(folder: &Path, file: &str, value: &str) -> Result<(), Errno> {
    write_fd(open_for_writing(folder, file)?, value)
}

/// Writes one value to a file that is open already.
pub(super) fn write_fd(file: impl AsFd, value: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes())).map(drop)
}

/// Reads a whole file.
pub(super) fn read(folder: &Path, file: &str) -> Result<String, Errno> {
    read_path(&folder.join(file))
}

/// Reads a file of one short line by one read(2).
pub(super) fn read_line(folder: &Path, file: &str) -> Result<String, Errno> {
    let file = rustix::fs::openat(CWD, folder.join(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)))?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Reads a whole file, given by its path.
pub(super) fn read_path(path: &Path) -> Result<String, Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_fd(file)
}

/// Reads to the end from where the descriptor stands.
pub(super) fn read_fd(file: impl AsFd) -> Result<String, Errno> {
    let mut text = Vec::with_capacity(1024);
    while rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)))? > 0 {
        text.reserve(1024);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether something stands at this path.
pub(super) fn exists(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

/// Whether the caller may write there, by its effective ids.
pub(super) fn writable(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS).is_ok()
}

/// Opens a folder to read its names.
pub(super) fn open_folder(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// The names of the folders inside an open folder: the child cgroups.
pub(super) fn children(folder: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory && name != c"." && name != c".." {
            names.push(OsString::from_vec(name.to_bytes().to_vec()));
        }
    }
    Ok(names)
}

/// The filesystem type of statfs(2), or 0 where there is nothing.
pub(super) fn filesystem(path: &Path) -> u64 {
    rustix::fs::statfs(path).map_or(0, |stat| stat.f_type as u64)
}
