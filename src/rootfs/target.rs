//! Where a mount goes: a destination of config.json becomes a descriptor below the root, and its true path inside.
//!
//! A destination without links is what it says. One that leads through links of the image is followed inside the root,
//! and its true path is asked of the kernel, because what may be mounted where is decided by that path (CVE-2019-16884,
//! CVE-2019-19921, CVE-2023-27561, CVE-2023-28642).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::fd_path;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sys::beneath::{Beneath, Leaf};

/// Files of /proc that may be mounted over: numbers that a container may be shown differently (as lxcfs does), and two
/// that checkpoint and FIPS tools need. Anything else below /proc is how the kernel speaks to the runtime.
const OPEN_PROC_FILES: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// What comes to stand on a target, as far as the rules of /proc care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// A procfs.
    Proc,
    /// Anything else.
    Other,
}

/// An open place to mount on.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// O_PATH.
    pub(super) fd: OwnedFd,
    /// Its true path inside.
    pub(super) path: Cow<'a, Path>,
    /// Whether it was missing before.
    pub(super) made: bool,
}

impl Target<'_> {
    /// Refuses what would hide a part of /proc.
    pub(super) fn check(&self, cover: Cover) -> Result<()> {
        let Ok(file) = self.path.strip_prefix("/proc") else { return Ok(()) };
        let allowed = match file.to_str() {
            Some("") => cover == Cover::Proc,
            Some(file) => OPEN_PROC_FILES.contains(&file),
            None => false,
        };
        if !allowed {
            let what =
                if file == Path::new("") { "only a procfs may be mounted there" } else { "it lies inside /proc" };
            return Err(Error::new(format!("cannot mount on {:?}: {what}", self.path))
                .hint("through /proc the kernel takes orders, so a container may not choose what stands there"));
        }
        Ok(())
    }
}

/// The root while it is being built.
#[derive(Debug)]
pub(super) struct Root {
    beneath: Beneath,
    /// The path of the uppermost mount, when nothing but it stands there.
    reopen_at: Option<PathBuf>,
    /// /dev, once something is mounted there: most of what follows goes below it.
    dev: Option<OwnedFd>,
}

impl Root {
    /// `fd` is the root's mount. `path` leads to it, unless it is unreachable.
    pub(super) fn new(fd: OwnedFd, path: &Path, reachable: bool) -> Self {
        Self { beneath: Beneath::from_fd(fd, path), reopen_at: reachable.then(|| path.to_owned()), dev: None }
    }

