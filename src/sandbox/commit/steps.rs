//! The steps of a commit, each done and taken back. All of them may be asked of one that is done already, or in part.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::journal::{Act, Folder, Journal, Step};
use super::{crowd, moves};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::sandbox::base::Seen;
use crate::sandbox::copy::{self, Attributes, Side, Which};
use crate::sandbox::disk;
use crate::sandbox::roots::{Root, Roots};
use crate::sandbox::store::Box;
use crate::sandbox::tree::Place;

/// A commit at work.
pub(super) struct Site<'a> {
    pub(super) journal: &'a Journal,
    pub(super) roots: &'a Roots,
    pub(super) backup: Rc<OwnedFd>,
    /// A name in any folder that nobody else takes.
    pub(super) next: CString,
}

fn is_folder(attributes: &Attributes) -> bool {
    FileType::from_raw_mode(attributes.mode) == FileType::Directory
}

/// Files by the layer and the inode that they had on the host.
type Files<T> = BTreeMap<(usize, u64), T>;

/// A file that is in its place again: the step of one of its names, and its inode now.
type Back = (usize, u64);

/// Whether a file can get no other name there: on another filesystem, on one that knows no such names, or with too many.
fn needs_copy(errno: Errno) -> bool {
    matches!(errno, Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP)
}

/// The inode of the old file where that is in its place: the step was not done. The number of an inode alone says nothing,
/// since the new file may have got that of the old one; but a kept name holds it, and where a copy was kept the time of
/// change tells.
fn still(place: &Place, old: &Attributes, kept: &Place) -> Result<Option<u64>> {
    let Some(there) = place.stat()? else { return Ok(None) };
    let same = kept.stat()?.is_some_and(|kept| (kept.st_dev, kept.st_ino) == (there.st_dev, there.st_ino));
    let changed = (there.st_ctime, there.st_ctime_nsec as u32);
    let unchanged = (there.st_ino, there.st_mode, changed) == (old.inode, old.mode, old.changed);
    Ok((same || unchanged).then_some(there.st_ino))
}

