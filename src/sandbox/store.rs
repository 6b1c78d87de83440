//! Where boxes are kept: a folder of the caller's own, one folder in it for each box.
//!
//! A box's folder holds `box.json` (its [`Record`]), `layers/N/upper` and `layers/N/work`, and, while it runs, `run` with
//! the engine's state. Whoever uses a box holds a lock on its folder. A box is removed by one rename to a name that no box
//! can have; what an interrupted removal leaves under such a name, the next one takes away.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::changes::xattrs::Notes;
use super::layers::UPPER;
use super::name::BoxName;
use super::report::Report;
use super::{disk, layers, remove, rights, run, snapshots, text};
use crate::bail;
use crate::error::{Context, Error, Result};

/// The file with a box's [`Record`].
pub(super) const RECORD: &str = "box.json";
/// The folder with its layers.
pub(super) const LAYERS: &str = "layers";
/// The version of that file.
const VERSION: u32 = 1;
/// How the folder of a box that is being removed begins; no box is called so.
const TRASH: &str = ".trash-";
/// Likewise, of one that is not whole yet; locked as long as somebody works on it.
pub(super) const PARTIAL: &str = ".new-";

/// What is remembered of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether nobody gave it its name.
    pub unnamed: bool,
    /// One for each filesystem that it ever saw writable.
    pub(super) layers: Vec<Layer>,
    /// Where overlayfs keeps its notes in them.
    #[serde(default)]
    pub(super) notes: Notes,
    /// When the run began whose changes have not been noted yet ([`super::base`]).
    #[serde(default)]
    pub(super) unsettled: Option<(i64, u32)>,
    /// Its runs, the last one last.
    pub runs: Vec<Run>,
}

/// The changes of one filesystem.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Layer {
    /// Where it is mounted on the host.
    #[serde(with = "text::as_text")]
    pub(super) path: PathBuf,
    /// The part of the filesystem that is mounted there.
    #[serde(with = "text::as_text")]
    pub(super) root: PathBuf,
    /// The filesystem's type.
    pub(super) kind: String,
}

/// One run of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments.
    pub command: Vec<String>,
    /// RFC 3339.
    pub started: String,
    /// Absent while it runs, and for one that was killed.
    pub ended: Option<String>,
    /// The program's exit code, likewise.
    pub exit_code: Option<u8>,
    /// What was told at its end, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// The place of all boxes.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

/// A box, held: nobody else uses it as long as this lives.
#[derive(Debug)]
pub struct Box {
    name: BoxName,
    fd: OwnedFd,
    path: PathBuf,
    /// What is remembered of it.
    pub record: Record,
}

/// A box as `list` shows it.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: BoxName,
    /// Whether somebody uses it now.
    pub busy: bool,
    /// What is remembered of it, or why that cannot be read.
    pub record: Result<Record>,
}

impl Store {
    /// Uses `path`, or the caller's own place: /var/lib/myrt/sandbox for root, $XDG_DATA_HOME/myrt/sandbox or
    /// ~/.local/share/myrt/sandbox for everybody else. Touches nothing.
    ///
    /// # Errors
    /// Where an ordinary user has no home.
    pub fn open(path: Option<PathBuf>) -> Result<Self> {
        let path = match path {
            Some(path) => std::path::absolute(&path).context(|| format!("--store {path:?}"))?,
            None => default_place()?,
        };
        Ok(Self { path })
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, without links: as it is seen from inside a box as well.
    ///
    /// # Errors
    /// Where it cannot be looked up.
    pub fn real_path(&self) -> Result<PathBuf> {
        self.path.canonicalize().context(|| format!("look up {:?}", self.path))
    }

    /// Finds a box and holds it, or makes it. `None`: a new one with a name of ours.
    ///
    /// # Errors
    /// Where it is in use, or cannot be made or read.
    pub fn hold_or_make(&self, name: Option<BoxName>) -> Result<Box> {
        rights::enter()?;
        self.make_place()?;
        let unnamed = name.is_none();
        loop {
            let name = name.clone().map_or_else(BoxName::made_up, Ok)?;
            let path = self.path.join(name.as_str());
            let made = match rustix::fs::mkdirat(CWD, &path, Mode::from(0o700)) {
                Ok(()) => true,
                Err(Errno::EXIST) if unnamed => continue,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno).context(|| format!("make {path:?}")),
            };
            let fd = match open_own(&path) {
                Err(error) if error.errno() == Some(Errno::NOENT) => continue,
                other => other?,
            };
            lock(&fd, &name)?;
            // Whoever held it before has removed it.
            if !is_at(&fd, &path) {
                continue;
            }
            let record = match read_record(&fd, &path)? {
                Some(record) => record,
                // Somebody was killed right after the mkdir.
                None => Record::new(unnamed),
            };
            let mut held = Box { name, fd, path, record };
            if made {
                held.save()?;
            }
            snapshots::finish(&mut held)?;
            return Ok(held);
        }
    }

