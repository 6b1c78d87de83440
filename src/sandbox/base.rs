//! What the host had where a box changed something, at the time when the box saw it: a later commit compares.
//!
//! Noted after a run, for each path that it was the first to change, but for those below a folder that the host does not
//! have: there it has nothing either, and a program may make such trees larger than anything that could be written down.
//! What the host changed while that run went on is noted as such, since nobody can tell which of the two the program saw.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Bound;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

use super::changes::xattrs::{self, Inherited};
use super::changes::{self, Aspect, Change, FileKind, Kind};
use super::roots::{self, Root, Roots};
use super::store::Box;
use super::text;
use super::tree::{self, Place};
use crate::error::{Context, Result};
use crate::sys::handle::{self, FileHandle};

/// The file in a box's folder.
pub(super) const FILE: &str = "base.json";

/// The file that is there as long as the changes of a run are not noted: when that began, seconds and nanoseconds.
const UNSETTLED: &str = "unsettled";

/// A time of the kernel's clock for files.
pub(super) type Clock = (i64, u32);

/// The time that a file gets that is changed now.
fn now() -> Clock {
    let time = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    (time.tv_sec, time.tv_nsec as u32)
}

/// What the host had at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Seen {
    /// Nothing.
    Nothing,
    /// A file, link or device. Whatever is done to it, its inode or its time of change is another one.
    File {
        /// Its number.
        inode: u64,
        /// When it was changed last.
        changed: Clock,
    },
    /// A folder that goes on; its entries are paths of their own.
    Folder {
        /// Its number.
        inode: u64,
        /// With its kind.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A folder that is to go, with all in it.
    Tree(u64),
    /// The host changed it while the program ran.
    Moving,
}

impl Seen {
    /// A file that was looked at.
    pub(super) fn file(stat: &Stat) -> Self {
        Self::File { inode: stat.st_ino, changed: changed(stat) }
    }

    /// A folder that goes on, with this mode and owner.
    fn folder(stat: &Stat, has: Inherited) -> Self {
        Self::Folder { inode: stat.st_ino, mode: stat.st_mode & !0o7777 | has.mode, owner: has.owner }
    }
}

/// Of each changed path, what was seen. By the bytes of the path: comparing names one by one takes much longer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Base(BTreeMap<OsString, Seen>);

