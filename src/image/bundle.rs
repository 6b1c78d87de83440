//! A bundle out of an image: `rootfs` and `config.json` in a folder.
//!
//! All of it grows under other names: the files get that of `rootfs` when the last digest was right, and config.json comes
//! last. What was killed half-way is no bundle, and the next attempt clears it away.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::convert::{Wishes, convert};
use super::digest::Digest;
use super::limits::{Budget, Limits};
use super::pipeline::{self, Packed};
use super::platform::Platform;
use super::remove::remove;
use super::source::{Opened, Source};
use super::tree::Tree;
use super::{durable, fresh, layer};
use crate::error::{Context, Error, Result};
use crate::plan::spec::Spec;

/// Where the files grow.
const PARTIAL: &str = ".rootfs.partial";
const ROOTFS: &str = "rootfs";
const CONFIG: &str = "config.json";
/// What becomes config.json; where it stands and [`PARTIAL`] does not, somebody was killed while names were given.
const PARTIAL_CONFIG: &str = ".config.json.partial";
/// What is made and the name that it gets, in this order. The first and the last tell which of the others are ours.
const NAMES: [(&str, &str); 4] = [(PARTIAL, ROOTFS), Bundle::UPPER, Bundle::WORK, (PARTIAL_CONFIG, CONFIG)];

/// What has to be on disk before a bundle is said to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Nothing: it goes with its container.
    Nothing,
    /// What is in the bundle's own folder; its files are the store's.
    Bundle,
    /// All its files.
    Files,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// The digest of the image's manifest, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// How many layers there were.
    pub layers: usize,
    /// Entries of their archives.
    pub entries: u64,
    /// Bytes of their unpacked archives.
    pub bytes: u64,
    /// What could not be kept, a sentence each.
    pub left_out: Vec<String>,
}

/// Unpacks an image into a bundle, which survives a power cut if `lasting` says so. The caller's umask has to be 0.
///
/// # Errors
/// Where the image is not there, lies, or is hostile; where the folder is a bundle already, or cannot be written. Then
/// nothing is left.
pub fn unpack(
    source: &Source,
    platform: &Platform,
    folder: &Path,
    limits: Limits,
    wishes: &Wishes,
    lasting: Lasting,
) -> Result<Made> {
    let Opened { image, files } = source.open(platform, &limits)?;
    let bundle = Bundle::begin(folder)?;
    source.is_apart_from(folder)?;
    let budget = Budget::new(limits);
    let mut tree = Tree::open(&folder.join(PARTIAL), !wishes.maps.is_single())?;
    let what = |index: usize| {
        let name = image.layers.get(index).map_or("", |layer| &layer.name);
        format!("layer {} of {} ({name})", index + 1, image.layers.len())
    };
    let open = |index: usize| Packed::of(&image.layers[index], &*files);
    pipeline::unpack_in_order(image.layers.len(), &budget, open, what, |index, archive| {
        layer::apply(archive, &mut tree, index == 0, &budget)
    })?;
    let spec = convert(&image.config, tree.root(), wishes)?;
    bundle.finish(&spec, lasting)?;
    Ok(Made {
        bundle: folder.to_owned(),
        manifest: image.manifest.as_ref().map(Digest::to_string),
        layers: image.layers.len(),
        entries: budget.entries(),
        bytes: budget.bytes_unpacked(),
        left_out: tree.lost.sentences(),
    })
}

/// Takes a bundle away that nobody runs any more.
///
/// # Errors
/// Where something in it cannot be removed.
pub fn discard(folder: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty()).context(|| format!("open {parent:?}"))?;
    remove(parent, name.as_encoded_bytes())
}

/// A bundle that is being made. Dropped before [`Bundle::finish`], it takes away what there is of it.
pub(super) struct Bundle {
    path: PathBuf,
    /// The folder, locked against a second one who makes a bundle in it.
    folder: OwnedFd,
    /// Whether the folder was not there before.
    own: bool,
    /// Whether what is made has begun to get its names.
    named: bool,
    finished: bool,
}