    /// Finds a box and holds it.
    ///
    /// # Errors
    /// Where there is none, or it is in use.
    pub fn hold(&self, name: &BoxName) -> Result<Box> {
        rights::enter()?;
        let path = self.path.join(name.as_str());
        let missing = || {
            Error::new(format!("there is no box {name}"))
                .hint(format!("`myrt sandbox list` shows those below {}", self.path.display()))
        };
        let fd = open_own(&path).map_err(|error| match error.errno() {
            Some(Errno::NOENT) => missing(),
            _ => error,
        })?;
        lock(&fd, name)?;
        if !is_at(&fd, &path) {
            return Err(missing());
        }
        let record = read_record(&fd, &path)?.unwrap_or_else(|| Record::new(false));
        let mut held = Box { name: name.clone(), fd, path, record };
        snapshots::finish(&mut held)?;
        Ok(held)
    }

    /// All boxes, by name.
    ///
    /// # Errors
    /// Where the folder cannot be read. A box that cannot be read is listed with the reason.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let names = self.names()?.into_iter().filter_map(|name| BoxName::new(name.to_str()?).ok());
        let mut boxes: Vec<Listed> = names.map(|name| self.look(name)).collect();
        boxes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(boxes)
    }

    fn look(&self, name: BoxName) -> Listed {
        let path = self.path.join(name.as_str());
        let mut busy = false;
        let record = open_own(&path).and_then(|fd| {
            busy = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
            read_record(&fd, &path)?.ok_or_else(|| Error::new(format!("{path:?} holds no {RECORD}")))
        });
        Listed { name, busy, record }
    }

    fn names(&self) -> Result<Vec<OsString>> {
        match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => Ok(other
                .context(|| format!("read {:?}", self.path))?
                .flatten()
                .map(|entry| entry.file_name())
                .collect()),
        }
    }

    /// Removes a box and all that it changed.
    ///
    /// # Errors
    /// Where something cannot be removed; the box is gone from the list then, and the next removal tries again.
    pub fn remove(&self, held: Box) -> Result<()> {
        run::take_down(&held)?;
        let unused = format!("{TRASH}{}-{}", held.name, BoxName::made_up()?);
        let trash = self.path.join(unused);
        rustix::fs::rename(&held.path, &trash).context(|| format!("rename {:?} to {trash:?}", held.path))?;
        drop(held);
        self.empty_trash()
    }

    /// Removes what was killed while it was made or removed.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(super) fn empty_trash(&self) -> Result<()> {
        self.remains()?.iter().try_for_each(|path| remove::tree(path))
    }

    /// What was killed while it was made or removed.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(super) fn remains(&self) -> Result<Vec<PathBuf>> {
        let starts = |name: &OsString, start: &str| name.as_encoded_bytes().starts_with(start.as_bytes());
        let is_free = |path: &Path| {
            open_own(path).is_ok_and(|fd| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok())
        };
        let is_remains =
            |name: &OsString| starts(name, TRASH) || starts(name, PARTIAL) && is_free(&self.path.join(name));
        Ok(self.names()?.into_iter().filter(is_remains).map(|name| self.path.join(name)).collect())
    }

    /// Makes the place with its parents. Nobody else may look inside: layers hold setuid programs of root.
    fn make_place(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let path = &self.path;
        if let Some(parents) = path.parent() {
            std::fs::create_dir_all(parents).context(|| format!("make {parents:?}"))?;
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context(|| format!("make {path:?}"))?;
        let found = rustix::fs::stat(path).context(|| format!("stat {path:?}"))?;
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & 0o077 != 0 {
            return Err(Error::new(format!("{path:?} is not yours alone: others may look inside"))
                .hint("boxes hold whatever their programs wrote, setuid programs too: chmod 700, or another --store"));
        }
        Ok(())
    }
}

impl Record {
    /// The layer in which a path lies.
    pub(super) fn layer_of(&self, path: &Path) -> Option<usize> {
        let around = self.layers.iter().enumerate().filter(|(_, layer)| path.starts_with(&layer.path));
        around.max_by_key(|(_, layer)| layer.path.as_os_str().len()).map(|(place, _)| place)
    }