#[derive(Serialize, Deserialize)]
struct Line(#[serde(with = "text::as_text")] PathBuf, Seen);

impl Base {
    /// Reads what was noted.
    ///
    /// # Errors
    /// Where the file is broken.
    pub(super) fn read(held: &Box) -> Result<Self> {
        Self::read_from(held, FILE)
    }

    /// Reads it from another file of the box.
    ///
    /// # Errors
    /// Where the file is broken.
    pub(super) fn read_from(held: &Box, file: &str) -> Result<Self> {
        let lines: Vec<Line> = held.read_file(file)?.unwrap_or_default();
        Ok(Self(lines.into_iter().map(|Line(path, seen)| (path.into_os_string(), seen)).collect()))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn write(&self, held: &Box) -> Result<()> {
        let lines = self.0.iter().map(|(path, seen)| Line(path.into(), seen.clone()));
        held.write_file(FILE, &lines.collect::<Vec<_>>())
    }

    /// Forgets these paths: they are noted anew, as they are then.
    pub(super) fn forget<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) {
        for path in paths {
            self.0.remove(path.as_os_str());
        }
    }

    /// What was seen at a path.
    pub(super) fn of(&self, path: &Path) -> Option<&Seen> {
        self.0.get(path.as_os_str()).or_else(|| self.around(path))
    }

    /// What a path had below one that was no folder.
    fn around(&self, path: &Path) -> Option<&Seen> {
        if self.0.is_empty() {
            return None;
        }
        let nearest = path.ancestors().skip(1).find_map(|folder| self.0.get(folder.as_os_str()));
        matches!(nearest, Some(Seen::Nothing | Seen::File { .. })).then_some(&Seen::Nothing)
    }

    /// What was noted below a folder, but for nothing.
    fn below<'a>(&'a self, folder: &Path) -> impl Iterator<Item = (&'a OsString, &'a Seen)> {
        let first = [folder.as_os_str().as_bytes(), b"/"].concat();
        let from = (Bound::Included(OsString::from_vec(first.clone())), Bound::Unbounded);
        let within = self.0.range(from).take_while(move |(path, _)| path.as_bytes().starts_with(&first));
        within.filter(|(_, seen)| **seen != Seen::Nothing)
    }

    /// Notes the changes that are not noted yet and forgets those that are none any more. `since`: when the run began that
    /// made them.
    ///
    /// # Errors
    /// Where the host cannot be looked at.
    pub(super) fn note(&mut self, held: &Box, changes: &[Change], since: Option<Clock>) -> Result<()> {
        if changes.is_empty() && self.0.is_empty() {
            return Ok(());
        }
        let roots = roots::of(held)?;
        let unseen = self.unseen(&roots, changes)?;
        let run = since.map(|since| Run { since, roots: &roots, changes, removed: OnceCell::new() });
        let mut next = BTreeMap::new();
        // Of what is not mounted nothing can be said: its notes stay.
        for place in roots.unmounted() {
            let of_it = |path: &OsString| held.record.layer_of(Path::new(path)) == Some(place);
            next.extend(self.0.iter().filter(|(path, _)| of_it(path)).map(|(path, seen)| (path.clone(), seen.clone())));
        }
        let mut new_folder: Option<&Path> = None;
        for change in changes {
            if new_folder.is_some_and(|folder| change.path.starts_with(folder)) {
                continue;
            }
            if change.is_new_folder() {
                new_folder = Some(&change.path);
                next.extend(self.below(&change.path).map(|(path, seen)| (path.clone(), seen.clone())));
            }
            let root = roots.of(change.layer)?;
            let seen = match self.of(&change.path).cloned() {
                Some(seen) => carried(root, change, seen, run.as_ref()),
                None if unseen.iter().any(|folder| change.path.starts_with(folder)) => Ok(Seen::Moving),
                None => look(root, change, run.as_ref()),
            };
            let seen = seen.context(|| format!("note what the host has at {:?}", change.path))?;
            next.insert(change.path.clone().into_os_string(), seen);
        }
        self.0 = next;
        Ok(())
    }

    /// Folders that went, are there again, and of which the host has something else by now than what went: the new one covers
    /// it, so that no program has seen it.
    fn unseen(&self, roots: &Roots, changes: &[Change]) -> Result<Vec<PathBuf>> {
        let mut unseen = Vec::new();
        for (path, seen) in &self.0 {
            let Seen::Tree(digest) = seen else { continue };
            let path = Path::new(path);
            let gone =
                changes.binary_search_by(|change| change.path.as_path().cmp(path)).is_ok_and(|at| !stays(&changes[at]));
            let Some(root) = roots.around(path).filter(|_| !gone) else { continue };
            let inner = root.inner(path);
            if now_at(root, inner)?.is_some() && tree_digest(root, inner)?.0 != *digest {
                unseen.push(path.to_owned());
            }
        }
        Ok(unseen)
    }
}

/// Whether the host has something else now than was seen.
///
/// # Errors
/// Where it cannot be looked at.
pub(super) fn differs(root: &Root, change: &Change, seen: Option<&Seen>) -> Result<bool> {
    Ok(match seen {
        None | Some(Seen::Moving) => true,
        Some(seen) => look(root, change, None)? != *seen,
    })
}

/// `run`: of which it is a change that is noted for the first time.
fn look(root: &Root, change: &Change, run: Option<&Run<'_>>) -> Result<Seen> {
    let inner = root.inner(&change.path);
    let moved = |time: Clock| run.is_some_and(|run| run.moved(time));
    let nothing = || match run.map(|run| gone_meanwhile(root, change, inner, run)).transpose()? {
        Some(true) => Ok(Seen::Moving),
        Some(false) | None => Ok(Seen::Nothing),
    };
    let Some(place) = Place::find(&root.host, inner)? else { return nothing() };
    let Some(stat) = place.stat()? else { return nothing() };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let seen = Seen::file(&stat);
        return Ok(if moved(changed(&stat)) { Seen::Moving } else { seen });
    }
    if stays(change) {
        return match run {
            Some(_) => saw(root, change, inner, &stat, moved(changed(&stat))),
            None => Ok(Seen::folder(&stat, Inherited::of(&stat))),
        };
    }
    let (digest, latest) = tree_digest(root, inner)?;
    Ok(if moved(latest) { Seen::Moving } else { Seen::Tree(digest) })
}

