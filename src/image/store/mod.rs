//! The store: layers that were unpacked once and are shared, and the images that name them.
//!
//! ```text
//! lock            held shared by who adds or uses layers, alone by who removes them
//! layers/HEX      a link to ../d/N: the layer that unpacks to this digest; there when it is whole
//! d/N             a layer as overlayfs takes it; short names, since a mount's options fit into one page
//! implied/HEX     the folders that a layer uses and does not name: what they are like, the layers below say
//! locks/HEX       held by who unpacks this layer
//! partial/HEX     a layer that is being unpacked, or that somebody was killed over
//! images/HEX      the record of the image whose name has this digest
//! bundles/HEX     the record of a bundle that uses layers; the digest is that of its path
//! ```
//!
//! Everything appears by a rename or a link, so that who is killed leaves nothing half-visible; what he leaves otherwise is
//! taken up by the next pull of the same layer, or away by `prune`. What has got its name is on disk, so that a power cut
//! does not leave a name without its content.

mod bundle;
mod inherit;
mod layers;
mod prune;
mod pull;

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::spec::Config;
use super::{durable, fresh};
use crate::bail;
use crate::error::{Context, Error, Result};
pub use prune::Pruned;

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

/// An image in the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// What it is called here.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// The digest of its manifest, where it had one.
    pub manifest: Option<Digest>,
    /// When it came.
    pub pulled: String,
    /// Its layers by what they unpack to, the lowest first.
    pub layers: Vec<Digest>,
    /// Its configuration.
    pub config: Config,
}

/// A bundle that uses layers.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Use {
    bundle: PathBuf,
    layers: Vec<Digest>,
}

const IMAGES: &str = "images";
const BUNDLES: &str = "bundles";
const IMPLIED: &str = "implied";

impl Store {
    /// Opens the store in this folder; makes it when it is missing.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        let store = Self { path: path.to_owned() };
        for folder in ["", "layers", "d", IMPLIED, "locks", "partial", IMAGES, BUNDLES] {
            // What layers hold is not for everybody's eyes, and their setuid programs not for everybody's use.
            make(&store.path.join(folder))?;
        }
        Ok(store)
    }

    /// Where the caller's store is.
    ///
    /// # Errors
    /// Where the environment does not say where an ordinary user keeps data.
    pub fn default_path() -> Result<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Ok("/var/lib/myrt/images".into());
        }
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
        let data = data.ok_or_else(|| {
            Error::new("no place for the store: neither XDG_DATA_HOME nor HOME is set").hint("give --store DIR")
        })?;
        Ok(data.join("myrt/images"))
    }

    /// The images, by name. What cannot be read is told and left out.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn images(&self) -> Result<Vec<Record>> {
        let mut images: Vec<Record> = self.records(IMAGES)?.into_iter().map(|(_, record)| record).collect();
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// The image of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn image(&self, name: &str) -> Result<Record> {
        let path = self.record_path(IMAGES, name);
        match fs::read(&path) {
            Ok(content) => parse(&path, &content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::new(format!("there is no image {name:?} in the store"))
                    .hint("`myrt image list` lists those that are there"))
            }
            Err(error) => Err(error).context(|| format!("read {path:?}")),
        }
    }

    /// Forgets the image of this name; its layers stay until they are pruned.
    ///
    /// # Errors
    /// Where there is none.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.image(name)?;
        let path = self.record_path(IMAGES, name);
        fs::remove_file(&path).context(|| format!("remove {path:?}"))
    }

    /// Gives an image one more name, which another image loses.
    ///
    /// # Errors
    /// Where there is no such image, or the name cannot be one.
    pub fn tag(&self, name: &str, new: &str) -> Result<()> {
        check_name(new)?;
        // The layers must not go between the reading and the writing.
        let _lock = self.lock(false)?;
        let record = self.image(name)?;
        self.write(IMAGES, new, &Record { name: new.to_owned(), ..record })
    }

    /// Waits for the lock of the whole store.
    fn lock(&self, alone: bool) -> Result<OwnedFd> {
        let how = if alone { FlockOperation::LockExclusive } else { FlockOperation::LockShared };
        lock(&self.path.join("lock"), how)
    }

    fn record_path(&self, kind: &str, key: &str) -> PathBuf {
        self.path.join(kind).join(Digest::of(key.as_bytes()).hex())
    }

    /// All records of a kind, with the files that they are in.
    fn records<T: for<'a> Deserialize<'a>>(&self, kind: &str) -> Result<Vec<(PathBuf, T)>> {
        let mut found = Vec::new();
        let folder = self.path.join(kind);
        for entry in fs::read_dir(&folder).context(|| format!("read {folder:?}"))? {
            let path = entry.context(|| format!("read {folder:?}"))?.path();
            if path.extension().is_some() {
                // Somebody's half-written file.
                continue;
            }
            let content = match fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.context(|| format!("read {path:?}"))?,
            };
            found.push((path.clone(), parse(&path, &content)?));
        }
        Ok(found)
    }

    /// Writes a record whole or not at all.
    fn write(&self, kind: &str, key: &str, record: &impl Serialize) -> Result<()> {
        let path = self.record_path(kind, key);
        let text = serde_json::to_vec(record).map_err(|error| Error::new(format!("write JSON: {error}")))?;
        let partial = path.with_extension(format!("{}", std::process::id()));
        let write = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&partial, &path)
        };
        let write =
            || write().context(|| format!("write {path:?}")).and_then(|()| durable::names(&self.path.join(kind)));
        write().inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })
    }
}

/// Makes a folder that is its owner's alone, and those above.
fn make(folder: &Path) -> Result<()> {
    if let Some(parent) = folder.parent().filter(|parent| !parent.exists()) {
        make(parent)?;
    }
    fresh::ensure(folder, 0o700).map(drop)
}

/// Opens and locks a file, which is made when it is missing; the lock goes with the descriptor.
fn lock(path: &Path, how: FlockOperation) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let what = || format!("lock {path:?}");
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).context(what)?;
    loop {
        match rustix::fs::flock(&fd, how) {
            Err(Errno::INTR) => {}
            other => return other.context(what).map(|()| fd),
        }
    }
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| {
        Error::new(format!("{path:?}: {error}"))
            .hint("the record is broken: remove the file, then pull or bundle again")
    })
}

/// Refuses names that nobody could type or read.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 255 || name.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        bail!("{name:?} is not a name for an image: 1 to 255 letters without blanks");
    }
    Ok(())
}
