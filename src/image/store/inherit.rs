//! Folders that a layer uses and does not name: they are what the layers below say. overlayfs takes owner, mode, attributes and
//! time of the uppermost layer that has a folder, so a bundle's upper folder gets those that come from further below.
//!
//! Layers are shared, and what is below them differs from image to image: nothing of it can be written into a layer itself.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::image::name::join;
use crate::image::tree::{self, Implied, is_kept, path};

/// A layer of an image.
pub(super) struct Below {
    /// Where it is.
    pub(super) folder: PathBuf,
    /// Whether one above hides all that is in it.
    pub(super) is_hidden: bool,
    root: OwnedFd,
    implied: Implied,
}

/// What a layer has at a path.
enum Found {
    Nothing,
    /// Neither it nor the layers below have anything.
    Hidden,
    Folder(OwnedFd),
    /// Something that is no folder.
    Other,
}

/// What a path is in all layers together.
enum Meaning {
    /// A folder, of which this one says what it is like.
    Folder(OwnedFd),
    /// Marks are all that there is.
    Ghost,
    Nothing,
}

impl Below {
    /// Opens a layer.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn new(folder: PathBuf, implied: Implied, is_hidden: bool) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&folder, flags, Mode::empty()).context(|| format!("open {folder:?}"))?;
        Ok(Self { folder, is_hidden, root, implied })
    }

    /// Whether nothing is seen of the layers below. The kernel does not look for this mark on the root of a layer.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub(super) fn hides_those_below(&self) -> Result<bool> {
        Ok(self.is_hidden || is_opaque(&self.root)?)
    }

    /// Follows no link: where a layer has one, overlayfs does not look below it for this path.
    fn look(&self, at: &[u8]) -> Result<Found> {
        let what = || format!("look for {:?} in {:?}", String::from_utf8_lossy(at), self.folder);
        let mut here = open(&self.root, Path::new(".")).context(what)?;
        let mut rest = at.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = rest.next() {
            match open(&here, path(part)) {
                Ok(next) => here = next,
                Err(Errno::NOENT) if is_opaque(&here)? => return Ok(Found::Hidden),
                Err(Errno::NOENT) => return Ok(Found::Nothing),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let stat = rustix::fs::statat(&here, path(part), AtFlags::SYMLINK_NOFOLLOW).context(what)?;
                    let is_mark =
                        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
                    return Ok(if is_mark || rest.peek().is_some() { Found::Hidden } else { Found::Other });
                }
                Err(errno) => return Err(errno).context(what),
            }
        }
        Ok(Found::Folder(here))
    }
}

/// Gives the upper folder of a bundle what it takes to show these layers, the lowest first, as if they had been unpacked one
/// over the other.
///
/// # Errors
/// Where one layer writes through a link of another, which overlayfs cannot show; where something cannot be made.
pub(super) fn inherit(layers: &[Below], upper: &OwnedFd) -> Result<()> {
    let paths: BTreeSet<&[u8]> = layers.iter().flat_map(|layer| layer.implied.keys()).map(|path| &path[..]).collect();
    if paths.iter().map(|path| path.len()).sum::<usize>() > tree::MOST {
        return Err(
            Error::new("the layers use too many folders that they do not name").hint("`image unpack` takes them")
        );
    }
    let mut made = Vec::new();
    if let Meaning::Folder(root) = meaning(layers, b"")? {
        made.push((Vec::new(), dress(upper, &root).context(|| "the root folder")?));
    }
    // Parents come before what is in them.
    for at in paths.into_iter().filter(|path| !path.is_empty()) {
        let what = || format!("the folder {:?}", String::from_utf8_lossy(at));
        match meaning(layers, at).context(what)? {
            Meaning::Folder(_) => drop(ensure(layers, upper, at, &mut made).context(what)?),
            Meaning::Ghost => {
                let (above, last) = split(at);
                let Some(above) = ensure(layers, upper, above, &mut made).context(what)? else { continue };
                rustix::fs::mknodat(above, path(last), FileType::CharacterDevice, Mode::empty(), 0)
                    .context(|| "hide it")
                    .context(what)?;
            }
            Meaning::Nothing => {}
        }
    }
    // What was made in a folder has changed its time.
    for (at, time) in made.iter().rev() {
        let fd = if at.is_empty() { open(upper, Path::new(".")) } else { open(upper, path(at)) };
        let times = Timestamps { last_access: *time, last_modification: *time };
        fd.and_then(|fd| rustix::fs::futimens(fd, &times))
            .context(|| format!("set the time of {:?}", String::from_utf8_lossy(at)))?;
    }
    Ok(())
}

