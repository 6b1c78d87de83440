//! Where boxes are kept: a folder of the caller's own, one folder in it for each box.
//!
//! A box's folder holds `box.json` (its [`Record`]), `runs` (its [`Runs`]), `layers/N/upper` and `layers/N/work`, and, while it runs, `run` with
//! the engine's state. Whoever uses a box holds a lock on its folder. A box is removed by one rename to a name that no box
//! can have; what an interrupted removal leaves under such a name, the next one takes away.

mod held;
mod record;
mod runs;

use std::ffi::OsString;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

pub use held::Box;
pub(super) use held::HostFolder;
pub use record::Record;
pub(super) use record::{Layer, RECORD};
pub use runs::{Run, Runs};

use self::record::read_record;
use super::name::BoxName;
use super::{commit, remove, rights, run, snapshots, text};
use crate::bail;
use crate::error::{Context, Error, Result};

/// The folder with its layers.
pub(super) const LAYERS: &str = "layers";
/// How the folder of a box that is being removed begins; no box is called so.
const TRASH: &str = ".trash-";
/// Likewise, of one that is not whole yet; locked as long as somebody works on it.
pub(super) const PARTIAL: &str = ".new-";

/// The place of all boxes.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

/// What became of an attempt to hold a box.
enum Tried {
    Held(Box),
    InUse,
    Missing,
}

/// A box as `list` shows it.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: BoxName,
    /// Whether somebody uses it now.
    pub busy: bool,
    /// Whether a commit of it was interrupted.
    pub interrupted: bool,
    /// What is remembered of it and of its runs, or why that cannot be read.
    pub record: Result<(Record, Runs)>,
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

    /// A command for a person to type who means this store: `myrt sandbox VERB WORDS`.
    pub fn command(&self, verb: &str, words: impl Display) -> String {
        typed(&self.path, verb, words)
    }

    /// The folder, without links: as it is seen from inside a box as well.
    ///
    /// # Errors
    /// Where it cannot be looked up.
    pub fn real_path(&self) -> Result<PathBuf> {
        self.path.canonicalize().context(|| format!("look up {:?}", self.path))
    }

    /// Finds a box and holds it, or makes it. `None`: a new one with a name of ours. Gives whether it was made.
    ///
    /// # Errors
    /// Where it is in use, or cannot be made or read.
    pub fn hold_or_make(&self, name: Option<BoxName>) -> Result<(Box, bool)> {
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
            if !lock(&fd, &name)? {
                return Err(in_use(&name));
            }
            // Whoever held it before has removed it.
            if !is_at(&fd, &path) {
                continue;
            }
            let record = match read_record(&fd, &path)? {
                Some(record) => record,
                // Somebody was killed right after the mkdir.
                None => Record::new(unnamed),
            };
            let mut held = Box::new(name, fd, path, record);
            if made {
                held.save().inspect_err(|_| {
                    // The reason for the failure matters more than one more.
                    let _ = remove::tree(&held.path);
                })?;
            }
            snapshots::finish(&mut held)?;
            return Ok((held, made));
        }
    }

    /// Finds a box and holds it.
    ///
    /// # Errors
    /// Where there is none, or it is in use.
    pub fn hold(&self, name: &BoxName) -> Result<Box> {
        match self.try_hold(name)? {
            Tried::Held(held) => Ok(held),
            Tried::InUse => Err(in_use(name)),
            Tried::Missing => Err(Error::new(format!("there is no box {name}")).hint(format!(
                "`{}` shows those below {}",
                self.command("list", ""),
                self.path.display()
            ))),
        }
    }

    /// Holds a box that was there a moment ago; `None` where it has gone, or somebody uses it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn hold_if_free(&self, name: &BoxName) -> Result<Option<Box>> {
        Ok(match self.try_hold(name)? {
            Tried::Held(held) => Some(held),
            Tried::InUse | Tried::Missing => None,
        })
    }

    fn try_hold(&self, name: &BoxName) -> Result<Tried> {
        rights::enter()?;
        let path = self.path.join(name.as_str());
        let fd = match open_own(&path) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(Tried::Missing),
            other => other?,
        };
        if !lock(&fd, name)? {
            return Ok(Tried::InUse);
        }
        // Whoever held it before has removed it.
        if !is_at(&fd, &path) {
            return Ok(Tried::Missing);
        }
        let record = read_record(&fd, &path)?.unwrap_or_else(|| Record::new(false));
        let mut held = Box::new(name.clone(), fd, path, record);
        snapshots::finish(&mut held)?;
        Ok(Tried::Held(held))
    }

    /// All boxes, by name.
    ///
    /// # Errors
    /// Where the folder cannot be read. A box that cannot be read is listed with the reason.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let names = self.names()?.into_iter().filter_map(|name| BoxName::new(name.to_str()?).ok());
        let mut boxes: Vec<Listed> = names.filter_map(|name| self.look(name)).collect();
        boxes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(boxes)
    }

    /// `None`: it was removed in this very moment.
    fn look(&self, name: BoxName) -> Option<Listed> {
        let path = self.path.join(name.as_str());
        let fd = match open_own(&path) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return None,
            Err(error) => return Some(Listed { name, busy: false, interrupted: false, record: Err(error) }),
            Ok(fd) => fd,
        };
        let busy = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
        let read = || {
            let record = read_record(&fd, &path)?.ok_or_else(|| Error::new(format!("{path:?} holds no {RECORD}")))?;
            Ok((record, Runs::read(&fd, &path)?))
        };
        let record = read();
        // What is being removed has another name by then.
        let gone = record.is_err() && !is_at(&fd, &path);
        let interrupted = commit::is_unfinished(&fd).unwrap_or(false);
        (!gone).then_some(Listed { name, busy, interrupted, record })
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
        let found = match rustix::fs::stat(path) {
            Err(Errno::NOENT) => {
                if let Some(parents) = path.parent() {
                    std::fs::create_dir_all(parents).context(|| format!("make {parents:?}"))?;
                }
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .context(|| format!("make {path:?}"))?;
                rustix::fs::stat(path)
            }
            found => found,
        };
        let found = found.context(|| format!("look at {path:?}"))?;
        if !FileType::from_raw_mode(found.st_mode).is_dir() {
            bail!("{path:?} is no folder");
        }
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & 0o077 != 0 {
            return Err(Error::new(format!("{path:?} is not yours alone: others may look inside"))
                .hint("boxes hold whatever their programs wrote, setuid programs too: chmod 700, or another --store"));
        }
        Ok(())
    }
}

/// Gives whether nobody else has it locked.
fn lock(fd: &OwnedFd, name: &BoxName) -> Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        other => other.map(|()| true).context(|| format!("lock the box {name}")),
    }
}

fn in_use(name: &BoxName) -> Error {
    Error::new(format!("the box {name} is in use"))
        .hint("wait until its program has ended; one box is used by one command at a time")
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

/// A command for a person to type. Where the store is not the one that is meant without a word, it names it.
fn typed(store: &Path, verb: &str, words: impl Display) -> String {
    let own = default_place().is_ok_and(|own| own == store);
    let store = if own { String::new() } else { format!(" --store {}", text::quoted(store)) };
    format!("myrt sandbox {verb}{store} {words}").trim_end().to_owned()
}

fn default_place() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/myrt/sandbox".into());
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    data.map(|data| data.join("myrt/sandbox")).ok_or_else(|| {
        Error::new("no place for boxes: neither XDG_DATA_HOME nor HOME is set to an absolute path")
            .hint("set HOME to one, or give --store DIR")
    })
}
