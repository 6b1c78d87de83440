//! Files below a root, by paths of any length without links: for layers, and for the host where a commit writes.
//!
//! Each folder is opened beneath the root's descriptor, following no link and crossing no mount; what comes last is named
//! in its folder.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sys::mount::{Attributes, Tree, set_attributes};

/// Longer paths are walked in pieces: the kernel takes less than 4096 bytes at once.
const PIECE: usize = 2048;

/// Opens a root; its path is trusted.
///
/// # Errors
/// Where it is missing or no folder.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))
}

/// A root, with the folder of it that was used last: what comes in order of path asks for the same one again and again.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    last: RefCell<Option<Last>>,
}

/// A folder's path, and what opening it gave.
type Last = (PathBuf, Result<Rc<OwnedFd>, Errno>);

impl Root {
    /// Opens one; its path is trusted.
    ///
    /// # Errors
    /// Where it is missing or no folder.
    pub(super) fn open(path: &Path) -> Result<Self> {
        open_root(path).map(Self::new)
    }

    /// Opens a folder that is held already, for reading.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn of(folder: &OwnedFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(folder, ".", flags, Mode::empty()).map(Self::new).context(|| "open the folder")
    }

    fn new(fd: OwnedFd) -> Self {
        Self { fd, last: RefCell::new(None) }
    }

    /// Opens a folder by its path below.
    ///
    /// # Errors
    /// The errno of openat2(2), bare.
    pub(super) fn folder(&self, path: &Path) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((_, found)) = self.last.borrow().as_ref().filter(|(last, _)| last.as_os_str() == path.as_os_str()) {
            return found.clone();
        }
        let found = open_folder(&self.fd, path).map(Rc::new);
        *self.last.borrow_mut() = Some((path.to_owned(), found.clone()));
        found
    }

    /// Whoever makes or removes a folder has to say so.
    pub(super) fn folders_changed(&self) {
        *self.last.borrow_mut() = None;
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A view of a folder through which nothing can be changed, access times neither. What is mounted below is not part of it, or
/// not entered: an ordinary user's namespace has to keep the host's mounts together.
///
/// # Errors
/// Where it is missing, or the right to mount is.
pub(super) fn still(path: &Path) -> Result<Root> {
    let tree = match Tree::open(path, false) {
        Err(Errno::INVAL) => Tree::open(path, true),
        other => other,
    };
    let tree = tree.context(|| format!("open {path:?}"))?;
    let attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV, ..Attributes::default() };
    set_attributes(&tree, false, attributes).context(|| format!("make a read-only view of {path:?}"))?;
    Ok(Root::new(tree.into_fd()))
}

/// Holds a folder by its true path, which had no link in it when it was noted. `None` where it has gone, which a link in its
/// place says as well: whoever may write to a folder on the way would have it lead to what its follower alone may write to.
pub(super) fn hold(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    walk(CWD, path, flags, ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS).ok()
}

/// Opens a folder by its path below a root; the path has no links, no dots, and any length.
///
/// # Errors
/// The errno of openat2(2), bare.
pub(super) fn open_folder(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_with(root, path, OFlags::empty())
}

/// Likewise, to read which names are in it, without a trace where the kernel grants that: to its owner, and to root.
fn open_unseen(root: &Root, path: &Path) -> Result<OwnedFd, Errno> {
    match open_with(root, path, OFlags::NOATIME) {
        Err(Errno::PERM) => open_folder(root, path),
        other => other,
    }
}

fn open_with(root: impl AsFd, path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    walk(root.as_fd(), path, flags, resolve)
}

/// Opens what is at a path of any length, in pieces where the kernel would not take it.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let open = |from: BorrowedFd<'_>, path: &Path| loop {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match rustix::fs::openat2(from, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => break other,
        }
    };
    let mut here: Option<OwnedFd> = None;
    let mut piece = PathBuf::new();
    for component in path.components() {
        if !piece.as_os_str().is_empty() && piece.as_os_str().len() + component.as_os_str().len() > PIECE {
            here = Some(open(here.as_ref().map_or(root, AsFd::as_fd), &piece)?);
            piece = PathBuf::new();
        }
        piece.push(component);
    }
    open(here.as_ref().map_or(root, AsFd::as_fd), &piece)
}

/// The names in a folder, sorted.
///
/// # Errors
/// The errno of getdents64(2), bare.
pub(super) fn entries(folder: &OwnedFd) -> Result<BTreeSet<CString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.insert(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// statat(2) of one component, not followed; `None` where there is none.
///
/// # Errors
/// The errno, bare.
pub(super) fn find(folder: impl AsFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder.
    pub(super) folder: Rc<OwnedFd>,
    /// The name; `.` for the root itself.
    pub(super) name: CString,
}

impl Place {
    /// Opens the folder in which the last component of `path` stands. `None` where there is no such folder.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn find(root: &Root, path: &Path) -> Result<Option<Self>> {
        match Self::open(root, path) {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)) => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Likewise, where it has to be there.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn open(root: &Root, path: &Path) -> Result<Self> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = root.folder(parent).context(|| format!("open the folder of {path:?}"))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL).context(|| format!("{path:?}"))?;
        Ok(Self { folder, name })
    }

    /// Where the link leads that is there.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn target(&self) -> Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.folder, &self.name, Vec::new());
        let target = target.context(|| format!("read the link {:?}", self.name))?;
        Ok(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
    }

    /// What is there, not followed.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub(super) fn stat(&self) -> Result<Option<Stat>> {
        find(&self.folder, &self.name).context(|| format!("stat {:?}", self.name))
    }
}

/// Calls `each` for what is at `path` and for everything below it, a folder before what is in it, with the path below the
/// root.
///
/// # Errors
/// Where something cannot be read, or `each` says so.
pub(super) fn visit(root: &Root, path: &Path, each: &mut dyn FnMut(&Path, &Stat) -> Result<()>) -> Result<()> {
    let place = Place::open(root, path)?;
    let Some(stat) = place.stat()? else { return Ok(()) };
    each(path, &stat)?;
    let mut pending = Vec::new();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        pending.push(path.to_owned());
    }
    while let Some(path) = pending.pop() {
        let folder = open_unseen(root, &path).context(|| format!("open {path:?}"))?;
        for name in entries(&folder).context(|| format!("read {path:?}"))? {
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            let Some(stat) = find(&folder, &name).context(|| format!("stat {inner:?}"))? else { continue };
            each(&inner, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(inner);
            }
        }
    }
    Ok(())
}
