//! The root filesystem that layers are unpacked into: each step beneath its descriptor, no name trusted twice.
//!
//! Knows what files are, not what layers are. A parent folder is resolved in the root (links in it stay inside) and used by
//! its descriptor; the last part of a name is never followed. What is in the way of a new file is removed first.

mod dress;
mod implied;
mod times;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

pub use self::dress::is_kept;
use self::implied::Unnamed;
pub use self::implied::{Implied, MOST};
use self::times::{Times, timespec, timestamps};
use super::lost::Lost;
use super::name::Name;
use super::tar::{Entry, Kind};
use super::{fresh, remove};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sys::beneath::{Beneath, Leaf};
use crate::sys::nsfs;

/// How names and bytes become a path for a system call.
pub fn path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The attribute by which a folder hides what the layers below have there. In a user namespace overlayfs reads one that an
/// ordinary user may set.
pub fn opaque_attribute() -> &'static str {
    if nsfs::in_first_user_namespace() { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
}

/// A tree that is being filled.
pub struct Tree {
    root: Beneath,
    /// The folder that was used last: most entries have the parent of the one before.
    current: Option<(Vec<u8>, OwnedFd)>,
    /// Modification times to set once nothing is put into these folders any more.
    times: Times,
    /// Folders that were made without an entry, since the last call of [`Tree::implied`].
    implied: u64,
    /// Those of them that no entry has named yet, where they are to be remembered.
    unnamed: Option<Unnamed>,
    /// Whether there may be folders that hand access control lists down to what is made in them.
    inherits: bool,
    /// Whether files get the owners that the layer names.
    owners: bool,
    /// Whether the kernel is known to refuse devices here.
    in_user_namespace: bool,
    /// What could not be kept.
    pub lost: Lost,
}

