//! One file with all that belongs to it: made under another name, then put in its place by one rename.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sandbox::changes::xattrs::{self, Notes, Xattrs};
use crate::sandbox::tree::{self, Place};

/// How much is copied at once where the kernel does not do it.
const CHUNK: usize = 256 << 10;
/// From which size on the kernel is asked whether two files can share their blocks.
const WORTH_SHARING: u64 = 64 << 10;

/// What a file has beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// Which inode of its filesystem it is; not given to another, and another's as soon as this one is gone.
    pub(super) inode: u64,
    /// When anything of it changed, its number of names too; not given either.
    pub(super) changed: (i64, u32),
    /// With its kind.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds.
    pub(super) accessed: (i64, u32),
    /// Likewise.
    pub(super) modified: (i64, u32),
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) xattrs: Vec<(CString, Vec<u8>)>,
}

/// Whose notes are no attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A layer's: overlayfs keeps notes there.
    Layer(Notes),
    /// The host's.
    Host,
}

impl Side {
    fn xattrs(self, folder: BorrowedFd<'_>, name: &CStr) -> Result<Xattrs> {
        match self {
            Self::Layer(notes) => xattrs::of_layer(notes, folder, name),
            Self::Host => xattrs::of_host(folder, name),
        }
    }

    /// Of a file that is open for reading.
    fn xattrs_of(self, file: BorrowedFd<'_>) -> Result<Xattrs> {
        let notes = if let Self::Layer(notes) = self { Some(notes) } else { None };
        xattrs::of_file(notes, file)
    }
}

/// What an ordinary user's namespace has no number for cannot be given to a copy, such as one on another filesystem.
const OF_OTHERS: &str =
    "it is of another user or group: change it on the host yourself, or name what else is to be taken over";

impl Attributes {
    /// Reads those of a file that is there.
    pub(super) fn read(folder: BorrowedFd<'_>, name: &CStr, side: Side) -> Result<Self> {
        let stat = tree::find(folder, name).and_then(|stat| stat.ok_or(Errno::NOENT));
        let stat = stat.context(|| format!("stat {name:?}"))?;
        Ok(Self::new(&stat, side.xattrs(folder, name)?))
    }

    /// Those that a look at a file tells.
    pub(super) fn without_xattrs(stat: &Stat) -> Self {
        Self::new(stat, Vec::new())
    }

    fn new(stat: &Stat, xattrs: Xattrs) -> Self {
        Self {
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec as u32),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            accessed: (stat.st_atime, stat.st_atime_nsec as u32),
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            xattrs,
        }
    }

    /// Whether a file is of this kind, owner and group, with these permissions: nobody can give a file of theirs to others.
    pub(super) fn fit(&self, stat: &Stat) -> bool {
        let known = |mode: u32, uid, gid| (FileType::from_raw_mode(mode), mode & 0o777, uid, gid);
        known(self.mode, self.uid, self.gid) == known(stat.st_mode, stat.st_uid, stat.st_gid)
    }

    /// Gives them to the file of a name, if it is the one that is meant; gives whether it was. All of it goes to one inode,
    /// opened once: whoever may write to the folder gains nothing by putting a link there, or another file.
    pub(super) fn give(&self, folder: BorrowedFd<'_>, name: &CStr, which: Which<'_>) -> Result<bool> {
        let file = self.open(folder, name)?;
        if !which.is(&file, self).context(|| format!("look at {name:?}"))? {
            return Ok(false);
        }
        self.give_to(&file).context(|| format!("{name:?}")).map(|()| true)
    }

    /// Gives them to a file of the same kind that is open. Owner first, since a change of owner takes setuid bits and
    /// capabilities; times last.
    fn give_to(&self, file: &OwnedFd) -> Result<()> {
        self.owner_to(file)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        if FileType::from_raw_mode(self.mode) != FileType::Symlink {
            rustix::fs::chmod(&path, Mode::from_raw_mode(self.mode & 0o7777)).context(|| "chmod")?;
        }
        let old = xattrs::of_open(file.as_fd())?;
        for (key, _) in old.iter().filter(|(key, _)| !self.xattrs.iter().any(|(kept, _)| kept == key)) {
            rustix::fs::removexattr(&path, key.as_c_str()).context(|| format!("remove the attribute {key:?}"))?;
        }
        for (key, value) in self.xattrs.iter().filter(|new| !old.contains(new)) {
            rustix::fs::setxattr(&path, key.as_c_str(), value, XattrFlags::empty())
                .context(|| format!("set the attribute {key:?}"))?;
        }
        self.times_to(file).context(|| "set the times")
    }

    /// Gives them to a regular file that was made just now, as `made`, and is open: likewise, with less to look at.
    fn give_new(&self, file: &OwnedFd, made: &Stat) -> Result<()> {
        if !self.xattrs.is_empty() || xattrs::any(file.as_fd()) {
            return self.give_to(file);
        }
        if (made.st_uid, made.st_gid) != (self.uid, self.gid) {
            self.owner_to(file)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode & 0o7777)).context(|| "chmod")?;
        rustix::fs::futimens(file, &self.times()).context(|| "set the times")
    }

    fn owner_to(&self, file: &OwnedFd) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        match rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH) {
            Err(Errno::INVAL) => Err(Error::call("chown", Errno::INVAL).hint(OF_OTHERS)),
            other => other.context(|| "chown"),
        }
    }

    /// Gives the times alone.
    pub(super) fn give_times(&self, folder: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        self.times_to(&self.open(folder, name)?).context(|| format!("set the times of {name:?}"))
    }

    fn open(&self, folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::empty()).context(|| format!("open {name:?}"))?;
        let found = rustix::fs::fstat(&file).context(|| format!("stat {name:?}"))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::from_raw_mode(self.mode) {
            bail!("{name:?} has become another kind of file");
        }
        Ok(file)
    }

    fn times_to(&self, file: &OwnedFd) -> Result<(), Errno> {
        rustix::fs::utimensat(file, "", &self.times(), AtFlags::EMPTY_PATH)
    }

    fn times(&self) -> Timestamps {
        let time = |(tv_sec, nanoseconds): (i64, u32)| Timespec { tv_sec, tv_nsec: i64::from(nanoseconds) };
        Timestamps { last_access: time(self.accessed), last_modification: time(self.modified) }
    }
}

