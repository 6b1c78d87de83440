//! The change of root, and the console, which needs the new one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::build::NewRoot;
use super::devices;
use crate::error::{Context, Error, Result};
use crate::plan::NamespaceKind;
use crate::sys::beneath::Beneath;
use crate::sys::clone;
use crate::sys::mount::Tree;
use crate::sys::procfs::ProcFs;

/// The container's filesystem, seen from inside.
#[derive(Debug)]
pub struct Inside {
    root: Beneath,
    dev: OwnedFd,
}

impl NewRoot {
    /// Makes the tree the root and takes the host's away. `no_pivot` moves the tree onto the host's root instead, for
    /// hosts that live in an initramfs, where pivot_root(2) is refused. The working folder is then the new root.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn pivot(self, no_pivot: bool, proc: &ProcFs) -> Result<Inside> {
        rustix::process::fchdir(&self.root).context(|| "fchdir to the new root")?;
        if no_pivot {
            move_root(&self.root, proc)?;
        } else {
            // The old root lands on top of the new one, in no folder of the image, and "." then means the old one to
            // umount2(2), which looks for what is uppermost (pivot_root(2), NOTES).
            rustix::process::pivot_root(".", ".").context(|| "pivot_root").map_err(|error| match error.errno() {
                Some(Errno::INVAL) => error.hint("a root in an initramfs cannot be changed so: use --no-pivot"),
                _ => error,
            })?;
            if let Some(old) = &self.old_root {
                // Some of its mounts are shared: taken down as they are, they would go from the host as well.
                rustix::process::fchdir(old).context(|| "fchdir to the old root")?;
                rustix::mount::mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
                    .context(|| "make the old root a slave")?;
            }
            rustix::mount::unmount(".", UnmountFlags::DETACH).context(|| "unmount the old root")?;
            if self.old_root.is_some() {
                rustix::process::chdir("/").context(|| "chdir /")?;
            }
        }
        // Only now does "/" mean the container's root. Private it is already.
        if !self.propagation.contains(MountPropagationFlags::PRIVATE) {
            rustix::mount::mount_change("/", self.propagation).context(|| "linux.rootfsPropagation")?;
        }
        Ok(Inside { root: Beneath::from_fd(self.root, Path::new("/")), dev: self.dev })
    }
}

impl Inside {
    /// Makes sure that the new root is what everybody gets who joins the mount namespace, `exec` first of all. Where we
    /// were started in a chroot it is not: the host's true root is still above, and a program of an exec would be the
    /// host's.
    ///
    /// Joining one's own mount namespace leads to its root (setns(2), which wants a process without threads); that is
    /// then compared. The working folder is "/" afterwards.
    ///
    /// # Errors
    /// Where the two differ.
    pub fn check_namespace(&self, proc: &ProcFs) -> Result<()> {
        let what = || "look for the root of the mount namespace";
        // Through a magic link of the host's own procfs, of this very process.
        let own = rustix::fs::openat(proc, "self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        clone::setns(own.context(what)?, NamespaceKind::Mount.flag()).context(what)?;
        let identity =
            |found: rustix::fs::Statx| (found.stx_mnt_id, found.stx_ino, found.stx_dev_major, found.stx_dev_minor);
        let look = |path: &str| {
            let mask = StatxFlags::INO | StatxFlags::MNT_ID;
            rustix::fs::statx(&self.root, path, AtFlags::EMPTY_PATH, mask).map(identity).context(what)
        };
        if look("/")? == look("")? {
            return Ok(());
        }
        Err(Error::new("the container's root is not the root of its mount namespace: myrt was started in a chroot")
            .hint("start it outside; what exec joins would be the host's root, not the container's"))
    }
}

/// Moves the new root, which is the working folder, onto the old one. The host's tree stays below, out of reach but in
/// the mount namespace: its proc and sysfs are taken away, or a user namespace could mount them anew without our masks.
fn move_root(root: &OwnedFd, proc: &ProcFs) -> Result<()> {
    let table = proc.read("self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    let own = std::env::current_dir().context(|| "getcwd")?;
    for path in whole_kernel_mounts(&table) {
        if path.starts_with(&own) {
            continue;
        }
        match rustix::mount::unmount(&path, UnmountFlags::DETACH) {
            // Locked together with what lies below, as in a user namespace: cover it.
            Err(Errno::INVAL | Errno::PERM) => {
                rustix::mount::mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None)
                    .context(|| format!("cover {path:?}"))?;
            }
            other => other.context(|| format!("unmount {path:?}"))?,
        }
    }
    rustix::process::fchdir(root).context(|| "fchdir to the new root")?;
    rustix::mount::mount_move(".", "/").context(|| "move the root")?;
    rustix::process::chroot(".").context(|| "chroot")?;
    rustix::process::chdir("/").context(|| "chdir /")
}

/// Where whole procfs and sysfs are mounted, by the lines of mountinfo (proc_pid_mountinfo(5)), deepest last.
fn whole_kernel_mounts(table: &[u8]) -> Vec<PathBuf> {
    let path = |line: &[u8]| {
        let mut words = words(line).skip(3);
        let (root, path) = (words.next()?, words.next()?);
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        (root == b"/" && matches!(kind, b"proc" | b"sysfs")).then(|| unescape(path))
    };
    table.split(|byte| *byte == b'\n').filter_map(path).collect()
}

/// The words of a line of mountinfo. Names in it may have any bytes, whoever may mount there.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ')
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
pub fn unescape(path: &[u8]) -> PathBuf {
    if !path.contains(&b'\\') {
        return PathBuf::from(OsStr::from_bytes(path));
    }
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = if byte == b'\\' { after.get(..3) } else { None };
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(plain))
}

impl Inside {
    /// The root.
    pub fn root(&self) -> &Beneath {
        &self.root
    }

    /// The folder /dev.
    pub fn dev(&self) -> BorrowedFd<'_> {
        self.dev.as_fd()
    }

    /// Puts a terminal on /dev/console. `terminal` is the slave side, opened from the container's own devpts. Comes
    /// before [`Inside::finish`], which may make /dev read-only.
    ///
    /// # Errors
    /// Where /dev/console cannot be made, or is something that nobody should mount on.
    pub fn console(&self, terminal: impl AsFd) -> Result<()> {
        let (target, found) = devices::open_file(self.dev(), OsStr::new("console"))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile | FileType::CharacterDevice => {}
            other => {
                return Err(Error::new(format!("/dev/console in the rootfs is a {other:?}"))
                    .hint("remove it from the image: the terminal is mounted there"));
            }
        }
        // By descriptor on both sides: neither the terminal nor its place is looked up by name (CVE-2025-52565).
        let tree = Tree::open_fd(terminal).context(|| "open_tree of the terminal")?;
        tree.attach(&target).context(|| "mount the terminal on /dev/console")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_mounts_of_proc_and_sysfs_are_found() {
        let table = b"22 27 0:21 / /proc rw - proc proc rw\n\
                     23 27 0:22 / /sys\\040fs\xff rw shared:3 - sysfs sysfs rw\n\
                     24 27 0:21 /sys /x rw - proc proc rw\n\
                     25 27 0:6 / /dev rw - devtmpfs devtmpfs rw";
        assert_eq!(whole_kernel_mounts(table), [Path::new("/proc"), Path::new(OsStr::from_bytes(b"/sys fs\xff"))]);
    }
}
