//! Files of a layer that become the host's own by one rename, and come back by another: nothing is copied to the host.
//!
//! For a whole commit alone, whose layers are put away afterwards, and where host and layer are on one mount. A new file
//! takes a free name; one that replaces another changes places with it, at once and whole, so that what the host had is
//! kept in the layer. All of a file comes along: owner, mode, times, attributes, holes. So only those are moved of which
//! the host may have all: no notes but one that can be taken off, no further names, and nobody who has it open.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, StatxFlags};
use rustix::io::Errno;

use super::journal::{Journal, Moved, Step};
use super::steps::numbered;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sandbox::base::Seen;
use crate::sandbox::changes::xattrs::{self, Notes};
use crate::sandbox::changes::{Change, FileKind};
use crate::sandbox::copy::{self, Attributes, Side};
use crate::sandbox::roots::{Root, Roots};
use crate::sandbox::team;
use crate::sandbox::tree::{self, Place};
use crate::sys::lease;

/// The one note that a file may have: another file of the host began as this one's content.
const ORIGIN: &CStr = c"trusted.overlay.origin";

/// Files of one folder of a layer that would be copied otherwise.
struct Folder<'a> {
    upper: BorrowedFd<'a>,
    path: &'a Path,
    /// By their place among the changes.
    files: Vec<(usize, &'a Path)>,
}

/// Which of these changes, in order of path, can be moved: by their place.
pub(super) fn find(changes: &[&Change], roots: &Roots) -> Result<HashMap<usize, Moved>> {
    let mut folders: Vec<Folder<'_>> = Vec::new();
    let mut one_mount = HashMap::new();
    let mut count = 0;
    for (place, change) in changes.iter().enumerate() {
        let is_file = change.after.as_ref().is_some_and(|after| after.kind == FileKind::File);
        let root = roots.of(change.layer)?;
        // An ordinary user's notes look like anybody's attributes.
        let Some(upper) = root.upper.as_ref().filter(|_| root.notes == Notes::Trusted) else { continue };
        if !is_file || change.several_names {
            continue;
        }
        let known = one_mount.get(&change.layer).copied();
        let is_one = known.map_or_else(|| is_one_mount(upper, &root.host), Ok)?;
        one_mount.insert(change.layer, is_one);
        let inner = root.inner(&change.path);
        let (Some(path), true) = (inner.parent(), is_one) else { continue };
        count += 1;
        match folders.last_mut() {
            Some(last) if last.path.as_os_str() == path.as_os_str() && is_same(last.upper, upper) => {
                last.files.push((place, inner));
            }
            _ => folders.push(Folder { upper: upper.as_fd(), path, files: vec![(place, inner)] }),
        }
    }
    let each = |folder: &Folder<'_>, _: &mut Vec<Folder<'_>>, found: &mut Vec<(usize, Moved)>| folder.look(found);
    team::all(folders, count >= team::WORTH, each).map(|found| found.into_iter().collect())
}

fn is_same(one: BorrowedFd<'_>, other: &tree::Root) -> bool {
    one.as_raw_fd() == other.as_fd().as_raw_fd()
}

impl Folder<'_> {
    fn look(&self, found: &mut Vec<(usize, Moved)>) -> Result<()> {
        let folder = tree::open_folder(self.upper, self.path).context(|| format!("open {:?}", self.path))?;
        for (place, path) in &self.files {
            let name = path.file_name().unwrap_or_default();
            found.extend(movable(&folder, name).context(|| format!("look at {path:?}"))?.map(|moved| (*place, moved)));
        }
        Ok(())
    }
}

/// Whether the kernel moves files from one to the other: not even between two mounts of one filesystem it does.
fn is_one_mount(upper: &tree::Root, host: &tree::Root) -> Result<bool> {
    let mount = |root: &tree::Root| {
        let found =
            rustix::fs::statx(root, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).context(|| "look for the mount")?;
        let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
        Ok::<_, Error>(told.then_some(found.stx_mnt_id))
    };
    let upper = mount(upper)?;
    Ok(upper.is_some() && upper == mount(host)?)
}

