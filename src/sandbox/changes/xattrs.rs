//! Extended attributes, as a program inside sees them.
//!
//! overlayfs keeps notes of its own in attributes of a layer that begin with `trusted.overlay.`, or with `user.overlay.`
//! where an ordinary user made it ([`Notes`]), hides them, and stores what a program calls so under the same name with
//! `overlay.` once more. So nothing that a program writes can look like such a note.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::sys::handle::FileHandle;

/// Names and values.
pub type Xattrs = Vec<(CString, Vec<u8>)>;

/// Where overlayfs keeps its notes in the layers of a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notes {
    /// In attributes that root of the first user namespace alone may read.
    #[default]
    Trusted,
    /// In those that everybody may have: what an ordinary user mounts knows no others.
    User,
}

impl Notes {
    /// How all of them begin.
    fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }

    /// Whether overlayfs would take the attribute for a note of its own.
    pub fn has(self, name: &CStr) -> bool {
        name.to_bytes().starts_with(self.prefix().as_bytes())
    }

    /// The name that a program inside sees; `None` for a note.
    fn seen_inside(self, name: &CStr) -> Option<CString> {
        let own = self.prefix().as_bytes();
        match name.to_bytes().strip_prefix(own).map(|rest| rest.strip_prefix(b"overlay.")) {
            None => Some(name.to_owned()),
            Some(None) => None,
            Some(Some(rest)) => CString::new([own, rest].concat()).ok(),
        }
    }

    /// One of them, of a file that is there.
    fn read(self, folder: BorrowedFd<'_>, file: &CStr, note: &str) -> Result<Option<Vec<u8>>, Errno> {
        let name = CString::new(format!("{}{note}", self.prefix())).map_err(|_| Errno::INVAL)?;
        At::name(folder, file).value(&name)
    }
}

/// Whether an open file has any; where that cannot be told, it may have some.
pub fn any(file: BorrowedFd<'_>) -> bool {
    !matches!(rustix::fs::flistxattr_query(file), Ok(0) | Err(Errno::OPNOTSUPP))
}

/// Those of a file of the host, sorted. No link is followed; `name` is one component.
///
/// # Errors
/// Where they cannot be read.
pub fn of_host(folder: BorrowedFd<'_>, name: &CStr) -> Result<Xattrs> {
    read(folder, name, |name| Some(name.to_owned()))
}

/// Those of a file that is open, as the host has them, sorted.
///
/// # Errors
/// Where they cannot be read.
pub fn of_open(file: BorrowedFd<'_>) -> Result<Xattrs> {
    At::open(file).read(|name| Some(name.to_owned())).context(|| "read the extended attributes")
}

/// Those of a file that is open for reading; of a layer's, where overlayfs has its notes, as a program inside sees them.
///
/// # Errors
/// Where they cannot be read.
pub fn of_file(notes: Option<Notes>, file: BorrowedFd<'_>) -> Result<Xattrs> {
    let seen = |name: &CStr| match notes {
        Some(notes) => notes.seen_inside(name),
        None => Some(name.to_owned()),
    };
    At::File(file).read(seen).context(|| "read the extended attributes")
}

