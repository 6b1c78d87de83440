//! A box's changes once more, for a snapshot or another box.
//!
//! Everything that overlayfs may have written is taken as it is: notes, whiteouts, hard links, holes, times. An overlay
//! writes to its files in place, so that no file may be shared with the original; only its blocks may, where the filesystem
//! divides them again at the first write (reflinks).

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat};

use super::copy::{self, Attributes, Side, Which};
use super::layers::{self, UPPER, WORK};
use super::tree::{self, Place};
use super::{base, store};
use crate::error::{Context, Result};

/// Copies the first `count` layers of the box's or snapshot's folder `from`, and what it has noted of the host, into the
/// folder `to`, which has none of it.
///
/// # Errors
/// Where something cannot be copied; `to` is the caller's to remove.
pub(super) fn state(from: &Path, count: usize, to: &Path) -> Result<()> {
    make(&to.join(store::LAYERS))?;
    for place in 0..count {
        let (source, target) = (layers::folder(from, place), layers::folder(to, place));
        // One that a commit has put away is made again when it is needed.
        if !source.join(UPPER).exists() {
            continue;
        }
        for folder in [target.clone(), target.join(WORK), target.join(UPPER)] {
            make(&folder)?;
        }
        layer(&source.join(UPPER), &target.join(UPPER)).context(|| format!("copy {:?}", source.join(UPPER)))?;
    }
    let (source, target) = (from.join(base::FILE), to.join(base::FILE));
    match std::fs::copy(&source, &target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop).context(|| format!("copy {source:?}")),
    }
}

fn make(folder: &Path) -> Result<()> {
    rustix::fs::mkdirat(CWD, folder, Mode::from(0o700)).context(|| format!("make {folder:?}"))
}

/// Copies what is in one folder into another, which is empty, and what the folder itself has.
fn layer(from: &Path, to: &Path) -> Result<()> {
    let copy = Copy { from: tree::still(from)?, to: tree::Root::open(to)? };
    let mut links = HashMap::new();
    let mut folders = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        copy.folder(&path, &mut links, &mut pending).context(|| format!("{path:?}"))?;
        folders.push(path);
    }
    // The deepest first: what is made in a folder changes its times, and its mode may forbid to make anything.
    for path in folders.iter().rev() {
        let (source, target) = (Place::open(&copy.from, path)?, Place::open(&copy.to, path)?);
        let attributes = Attributes::read(source.folder.as_fd(), &source.name, Side::Host)?;
        attributes.give(target.folder.as_fd(), &target.name, Which::Any)?;
    }
    Ok(())
}

struct Copy {
    from: tree::Root,
    to: tree::Root,
}

impl Copy {
    /// Copies the files of a folder; the folders in it are made and left for later.
    fn folder(&self, path: &Path, links: &mut HashMap<u64, PathBuf>, pending: &mut Vec<PathBuf>) -> Result<()> {
        let source = tree::open_folder(&self.from, path).context(|| "open the folder")?;
        let target = tree::open_folder(&self.to, path).context(|| "open its copy")?;
        for name in tree::entries(&source).context(|| "read the folder")? {
            let Some(stat) = tree::find(&source, &name).context(|| format!("stat {name:?}"))? else { continue };
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(&target, &name, Mode::from(0o700)).context(|| format!("mkdir {name:?}"))?;
                pending.push(inner);
            } else {
                self.file((&source, &target), &name, &stat, inner, links).context(|| format!("{name:?}"))?;
            }
        }
        Ok(())
    }

    /// Copies one file, or gives its copy another name.
    fn file(
        &self,
        (source, target): (&OwnedFd, &OwnedFd),
        name: &CStr,
        stat: &Stat,
        inner: PathBuf,
        links: &mut HashMap<u64, PathBuf>,
    ) -> Result<()> {
        if let Some(first) = links.get(&stat.st_ino) {
            let first = Place::open(&self.to, first)?;
            return rustix::fs::linkat(&first.folder, &first.name, target, name, AtFlags::empty()).context(|| "link");
        }
        // Raw, as if it were a file of the host: the notes of overlayfs belong to what is copied.
        copy::make(source, name, Side::Host, target, name)?;
        if stat.st_nlink > 1 {
            links.insert(stat.st_ino, inner);
        }
        Ok(())
    }
}