    /// Of a box that nothing was done with.
    pub(super) fn new(unnamed: bool) -> Self {
        Self {
            version: VERSION,
            created: crate::time::now_seconds(),
            unnamed,
            layers: Vec::new(),
            notes: if rights::are_of_the_host() { Notes::Trusted } else { Notes::User },
            unsettled: None,
            runs: Vec::new(),
        }
    }
}

impl Box {
    /// One that is being made: `path` is what it is called until then.
    pub(super) fn new(name: BoxName, fd: OwnedFd, path: PathBuf, record: Record) -> Self {
        Self { name, fd, path, record }
    }

    /// Its name.
    pub fn name(&self) -> &BoxName {
        &self.name
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its state while the box runs.
    pub(super) fn run_folder(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The folder of a layer, by its place in [`Record::layers`].
    pub(super) fn layer_folder(&self, place: usize) -> PathBuf {
        layers::folder(&self.path, place)
    }

    /// Whether a layer holds no change.
    pub(super) fn is_unchanged(&self, place: usize) -> bool {
        let entries = std::fs::read_dir(self.layer_folder(place).join(UPPER));
        entries.map_or(true, |mut entries| entries.next().is_none())
    }

    /// Whether the host still has the folder that a layer stands for.
    pub(super) fn has_host(&self, place: usize) -> bool {
        let path = &self.record.layers[place].path;
        // A link that somebody has put there leads to another one.
        path.is_dir() && path.canonicalize().is_ok_and(|real| real == *path)
    }

    /// The folder of the host that a layer stands for; where it has gone, an empty one.
    ///
    /// # Errors
    /// Where that cannot be made.
    pub(super) fn host_folder(&self, place: usize) -> Result<PathBuf> {
        if self.has_host(place) {
            return Ok(self.record.layers[place].path.clone());
        }
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
    pub(super) fn write_file(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let file = self.write_next(name, content)?;
        disk::file(&file).context(|| format!("write {:?}", self.path.join(name)))?;
        self.put_next(name)
    }

    fn put_next(&self, name: &str) -> Result<()> {
        let what = || format!("write {:?}", self.path.join(name));
        rustix::fs::renameat(&self.fd, next(name), &self.fd, name).context(what)
    }

    fn write_next(&self, name: &str, content: &impl Serialize) -> Result<OwnedFd> {
        let what = || format!("write {:?}", self.path.join(name));
        let content = serde_json::to_vec(content).map_err(|error| Error::new(format!("{}: {error}", what())))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, next(name), flags, Mode::from(0o600)).context(what)?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).context(what)?;
            rest = &rest[written..];
        }
        Ok(file)
    }

    /// Reads one of the box's own files; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read or understood.
    pub(super) fn read_file<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>> {
        read_file(&self.fd, name, &self.path)
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

fn lock(fd: &OwnedFd, name: &BoxName) -> Result<()> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Error::new(format!("the box {name} is in use"))
            .hint("wait until its program has ended; one box is used by one command at a time")),
        other => other.context(|| format!("lock the box {name}")),
    }
}

/// Whether a path still leads to an open folder.
pub(super) fn is_at(fd: &OwnedFd, path: &Path) -> bool {
    let found = rustix::fs::fstat(fd).and_then(|own| Ok((own, rustix::fs::lstat(path)?)));
    found.is_ok_and(|(own, there)| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
}

/// Opens a box's folder, which must be the caller's own.
pub(super) fn open_own(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
    let owner = rustix::fs::fstat(&fd).context(|| format!("stat {path:?}"))?.st_uid;
    if owner != rustix::process::geteuid().as_raw() {
        bail!("{path:?} belongs to another user ({owner})");
    }
    Ok(fd)
}

fn read_record(fd: &OwnedFd, path: &Path) -> Result<Option<Record>> {
    let record: Option<Record> = read_file(fd, RECORD, path)?;
    if let Some(version) = record.as_ref().map(|record| record.version).filter(|version| *version != VERSION) {
        bail!("{path:?} was written by another version of myrt ({version} instead of {VERSION})");
    }
    Ok(record)
}

fn read_file<T: for<'a> Deserialize<'a>>(folder: &OwnedFd, name: &str, path: &Path) -> Result<Option<T>> {
    let what = || format!("read {:?}", path.join(name));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.context(what)?,
    };
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut content).context(what)?;
    serde_json::from_slice(&content).map(Some).map_err(|error| Error::new(format!("{}: {error}", what())))
}

fn default_place() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/myrt/sandbox".into());
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    data.map(|data| data.join("myrt/sandbox")).ok_or_else(|| {
        Error::new("no place for boxes: neither XDG_DATA_HOME nor HOME is set").hint("set HOME, or give --store DIR")
    })
}