impl Bundle {
    /// Where the files grow.
    pub(super) const PARTIAL: &str = PARTIAL;
    /// What a container writes, where the layers below are the store's, and what overlayfs needs beside it: while they are
    /// made, and then.
    pub(super) const UPPER: (&str, &str) = (".upper.partial", "upper");
    pub(super) const WORK: (&str, &str) = (".work.partial", "work");

    /// Makes the folder, if it is missing, and an empty root filesystem in it.
    ///
    /// # Errors
    /// Where it is a bundle already, or cannot be made.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        // Not open to others: an image's setuid programs with their holes would be theirs to use.
        let (folder, own) = fresh::ensure(path, 0o700).context(|| "the bundle's folder")?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::new(format!("{path:?}: another one is making a bundle in it")),
            errno => Error::call(format!("lock {path:?}"), errno),
        })?;
        let has = |name: &str| rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let left_behind = has(PARTIAL_CONFIG) && !has(CONFIG) && !has(PARTIAL);
        for (_, name) in NAMES {
            if has(name) && !left_behind {
                return Err(Error::new(format!("{path:?}: there is a {name} in it already"))
                    .hint("remove it first, or choose another folder"));
            }
        }
        let mut bundle = Self { path: path.to_owned(), folder, own, named: left_behind, finished: false };
        bundle.clear().context(|| "what an earlier attempt has left")?;
        bundle.named = false;
        bundle.make(PARTIAL)?;
        Ok(bundle)
    }

    /// Removes what is there of a bundle that is none. Each name can be tried, whatever became of the others.
    fn clear(&self) -> Result<()> {
        let named = NAMES.iter().filter(|_| self.named).map(|(_, name)| *name);
        // The mark goes last.
        named.chain(NAMES.map(|(partial, _)| partial)).try_for_each(|name| remove(&self.folder, name.as_bytes()))
    }

    /// Makes the folders that an overlay writes to; gives the one for what is written.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub(super) fn make_upper(&self) -> Result<OwnedFd> {
        self.make(Self::WORK.0)?;
        self.make(Self::UPPER.0)
    }

    fn make(&self, name: &str) -> Result<OwnedFd> {
        match fresh::make(&self.folder, Path::new(name), 0o755).context(|| self.path.display().to_string())? {
            (folder, true) => Ok(folder),
            (_, false) => Err(Error::call(format!("make {:?}", self.path.join(name)), Errno::EXIST)),
        }
    }

    /// Gives the root filesystem its name, then config.json.
    ///
    /// # Errors
    /// Where either fails.
    pub(super) fn finish(mut self, spec: &Spec, lasting: Lasting) -> Result<()> {
        let text = serde_json::to_string_pretty(spec).map_err(|error| Error::new(format!("write JSON: {error}")))?;
        let path = |name: &str| self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, PARTIAL_CONFIG, flags, Mode::from_raw_mode(0o644));
        let mut file = std::fs::File::from(file.context(|| format!("make {:?}", path(PARTIAL_CONFIG)))?);
        std::io::Write::write_all(&mut file, (text + "\n").as_bytes())
            .context(|| format!("write {:?}", path(PARTIAL_CONFIG)))?;
        match lasting {
            Lasting::Nothing => {}
            Lasting::Bundle => file.sync_all().context(|| "write config.json to the disk")?,
            Lasting::Files => durable::all(&self.folder)?,
        }
        self.named = true;
        for name @ (from, to) in NAMES {
            match rustix::fs::renameat(&self.folder, from, &self.folder, to) {
                // What only a bundle over the store has.
                Err(Errno::NOENT) if [Self::UPPER, Self::WORK].contains(&name) => {}
                other => other.context(|| format!("make {:?}", path(to)))?,
            }
        }
        self.finished = true;
        if lasting == Lasting::Nothing {
            return Ok(());
        }
        rustix::fs::fsync(&self.folder).context(|| format!("write the folder {:?} to the disk", self.path))?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if self.own { durable::names(parent.unwrap_or(Path::new("."))) } else { Ok(()) }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let _ = self.clear();
        if self.own {
            let _ = rustix::fs::rmdir(&self.path);
        }
    }
}
