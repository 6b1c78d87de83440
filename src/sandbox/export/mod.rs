//! A box's changes as a layer of an OCI image: a tar archive in which `.wh.NAME` says that NAME is gone, and
//! `.wh..wh..opq` that a folder shows nothing of what is below it.
//!
//! The same box gives the same bytes: a filesystem after the other, names in order, nothing of who made it or when.

mod tar;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use self::tar::{Archive, Entry, Kind};
use super::changes::xattrs::{self, Notes};
use super::layers::{self, UPPER};
use super::store::Box;
use super::tree::{self, Place};
use super::{base, commit, text};
use crate::error::{Context, Error, Result};
use crate::log;

/// How the name of a mark begins, in layers of images.
const GONE: &[u8] = b".wh.";
/// The mark of a folder that hides all below it.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes the archive; gives how many entries it has.
///
/// # Errors
/// Where a commit is unfinished, something cannot be read or written, or a name would be read as a mark.
pub fn export(held: &mut Box, out: impl Write) -> Result<u64> {
    commit::require_finished(held)?;
    base::settle(held)?;
    let mut archive = Archive::new(out);
    let mut places: Vec<usize> = (0..held.record.layers.len()).collect();
    places.sort_by_key(|place| &held.record.layers[*place].path);
    for place in places {
        let (mount, upper) = (&held.record.layers[place].path, layers::folder(held.path(), place).join(UPPER));
        if upper.exists() {
            let layer = Layer {
                root: tree::still(&upper)?,
                notes: held.record.notes,
                mount: mount.strip_prefix("/").unwrap_or(mount),
            };
            layer.write(&mut archive).context(|| format!("the changes of {mount:?}"))?;
        }
    }
    archive.end()
}

/// The changes of one filesystem.
struct Layer<'a> {
    root: tree::Root,
    /// Where overlayfs keeps its notes there.
    notes: Notes,
    /// Where it is mounted, without the leading slash.
    mount: &'a Path,
}

impl Layer<'_> {
    fn write(&self, archive: &mut Archive<impl Write>) -> Result<()> {
        let first = self.entries(Path::new(""))?;
        // The root of all is no entry, and neither is that of a filesystem on which nothing happened.
        if !first.is_empty() && !self.mount.as_os_str().is_empty() {
            self.one(Path::new(""), &mut HashMap::new(), archive)?;
        }
        let mut links = HashMap::new();
        let mut pending = first;
        while let Some(path) = pending.pop() {
            if self.one(&path, &mut links, archive).context(|| format!("{path:?}"))? {
                pending.extend(self.entries(&path)?);
            }
        }
        Ok(())
    }

    /// What is in a folder, the last name first.
    fn entries(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let folder = tree::open_folder(&self.root, path).context(|| format!("open {path:?}"))?;
        let names = tree::entries(&folder).context(|| format!("read {path:?}"))?;
        Ok(names.iter().rev().map(|name| path.join(OsStr::from_bytes(name.to_bytes()))).collect())
    }

    /// Writes what is at a path; gives whether it is a folder.
    fn one(&self, path: &Path, links: &mut HashMap<u64, PathBuf>, archive: &mut Archive<impl Write>) -> Result<bool> {
        let place = Place::open(&self.root, path)?;
        let Some(stat) = place.stat()? else { return Ok(false) };
        let full = self.mount.join(path);
        let name = full.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(GONE) {
            return Err(Error::new(format!("the name of {} is a mark of a layer", text::shown(&full)))
                .hint("whoever unpacks the archive would remove something instead: rename it in the box"));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let mark = full.with_file_name(OsStr::from_bytes(&[GONE, name].concat()));
            return archive.entry(&Entry::mark(&mark)).map(|()| false);
        }
        if kind == FileType::Socket {
            log::warn(format!("{} is a socket, which no archive can hold", text::shown(&full)));
            return Ok(false);
        }
        let mut entry = Entry::of(&full, &stat, xattrs::of_layer(self.notes, place.folder.as_fd(), &place.name)?);
        let linked = kind != FileType::Directory && stat.st_nlink > 1;
        if let Some(first) = links.get(&stat.st_ino).filter(|_| linked) {
            entry.kind = Kind::Link(first.clone());
            return archive.entry(&entry).map(|()| false);
        }
        if linked {
            links.insert(stat.st_ino, full.clone());
        }
        entry.kind = match kind {
            FileType::RegularFile => return self.file(&place, &stat, entry, archive).map(|()| false),
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Symlink(place.target()?),
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Char(numbers),
            FileType::BlockDevice => Kind::Block(numbers),
            other => return Err(Error::new(format!("a file of no known kind: {other:?}"))),
        };
        archive.entry(&entry)?;
        if kind != FileType::Directory {
            return Ok(false);
        }
        if xattrs::is_opaque(self.notes, place.folder.as_fd(), &place.name)? {
            archive.entry(&Entry::mark(&full.join(OsStr::from_bytes(OPAQUE))))?;
        }
        Ok(true)
    }

    fn file(&self, place: &Place, stat: &Stat, mut entry: Entry, archive: &mut Archive<impl Write>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, &place.name, flags, Mode::empty()).context(|| "open")?;
        entry.kind = Kind::File(stat.st_size as u64);
        archive.entry(&entry)?;
        archive.data(file, stat.st_size as u64)
    }
}