/// Which file is meant by a name in a folder that somebody else may write to. Links and files of theirs can be put there at
/// any moment, and so can files of ours, from elsewhere in the folder; to make one of ours is out of their power.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// Whatever is there: nobody else writes to the folder.
    Any,
    /// One that we have made right before, with nothing in it, or in an attempt that was killed.
    New,
    /// The one that had these attributes, some of which may have been changed already.
    Old(&'a Attributes),
}

impl Which<'_> {
    /// Whether an open file is the one that is about to get these attributes.
    fn is(self, file: &OwnedFd, next: &Attributes) -> Result<bool> {
        let found = rustix::fs::fstat(file).context(|| "stat")?;
        let rights = |mode: u32| mode & 0o777;
        Ok(match self {
            Self::Any => true,
            Self::New => {
                let ours = [rustix::process::geteuid().as_raw(), next.uid].contains(&found.st_uid);
                ours && match FileType::from_raw_mode(found.st_mode) {
                    FileType::Directory => {
                        // A default list of the folder around may have left it less than it was made with.
                        let bare = rights(found.st_mode) & !0o700 == 0;
                        (bare || rights(found.st_mode) == rights(next.mode)) && is_empty(file)?
                    }
                    _ => found.st_nlink == 1,
                }
            }
            // An inode that is free again may be anybody's next one, but not with another's owner.
            Self::Old(old) => {
                found.st_ino == old.inode
                    && [old.uid, next.uid].contains(&found.st_uid)
                    && [old.gid, next.gid].contains(&found.st_gid)
                    && [rights(old.mode), rights(next.mode)].contains(&rights(found.st_mode))
            }
        })
    }
}

fn is_empty(folder: &OwnedFd) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(folder, ".", flags, Mode::empty()).context(|| "open")?;
    Ok(tree::entries(&folder).context(|| "read")?.is_empty())
}

/// Copies a file that is no folder, with all that belongs to it, and puts it in the place of whatever else than a folder
/// is there. `next` is a name in the target's folder that is free or left over from an attempt. Gives what is there then.
pub(super) fn put(from: &Place, side: Side, to: &Place, next: &CStr) -> Result<Stat> {
    let what = || format!("make {:?}", to.name);
    let attempt = || make(&from.folder, &from.name, side, &to.folder, next);
    let made = match attempt() {
        // Looked for only here: most often there is none.
        Err(error) if error.errno() == Some(Errno::EXIST) => {
            remove_file(&to.folder, next)?;
            attempt()
        }
        other => other,
    };
    let made = made.context(what)?;
    rustix::fs::renameat(&to.folder, next, &to.folder, &to.name).context(what)?;
    match to.stat()? {
        Some(found) if found.st_ino == made => Ok(found),
        // Nothing was given to it. Whoever may write to the folder can do that without us.
        _ => bail!("{}: somebody has put another file in its place", what()),
    }
}

/// Copies a file that is no folder, with all that belongs to it, to a name that nothing has; gives its inode.
pub(super) fn make(from: &OwnedFd, name: &CStr, side: Side, to: &OwnedFd, new: &CStr) -> Result<u64> {
    // Most are regular files, and to open what else there is in a layer does nothing.
    if let Side::Layer(_) = side
        && let Some(made) = regular(from, name, side, to, new)?
    {
        return Ok(made);
    }
    let stat = tree::find(from, name).and_then(|stat| stat.ok_or(Errno::NOENT)).context(|| "stat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::RegularFile => {
            let made = regular(from, name, side, to, new)?;
            return made.ok_or_else(|| Error::new(format!("copy {name:?}: it is no file any more")));
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).context(|| "readlink")?;
            rustix::fs::symlinkat(target, to, new).context(|| "symlink")?;
        }
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
            rustix::fs::mknodat(to, new, kind, Mode::from(0o600), stat.st_rdev).context(|| "mknod")?;
        }
        other => bail!("a file of the kind {other:?} cannot be copied"),
    }
    let attributes = Attributes::new(&stat, side.xattrs(from.as_fd(), name)?);
    let file = attributes.open(to.as_fd(), new)?;
    if !Which::New.is(&file, &attributes)? {
        bail!("somebody has put another file in its place");
    }
    attributes.give_to(&file)?;
    rustix::fs::fstat(&file).map(|made| made.st_ino).context(|| "stat")
}

