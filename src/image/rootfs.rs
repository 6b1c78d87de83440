//! `dir:` with a plain root filesystem in it: read as an image of one layer, whose archive is written while it is read. So
//! it goes through the same checks and the same calls as any other layer.
//!
//! Stays on the filesystem that the folder is on: what is mounted in it is an empty folder of the image. Each folder is opened
//! anew beneath the root, no part of its path may be a link.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::document::{Image, Layer};
use super::files::{Files, Opened};
use super::name::{MARK, join};
use super::platform::Platform;
use super::remove;
use super::spec::{Config, Execution};
use super::tar::{self, Entry, Kind, Piece};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::log;

/// What its only layer is called.
const LAYER: &str = "rootfs";

/// A folder that is a root filesystem.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder.
    ///
    /// # Errors
    /// Where it is empty, or an image of another form.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
        if remove::list(fd.as_fd()).context(|| format!("read {path:?}"))?.is_empty() {
            bail!("{path:?}: there is nothing in it");
        }
        let has = |name: &str| rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if has("oci-layout") && has("index.json") {
            return Err(Error::new(format!("{path:?}: an OCI layout and no root filesystem"))
                .hint(format!("oci:{} names it", path.display())));
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The image that it stands for: all of it as one layer, and a shell to run.
    pub fn image(&self) -> Image {
        let Platform { os, architecture, variant } = Platform::host();
        let execution = Execution { cmd: vec!["/bin/sh".to_owned()], ..Execution::default() };
        let config = Config { os, architecture, variant, config: execution, ..Config::default() };
        let layer = Layer { name: LAYER.to_owned(), digest: None, size: None, diff_id: None };
        Image { manifest: None, config, layers: vec![layer] }
    }
}

/// Whether `folder` is this root or lies below it: what is copied must not grow by being copied.
///
/// # Errors
/// Where one of both cannot be looked at.
pub fn holds(root: &Path, folder: &Path) -> Result<bool> {
    let identity = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).context(|| "stat a folder")?;
        Ok((stat.st_dev, stat.st_ino))
    };
    let open = |from: &OwnedFd| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(from, "..", flags, Mode::empty()).context(|| "open the folder above")
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at = |path: &Path| rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open {path:?}"));
    let root = identity(&at(root)?)?;
    let mut here = at(folder)?;
    loop {
        let known = identity(&here)?;
        if known == root {
            return Ok(true);
        }
        here = open(&here)?;
        if identity(&here)? == known {
            return Ok(false);
        }
    }
}