fn movable(folder: &OwnedFd, name: &OsStr) -> Result<Option<Moved>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).context(|| "open")?;
    let found = rustix::fs::fstat(&file).context(|| "stat")?;
    if found.st_nlink != 1 || kind(&found) != FileType::RegularFile {
        return Ok(None);
    }
    let origin = match &mut *xattrs::notes_of(Notes::Trusted, file.as_fd())? {
        [] => None,
        [(name, value)] if name.as_c_str() == ORIGIN => Some(std::mem::take(value)),
        _ => return Ok(None),
    };
    // A program of the box may have passed its file on, by a socket: whoever has it open could write to the host's.
    let alone = lease::is_alone(file).unwrap_or(false);
    Ok(alone.then_some(Moved { inode: found.st_ino, origin }))
}

/// Whether a filesystem moves no files between these folders, which only the attempt tells: they may have other keys or
/// quotas than the layer.
pub(super) fn are_refused(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Moves a file to the host, unless that was done before. `again`: that may be. Gives what the host has then.
pub(super) fn over(root: &Root, step: &Step, moved: &Moved, again: bool) -> Result<Seen> {
    let (own, host) = (own(root, &step.path)?, Place::open(&root.host, &step.path)?);
    if !again || own.stat()?.is_some_and(|found| found.st_ino == moved.inode) {
        if moved.origin.is_some() {
            xattrs::put_note(own.folder.as_fd(), &own.name, ORIGIN, None)?;
        }
        match &step.old {
            None => rename(&own, &host, RenameFlags::NOREPLACE)?,
            Some(old) => change_places(&own, &host, |taken| is(taken, old))?,
        }
    }
    match host.stat()? {
        Some(found) if found.st_ino == moved.inode => Ok(Seen::file(&found)),
        _ => bail!("somebody has put another file in its place"),
    }
}

/// Moves a file back into the layer, unless it is there, and with it what the host had. What else the host has there by
/// now, by an undo that was forced or because others write to the folder, goes into the layer in its stead. Gives whether
/// the layer got another file, or none.
pub(super) fn back(root: &Root, host: &Place, step: &Step, moved: &Moved) -> Result<bool> {
    let own = own(root, &step.path)?;
    let (here, there) = (own.stat()?, host.stat()?);
    let is_moved = |stat: &Stat| stat.st_ino == moved.inode;
    let other = !there.as_ref().is_some_and(is_moved);
    match (&here, &step.old) {
        (Some(here), _) if is_moved(here) => return Ok(false),
        (None, None) => match there {
            // As with a copy: a folder of the host's stays.
            Some(there) if kind(&there) != FileType::Directory => rename(host, &own, RenameFlags::NOREPLACE)?,
            _ => {}
        },
        (Some(here), Some(old)) if here.st_ino == old.inode || !other => match there {
            None => rename(&own, host, RenameFlags::NOREPLACE)?,
            Some(_) => change_places(&own, host, |taken| kind(taken) != FileType::Directory)?,
        },
        // It was done before, with what the host had then.
        _ => return Ok(false),
    }
    Ok(other)
}

/// Whether the host has at a step's place what it had before it.
pub(super) fn is_as_before(root: &Root, step: &Step) -> Result<bool> {
    let found = Place::find(&root.host, &step.path)?.map(|host| host.stat()).transpose()?.flatten();
    Ok(match (&found, &step.old) {
        (None, None) => true,
        (Some(found), Some(old)) => is(found, old),
        _ => false,
    })
}

/// Two files change places; unless what comes into the layer is the one that is meant, they do so once more.
fn change_places(own: &Place, host: &Place, is_meant: impl Fn(&Stat) -> bool) -> Result<()> {
    rename(own, host, RenameFlags::EXCHANGE)?;
    if own.stat()?.as_ref().is_some_and(is_meant) {
        return Ok(());
    }
    rename(own, host, RenameFlags::EXCHANGE)?;
    bail!("the host has another file there by now")
}

fn rename(from: &Place, to: &Place, flags: RenameFlags) -> Result<()> {
    rustix::fs::renameat_with(&from.folder, &from.name, &to.folder, &to.name, flags).context(|| "rename")
}

/// Whether it is the file that was seen; its time of change tells nothing any more.
fn is(found: &Stat, old: &Attributes) -> bool {
    let modified = (found.st_mtime, found.st_mtime_nsec as u32);
    (found.st_ino, found.st_mode, modified) == (old.inode, old.mode, old.modified)
}

/// What has come back into one folder of a layer.
struct Returned<'a> {
    upper: BorrowedFd<'a>,
    path: &'a Path,
    files: Vec<(usize, &'a Step, &'a Moved)>,
}