impl Site<'_> {
    /// Keeps what the steps replace or remove: as another name of the same file where that is possible, otherwise as a copy.
    pub(super) fn keep_old(&self) -> Result<()> {
        let mut copies = Files::new();
        for (place, step) in self.journal.steps.iter().enumerate() {
            if !matches!(step.act, Act::Remove | Act::Put | Act::Link(_) | Act::Name(_))
                || step.old.as_ref().is_none_or(is_folder)
            {
                continue;
            }
            self.keep(place, step, &mut copies).context(|| format!("keep the old {:?}", self.shown(step)))?;
        }
        Ok(())
    }

    fn keep(&self, number: usize, step: &Step, copies: &mut Files<usize>) -> Result<()> {
        let to = self.kept(number)?;
        // Of one that was copied already there is a name here.
        let name = step.old.as_ref().map(|old| (step.layer, old.inode));
        if let Some(first) = name.and_then(|name| copies.get(&name)) {
            return copy::link_anew(&self.kept(*first)?, &to.folder, &to.name).context(|| "link");
        }
        let old = self.host(step)?;
        match copy::link_anew(&old, &to.folder, &to.name) {
            Err(errno) if needs_copy(errno) => {
                let copy = copy::put(&old, Side::Host, &to, c"next")?;
                // It stands for all names of the file, also for those in folders where nobody could have exchanged it.
                if step.old.as_ref().is_some_and(|old| !old.fit(&copy)) {
                    bail!("the host has another file there by now");
                }
                copies.extend(name.map(|name| (name, number)));
                Ok(())
            }
            other => other.context(|| "link"),
        }
    }

    /// Does all of it; `again`: some of it may be done. Gives what the host has then, as far as that is known: by the place
    /// of a step, the file that it put there. First what goes, and folders; then files; then what the rest is to be a name
    /// of, and attributes.
    pub(super) fn apply(&self, held: &Box, again: bool) -> Result<Vec<Option<Seen>>> {
        let is_first = |step: &Step| matches!(step.act, Act::Remove | Act::MakeFolder(_));
        let mut made = vec![None; self.journal.steps.len()];
        self.apply_those(is_first, &made)?;
        for (place, file) in crowd::put(held, self, again)? {
            made[place] = Some(file);
        }
        self.apply_those(|step| !is_first(step) && !matches!(step.act, Act::Put | Act::Move(_)), &made)?;
        for step in &self.journal.steps {
            if let Act::Link(first) = step.act {
                // One more name is a change of the file.
                made[first] = None;
            }
        }
        for folder in &self.journal.folders {
            if let Some(times) = &folder.after {
                // What others do in one that is not written to gives it a later time, which stays.
                self.give_times(folder, times, |now| folder.written || now < times.modified)?;
            }
        }
        Ok(made)
    }

    fn apply_those(&self, which: impl Fn(&Step) -> bool, made: &[Option<Seen>]) -> Result<()> {
        for step in self.journal.steps.iter().filter(|step| which(step)) {
            self.apply_one(step, made).context(|| format!("{:?}", self.shown(step)))?;
            self.note_folder(step)?;
        }
        Ok(())
    }

    /// `made`: the files that were put in place, by the places of their steps.
    fn apply_one(&self, step: &Step, made: &[Option<Seen>]) -> Result<()> {
        let root = self.roots.of(step.layer)?;
        let place = match (&step.act, Place::find(&root.host, &step.path)?) {
            (_, Some(place)) => place,
            // Its folder is gone: it was done before.
            (Act::Remove, None) => return Ok(()),
            (_, None) => self.host(step)?,
        };
        match &step.act {
            Act::Remove => remove(&place, step.old.as_ref()),
            Act::MakeFolder(attributes) => make_folder(&place, attributes),
            // Files come by themselves.
            Act::Put | Act::Move(_) => Ok(()),
            Act::Link(first) => {
                let Some(Seen::File { inode, .. }) = made[*first] else {
                    bail!("what it is to be another name of was not put there");
                };
                let path = &self.journal.steps[*first].path;
                let file = Attributes { inode, ..own_attributes(root, path)? };
                copy::link_same(&Place::open(&root.host, path)?, (&file, &file), &place, &self.next)
            }
            Act::Name(path) => {
                let file = step.named.as_ref().ok_or_else(|| Error::new("the journal does not say of which file"))?;
                let next = own_attributes(root, path)?;
                let linked = copy::link_same(&Place::open(&root.host, path)?, (file, &next), &place, &self.next);
                linked.context(|| format!("link {path:?}"))
            }
            Act::Set(attributes) => {
                let old = step.old.as_ref().map_or(Which::Any, Which::Old);
                match attributes.give(place.folder.as_fd(), &place.name, old)? {
                    true => Ok(()),
                    false => Err(Error::new("the host has another file there by now")),
                }
            }
        }
    }

    /// The folders that others have written to since the commit, by their places in the journal.
    pub(super) fn taken(&self) -> Result<Vec<usize>> {
        let mut taken = Vec::new();
        for (place, folder) in self.journal.folders.iter().enumerate() {
            let there = Place::find(&self.roots.of(folder.layer)?.host, &folder.path)?;
            let stat = there.map(|there| there.stat()).transpose()?.flatten();
            let stat = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            let now = stat.map(|stat| (stat.st_mtime, stat.st_mtime_nsec as u32));
            if now.is_some_and(|now| folder.after.as_ref().is_some_and(|after| after.modified != now)) {
                taken.push(place);
            }
        }
        Ok(taken)
    }

    /// Takes all of it back; `taken`: folders whose times are somebody else's by now.
    pub(super) fn revert(&self, taken: &[usize]) -> Result<()> {
        // What is not in its place yet may be what has filled the disk.
        let mut last = None;
        for step in &self.journal.steps {
            let folder = Some((step.layer, step.path.parent()));
            if folder == last {
                continue;
            }
            last = folder;
            if let Some(place) = Place::find(&self.roots.of(step.layer)?.host, &step.path)? {
                copy::remove_file(&place.folder, &self.next)?;
            }
        }
        let mut back = Files::new();
        for (place, step) in self.journal.steps.iter().enumerate().rev() {
            self.revert_one(place, step, &mut back).context(|| format!("{:?}", self.shown(step)))?;
            self.note_folder(step)?;
        }
        for (place, folder) in self.journal.folders.iter().enumerate() {
            if let Some(times) = folder.before.as_ref().filter(|_| !taken.contains(&place)) {
                let given = folder.after.as_ref().map(|after| after.modified);
                self.give_times(folder, times, |now| folder.written || Some(now) == given)?;
            }
        }
        Ok(())
    }

    fn revert_one(&self, number: usize, step: &Step, back: &mut Files<Back>) -> Result<()> {
        // Its folder may be gone, or never have been made.
        let root = self.roots.of(step.layer)?;
        let Some(place) = Place::find(&root.host, &step.path)? else { return Ok(()) };
        match (&step.act, &step.old) {
            (Act::Move(moved), _) => {
                if moves::back(root, &place, step, moved)? {
                    log::warn(format!("of {:?} the box has what the host has put there, or removed", self.shown(step)));
                }
                Ok(())
            }
            (Act::Set(given), Some(old)) => {
                if place.stat()?.is_none() {
                    return Ok(());
                }
                let given = Attributes { inode: old.inode, ..given.clone() };
                if !old.give(place.folder.as_fd(), &place.name, Which::Old(&given))? {
                    log::warn(format!("{:?} stays as it is: the host has another file there", self.shown(step)));
                }
                Ok(())
            }
            (Act::Remove, Some(old)) if is_folder(old) => make_folder(&place, old),
            (Act::Remove | Act::Put | Act::Link(_) | Act::Name(_), Some(old)) => {
                let kept = self.kept(number)?;
                let file = (step.layer, old.inode);
                let inode = match still(&place, old, &kept)? {
                    Some(inode) => inode,
                    None => self.bring_back(&kept, old, back.get(&file).copied(), &place)?,
                };
                back.insert(file, (number, inode));
                Ok(())
            }
            (Act::Put | Act::Link(_) | Act::Name(_), None) => copy::remove_file(&place.folder, &place.name),
            (Act::MakeFolder(_), _) => match rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::REMOVEDIR) {
                // Where a file was before, it is there again.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    log::warn(format!("{:?} stays: the host has put something into it", self.shown(step)));
                    Ok(())
                }
                Err(errno) => Err(errno).context(|| "rmdir"),
            },
            (Act::Remove | Act::Set(_), None) => Ok(()),
        }
    }

    /// Puts what was kept in its old place and gives its inode there; `first`: another name of the same file that is there
    /// already.
    fn bring_back(&self, kept: &Place, old: &Attributes, first: Option<Back>, to: &Place) -> Result<u64> {
        match copy::link(kept, to, &self.next) {
            Err(errno) if needs_copy(errno) => {}
            other => return other.context(|| "link").map(|()| old.inode),
        }
        if let Some((first, inode)) = first {
            let file = Attributes { inode, ..old.clone() };
            let first = self.host(&self.journal.steps[first])?;
            match copy::link_same(&first, (&file, &file), to, &self.next) {
                Ok(()) => return Ok(inode),
                Err(error) => log::warn(format!("{:?} comes back as a file of its own: {error}", to.name)),
            }
        }
        copy::put(kept, Side::Host, to, &self.next).map(|file| file.st_ino)
    }

    /// Waits until the host's part of it is on the disk.
    pub(super) fn write_out(&self) -> Result<()> {
        for layer in self.journal.layers() {
            let root = self.roots.of(layer)?;
            disk::filesystem(&root.host).context(|| format!("{:?}", root.mount))?;
        }
        Ok(())
    }

    /// Where `wanted` says so of the time that it has.
    fn give_times(&self, folder: &Folder, times: &Attributes, wanted: impl Fn((i64, u32)) -> bool) -> Result<()> {
        let Some(place) = Place::find(&self.roots.of(folder.layer)?.host, &folder.path)? else { return Ok(()) };
        match place.stat()? {
            Some(stat)
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                    && wanted((stat.st_mtime, stat.st_mtime_nsec as u32)) =>
            {
                match times.give_times(place.folder.as_fd(), &place.name) {
                    // Somebody else's, such as /tmp: an ordinary user may make files in it, not set its times.
                    Err(error) if error.errno() == Some(Errno::PERM) => Ok(()),
                    other => other,
                }
            }
            _ => Ok(()),
        }
    }

    /// A folder of this name may be another one by now.
    fn note_folder(&self, step: &Step) -> Result<()> {
        if matches!(step.act, Act::MakeFolder(_)) || step.old.as_ref().is_some_and(is_folder) {
            self.roots.of(step.layer)?.host.folders_changed();
        }
        Ok(())
    }

    fn host(&self, step: &Step) -> Result<Place> {
        Place::open(&self.roots.of(step.layer)?.host, &step.path)
    }

    fn kept(&self, number: usize) -> Result<Place> {
        Ok(Place { folder: Rc::clone(&self.backup), name: numbered(number)? })
    }

    fn shown(&self, step: &Step) -> std::path::PathBuf {
        self.roots.shown(step.layer, &step.path)
    }
}