/// Of a folder that goes on, what the run saw: an overlay goes on showing what it showed first. `moved`: the host may have
/// changed it meanwhile.
fn saw(root: &Root, change: &Change, inner: &Path, stat: &Stat, moved: bool) -> Result<Seen> {
    let upper = root.upper.as_ref().map(|upper| Place::find(upper, inner)).transpose()?.flatten();
    let noted = match upper {
        Some(place) => Inherited::read(root.notes, place.folder.as_fd(), &place.name)?,
        None => None,
    };
    let has = |aspect| change.aspects.contains(&aspect);
    let unknown = has(Aspect::Xattr) || noted.is_none() && (has(Aspect::Mode) || has(Aspect::Owner));
    Ok(match moved && unknown {
        true => Seen::Moving,
        false => Seen::folder(stat, noted.unwrap_or(Inherited::of(stat))),
    })
}

/// Whether a folder of the host goes on.
fn stays(change: &Change) -> bool {
    change.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
}

/// What an earlier run saw, in the form that goes with the change as it is now: a folder that went on may go by now with all
/// in it, which the later run saw, and one that went may be there again. Only where the host still has what was seen.
fn carried(root: &Root, change: &Change, seen: Seen, run: Option<&Run<'_>>) -> Result<Seen> {
    let inner = root.inner(&change.path);
    let same = match &seen {
        Seen::Folder { .. } if !stays(change) => now_at(root, inner)?.as_ref() == Some(&seen),
        Seen::Tree(digest) if stays(change) => tree_digest(root, inner)?.0 == *digest,
        _ => false,
    };
    if same { look(root, change, run) } else { Ok(seen) }
}

/// A digest of a folder and all in it, and the latest time at which anything of that changed.
fn tree_digest(root: &Root, inner: &Path) -> Result<(u64, Clock)> {
    let mut digest = DefaultHasher::new();
    let mut latest = Clock::default();
    tree::visit(&root.host, inner, &mut |path, stat| {
        digest.write(path.as_os_str().as_encoded_bytes());
        let (seconds, nanoseconds) = changed(stat);
        digest.write_u64(stat.st_ino);
        digest.write_i64(seconds);
        digest.write_u32(nanoseconds);
        latest = latest.max((seconds, nanoseconds));
        Ok(())
    })?;
    Ok((digest.finish(), latest))
}

/// What the host has at a path, of a folder its identity alone; `None`: nothing.
///
/// # Errors
/// Where it cannot be looked at.
pub(super) fn now_at(root: &Root, inner: &Path) -> Result<Option<Seen>> {
    let Some(place) = Place::find(&root.host, inner)? else { return Ok(None) };
    let stat = place.stat()?;
    Ok(stat.map(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Seen::folder(&stat, Inherited::of(&stat)),
        _ => Seen::file(&stat),
    }))
}

/// Whether the host had a file there that the box copied, and has removed it since: the layer's copy says that there was
/// one, and the folder says that something went.
fn gone_meanwhile(root: &Root, change: &Change, inner: &Path, run: &Run<'_>) -> Result<bool> {
    let Some(upper) = &root.upper else { return Ok(false) };
    let folder = inner.parent().and_then(|parent| root.host.folder(parent).ok());
    let time = folder.map(rustix::fs::fstat).transpose().context(|| "stat")?.map(|stat| changed(&stat));
    if !time.is_none_or(|time| run.moved(time)) {
        return Ok(false);
    }
    let Some(place) = Place::find(upper, inner)? else { return Ok(false) };
    if !xattrs::is_copy(root.notes, place.folder.as_fd(), &place.name)? {
        return Ok(false);
    }
    // A program may have moved it here, or made a further name of it: it is a copy of what the host has elsewhere.
    match xattrs::origin(root.notes, place.folder.as_fd(), &place.name)? {
        Some(origin) if change.several_names => Ok(!is_there(root, &origin)?),
        Some(origin) => Ok(!run.removed()?.contains(&(change.layer, origin))),
        None => Ok(true),
    }
}

