//! The state directory: one folder a container, made atomically and written first.
//!
//! A container's folder holds `state.json` (what `list` and `delete` need), `config.json` (as it was at the create, for
//! `exec`, `start` and `delete`) and, from create to start, the `gate` socket. Whoever makes the folder holds a lock on
//! it while the container is being made: a folder without a process and without that lock is what a killed create left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::state::State;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::ContainerId;
use crate::sys::nsfs;

/// The file with the container's [`State`].
const STATE: &str = "state.json";
/// The copy of the bundle's config.json.
const CONFIG: &str = "config.json";
/// The socket on which a created container waits.
pub(super) const GATE: &str = "gate";
/// State files are small; more than this is not ours.
const STATE_LIMIT: u64 = 16 << 20;

/// Where the containers of one `--root` are kept.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Uses `root`, or the default: /run/myrt for root, $XDG_RUNTIME_DIR/myrt for everybody else. Touches nothing.
    ///
    /// # Errors
    /// Where an ordinary user has no $XDG_RUNTIME_DIR and no /run/user/UID.
    pub fn open(root: Option<PathBuf>) -> Result<Self> {
        let root = match root {
            Some(root) => std::path::absolute(&root).context(|| format!("--root {root:?}"))?,
            None => default_root()?,
        };
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a new container; of two that try at once, one wins.
    ///
    /// # Errors
    /// Where the id is taken, or the folder cannot be made.
    pub fn reserve(&self, id: &ContainerId) -> Result<Folder> {
        let path = self.root.join(id.as_str());
        let make = || rustix::fs::mkdirat(CWD, &path, Mode::from(0o700));
        let made = match make() {
            Err(Errno::NOENT) => {
                make_root(&self.root)?;
                make()
            }
            other => other,
        };
        match made {
            Err(Errno::EXIST) => {
                return Err(Error::new(format!("container with given ID already exists: {id}"))
                    .hint(format!("choose another id, or remove it: myrt delete --force {id}")));
            }
            other => other.context(|| format!("make the state folder {path:?}"))?,
        }
        let folder = Folder::open(path)?;
        // Held until every copy of the descriptor is closed: by the exec in the container's process at the latest.
        rustix::fs::flock(&folder.fd, FlockOperation::NonBlockingLockExclusive)
            .context(|| format!("lock the state folder {:?}", folder.path))?;
        Ok(folder)
    }

    /// Finds the folder of a container.
    ///
    /// # Errors
    /// `container does not exist`, which callers match.
    pub fn find(&self, id: &ContainerId) -> Result<Folder> {
        match Folder::open(self.root.join(id.as_str())) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                Err(Error::new(format!("container does not exist: {id}"))
                    .hint(format!("`myrt list` shows those below {}", self.root.display())))
            }
            other => other,
        }
    }

    /// The ids of all containers, sorted. A root that does not exist yet has none.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(|| format!("read {:?}", self.root))?,
        };
        let names = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // A foreign file or an odd name below the root is no container, and no reason to fail.
            is_folder.then(|| ContainerId::new(entry.file_name().to_str()?).ok()).flatten()
        });
        let mut ids: Vec<ContainerId> = names.collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

/// The folder of one container.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    fn open(path: PathBuf) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
        // A state names hooks to run: in a shared place, such as /tmp, somebody else may have written one.
        let owner = rustix::fs::fstat(&fd).context(|| format!("stat {path:?}"))?.st_uid;
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Error::call(
                format!("the state folder {path:?} belongs to another user ({owner})"),
                Errno::PERM,
            )
            .hint("run the command as that user, or give another --root"));
        }
        Ok(Self { fd, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the first state: nothing else of the container exists before it.
    ///
    /// # Errors
    /// Where it cannot be written in full.
    pub fn write_first(&self, state: &State, config: &[u8]) -> Result<()> {
        if !config.is_empty() {
            self.write(CONFIG, config)?;
        }
        self.write(STATE, &state.to_json())
    }

    /// Replaces the state by one rename: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// Where it cannot be written in full; the old one stays.
    pub fn save(&self, state: &State) -> Result<()> {
        const NEXT: &str = "state.json.next";
        self.write(NEXT, &state.to_json())?;
        rustix::fs::renameat(&self.fd, NEXT, &self.fd, STATE).context(|| format!("replace {:?}", self.path.join(STATE)))
    }

    /// Reads the state.
    ///
    /// # Errors
    /// Where it is missing or broken; says how to get rid of it.
    pub fn state(&self) -> Result<State> {
        let hint = "what is left of it can be removed: myrt delete --force ID";
        let text = self.read(STATE).map_err(|error| error.hint(hint))?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::new(format!("the state file {:?} is corrupted: {error}", self.path.join(STATE))).hint(hint)
        })
    }

    /// The config.json of the create.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)
    }

    /// Whether somebody is making this container right now. Takes the lock when nobody is.
    pub fn is_busy(&self) -> bool {
        rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
    }

    /// Removes the folder and all in it. Missing is fine: two deletes may meet.
    ///
    /// # Errors
    /// Where something in it cannot be removed.
    pub fn remove(&self) -> Result<()> {
        // The usual content by name: reading the folder costs more than three unlinks.
        for name in [CONFIG, GATE, STATE] {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {:?}", self.path.join(name))),
            }
        }
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                std::fs::remove_dir_all(&self.path).context(|| format!("remove {:?}", self.path))
            }
            Err(errno) => Err(errno).context(|| format!("remove {:?}", self.path)),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let what = || format!("write {:?}", self.path.join(name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from(0o600)).context(what)?;
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).context(what)?;
            rest = &rest[written..];
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let what = || format!("read {:?}", self.path.join(name));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).context(what)?;
        let size = rustix::fs::fstat(&file).context(what)?.st_size as u64;
        if size > STATE_LIMIT {
            bail!("{:?} holds {size} bytes, which is too much to be ours", self.path.join(name));
        }
        let mut text = Vec::with_capacity(size as usize + 1);
        while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)).context(what)? > 0 {
            text.reserve(1);
        }
        Ok(text)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// /run/myrt for root; for everybody else, and for root of a user namespace, below $XDG_RUNTIME_DIR.
fn default_root() -> Result<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let uid = rustix::process::geteuid();
    match runtime_dir {
        Some(path) if !uid.is_root() || !nsfs::in_first_user_namespace() => Ok(path.join("myrt")),
        _ if uid.is_root() => Ok("/run/myrt".into()),
        _ => {
            let path = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
            if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
                return Err(Error::new("no place for the state: XDG_RUNTIME_DIR is not set")
                    .hint("set XDG_RUNTIME_DIR to a folder of your own, or give --root DIR"));
            }
            Ok(path.join("myrt"))
        }
    }
}

/// Makes the root with all its parents. Only its owner may look inside.
fn make_root(root: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let parents = root.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parents).context(|| format!("make {parents:?}"))?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).context(|| format!("make {root:?}"))
}