/// Those of a file of a layer, as a program inside sees them, sorted.
///
/// # Errors
/// Where they cannot be read.
pub fn of_layer(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<Xattrs> {
    read(folder, name, |name| notes.seen_inside(name))
}

/// The notes of overlayfs on a file of a layer that is open for reading, and what programs inside have given a name like
/// one: all that the layer's file has and the host's must not have.
///
/// # Errors
/// Where they cannot be read.
pub fn notes_of(notes: Notes, file: BorrowedFd<'_>) -> Result<Xattrs> {
    let noted = |name: &CStr| notes.has(name).then(|| name.to_owned());
    At::File(file).read(noted).context(|| "read the extended attributes")
}

/// Gives a file of a layer a note, or takes it away.
///
/// # Errors
/// Where that cannot be done.
pub fn put_note(folder: BorrowedFd<'_>, file: &CStr, name: &CStr, value: Option<&[u8]>) -> Result<()> {
    let path = path(folder, file);
    let done = match value {
        Some(value) => rustix::fs::lsetxattr(&path[..], name, value, XattrFlags::empty()),
        None => rustix::fs::lremovexattr(&path[..], name),
    };
    match done {
        Err(Errno::NODATA) => Ok(()),
        other => other.context(|| format!("write the note of {file:?}")),
    }
}

/// Whether a folder of a layer hides all that is below it in the host.
///
/// # Errors
/// Where that cannot be read.
pub fn is_opaque(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    let value = notes.read(folder, name, "opaque").context(|| format!("read the note of {name:?}"))?;
    Ok(value.is_some_and(|value| value == b"y"))
}

/// Whether an empty file of a layer says that the host's is gone. The kernel itself writes a device for that; this is the
/// form of those who may make none.
///
/// # Errors
/// Where that cannot be read.
pub fn is_whiteout(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    let value = notes.read(folder, name, "whiteout").context(|| format!("read the note of {name:?}"))?;
    Ok(value.is_some())
}

/// Whether a file of a layer began as a copy of the host's: overlayfs notes of which.
///
/// # Errors
/// Where that cannot be read.
pub fn is_copy(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    Ok(note_of_origin(notes, folder, name)?.is_some_and(|value| !value.is_empty()))
}

/// Of which file of the host a layer's is a copy; `None` where it is none, or the host's filesystem has no handles.
///
/// # Errors
/// Where that cannot be read.
pub fn origin(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<FileHandle>> {
    Ok(note_of_origin(notes, folder, name)?.as_deref().and_then(handle_in))
}

fn note_of_origin(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<Vec<u8>>> {
    let value = notes.read(folder, name, "origin").or_else(|errno| match errno {
        Errno::NOENT => Ok(None),
        other => Err(other),
    });
    value.context(|| format!("read the note of {name:?}"))
}

/// The handle in a note of overlayfs: version, a magic byte, the length, flags, the handle's kind, the filesystem's 16
/// bytes, then the handle's own.
fn handle_in(note: &[u8]) -> Option<FileHandle> {
    const MAGIC: u8 = 0xfb;
    let [0, MAGIC, length, _, kind, rest @ ..] = note else { return None };
    let bytes = rest.get(16..)?.to_vec();
    (usize::from(*length) == note.len()).then_some(FileHandle { kind: *kind, bytes })
}

/// What a layer's folder has from the host's.
///
/// An overlay shows mode and owner of its own folder, whatever the host's has by now. Only a note of what they were tells
/// which of the two was given others since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

/// Where it is noted: overlayfs hides its notes from programs, and does not look at those that it does not know.
const INHERITED: &str = "myrt";

impl Inherited {
    /// What a folder has.
    pub fn of(stat: &Stat) -> Self {
        Self { mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid) }
    }

    fn text(self) -> String {
        format!("{:o} {} {}", self.mode, self.owner.0, self.owner.1)
    }

    fn parse(note: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(note).ok()?.split(' ');
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let mut number = || words.next()?.parse().ok();
        Some(Self { mode, owner: (number()?, number()?) })
    }

    /// What is noted of a folder of a layer, if anything.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn read(notes: Notes, folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<Self>> {
        let note = notes.read(folder, name, INHERITED).context(|| format!("read the note of {name:?}"))?;
        Ok(note.as_deref().and_then(Self::parse))
    }

    /// Notes it of a folder that is open for reading.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn note(self, notes: Notes, folder: BorrowedFd<'_>) -> Result<()> {
        let name = format!("{}{INHERITED}", notes.prefix());
        match rustix::fs::fsetxattr(folder, name, self.text().as_bytes(), XattrFlags::empty()) {
            // A filesystem without attributes: an overlay without notes can be had there, by the kernel as well.
            Err(Errno::OPNOTSUPP) => Ok(()),
            other => other.context(|| "note what the host's folder has"),
        }
    }
}