/// Puts another name of a file of the same filesystem in place, where nobody else writes to the folder that has it.
pub(super) fn link(from: &Place, to: &Place, next: &CStr) -> Result<(), Errno> {
    link_anew(from, &to.folder, next)?;
    put_next(to, next)
}

/// Likewise, where somebody else may: of the file that has the attributes `old`, some of which may have become `new`. It is
/// opened once and linked by its descriptor, or whoever puts another file there would have it under the new name as well.
pub(super) fn link_same(from: &Place, (old, new): (&Attributes, &Attributes), to: &Place, next: &CStr) -> Result<()> {
    let file = new.open(from.folder.as_fd(), &from.name)?;
    if !Which::Old(old).is(&file, new)? {
        bail!("the host has another file at {:?} by now", from.name);
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked =
        anew(&to.folder, next, || rustix::fs::linkat(CWD, path.as_str(), &to.folder, next, AtFlags::SYMLINK_FOLLOW));
    linked.and_then(|()| put_next(to, next)).context(|| "link")
}

/// Puts a further name of a file in place.
fn put_next(to: &Place, next: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat(&to.folder, next, &to.folder, &to.name)?;
    // Where both were one file already, the rename did nothing.
    remove_file(&to.folder, next).map_err(|error| error.errno().unwrap_or(Errno::IO))
}

/// Gives a file of the same filesystem a name that nothing has, or a file that is left over from an attempt.
pub(super) fn link_anew(from: &Place, folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    anew(folder, name, || rustix::fs::linkat(&from.folder, &from.name, folder, name, AtFlags::empty()))
}

fn anew(folder: &OwnedFd, name: &CStr, attempt: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match attempt() {
        // Looked for only here: most often there is none.
        Err(Errno::EXIST) => {
            remove_file(folder, name).map_err(|error| error.errno().unwrap_or(Errno::IO))?;
            attempt()
        }
        other => other,
    }
}

/// Removes what is no folder. A folder, or nothing, is fine.
pub(super) fn remove_file(folder: &OwnedFd, name: &CStr) -> Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("remove {name:?}")),
    }
}

/// Copies a regular file; gives the new one's inode, or `None` where it is another kind of file.
fn regular(from: &OwnedFd, name: &CStr, side: Side, to: &OwnedFd, new: &CStr) -> Result<Option<u64>> {
    let what = || format!("copy {name:?}");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
        // A link, a socket or a whiteout.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        other => other.context(what)?,
    };
    let found = rustix::fs::fstat(&source).context(what)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let xattrs = side.xattrs_of(source.as_fd())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, new, flags, Mode::from(0o600)).context(what)?;
    content(&source, &target, &found).context(what)?;
    let attributes = Attributes::new(&found, xattrs);
    let made = rustix::fs::fstat(&target).context(what)?;
    if made.st_nlink != 1 {
        // Whoever has given it another name would keep what it is about to become.
        bail!("somebody has put another file in its place");
    }
    attributes.give_new(&target, &made).context(|| format!("{new:?}"))?;
    Ok(Some(made.st_ino))
}

fn content(source: &OwnedFd, target: &OwnedFd, found: &Stat) -> Result<(), Errno> {
    let size = found.st_size as u64;
    if size >= WORTH_SHARING && rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    // st_blocks counts 512 bytes each. Where all of it is there, there are no holes to look for.
    if found.st_blocks as u64 * 512 >= size && piece(source, target, 0, size)? == size {
        return Ok(());
    }
    pieces(source, target, size)
}

/// Copies what is data and leaves holes as they are.
fn pieces(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Errno> {
    let mut at = 0;
    while at < size {
        let (start, end) = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => (start, rustix::fs::seek(source, SeekFrom::Hole(start))?),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            // A filesystem that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
            Err(errno) => return Err(errno),
        };
        piece(source, target, start, end.min(size))?;
        at = end.max(start + 1);
    }
    rustix::fs::ftruncate(target, size)
}

/// Copies one piece; gives where it ended.
fn piece(source: &OwnedFd, target: &OwnedFd, start: u64, end: u64) -> Result<u64, Errno> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let rest = usize::try_from(end - from).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), rest) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return by_hand(source, target, from, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(from)
}

fn by_hand(source: &OwnedFd, target: &OwnedFd, mut at: u64, end: u64) -> Result<u64, Errno> {
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut buffer[..wanted], at))?;
        if read == 0 {
            break;
        }
        let mut written = 0;
        while written < read {
            let more =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(target, &buffer[written..read], at + written as u64))?;
            written += more;
        }
        at += read as u64;
    }
    Ok(at)
}