impl Files for Folder {
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>> {
        // Its size is known when all of it has been read.
        Ok((name == LAYER).then(|| (0, Box::new(Walk::new(self)) as Box<dyn Read + Send + '_>)))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// The archive of the folder, in the order of names: the same folder gives the same archive.
struct Walk<'a> {
    root: &'a Folder,
    /// Folders on the way down, and what is left in each, the last name first.
    levels: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// The folder that the last level is about.
    here: Option<OwnedFd>,
    /// Bytes of headers that are written next.
    header: Vec<u8>,
    written: usize,
    /// The file whose content is next, what of it, and how much of that has been read.
    content: Option<Content>,
    /// Where files with several names were seen first.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Whether the root itself was written.
    begun: bool,
    sockets: u64,
    mounts: u64,
}

struct Content {
    file: File,
    path: Vec<u8>,
    pieces: Vec<Piece>,
    padding: u64,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Folder) -> Self {
        Self {
            root,
            levels: Vec::new(),
            here: None,
            header: Vec::new(),
            written: 0,
            content: None,
            links: HashMap::new(),
            begun: false,
            sockets: 0,
            mounts: 0,
        }
    }

    /// Prepares the next entry; says whether there is one.
    fn advance(&mut self) -> Result<bool> {
        if !self.begun {
            self.begun = true;
            let root = rustix::io::fcntl_dupfd_cloexec(&self.root.fd, 0).context(|| "duplicate a descriptor")?;
            let entry = described(&root, b".".to_vec(), Kind::Folder)?;
            self.put(&entry);
            return self.enter(Vec::new(), root).map(|()| true);
        }
        loop {
            let Some((folder, names)) = self.levels.last_mut() else {
                self.tell();
                return Ok(false);
            };
            let Some(name) = names.pop() else {
                self.levels.pop();
                self.here = None;
                continue;
            };
            let folder = folder.clone();
            let path = join(&folder, &name);
            if self.one(&folder, &name).context(|| format!("{:?}", String::from_utf8_lossy(&path)))? {
                return Ok(true);
            }
        }
    }

    /// Writes the header of a name; says whether there is an entry for it.
    fn one(&mut self, folder: &[u8], name: &[u8]) -> Result<bool> {
        if name.starts_with(MARK) {
            return Err(Error::new("in a layer such a name hides another one").hint("rename it: .wh. is no beginning"));
        }
        let path = join(folder, name);
        let here = match self.here.take() {
            Some(here) => here,
            None => remove::open(self.root.fd.as_fd(), folder).context(|| "open the folder")?,
        };
        let made = self.entry(&here, name, &path);
        // Unless it has gone down.
        self.here.get_or_insert(here);
        made
    }

    fn entry(&mut self, here: &OwnedFd, name: &[u8], path: &[u8]) -> Result<bool> {
        let stat = rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")?;
        let open = |flags: OFlags| {
            rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).context(|| "open")
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let first = (kind != FileType::Directory && stat.st_nlink > 1)
            .then(|| self.links.insert((stat.st_dev, stat.st_ino), path.to_vec()))
            .flatten();
        if let Some(first) = first {
            let link = Entry {
                kind: Kind::Link(first.clone()),
                ..described(&open(OFlags::PATH)?, path.to_vec(), Kind::Fifo)?
            };
            self.links.insert((stat.st_dev, stat.st_ino), first);
            self.put(&Entry { xattrs: Vec::new(), ..link });
            return Ok(true);
        }
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match kind {
            FileType::Directory => return self.folder(here, name, path).map(|()| true),
            FileType::RegularFile => return self.file(open(OFlags::RDONLY | OFlags::NONBLOCK)?, path).map(|()| true),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(here, name, Vec::new()).context(|| "readlink")?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::CharacterDevice => Kind::Char(device.0, device.1),
            FileType::BlockDevice => Kind::Block(device.0, device.1),
            FileType::Fifo => Kind::Fifo,
            _ => {
                self.sockets += 1;
                return Ok(false);
            }
        };
        self.put(&described(&open(OFlags::PATH)?, path.to_vec(), kind)?);
        Ok(true)
    }

    fn folder(&mut self, here: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        match remove::open(here.as_fd(), name) {
            Ok(fd) => {
                let entry = described(&fd, path.to_vec(), Kind::Folder)?;
                self.put(&entry);
                self.enter(path.to_vec(), fd)
            }
            Err(Errno::XDEV) => {
                self.mounts += 1;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(here, name, flags, Mode::empty()).context(|| "open")?;
                let entry = Entry { xattrs: Vec::new(), ..described(&fd, path.to_vec(), Kind::Folder)? };
                self.put(&entry);
                Ok(())
            }
            Err(errno) => Err(errno).context(|| "open"),
        }
    }

    fn file(&mut self, fd: OwnedFd, path: &[u8]) -> Result<()> {
        let stat = rustix::fs::fstat(&fd).context(|| "stat")?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            bail!("it was exchanged while it was read");
        }
        let size = stat.st_size as u64;
        let sparse = if (stat.st_blocks as u64) * 512 < size { Some(pieces(&fd, size)?) } else { None };
        let entry = Entry { size, pieces: sparse, ..described(&fd, path.to_vec(), Kind::File)? };
        self.put(&entry);
        let pieces = entry.pieces.unwrap_or_else(|| vec![Piece { offset: 0, length: size }]);
        let data = pieces.iter().map(|piece| piece.length).sum();
        let mut pieces: Vec<Piece> = pieces.into_iter().filter(|piece| piece.length > 0).collect();
        pieces.reverse();
        self.content = Some(Content { file: fd.into(), path: entry.path, pieces, padding: tar::padding(data) });
        Ok(())
    }

    fn put(&mut self, entry: &Entry) {
        self.header = tar::header(entry).0;
        self.written = 0;
    }

    /// Goes on with what is in a folder.
    fn enter(&mut self, path: Vec<u8>, folder: OwnedFd) -> Result<()> {
        let mut names: Vec<Vec<u8>> =
            remove::list(folder.as_fd()).context(|| "read the folder")?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        self.levels.push((path, names));
        self.here = Some(folder);
        Ok(())
    }

    /// Says at the end what there is no entry for.
    fn tell(&mut self) {
        let place = self.root.place();
        for (count, what) in [
            (std::mem::take(&mut self.sockets), "sockets were left out: they mean nothing without who listens"),
            (std::mem::take(&mut self.mounts), "folders are empty in the bundle: something is mounted there"),
        ] {
            if count > 0 {
                log::warn(format!("{place}: {count} {what}"));
            }
        }
    }
}

impl Read for Walk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.written < self.header.len() {
                let count = buffer.len().min(self.header.len() - self.written);
                buffer[..count].copy_from_slice(&self.header[self.written..self.written + count]);
                self.written += count;
                return Ok(count);
            }
            if let Some(content) = &mut self.content {
                if let Some(count) = content.read(buffer)? {
                    return Ok(count);
                }
                self.content = None;
            }
            if !self.advance().map_err(|error| io::Error::other(format!("{}: {error}", self.root.place())))? {
                return Ok(0);
            }
        }
    }
}

