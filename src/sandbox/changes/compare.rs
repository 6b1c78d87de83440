//! Two files of one name: what differs.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::xattrs::{self, Inherited, Notes, Xattrs};
use super::{Aspect, Change, Detail, FileKind, Kind, Meta};
use crate::bail;
use crate::error::{Context, Result};
use crate::sandbox::tree;

/// How much of two files is compared at once.
const CHUNK: usize = 64 << 10;

/// A file in an open folder.
pub(super) struct File<'a> {
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) stat: Stat,
    /// Of a layer's, where the notes of overlayfs are, which are none of its attributes.
    notes: Option<Notes>,
}

impl<'a> File<'a> {
    /// Of a layer; `None` where there is none.
    pub(super) fn find_in_layer(notes: Notes, folder: BorrowedFd<'a>, name: &'a CStr) -> Result<Option<Self>> {
        Self::find(folder, name, Some(notes))
    }

    /// Of the host.
    pub(super) fn find_on_host(folder: BorrowedFd<'a>, name: &'a CStr) -> Result<Option<Self>> {
        Self::find(folder, name, None)
    }

    fn find(folder: BorrowedFd<'a>, name: &'a CStr, notes: Option<Notes>) -> Result<Option<Self>> {
        let stat = tree::find(folder, name).context(|| format!("stat {name:?}"))?;
        Ok(stat.map(|stat| Self { folder, name, stat, notes }))
    }

    /// Of a layer, which is there.
    pub(super) fn of_layer(notes: Notes, folder: BorrowedFd<'a>, name: &'a CStr) -> Result<Self> {
        Self::find_in_layer(notes, folder, name)?.ok_or(Errno::NOENT).context(|| format!("stat {name:?}"))
    }

    /// Of the host, which is there.
    pub(super) fn of_host(folder: BorrowedFd<'a>, name: &'a CStr) -> Result<Self> {
        Self::find_on_host(folder, name)?.ok_or(Errno::NOENT).context(|| format!("stat {name:?}"))
    }

    /// Whether it says that the host's is gone. No program inside can make either form.
    pub(super) fn is_whiteout(&self) -> Result<bool> {
        Ok(match (FileType::from_raw_mode(self.stat.st_mode), self.notes) {
            (FileType::CharacterDevice, _) => self.stat.st_rdev == 0,
            (FileType::RegularFile, Some(notes)) if self.stat.st_size == 0 => {
                xattrs::is_whiteout(notes, self.folder, self.name)?
            }
            _ => false,
        })
    }

    pub(super) fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    pub(super) fn kind(&self) -> Result<FileKind> {
        Ok(match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Folder,
            FileType::Symlink => FileKind::Link,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            other => bail!("a file of no known kind: {other:?}"),
        })
    }

    pub(super) fn meta(&self) -> Result<Meta> {
        let kind = self.kind()?;
        let number = self.stat.st_rdev;
        let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        Ok(Meta {
            kind,
            mode: self.stat.st_mode & 0o7777,
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            size: if kind == FileKind::Folder { 0 } else { self.stat.st_size as u64 },
            modified: self.modified(),
            target: if kind == FileKind::Link { Some(self.target()?) } else { None },
            device: device.then(|| (rustix::fs::major(number), rustix::fs::minor(number))),
        })
    }

    fn modified(&self) -> (i64, u32) {
        (self.stat.st_mtime, self.stat.st_mtime_nsec as u32)
    }

    pub(super) fn target(&self) -> Result<PathBuf> {
        let target = rustix::fs::readlinkat(self.folder, self.name, Vec::new());
        let target = target.context(|| format!("read the link {:?}", self.name))?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    fn xattrs(&self) -> Result<Xattrs> {
        match self.notes {
            Some(notes) => xattrs::of_layer(notes, self.folder, self.name),
            None => xattrs::of_host(self.folder, self.name),
        }
    }

    /// What is noted of a layer's folder.
    pub(super) fn inherited(&self) -> Result<Option<Inherited>> {
        let read = |notes| Inherited::read(notes, self.folder, self.name);
        self.notes.map(read).transpose().map(Option::flatten)
    }

    /// Opens a regular file for reading.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        // What is no regular file any more must not make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(self.folder, self.name, flags, Mode::empty()).context(|| format!("open {:?}", self.name))
    }
}

impl Change {
    pub(in crate::sandbox) fn new(path: PathBuf, kind: Kind, before: Option<Meta>, after: Option<Meta>) -> Self {
        Self {
            path,
            layer: 0,
            kind,
            aspects: Vec::new(),
            xattrs: Vec::new(),
            from: None,
            before,
            after,
            several_names: false,
        }
    }
}

/// What differs of two files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) aspects: Vec<Aspect>,
    /// Names of the attributes that differ.
    pub(super) xattrs: Vec<CString>,
}

/// A file that is the box's alone, or stands where the host has one of another kind.
pub(super) fn added(path: PathBuf, host: Option<&File<'_>>, own: &File<'_>, detail: Detail) -> Result<Change> {
    let kind = if host.is_some() { Kind::TypeChanged } else { Kind::Added };
    let change = Change::new(path, kind, host.map(File::meta).transpose()?, Some(own.meta()?));
    let xattrs = if detail == Detail::All { own.xattrs()? } else { Vec::new() };
    Ok(Change {
        xattrs: xattrs.into_iter().map(|(name, _)| name).collect(),
        several_names: own.stat.st_nlink > 1,
        ..change
    })
}