impl Tree {
    /// Opens an empty folder. The caller's umask has to be 0.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(folder: &Path, owners: bool) -> Result<Self> {
        Ok(Self {
            root: Beneath::open(folder)?,
            current: None,
            times: Times::default(),
            implied: 0,
            unnamed: None,
            inherits: false,
            owners,
            in_user_namespace: !nsfs::in_first_user_namespace(),
            lost: Lost::default(),
        })
    }

    /// The tree as it is.
    pub fn root(&self) -> &Beneath {
        &self.root
    }

    /// How many folders were made without an entry since the last call.
    pub fn implied(&mut self) -> u64 {
        std::mem::take(&mut self.implied)
    }

    /// Makes what an entry says, at its name; `content` writes a file's content.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn make(&mut self, name: &Name, entry: &Entry, content: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        match &entry.kind {
            Kind::File => self.file(name, entry, content),
            Kind::Folder => self.folder(name, entry),
            Kind::Link(target) => self.link(name, target),
            Kind::Symlink(target) => {
                if target.is_empty() || target.contains(&0) {
                    bail!("a symbolic link without a target");
                }
                self.made(name, |folder| rustix::fs::symlinkat(path(target), folder, path(&name.last)))
                    .context(|| "make a symbolic link")?;
                self.dress_by_name(name, entry)
            }
            Kind::Fifo => self.node(name, entry, FileType::Fifo, 0),
            Kind::Char(major, minor) => {
                self.node(name, entry, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::Block(major, minor) => {
                self.node(name, entry, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
        }
    }

    /// Gives the root folder itself what an entry says of it.
    ///
    /// # Errors
    /// Where the entry is no folder, or the kernel refuses.
    pub fn dress_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Folder {
            bail!("the root is not a folder");
        }
        let fd = self.root.openat(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).context(|| "open the root")?;
        self.forget_xattrs(&fd)?;
        self.dress(&fd, entry, true)?;
        self.set_time_later(Vec::new(), &fd, timespec(entry))
    }

    /// The folder at this path, if there is one.
    ///
    /// # Errors
    /// Any failure but that it is missing.
    pub fn existing(&self, folder: &[u8]) -> Result<Option<OwnedFd>> {
        let shown = if folder.is_empty() { Path::new(".") } else { path(folder) };
        match self.root.openat(shown, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("open {:?}", String::from_utf8_lossy(folder))),
        }
    }

    /// Says that a folder is gone or another one.
    pub fn forget_folders(&mut self) {
        self.current = None;
    }

    /// For overlayfs: says that the layers below have nothing at this name.
    ///
    /// # Errors
    /// Where the mark cannot be made.
    pub fn white_out(&mut self, name: &Name) -> Result<()> {
        let what = || format!("hide {:?}", String::from_utf8_lossy(&name.path()));
        let folder = match self.parent(&name.folder) {
            // The layer has a file there, below which nothing can be seen anyway.
            Err(error) if error.errno() == Some(Errno::NOTDIR) => return Ok(()),
            other => other.context(what)?,
        };
        let mode = Mode::empty();
        match rustix::fs::mknodat(folder, path(&name.last), FileType::CharacterDevice, mode, 0) {
            // The layer has brought something there itself: a folder must not show what is below, a file does not.
            Err(Errno::EXIST) => {}
            other => return other.context(what),
        }
        let stat = rustix::fs::statat(folder, path(&name.last), AtFlags::SYMLINK_NOFOLLOW).context(what)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.make_opaque(&name.path()),
            _ => Ok(()),
        }
    }

    /// For overlayfs: says that a folder shows nothing of the layers below. Made when it is missing.
    ///
    /// # Errors
    /// Where the mark cannot be made: the filesystem has to have such attributes.
    pub fn make_opaque(&mut self, folder: &[u8]) -> Result<()> {
        let what = || format!("hide what is below {:?}", String::from_utf8_lossy(folder));
        self.parent(folder).context(what)?;
        let fd = self.existing(folder)?.ok_or(Errno::NOENT).context(what)?;
        rustix::fs::fsetxattr(fd, opaque_attribute(), b"y", XattrFlags::empty()).context(what)
    }

    /// The parent folder of a name, made when it is missing.
    fn parent(&mut self, folder: &[u8]) -> Result<BorrowedFd<'_>> {
        if self.current.as_ref().is_none_or(|(known, _)| known != folder) {
            let shown = if folder.is_empty() { Path::new(".") } else { path(folder) };
            let fd = self.root.openat(shown, OFlags::PATH | OFlags::DIRECTORY);
            let fd = match fd {
                Err(Errno::NOENT) => self.imply(folder)?,
                other => other.context(|| format!("open {:?}", String::from_utf8_lossy(folder)))?,
            };
            self.keep_time_of(folder, &fd)?;
            self.current = Some((folder.to_vec(), fd));
        }
        self.current.as_ref().map(|(_, fd)| fd.as_fd()).ok_or_else(|| Error::new("no folder"))
    }

    /// Makes a folder that no entry has named so far, and those above.
    fn imply(&mut self, folder: &[u8]) -> Result<OwnedFd> {
        self.keep_time_above(folder)?;
        let (implied, unnamed, root) = (&mut self.implied, &mut self.unnamed, self.root.as_fd());
        let fd = self.root.ensure_each(path(folder), Leaf::Folder, &mut |made| {
            *implied += 1;
            unnamed.as_mut().map_or(Ok(()), |unnamed| unnamed.add(root, made))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            fresh::strip(rustix::fs::openat(made, ".", flags, Mode::empty())?, 0o755)
        })?;
        self.unnamed.as_ref().map_or(Ok(()), Unnamed::check).map(|()| fd)
    }

    /// Calls `make` on the parent folder; where something is in the way, removes that and calls it again.
    fn made<T>(&mut self, name: &Name, mut make: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T> {
        match make(self.parent(&name.folder)?) {
            Err(Errno::EXIST) => {}
            other => return other.context(|| "make it"),
        }
        let parent = self.parent(&name.folder)?;
        let stat = rustix::fs::statat(parent, path(&name.last), AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")?;
        remove::remove(parent, &name.last)?;
        // Nothing is known of what is below a file.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.forget_folders();
        }
        make(self.parent(&name.folder)?).context(|| "make it")
    }

    fn file(&mut self, name: &Name, entry: &Entry, content: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let fd = self.made(name, |folder| rustix::fs::openat(folder, path(&name.last), flags, mode))?;
        content(&fd)?;
        // After the content: a write takes setuid bits and capabilities away.
        self.dress(&fd, entry, false)?;
        rustix::fs::futimens(&fd, &timestamps(timespec(entry))).context(|| "set the time")
    }

    fn folder(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let last = path(&name.last);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = self.parent(&name.folder)?;
        let is_new = match rustix::fs::mkdirat(parent, last, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")?;
                let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if !is_folder {
                    self.made(name, |folder| rustix::fs::mkdirat(folder, last, mode))?;
                }
                !is_folder
            }
            Err(errno) => return Err(errno).context(|| "make a folder"),
        };
        let fd = rustix::fs::openat(self.parent(&name.folder)?, last, flags, Mode::empty());
        let fd = fd.context(|| "open the folder")?;
        if !is_new {
            self.forget_xattrs(&fd)?;
        }
        self.dress(&fd, entry, true)?;
        let whole = name.path();
        self.set_time_later(whole.clone(), &fd, timespec(entry))?;
        // What follows is most likely inside.
        self.current = Some((whole, fd));
        Ok(())
    }

    fn link(&mut self, name: &Name, target: &[u8]) -> Result<()> {
        let what = || format!("link to {:?}", String::from_utf8_lossy(target));
        let target = super::name::clean(target).context(what)?.ok_or_else(|| Error::new("a link to the root"))?;
        if target == *name {
            bail!("a link to itself");
        }
        let Some(from) = self.existing(&target.folder)? else { return Err(Errno::NOENT).context(what) };
        self.made(name, |folder| {
            rustix::fs::linkat(&from, path(&target.last), folder, path(&name.last), AtFlags::empty())
        })
        .context(what)
    }

    fn node(&mut self, name: &Name, entry: &Entry, kind: FileType, device: u64) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let result = self.made(name, |folder| rustix::fs::mknodat(folder, path(&name.last), kind, mode, device));
        match result {
            Ok(()) => self.dress_by_name(name, entry),
            // No kernel lets a user namespace make devices; the runtime makes the usual ones in a /dev of its own.
            Err(error) if self.in_user_namespace && kind != FileType::Fifo && error.errno() == Some(Errno::PERM) => {
                self.lost.device(&name.path());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