/// What the layers say of a folder, the uppermost first; those that use it without naming it say nothing.
fn meaning(layers: &[Below], at: &[u8]) -> Result<Meaning> {
    let (mut uppermost, mut is_used) = (None, at.is_empty());
    // The root folder itself stays what it is, whatever hides its content.
    for layer in layers.iter().rev().filter(|layer| !layer.is_hidden || at.is_empty()) {
        match (layer.look(at)?, layer.implied.get(at)) {
            (Found::Folder(folder), Some(for_marks)) => {
                is_used |= !for_marks;
                uppermost.get_or_insert(folder);
            }
            (Found::Folder(folder), None) => return Ok(Meaning::Folder(folder)),
            (Found::Other, _) if uppermost.is_some() => {
                return Err(Error::new("a layer writes into it, and in a layer below it is no folder")
                    .hint("if it is a link: `image unpack` follows it, overlayfs cannot"));
            }
            (Found::Hidden | Found::Other, _) => break,
            (Found::Nothing, _) => {}
        }
    }
    Ok(match uppermost {
        Some(folder) if is_used => Meaning::Folder(folder),
        Some(_) => Meaning::Ghost,
        None => Meaning::Nothing,
    })
}

/// The folder at this path in the upper one, made with those above where they are missing; nothing where a mark hides it.
fn ensure(
    layers: &[Below],
    upper: &OwnedFd,
    at: &[u8],
    made: &mut Vec<(Vec<u8>, Timespec)>,
) -> Result<Option<OwnedFd>> {
    let mut here = open(upper, Path::new(".")).context(|| "open it")?;
    let mut so_far = Vec::new();
    for part in at.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        so_far = join(&so_far, part);
        let is_new = match rustix::fs::mkdirat(&here, path(part), Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno).context(|| "make it"),
        };
        here = match open(&here, path(part)) {
            Err(Errno::NOTDIR) => return Ok(None),
            other => other.context(|| "open it")?,
        };
        if let (true, Meaning::Folder(like)) = (is_new, meaning(layers, &so_far)?) {
            made.push((so_far.clone(), dress(&here, &like)?));
        }
    }
    Ok(Some(here))
}

/// Gives a folder owner, mode and attributes of another one; gives the time that it is to have.
fn dress(folder: &OwnedFd, like: &OwnedFd) -> Result<Timespec> {
    let stat = rustix::fs::fstat(like).context(|| "stat")?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(folder, Some(owner.0), Some(owner.1)).context(|| "set the owner")?;
    rustix::fs::fchmod(folder, Mode::from_raw_mode(stat.st_mode)).context(|| "set the mode")?;
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(like, names.as_mut_slice()) {
        Err(Errno::NOTSUP) => 0,
        other => other.context(|| "list attributes")?,
    };
    let mut value = vec![0; 64 << 10];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_kept(name)) {
        rustix::fs::fgetxattr(like, path(name), value.as_mut_slice())
            .and_then(|length| rustix::fs::fsetxattr(folder, path(name), &value[..length], XattrFlags::empty()))
            .context(|| format!("set the attribute {:?}", String::from_utf8_lossy(name)))?;
    }
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ })
}

fn open(folder: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn is_opaque(folder: &OwnedFd) -> Result<bool> {
    match rustix::fs::fgetxattr(folder, tree::opaque_attribute(), &mut [0; 8][..]) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(errno).context(|| "look for the mark of an opaque folder"),
    }
}

/// The path of the folder above, and the last part.
fn split(at: &[u8]) -> (&[u8], &[u8]) {
    match at.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&at[..slash], &at[slash + 1..]),
        None => (b"", at),
    }
}