/// Copies what has come back, for the layers: it is on nobody's way yet.
pub(super) fn copy(journal: &Journal, roots: &Roots, anew: &OwnedFd) -> Result<()> {
    let mut folders: Vec<Returned<'_>> = Vec::new();
    let mut count = 0;
    for (number, step, moved) in journal.moves() {
        let upper = roots.of(step.layer)?.upper.as_ref().ok_or_else(gone)?;
        let path = step.path.parent().unwrap_or(Path::new(""));
        count += 1;
        match folders.last_mut() {
            Some(last) if last.path.as_os_str() == path.as_os_str() && is_same(last.upper, upper) => {
                last.files.push((number, step, moved));
            }
            _ => folders.push(Returned { upper: upper.as_fd(), path, files: vec![(number, step, moved)] }),
        }
    }
    let each = |folder: &Returned<'_>, _: &mut Vec<_>, _: &mut Vec<()>| folder.copy(anew);
    team::all(folders, count >= team::WORTH, each).map(drop)
}

impl Returned<'_> {
    fn copy(&self, anew: &OwnedFd) -> Result<()> {
        let folder = tree::open_folder(self.upper, self.path).context(|| format!("open {:?}", self.path))?;
        for (number, step, moved) in &self.files {
            let name = CString::new(step.path.file_name().unwrap_or_default().as_bytes()).map_err(|_| Errno::INVAL);
            let copied = name.context(|| "a name").and_then(|name| copy_one(&folder, &name, anew, *number, moved));
            copied.context(|| format!("copy {:?}", step.path))?;
        }
        Ok(())
    }
}

fn copy_one(folder: &OwnedFd, name: &CStr, anew: &OwnedFd, number: usize, moved: &Moved) -> Result<()> {
    // Gone where the host has removed it, and the undo was forced.
    let Some(found) = tree::find(folder, name).context(|| "stat")? else { return Ok(()) };
    if kind(&found) == FileType::Directory {
        return Ok(());
    }
    let new = numbered(number)?;
    // What an attempt left that was killed.
    copy::remove_file(anew, &new)?;
    // Raw, as if it were a file of the host: a note that was not taken off yet comes along.
    copy::make(folder, name, Side::Host, anew, &new)?;
    match &moved.origin {
        Some(origin) => xattrs::put_note(anew.as_fd(), &new, ORIGIN, Some(origin)),
        None => Ok(()),
    }
}

/// Puts the copies into the layers, where that was not done before, and gives these the times that they had.
pub(super) fn put_back(journal: &Journal, roots: &Roots, anew: &OwnedFd) -> Result<()> {
    for (number, step, _) in journal.moves() {
        let to = own(roots.of(step.layer)?, &step.path)?;
        match rustix::fs::renameat(anew, numbered(number)?, &to.folder, &to.name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => Err(errno).context(|| format!("bring {:?} back", roots.shown(step.layer, &step.path)))?,
        }
    }
    for folder in &journal.folders {
        if let Some(own_times) = &folder.own {
            let place = own(roots.of(folder.layer)?, &folder.path)?;
            own_times.give_times(place.folder.as_fd(), &place.name)?;
        }
    }
    Ok(())
}

fn own(root: &Root, path: &Path) -> Result<Place> {
    Place::open(root.upper.as_ref().ok_or_else(gone)?, path)
}

fn gone() -> Error {
    Error::new("the layer is gone")
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
