//! Paths below a folder that somebody else controls: resolved beneath an open descriptor, never by joining strings.
//!
//! [`Beneath`] treats its folder as the root: absolute paths, absolute links and `..` stay inside. What exists is opened
//! by one openat2(2) with RESOLVE_IN_ROOT. What must be made is walked component by component, each opened NOFOLLOW from
//! the descriptor of the one before, links expanded here: a rootfs that swaps a folder for a link while we walk gains
//! nothing, since no step trusts a name twice.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// How many links one path may expand, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A folder that is a root for every path given to it.
#[derive(Debug)]
pub struct Beneath {
    fd: OwnedFd,
    path: PathBuf,
}

/// What is told of each file and folder that was made on the way.
pub type Made<'a> = dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno> + 'a;

/// What stands at the end of a path that is made when it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A folder.
    Folder,
    /// An empty file, such as the target of a bind mount.
    File,
}

impl Beneath {
    /// Opens the folder itself; `path` is trusted and may contain links.
    ///
    /// # Errors
    /// Where it is missing, not a folder, or may not be searched.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Takes a descriptor that is open already; `path` is for messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// The descriptor itself.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// The folder's own path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what `path` leads to inside. CLOEXEC is set here; magic links (procfs) are never followed.
    ///
    /// # Errors
    /// The errno of openat2(2), bare, since callers treat ENOENT and ENOTDIR as answers.
    pub fn openat(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename elsewhere on the system raced with a `..`: the kernel asks to try again.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// An O_PATH descriptor of what `path` leads to inside, links followed.
    ///
    /// # Errors
    /// As [`Beneath::openat`].
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.openat(path, OFlags::PATH)
    }

    /// An O_PATH descriptor of what `path` names, if no component of it is a link: what is opened is what was said.
    ///
    /// # Errors
    /// ELOOP where one is a link, otherwise as [`Beneath::openat`].
    pub fn resolve_plain(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// An O_PATH descriptor of what `path` leads to inside; what is missing is made: folders with mode 0755 on the way,
    /// then `leaf`. A dangling link on the way is followed and its target made, inside.
    ///
    /// # Errors
    /// Where a component is neither folder nor link, or cannot be made.
    pub fn ensure(&self, path: &Path, leaf: Leaf) -> Result<OwnedFd> {
        self.ensure_each(path, leaf, &mut |_| Ok(()))
    }

    /// The same, and `made` is called with an O_PATH descriptor of each that was made.
    ///
    /// # Errors
    /// As [`Beneath::ensure`], and what `made` fails with.
    pub fn ensure_each(&self, path: &Path, leaf: Leaf, made: &mut Made<'_>) -> Result<OwnedFd> {
        match self.resolve(path) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT) => self.walk(path, leaf, made).context(|| format!("make {path:?} below {:?}", self.path)),
            Err(errno) => Err(errno).context(|| format!("open {path:?} below {:?}", self.path)),
        }
    }

    /// Splits `path` into the folder that holds its last component, made when missing, and that component's name.
    ///
    /// # Errors
    /// Where the path has no last component, or the folder cannot be opened or made.
    pub fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL).context(|| format!("{path:?} names no file"))?;
        let folder = self.ensure(path.parent().unwrap_or(Path::new("/")), Leaf::Folder)?;
        Ok((folder, name))
    }

    /// Walks `path` from the root, expanding links and making what is missing.
    fn walk(&self, path: &Path, leaf: Leaf, made: &mut Made<'_>) -> Result<OwnedFd, Errno> {
        let mut pending: Vec<OsString> = components(path);
        // The folders from the root down to where we are. `..` steps back along it, not along the filesystem: what has
        // been moved out of the root in the meantime cannot lead outside.
        let mut trail = vec![rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?];
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = trail.last().map(AsFd::as_fd).ok_or(Errno::INVAL)?;
            let is_leaf = pending.is_empty() && leaf == Leaf::File;
            let next = open_or_make(here, &name, is_leaf, made)?;
            match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        trail.truncate(1);
                    }
                    pending.extend(components(target));
                }
                FileType::Directory => trail.push(next),
                _ if pending.is_empty() => return Ok(next),
                _ => return Err(Errno::NOTDIR),
            }
        }
        trail.pop().ok_or(Errno::INVAL)
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The names of a path, last one first, `.` and the leading `/` left out.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// Opens one name without following it; makes it when it is missing. Whoever makes it at the same time wins.
fn open_or_make(here: BorrowedFd<'_>, name: &OsStr, file: bool, each: &mut Made<'_>) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(here, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let made = if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        rustix::fs::openat(here, name, flags, Mode::from(0o644)).map(drop)
    } else {
        rustix::fs::mkdirat(here, name, Mode::from(0o755))
    };
    match made {
        Ok(()) => open().and_then(|fd| each(fd.as_fd()).map(|()| fd)),
        Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of the test's own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("myrt-beneath-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("root")).unwrap();
            Self(path)
        }
        fn root(&self) -> Beneath {
            Beneath::open(&self.0.join("root")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_missing_path_is_made_inside() {
        let folder = Folder::new("make");
        folder.root().ensure(Path::new("/a/b/c"), Leaf::Folder).unwrap();
        folder.root().ensure(Path::new("/a/b/f"), Leaf::File).unwrap();
        assert!(folder.0.join("root/a/b/c").is_dir());
        assert!(folder.0.join("root/a/b/f").is_file());
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let folder = Folder::new("links");
        let root = folder.0.join("root");
        symlink("/outside", root.join("absolute")).unwrap();
        symlink("../../../outside2", root.join("relative")).unwrap();
        folder.root().ensure(Path::new("/absolute/x"), Leaf::Folder).unwrap();
        folder.root().ensure(Path::new("/relative/../y"), Leaf::File).unwrap();
        folder.root().ensure(Path::new("../../../z"), Leaf::Folder).unwrap();
        assert!(root.join("outside/x").is_dir());
        assert!(root.join("y").is_file());
        assert!(root.join("z").is_dir());
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn a_dangling_link_as_the_leaf_gets_its_target() {
        let folder = Folder::new("dangling");
        let root = folder.0.join("root");
        symlink("../run/resolv.conf", root.join("resolv.conf")).unwrap();
        folder.root().ensure(Path::new("/resolv.conf"), Leaf::File).unwrap();
        assert!(root.join("run/resolv.conf").is_file());
    }

    #[test]
    fn a_loop_ends() {
        let folder = Folder::new("loop");
        symlink("b", folder.0.join("root/a")).unwrap();
        symlink("a", folder.0.join("root/b")).unwrap();
        assert!(folder.root().ensure(Path::new("/a/x"), Leaf::Folder).is_err());
    }
}