    /// A folder to mount on, links followed, made when missing.
    pub(super) fn folder<'a>(&self, destination: &'a Path) -> Result<Target<'a>> {
        match self.in_dev(destination) {
            Some(target) => Ok(target),
            None => self.any(destination, || Ok(Leaf::Folder)),
        }
    }

    /// A folder that no link leads to: /proc and /sys are what later steps write to by name.
    pub(super) fn real_folder<'a>(&self, destination: &'a Path) -> Result<Target<'a>> {
        let real = || self.beneath.resolve_plain(destination);
        let (found, made) = match real() {
            Err(Errno::NOENT) => {
                self.beneath.ensure(destination, Leaf::Folder)?;
                (real(), true)
            }
            found => (found, false),
        };
        match found {
            Ok(fd) => Ok(Target { fd, path: Cow::Borrowed(destination), made }),
            Err(Errno::LOOP) => Err(Error::new(format!("{destination:?} is a link in the rootfs"))
                .hint("proc and sysfs are only mounted on a real folder: replace the link in the image")),
            Err(errno) => Err(errno).context(|| format!("open {destination:?} below {:?}", self.beneath.path())),
        }
    }

    /// A file or folder to mount on, links followed; when it is missing, `leaf` says what to make.
    pub(super) fn any<'a>(&self, destination: &'a Path, leaf: impl FnOnce() -> Result<Leaf>) -> Result<Target<'a>> {
        let (fd, made) = match self.beneath.resolve_plain(destination) {
            Ok(fd) => return Ok(Target { fd, path: Cow::Borrowed(destination), made: false }),
            Err(Errno::LOOP) => match self.beneath.resolve(destination) {
                Err(Errno::NOENT) => (self.beneath.ensure(destination, leaf()?)?, true),
                found => (found.context(|| format!("open {destination:?} below {:?}", self.beneath.path()))?, false),
            },
            // Something on the way is missing, or a file where a folder should be: the walk finds out which.
            Err(_) => (self.beneath.ensure(destination, leaf()?)?, true),
        };
        let path = Cow::Owned(self.true_path(&fd)?);
        Ok(Target { fd, path, made })
    }

    /// The uppermost mount on a target, after something was mounted there.
    pub(super) fn mounted(&self, target: &Target<'_>) -> Result<OwnedFd> {
        if target.path == Path::new("/") {
            return self.uppermost();
        }
        self.beneath.resolve_plain(&target.path).context(|| format!("open {:?} again", target.path))
    }

    /// The root's own descriptor.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.beneath.into_fd()
    }

    /// Takes note that something now stands on a target.
    pub(super) fn covered(&mut self, target: &Target<'_>) -> Result<()> {
        if target.path == Path::new("/") {
            self.beneath = Beneath::from_fd(self.uppermost()?, self.beneath.path());
            self.dev = None;
        } else if target.path == Path::new("/dev") {
            self.dev = Some(self.mounted(target)?);
        }
        Ok(())
    }

    /// The uppermost mount on /dev, made when missing.
    pub(super) fn dev(&mut self) -> Result<OwnedFd> {
        match self.dev.take() {
            Some(dev) => Ok(dev),
            None => Ok(self.any(Path::new("/dev"), || Ok(Leaf::Folder))?.fd),
        }
    }

    /// Where a path inside is to be made: its folder, made when missing, and its name there.
    pub(super) fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        self.beneath.parent(path)
    }

    /// Opens the uppermost mount on the root.
    fn uppermost(&self) -> Result<OwnedFd> {
        let Some(path) = &self.reopen_at else {
            bail!("cannot mount on / here: the user namespace has no right to search {:?}", self.beneath.path());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?} again"))
    }

    /// The path inside that a descriptor truly has, by the kernel's word. The working folder is procfs.
    fn true_path(&self, fd: &OwnedFd) -> Result<PathBuf> {
        let read = |path: String| {
            let link = rustix::fs::readlinkat(CWD, &path, Vec::new()).context(|| format!("read /proc/{path}"))?;
            Ok::<_, Error>(PathBuf::from(OsStr::from_bytes(link.as_bytes())))
        };
        let (root, path) = (read(fd_path(&self.beneath))?, read(fd_path(fd))?);
        match path.strip_prefix(&root) {
            Ok(inside) => Ok(Path::new("/").join(inside)),
            Err(_) => bail!("{path:?} left the root {root:?} while it was being opened"),
        }
    }

    /// A folder right below a /dev that we mounted: made at once, which is how it goes with /dev/pts and /dev/shm.
    fn in_dev<'a>(&self, destination: &'a Path) -> Option<Target<'a>> {
        let dev = self.dev.as_ref().filter(|_| destination.parent() == Some(Path::new("/dev")))?;
        let name = destination.file_name()?;
        let made = rustix::fs::mkdirat(dev, name, Mode::from(0o755)).is_ok();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dev, name, flags, Mode::empty()).ok()?;
        Some(Target { fd, path: Cow::Borrowed(destination), made })
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.beneath.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(path: &str, cover: Cover) -> bool {
        let fd = rustix::fs::openat(CWD, "/", OFlags::PATH, Mode::empty()).unwrap();
        Target { fd, path: Cow::Borrowed(Path::new(path)), made: false }.check(cover).is_ok()
    }

    #[test]
    fn only_procfs_covers_proc_and_only_numbers_below_are_replaced() {
        assert!(allowed("/proc", Cover::Proc));
        assert!(!allowed("/proc", Cover::Other));
        assert!(allowed("/proc/meminfo", Cover::Other));
        assert!(allowed("/proc/sys/kernel/ns_last_pid", Cover::Other));
        assert!(!allowed("/proc/self/attr", Cover::Other));
        assert!(!allowed("/proc/sys", Cover::Proc));
        assert!(allowed("/process", Cover::Other));
    }
}