/// Whether the host has a file of this handle. Where it cannot be asked it is taken to have none.
fn is_there(root: &Root, file: &FileHandle) -> Result<bool> {
    let top = root.host.folder(Path::new("")).context(|| "open the folder of the host")?;
    let found = handle::open(&top, file).and_then(rustix::fs::fstat);
    Ok(found.is_ok_and(|found| found.st_nlink > 0))
}

/// A run whose changes are noted.
struct Run<'a> {
    /// When it began.
    since: Clock,
    roots: &'a Roots,
    changes: &'a [Change],
    removed: OnceCell<HashSet<(usize, FileHandle)>>,
}

impl Run<'_> {
    /// Whether what changed at this time has changed since the run began.
    fn moved(&self, time: Clock) -> bool {
        time >= self.since
    }

    /// The files that the host still has where the box has removed them, by their layers.
    fn removed(&self) -> Result<&HashSet<(usize, FileHandle)>> {
        if let Some(known) = self.removed.get() {
            return Ok(known);
        }
        let mut removed = HashSet::new();
        for change in self.changes.iter().filter(|change| change.kind == Kind::Deleted) {
            let root = self.roots.of(change.layer)?;
            let place = Place::find(&root.host, root.inner(&change.path))?;
            // What has no handle is nobody's origin.
            let handle = place.and_then(|place| handle::of(&place.folder, &place.name).ok());
            removed.extend(handle.map(|handle| (change.layer, handle)));
        }
        Ok(self.removed.get_or_init(|| removed))
    }
}

/// When a file changed last.
pub(super) fn changed(stat: &Stat) -> Clock {
    (stat.st_ctime, stat.st_ctime_nsec as u32)
}

/// Notes that a run begins: what it changes is noted by [`settle`].
///
/// # Errors
/// Where it cannot be written.
pub(super) fn unsettle(held: &Box) -> Result<()> {
    let what = || format!("note that a run of the box {} begins", held.name());
    // One that is there is of an earlier run, whose changes are to be noted as well.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(held, UNSETTLED, flags, Mode::from(0o600)) {
        Ok(file) => {
            let (seconds, nanoseconds) = now();
            rustix::io::write(&file, format!("{seconds} {nanoseconds}").as_bytes()).map(drop).context(what)
        }
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context(what),
    }
}

/// Notes what the last run changed, where that has not been done yet.
///
/// # Errors
/// Where layers or host cannot be read.
pub(super) fn settle(held: &Box) -> Result<()> {
    let Some(since) = unsettled(held)? else { return Ok(()) };
    let changes = changes::noted(held)?;
    let mut base = Base::read(held)?;
    let before = base.clone();
    base.note(held, &changes, Some(since))?;
    // A run that changed nothing does not wait for the disk.
    if base != before {
        base.write(held)?;
    }
    settled(held)
}

/// When the run began whose changes are not noted. Of a note that did not reach the disk only that much is known: all that the
/// host ever changed was perhaps changed since.
fn unsettled(held: &Box) -> Result<Option<Clock>> {
    let Some(text) = held.read_text(UNSETTLED)? else { return Ok(None) };
    let numbers = std::str::from_utf8(&text).ok().and_then(|text| text.split_once(' '));
    let clock = numbers.and_then(|(seconds, rest)| Some((seconds.parse().ok()?, rest.parse().ok()?)));
    Ok(Some(clock.unwrap_or_default()))
}

/// Likewise, where all is noted that is to be: a run has changed nothing, or its changes are gone.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn settled(held: &Box) -> Result<()> {
    match rustix::fs::unlinkat(held, UNSETTLED, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("note what the box {} has changed", held.name())),
    }
}