/// How the calls reach a file.
enum At<'a> {
    /// By this path; whether what comes last is followed, which a link of procfs has to be.
    Path { path: Vec<u8>, follow: bool },
    /// It is open for reading.
    File(BorrowedFd<'a>),
}

impl At<'_> {
    /// A name in a folder. Links are read themselves: what comes last is not followed, and procfs leads to an open folder.
    fn name(folder: BorrowedFd<'_>, name: &CStr) -> Self {
        Self::Path { path: path(folder, name), follow: false }
    }

    /// What is open, a link as well.
    fn open(file: BorrowedFd<'_>) -> Self {
        Self::Path { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes(), follow: true }
    }

    fn names(&self) -> Result<Vec<CString>, Errno> {
        let call = |list: &mut [u8]| match self {
            Self::Path { path, follow: true } => rustix::fs::listxattr(&path[..], list),
            Self::Path { path, follow: false } => rustix::fs::llistxattr(&path[..], list),
            Self::File(file) => rustix::fs::flistxattr(file, list),
        };
        let list = match grown(256, call) {
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok());
        Ok(names.map(CStr::to_owned).collect())
    }

    /// `None`: there is none of that name.
    fn value(&self, name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
        let call = |value: &mut [u8]| match self {
            Self::Path { path, follow: true } => rustix::fs::getxattr(&path[..], name, value),
            Self::Path { path, follow: false } => rustix::fs::lgetxattr(&path[..], name, value),
            Self::File(file) => rustix::fs::fgetxattr(file, name, value),
        };
        match grown(256, call) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            other => other.map(Some),
        }
    }

    /// All of them, sorted; `seen`: what one is called in the answer, if it is in it.
    fn read(&self, seen: impl Fn(&CStr) -> Option<CString>) -> Result<Xattrs, Errno> {
        let mut all = Vec::new();
        for name in self.names()? {
            let Some(shown) = seen(&name) else { continue };
            // It may have gone in between.
            let value = self.value(&name)?;
            all.extend(value.map(|value| (shown, value)));
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// A name in an open folder, for the calls that take none.
fn path(folder: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), name.to_bytes()].concat()
}

/// What a call writes into a buffer, which grows until it suffices. Nothing is larger than 64 KiB.
fn grown(size: usize, call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; size];
    loop {
        match call(&mut buffer) {
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            other => {
                buffer.truncate(other?);
                return Ok(buffer);
            }
        }
    }
}

fn read(folder: BorrowedFd<'_>, name: &CStr, seen: impl Fn(&CStr) -> Option<CString>) -> Result<Xattrs> {
    At::name(folder, name).read(seen).context(|| format!("read the extended attributes of {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inherited_is_read_as_it_was_written() {
        let inherited = Inherited { mode: 0o1755, owner: (0, u32::MAX - 1) };
        assert_eq!(Inherited::parse(inherited.text().as_bytes()), Some(inherited));
        for other in ["", "755", "755 0", "x 0 0", "755 -1 0", "\u{fffd}"] {
            assert_eq!(Inherited::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_programs_own_attributes_are_told_from_notes() {
        let seen = |notes: Notes, name: &str| {
            notes.seen_inside(&CString::new(name).unwrap()).map(|name| name.into_string().unwrap())
        };
        for (notes, own, other) in [(Notes::Trusted, "trusted", "user"), (Notes::User, "user", "trusted")] {
            assert_eq!(seen(notes, "user.x").as_deref(), Some("user.x"));
            assert_eq!(seen(notes, &format!("{own}.overlay.opaque")), None);
            let escaped = format!("{own}.overlay.overlay.opaque");
            assert_eq!(seen(notes, &escaped), Some(format!("{own}.overlay.opaque")));
            let twice = format!("{own}.overlay.overlay.overlay.x");
            assert_eq!(seen(notes, &twice), Some(format!("{own}.overlay.overlay.x")));
            let foreign = format!("{other}.overlay.opaque");
            assert_eq!(seen(notes, &foreign), Some(foreign.clone()));
        }
    }
}