impl Content {
    /// What comes next of the data; nothing when all of it was read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(piece) = self.pieces.last_mut() else {
            let count = buffer.len().min(self.padding as usize);
            buffer[..count].fill(0);
            self.padding -= count as u64;
            return Ok((count > 0).then_some(count));
        };
        let length = usize::try_from(piece.length).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..length], piece.offset)?;
        if count == 0 && length > 0 {
            let path = String::from_utf8_lossy(&self.path);
            return Err(io::Error::other(format!("{path:?} became shorter while it was read")));
        }
        piece.offset += count as u64;
        piece.length -= count as u64;
        if piece.length == 0 {
            self.pieces.pop();
        }
        Ok(Some(count))
    }
}

/// All that an entry says of a file but for its size.
fn described(fd: &OwnedFd, path: Vec<u8>, kind: Kind) -> Result<Entry> {
    let stat = rustix::fs::fstat(fd).context(|| "stat")?;
    Ok(Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        size: 0,
        xattrs: xattrs(fd)?,
        pieces: None,
    })
}

/// The extended attributes, sorted. The descriptor's own link in procfs leads to files that cannot be opened as well.
fn xattrs(fd: &OwnedFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    use std::os::unix::ffi::OsStrExt;
    let file = Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string());
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::listxattr(&file, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOENT | Errno::LOOP) => 0,
        Err(errno) => return Err(errno).context(|| "list attributes"),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        match rustix::fs::getxattr(&file, std::ffi::OsStr::from_bytes(name), value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => {
                return Err(errno).context(|| format!("read the attribute {:?}", String::from_utf8_lossy(name)));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a file's data lies.
fn pieces(fd: &OwnedFd, size: u64) -> Result<Vec<Piece>> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    let what = || "look for holes";
    while at < size {
        let offset = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(offset) => offset,
            // A hole up to the end.
            Err(Errno::NXIO) => break,
            // The filesystem does not say.
            Err(Errno::INVAL) => return Ok(vec![Piece { offset: 0, length: size }]),
            Err(errno) => return Err(errno).context(what),
        };
        let end = rustix::fs::seek(fd, SeekFrom::Hole(offset)).context(what)?.min(size);
        if end > offset {
            pieces.push(Piece { offset, length: end - offset });
        }
        at = end.max(at + 1);
    }
    Ok(pieces)
}