/// Compares two that are of one kind and no folders.
pub(super) fn files(path: PathBuf, host: &File<'_>, own: &File<'_>, detail: Detail) -> Result<Option<Change>> {
    let found = match detail {
        Detail::Enough | Detail::Tops if contents_differ(host, own)? => {
            Difference { aspects: vec![Aspect::Content], ..Difference::default() }
        }
        _ => difference(host, own)?,
    };
    modified(path, host, own, found)
}

/// What differs of two that are of one kind and no folders.
pub(super) fn difference(host: &File<'_>, own: &File<'_>) -> Result<Difference> {
    let mut found = Difference::default();
    if contents_differ(host, own)? {
        found.aspects.push(Aspect::Content);
    }
    shared(host, own, &mut found)?;
    if host.modified() != own.modified() {
        found.aspects.push(Aspect::Times);
    }
    Ok(found)
}

/// Compares two folders; `quiet`: nothing in them says already that they were modified. A time of the host that is later
/// is the host's own doing: its folders go on being used. So is another mode or owner, where the layer's folder has what
/// it got.
pub(super) fn folders(path: PathBuf, host: &File<'_>, own: &File<'_>, quiet: bool) -> Result<Option<Change>> {
    let mut found = Difference::default();
    shared(host, own, &mut found)?;
    if found.aspects.iter().any(|aspect| matches!(aspect, Aspect::Mode | Aspect::Owner)) {
        let (got, has) = (own.inherited()?, Inherited::of(&own.stat));
        found.aspects.retain(|aspect| match aspect {
            Aspect::Mode => got.is_none_or(|got| got.mode != has.mode),
            Aspect::Owner => got.is_none_or(|got| got.owner != has.owner),
            _ => true,
        });
    }
    if quiet && host.modified() < own.modified() {
        found.aspects.push(Aspect::Times);
    }
    modified(path, host, own, found)
}

fn modified(path: PathBuf, host: &File<'_>, own: &File<'_>, found: Difference) -> Result<Option<Change>> {
    if found.aspects.is_empty() {
        return Ok(None);
    }
    let change = Change::new(path, Kind::Modified, Some(host.meta()?), Some(own.meta()?));
    Ok(Some(Change { aspects: found.aspects, xattrs: found.xattrs, several_names: own.stat.st_nlink > 1, ..change }))
}

/// What is compared of files of every kind.
pub(super) fn shared(host: &File<'_>, own: &File<'_>, found: &mut Difference) -> Result<()> {
    if (host.stat.st_mode ^ own.stat.st_mode) & 0o7777 != 0 {
        found.aspects.push(Aspect::Mode);
    }
    if (host.stat.st_uid, host.stat.st_gid) != (own.stat.st_uid, own.stat.st_gid) {
        found.aspects.push(Aspect::Owner);
    }
    let (before, after) = (host.xattrs()?, own.xattrs()?);
    if before != after {
        found.aspects.push(Aspect::Xattr);
        let lone = |these: &Xattrs, those: &Xattrs| -> Vec<CString> {
            these.iter().filter(|one| !those.contains(one)).map(|(name, _)| name.clone()).collect()
        };
        found.xattrs = [lone(&before, &after), lone(&after, &before)].concat();
        found.xattrs.sort_unstable();
        found.xattrs.dedup();
    }
    Ok(())
}

fn contents_differ(host: &File<'_>, own: &File<'_>) -> Result<bool> {
    Ok(match own.kind()? {
        FileKind::File => host.stat.st_size != own.stat.st_size || bytes_differ(host, own)?,
        FileKind::Link => host.target()? != own.target()?,
        FileKind::CharDevice | FileKind::BlockDevice => host.stat.st_rdev != own.stat.st_rdev,
        FileKind::Folder | FileKind::Fifo | FileKind::Socket => false,
    })
}

/// Compares what two files of one size hold; a hole is as good as zeros, and where both have one, nothing is read.
fn bytes_differ(one: &File<'_>, other: &File<'_>) -> Result<bool> {
    let has_holes = |stat: &Stat| (stat.st_blocks as u64) * 512 < stat.st_size as u64;
    let sparse = has_holes(&one.stat) && has_holes(&other.stat);
    let size = one.stat.st_size as u64;
    let (one, other) = (one.open()?, other.open()?);
    let length = |at: u64| usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
    let mut chunks = (vec![0; length(0)], vec![0; length(0)]);
    let mut at = 0;
    while at < size {
        if sparse {
            at = data_from(&one, at, size)?.min(data_from(&other, at, size)?);
        }
        let length = length(at);
        let sizes = (fill(&one, &mut chunks.0[..length], at)?, fill(&other, &mut chunks.1[..length], at)?);
        if chunks.0[..sizes.0] != chunks.1[..sizes.1] {
            return Ok(true);
        }
        at += CHUNK as u64;
    }
    Ok(false)
}

/// Where a file has data next.
fn data_from(file: &OwnedFd, at: u64, size: u64) -> Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(found) => Ok(found),
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => Ok(size),
        // A filesystem that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(at),
        Err(errno) => Err(errno).context(|| "look for data"),
    }
}

/// Reads from a place on until the buffer is full or the file ends.
fn fill(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(file, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "read"),
        }
    }
    Ok(filled)
}
