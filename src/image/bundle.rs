//! A bundle out of an image: `rootfs` and `config.json` in a folder.
//!
//! The files grow in a folder of another name, which becomes `rootfs` when the last digest was right; config.json comes
//! last. What was killed half-way is no bundle, and the next attempt clears it away.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::convert::{Wishes, convert};
use super::digest::Digest;
use super::layer;
use super::limits::{Budget, Limits};
use super::pipeline::{self, Packed};
use super::platform::Platform;
use super::remove::remove;
use super::source::{Opened, Source};
use super::tree::Tree;
use crate::error::{Context, Error, Result};
use crate::plan::spec::Spec;

/// Where the files grow.
const PARTIAL: &str = ".rootfs.partial";
const ROOTFS: &str = "rootfs";
const CONFIG: &str = "config.json";

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

/// Unpacks an image into a bundle. The caller's umask has to be 0.
///
/// # Errors
/// Where the image is not there, lies, or is hostile; where the folder is a bundle already, or cannot be written. Then
/// nothing is left.
pub fn unpack(source: &Source, platform: &Platform, folder: &Path, limits: Limits, wishes: &Wishes) -> Result<Made> {
    let Opened { image, files } = source.open(platform, &limits)?;
    let bundle = Bundle::begin(folder)?;
    let budget = Budget::new(limits);
    let mut tree = Tree::open(&folder.join(PARTIAL), !wishes.maps.is_single())?;
    for (index, layer) in image.layers.iter().enumerate() {
        let what = || format!("layer {} of {} ({})", index + 1, image.layers.len(), layer.name);
        let (size, input) = files.need(&layer.name).context(what)?;
        let size = Some(layer.size.unwrap_or(size));
        let packed = Packed { input, size, digest: layer.digest.as_ref(), diff_id: layer.diff_id.as_ref() };
        let lowest = index == 0;
        pipeline::unpack(packed, &budget, |archive| layer::apply(archive, &mut tree, lowest, &budget)).context(what)?;
    }
    let spec = convert(&image.config, tree.root(), wishes)?;
    bundle.finish(&spec)?;
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
    finished: bool,
}

impl Bundle {
    /// Where the files grow.
    pub(super) const PARTIAL: &str = PARTIAL;
    /// What a container writes, where the layers below are the store's.
    pub(super) const UPPER: &str = "upper";
    /// What overlayfs needs beside it.
    pub(super) const WORK: &str = "work";

    /// Makes the folder, if it is missing, and an empty root filesystem in it.
    ///
    /// # Errors
    /// Where it is a bundle already, or cannot be made.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        // Not open to others: an image's setuid programs with their holes would be theirs to use.
        let own = match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno).context(|| format!("make the bundle's folder {path:?}")),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::new(format!("{path:?}: another one is making a bundle in it")),
            errno => Error::call(format!("lock {path:?}"), errno),
        })?;
        for name in [CONFIG, ROOTFS, Self::UPPER, Self::WORK] {
            if rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Error::new(format!("{path:?}: there is a {name} in it already"))
                    .hint("remove it first, or choose another folder"));
            }
        }
        let bundle = Self { path: path.to_owned(), folder, own, finished: false };
        remove(&bundle.folder, PARTIAL.as_bytes()).context(|| "what an earlier attempt has left")?;
        rustix::fs::mkdirat(&bundle.folder, PARTIAL, Mode::from_raw_mode(0o755))
            .context(|| format!("make {:?}", path.join(PARTIAL)))?;
        Ok(bundle)
    }

    /// Makes the folders that an overlay writes to.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub(super) fn make_upper(&self) -> Result<()> {
        for name in [Self::UPPER, Self::WORK] {
            rustix::fs::mkdirat(&self.folder, name, Mode::from_raw_mode(0o755))
                .context(|| format!("make {:?}", self.path.join(name)))?;
        }
        Ok(())
    }

    /// Gives the root filesystem its name and writes config.json.
    ///
    /// # Errors
    /// Where either fails.
    pub(super) fn finish(mut self, spec: &Spec) -> Result<()> {
        let text = serde_json::to_string_pretty(spec).map_err(|error| Error::new(format!("write JSON: {error}")))?;
        let path = |name: &str| self.path.join(name);
        rustix::fs::renameat(&self.folder, PARTIAL, &self.folder, ROOTFS)
            .context(|| format!("make {:?}", path(ROOTFS)))?;
        self.finished = true;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, CONFIG, flags, Mode::from_raw_mode(0o644));
        let file = file.context(|| format!("make {:?}", path(CONFIG)))?;
        std::io::Write::write_all(&mut std::fs::File::from(file), (text + "\n").as_bytes())
            .context(|| format!("write {:?}", path(CONFIG)))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for name in [PARTIAL, Self::UPPER, Self::WORK] {
            let _ = remove(&self.folder, name.as_bytes());
        }
        if self.own {
            let _ = rustix::fs::rmdir(&self.path);
        }
    }
}
