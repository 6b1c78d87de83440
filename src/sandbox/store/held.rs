//! A box that nobody else uses now, and its own files.

use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::record::{RECORD, Record};
use crate::error::{Context, Error, Result};
use crate::sandbox::disk;
use crate::sandbox::layers::{self, UPPER};
use crate::sandbox::name::BoxName;
use crate::sandbox::tree;

/// A box, held: nobody else uses it as long as this lives.
#[derive(Debug)]
pub struct Box {
    pub(super) name: BoxName,
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    /// What is remembered of it.
    pub record: Record,
}

impl Box {
    /// One that is being made: `path` is what it is called until then.
    pub(in crate::sandbox) fn new(name: BoxName, fd: OwnedFd, path: PathBuf, record: Record) -> Self {
        Self { name, fd, path, record }
    }

    /// Its name.
    pub fn name(&self) -> &BoxName {
        &self.name
    }

    /// Its folder.
    pub(in crate::sandbox) fn path(&self) -> &Path {
        &self.path
    }

    /// A command for a person to type who means this box: `myrt sandbox VERB WORDS`.
    pub(in crate::sandbox) fn command(&self, verb: &str, words: impl Display) -> String {
        super::typed(self.path.parent().unwrap_or(&self.path), verb, words)
    }

    /// Where the engine keeps its state while the box runs.
    pub(in crate::sandbox) fn run_folder(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The folder of a layer, by its place in [`Record::layers`].
    pub(in crate::sandbox) fn layer_folder(&self, place: usize) -> PathBuf {
        layers::folder(&self.path, place)
    }

    /// Whether a layer holds no change.
    pub(in crate::sandbox) fn is_unchanged(&self, place: usize) -> bool {
        let entries = std::fs::read_dir(self.layer_folder(place).join(UPPER));
        entries.map_or(true, |mut entries| entries.next().is_none())
    }

    /// Whether the host still has the folder that a layer stands for.
    pub(in crate::sandbox) fn has_host(&self, place: usize) -> bool {
        tree::hold(&self.record.layers[place].path).is_some()
    }

    /// The folder of the host that a layer stands for; where it has gone, an empty one.
    ///
    /// # Errors
    /// Where that cannot be made.
    pub(in crate::sandbox) fn host_folder(&self, place: usize) -> Result<HostFolder> {
        if let Some(folder) = tree::hold(&self.record.layers[place].path) {
            return Ok(HostFolder { folder, gone: false });
        }
        tree::open_root(&self.nothing()?).map(|folder| HostFolder { folder, gone: true })
    }

    /// An empty folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(in crate::sandbox) fn nothing(&self) -> Result<PathBuf> {
        let nothing = self.path.join("nothing");
        std::fs::create_dir_all(&nothing).context(|| format!("make {nothing:?}"))?;
        Ok(nothing)
    }

    /// Replaces what is remembered, by one rename, and does not wait for the disk: it is on the path of every start.
    ///
    /// # Errors
    /// Where it cannot be written in full; the old one stays.
    pub fn save(&self) -> Result<()> {
        let file = self.write_next(RECORD, &self.record)?;
        disk::soon(&file);
        self.put_next(RECORD)
    }

    /// Replaces one of the box's own files, by one rename. After a power cut there is the old one or the new one.
    ///
    /// # Errors
    /// Where it cannot be written in full; the old one stays.
    pub(in crate::sandbox) fn write_file(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let file = self.write_next(name, content)?;
        disk::file(&file).context(|| format!("write {:?}", self.path.join(name)))?;
        self.put_next(name)
    }

    pub(super) fn put_next(&self, name: &str) -> Result<()> {
        let what = || format!("write {:?}", self.path.join(name));
        rustix::fs::renameat(&self.fd, next(name), &self.fd, name).context(what)
    }

    fn write_next(&self, name: &str, content: &impl Serialize) -> Result<OwnedFd> {
        let failed = |error| Error::new(format!("write {:?}: {error}", self.path.join(name)));
        self.write_next_text(name, &serde_json::to_vec(content).map_err(failed)?)
    }

    pub(super) fn write_next_text(&self, name: &str, text: &[u8]) -> Result<OwnedFd> {
        let what = || format!("write {:?}", self.path.join(name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, next(name), flags, Mode::from(0o600)).context(what)?;
        write(&file, text).context(what)?;
        Ok(file)
    }

    /// Reads one of the box's own files; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read or understood.
    pub(in crate::sandbox) fn read_file<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>> {
        read_file(&self.fd, name, &self.path)
    }

    /// Likewise, as it is.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(in crate::sandbox) fn read_text(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read_text(&self.fd, name, &self.path)
    }
}

/// A folder of the host, held: whatever somebody puts in its place, this is the one that was looked for.
pub(in crate::sandbox) struct HostFolder {
    folder: OwnedFd,
    /// Whether it only stands for what has gone.
    pub(in crate::sandbox) gone: bool,
}

impl HostFolder {
    /// Opens it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(in crate::sandbox) fn open(&self) -> Result<tree::Root> {
        tree::Root::of(&self.folder)
    }

    /// A view of it as that of [`tree::still`].
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(in crate::sandbox) fn still(&self) -> Result<tree::Root> {
        tree::still(&PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd())))
    }
}

impl AsFd for Box {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn next(name: &str) -> String {
    format!("{name}.next")
}

/// Writes all of it.
pub(super) fn write(file: &OwnedFd, mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        text = &text[rustix::io::write(file, text)?..];
    }
    Ok(())
}

pub(super) fn read_file<T: for<'a> Deserialize<'a>>(folder: &OwnedFd, name: &str, path: &Path) -> Result<Option<T>> {
    let Some(text) = read_text(folder, name, path)? else { return Ok(None) };
    let what = |error| Error::new(format!("read {:?}: {error}", path.join(name)));
    serde_json::from_slice(&text).map(Some).map_err(what)
}

pub(super) fn read_text(folder: &OwnedFd, name: &str, path: &Path) -> Result<Option<Vec<u8>>> {
    let what = || format!("read {:?}", path.join(name));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.context(what)?,
    };
    // Room for one byte more than there is, so that a read which does not fill it has found the end.
    let size = rustix::fs::fstat(&file).context(what)?.st_size as usize + 1;
    let mut text = Vec::with_capacity(size);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)).context(what)? > 0 {
        if text.len() < text.capacity() {
            break;
        }
        text.reserve(size);
    }
    Ok(Some(text))
}
