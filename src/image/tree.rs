//! The root filesystem that layers are unpacked into: each step beneath its descriptor, no name trusted twice.
//!
//! Knows what files are, not what layers are. A parent folder is resolved in the root (links in it stay inside) and used by
//! its descriptor; the last part of a name is never followed. What is in the way of a new file is removed first.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::lost::Lost;
use super::name::Name;
use super::remove;
use super::tar::{Entry, Kind};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sys::beneath::{Beneath, Leaf};
use crate::sys::nsfs;

/// Attributes that would change what a mount of the tree means to the kernel, or what the host's policy says of a file.
const FOREIGN_XATTRS: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];

/// How names and bytes become a path for a system call.
fn path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// A tree that is being filled.
pub struct Tree {
    root: Beneath,
    /// The folder that was used last: most entries have the parent of the one before.
    current: Option<(Vec<u8>, OwnedFd)>,
    /// Modification times to set once nothing is put into these folders any more, by inode: links give a folder many paths.
    times: HashMap<u64, (Vec<u8>, Timespec)>,
    /// Whether folders that are used keep the time they have.
    keeps_times: bool,
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
            times: HashMap::new(),
            keeps_times: false,
            owners,
            in_user_namespace: !nsfs::in_first_user_namespace(),
            lost: Lost::default(),
        })
    }

    /// The tree as it is.
    pub fn root(&self) -> &Beneath {
        &self.root
    }

    /// From now on folders that were there before keep their time, unless an entry names another one.
    pub fn keep_times(&mut self) {
        self.keeps_times = true;
    }

    /// Sets the times of all folders that were used since the last call.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_times(&mut self) -> Result<()> {
        self.current = None;
        for (folder, time) in std::mem::take(&mut self.times).into_values() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let what = || format!("set the time of {:?}", String::from_utf8_lossy(&folder));
            let shown = if folder.is_empty() { Path::new(".") } else { path(&folder) };
            match self.root.openat(shown, flags) {
                Ok(fd) => rustix::fs::futimens(fd, &times(time)).context(what)?,
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno).context(what),
            }
        }
        Ok(())
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

    /// Keeps the time that a folder has now, if nobody has said another one.
    pub fn keep_time_of(&mut self, folder: &[u8], fd: impl AsFd) -> Result<()> {
        if self.keeps_times {
            let stat = rustix::fs::fstat(fd).context(|| "stat a folder")?;
            let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
            self.times.entry(stat.st_ino).or_insert_with(|| (folder.to_vec(), time));
        }
        Ok(())
    }

    fn set_time_later(&mut self, folder: Vec<u8>, fd: impl AsFd, time: Timespec) -> Result<()> {
        let stat = rustix::fs::fstat(fd).context(|| "stat a folder")?;
        self.times.insert(stat.st_ino, (folder, time));
        Ok(())
    }

    /// Says that what was at this path is gone or another one.
    pub fn forget(&mut self, gone: &[u8]) {
        self.current = None;
        self.times
            .retain(|_, (known, _)| !known.strip_prefix(gone).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'));
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
        let name = if self.in_user_namespace { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
        rustix::fs::fsetxattr(fd, name, b"y", XattrFlags::empty()).context(what)
    }

    /// The parent folder of a name, made when it is missing.
    fn parent(&mut self, folder: &[u8]) -> Result<BorrowedFd<'_>> {
        if self.current.as_ref().is_none_or(|(known, _)| known != folder) {
            let shown = if folder.is_empty() { Path::new(".") } else { path(folder) };
            let fd = self.root.openat(shown, OFlags::PATH | OFlags::DIRECTORY);
            let fd = match fd {
                Err(Errno::NOENT) => self.root.ensure(shown, Leaf::Folder)?,
                other => other.context(|| format!("open {:?}", String::from_utf8_lossy(folder)))?,
            };
            self.keep_time_of(folder, &fd)?;
            self.current = Some((folder.to_vec(), fd));
        }
        self.current.as_ref().map(|(_, fd)| fd.as_fd()).ok_or_else(|| Error::new("no folder"))
    }

    /// Calls `make` on the parent folder; where something is in the way, removes that and calls it again.
    fn made<T>(&mut self, name: &Name, mut make: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T> {
        match make(self.parent(&name.folder)?) {
            Err(Errno::EXIST) => {}
            other => return other.context(|| "make it"),
        }
        remove::remove(self.parent(&name.folder)?, &name.last)?;
        self.forget(&name.path());
        make(self.parent(&name.folder)?).context(|| "make it")
    }

    fn file(&mut self, name: &Name, entry: &Entry, content: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let fd = self.made(name, |folder| rustix::fs::openat(folder, path(&name.last), flags, mode))?;
        content(&fd)?;
        // After the content: a write takes setuid bits and capabilities away.
        self.dress(&fd, entry, false)?;
        rustix::fs::futimens(&fd, &times(timespec(entry))).context(|| "set the time")
    }

    fn folder(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let last = path(&name.last);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = self.parent(&name.folder)?;
        let fresh = match rustix::fs::mkdirat(parent, last, mode) {
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
        if !fresh {
            self.forget_xattrs(&fd)?;
        }
        self.dress(&fd, entry, !fresh)?;
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

    /// Owner, mode and attributes of an open file or folder, in this order: a change of owner takes away setuid bits and
    /// capabilities. The mode is set where opening could not have set all of it.
    fn dress(&mut self, fd: &OwnedFd, entry: &Entry, mode: bool) -> Result<()> {
        if self.owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(|errno| no_owner(entry, errno))?;
        }
        if mode || entry.mode & 0o7000 != 0 {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).context(|| "set the mode")?;
        }
        for (name, value) in &entry.xattrs {
            if wanted(name) {
                let result = rustix::fs::fsetxattr(fd, path(name), value, XattrFlags::empty());
                self.xattr_result(name, result)?;
            }
        }
        Ok(())
    }

    /// The same for what cannot be opened: links, devices, pipes.
    fn dress_by_name(&mut self, name: &Name, entry: &Entry) -> Result<()> {
        let owners = self.owners;
        let last = path(&name.last);
        let folder = self.parent(&name.folder)?;
        if owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(folder, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| no_owner(entry, errno))?;
        }
        let mut results = Vec::new();
        for (xattr, value) in entry.xattrs.iter().filter(|(name, _)| wanted(name)) {
            // There is no call for it by descriptor and name; the descriptor's own link in procfs leads to the folder.
            let file = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(last);
            results.push((xattr, rustix::fs::lsetxattr(file, path(xattr), value, XattrFlags::empty())));
        }
        let time = times(timespec(entry));
        rustix::fs::utimensat(folder, last, &time, AtFlags::SYMLINK_NOFOLLOW).context(|| "set the time")?;
        results.into_iter().try_for_each(|(xattr, result)| self.xattr_result(xattr, result))
    }

    fn xattr_result(&mut self, name: &[u8], result: Result<(), Errno>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            // A filesystem without them, or attributes that only the host's root may set.
            Err(Errno::NOTSUP | Errno::PERM) => {
                self.lost.attribute(name);
                Ok(())
            }
            Err(errno) => Err(errno).context(|| format!("set the attribute {:?}", String::from_utf8_lossy(name))),
        }
    }

    /// A folder of a lower layer has its own attributes; those of the upper layer's entry are all it is to have.
    fn forget_xattrs(&self, fd: &OwnedFd) -> Result<()> {
        let mut names = vec![0; 64 << 10];
        let length = match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno).context(|| "list attributes"),
        };
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && wanted(name)) {
            match rustix::fs::fremovexattr(fd, path(name)) {
                Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno).context(|| "remove an attribute"),
            }
        }
        Ok(())
    }
}

fn wanted(xattr: &[u8]) -> bool {
    !FOREIGN_XATTRS.iter().any(|foreign| xattr.starts_with(foreign))
}

fn no_owner(entry: &Entry, errno: Errno) -> Error {
    let error = Error::call(format!("give it to user {} and group {}", entry.uid, entry.gid), errno);
    match errno {
        Errno::INVAL => error.hint("the image uses more ids than /etc/subuid and /etc/subgid grant to you"),
        _ => error,
    }
}

fn timespec(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() }
}

/// An access time of its own nobody needs: it is that of the modification.
fn times(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}