/// What belongs to the step of a number is called so, in a folder of the commit's own.
pub(super) fn numbered(number: usize) -> Result<CString> {
    CString::new(number.to_string()).map_err(|_| Error::new("a number holds no NUL"))
}

/// What the layer's file has, which the host's gets.
fn own_attributes(root: &Root, path: &Path) -> Result<Attributes> {
    let upper = root.upper.as_ref().ok_or_else(|| Error::new("the layer is gone"))?;
    let found = Place::open(upper, path)?.stat()?;
    let found = found.ok_or(Errno::NOENT).context(|| format!("look at the layer's {path:?}"))?;
    Ok(Attributes::without_xattrs(&found))
}

/// Makes a folder. Nothing is put into it before it has its attributes: one that is there, and not empty, has them.
fn make_folder(place: &Place, attributes: &Attributes) -> Result<()> {
    match rustix::fs::mkdirat(&place.folder, &place.name, Mode::from(0o700)) {
        Ok(()) | Err(Errno::EXIST) => attributes.give(place.folder.as_fd(), &place.name, Which::New).map(drop),
        Err(errno) => Err(errno).context(|| "mkdir"),
    }
}

/// Removes what the host had. What is a folder where that was none, or the other way round, was put there afterwards: it may
/// be the only one of its content.
fn remove(place: &Place, old: Option<&Attributes>) -> Result<()> {
    let Some(stat) = place.stat()? else { return Ok(()) };
    let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if old.is_some_and(|old| is_folder(old) != there) {
        return Ok(());
    }
    let flags = if there { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    rustix::fs::unlinkat(&place.folder, &place.name, flags).context(|| "remove")
}
