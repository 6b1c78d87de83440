//! The layers of a box: for each filesystem of the host that it sees writable, one folder that takes the changes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::changes::xattrs::{self, Inherited, Notes};
use super::host::{self, HostMount, Top, Treatment};
use super::store::{self, Box, Layer};
use crate::error::{Context, Error, Result};
use crate::plan::{Above, Overlay};
use crate::sys::filesystem;

/// The folders of a layer.
pub(super) const UPPER: &str = "upper";
pub(super) const WORK: &str = "work";

/// The folder of a layer in that of a box or snapshot, by its place in the record.
pub(super) fn folder(top: &Path, place: usize) -> PathBuf {
    top.join(store::LAYERS).join(place.to_string())
}

/// The overlays for these mounts, with their layers made and remembered; where nothing can change, without one.
///
/// # Errors
/// Where a layer cannot be made, or belongs to another filesystem than the one that is mounted there now.
pub(super) fn overlays(held: &mut Box, mounts: &[HostMount]) -> Result<Vec<(PathBuf, Overlay)>> {
    let mut overlays = Vec::new();
    let before = held.record.layers.clone();
    for mount in mounts {
        let (read_only, has_layer) = match mount.treatment {
            Treatment::Overlay { read_only } => (read_only, true),
            Treatment::Unchanging => (true, false),
            Treatment::Bind | Treatment::Fresh => continue,
        };
        if mount.top() != Top::Folder {
            continue;
        }
        let above = match has_layer {
            true => {
                let place = place(held, &mount.path, mount)?;
                above(held, place)
            }
            false => Above::Nothing { empty: held.nothing()? },
        };
        let overlay = Overlay {
            lower: mount.path.clone(),
            above,
            user_notes: held.record.notes == Notes::User,
            attributes: attributes(mount, read_only),
            or_read_only: mount.path != Path::new("/"),
        };
        make(&overlay, &mount.path, held.record.notes).context(|| format!("the layer of {:?}", mount.path))?;
        overlays.push((mount.path.clone(), overlay));
    }
    if held.record.layers != before {
        held.save()?;
    }
    Ok(overlays)
}

/// The overlay for a folder somewhere on a mount, with its layer made; that is remembered once the caller saves the box.
/// `None` where the folder has gone meanwhile.
///
/// # Errors
/// As [`overlays`].
pub(super) fn of_place(held: &mut Box, path: &Path, lower: PathBuf, mount: &HostMount) -> Result<Option<Overlay>> {
    let before = held.record.layers.len();
    let place = place(held, path, mount)?;
    let overlay = Overlay {
        lower,
        above: above(held, place),
        user_notes: held.record.notes == Notes::User,
        attributes: attributes(mount, false),
        or_read_only: false,
    };
    match make(&overlay, path, held.record.notes) {
        Err(_) if !path.exists() => {
            held.record.layers.truncate(before);
            Ok(None)
        }
        other => other.context(|| format!("the layer of {path:?}")).map(|()| Some(overlay)),
    }
}

/// The number of the layer of `path`, found or made.
fn place(held: &mut Box, path: &Path, mount: &HostMount) -> Result<usize> {
    let layer = now(path, mount);
    match held.record.layers.iter().position(|known| known.path == path) {
        Some(place) if held.record.layers[place] == layer => Ok(place),
        Some(place) => {
            check_same(held, place, &layer)?;
            // Nothing is there that belongs to the one of before, or it is the same and better known.
            if held.is_unchanged(place) || layer.identity.is_some() {
                held.record.layers[place] = layer;
            }
            Ok(place)
        }
        None => {
            held.record.layers.push(layer);
            Ok(held.record.layers.len() - 1)
        }
    }
}

/// What is at a place of a mount now, as a layer notes it.
fn now(path: &Path, mount: &HostMount) -> Layer {
    let inner = path.strip_prefix(&mount.path).unwrap_or(path);
    let root = if inner.as_os_str().is_empty() { mount.root.clone() } else { mount.root.join(inner) };
    Layer { path: path.to_owned(), root, kind: mount.kind.clone(), identity: identity(path, &mount.kind) }
}

/// Filesystems that are the same ones after a reboot.
const DISKS: [&str; 12] =
    ["bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "vfat", "xfs"];

/// Those of them whose number in statfs(2) is made of the one that they were given when they were made.
const NUMBERED: [&str; 5] = ["btrfs", "ext2", "ext3", "ext4", "f2fs"];

/// Which filesystem of its type it is, in one of two forms. What lives in memory is a new one after each reboot, and nobody's
/// mistake; an overlay has no number of its own that stays.
fn identity(path: &Path, kind: &str) -> Option<String> {
    if !DISKS.contains(&kind) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    match filesystem::uuid(&folder) {
        Ok(bytes) if bytes.iter().any(|byte| *byte != 0) => {
            Some(bytes.iter().fold("uuid:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
        }
        _ if NUMBERED.contains(&kind) => {
            rustix::fs::fstatvfs(&folder).ok().map(|found| format!("number:{:x}", found.f_fsid))
        }
        _ => None,
    }
}

fn above(held: &Box, place: usize) -> Above {
    let folder = held.layer_folder(place);
    Above::Layer { upper: folder.join(UPPER), work: folder.join(WORK) }
}

/// A box that changed a disk's files must not lay these changes over another disk's.
fn check_same(held: &Box, place: usize, now: &Layer) -> Result<()> {
    let layer = &held.record.layers[place];
    if is_same(layer, now) || held.is_unchanged(place) {
        return Ok(());
    }
    let other = if (&layer.kind, &layer.root) == (&now.kind, &now.root) { "another " } else { "" };
    Err(Error::new(format!(
        "the box {} has changes of {:?} on {}, but now {other}{} is mounted there",
        held.name(),
        layer.path,
        layer.kind,
        now.kind
    ))
    .hint("mount the other filesystem again, or discard the box"))
}

fn is_same(one: &Layer, other: &Layer) -> bool {
    (&one.kind, &one.root) == (&other.kind, &other.root) && !are_told_apart(&one.identity, &other.identity)
}

/// Whether two are known, in one form, and differ: a newer kernel may tell it in another form.
fn are_told_apart(one: &Option<String>, other: &Option<String>) -> bool {
    let parts = |known: &'_ Option<String>| {
        let (form, number) = known.as_deref()?.split_once(':')?;
        Some((form.to_owned(), number.to_owned()))
    };
    matches!((parts(one), parts(other)), (Some(one), Some(other)) if one.0 == other.0 && one.1 != other.1)
}

/// The layers whose filesystem is not where the box saw it: their changes must not be taken for another's.
///
/// # Errors
/// Where the host's mounts cannot be read.
pub(super) fn unmounted(held: &Box) -> Result<Vec<usize>> {
    let mounts = host::read()?;
    let is_there = |layer: &Layer| {
        let around = mounts.iter().filter(|mount| layer.path.starts_with(&mount.path));
        let mount = around.max_by_key(|mount| mount.path.as_os_str().len());
        mount.is_some_and(|mount| is_same(layer, &now(&layer.path, mount)))
    };
    let layers = held.record.layers.iter().enumerate();
    Ok(layers.filter(|(_, layer)| !is_there(layer)).map(|(place, _)| place).collect())
}

/// What holds on the host holds inside; and no device node of the host's files can be opened, whoever owns it.
pub(super) fn attributes(mount: &HostMount, read_only: bool) -> u64 {
    let rows = [
        (read_only, libc::MOUNT_ATTR_RDONLY),
        (mount.nosuid, libc::MOUNT_ATTR_NOSUID),
        (mount.noexec, libc::MOUNT_ATTR_NOEXEC),
        (mount.noatime, libc::MOUNT_ATTR_NOATIME),
    ];
    rows.iter().filter(|(holds, _)| *holds).fold(libc::MOUNT_ATTR_NODEV, |all, (_, bit)| all | bit)
}

/// Makes both folders. The upper one is the root of the overlay, so it gets what the folder of the host has.
fn make(overlay: &Overlay, host: &Path, notes: Notes) -> Result<()> {
    let Above::Layer { upper, work } = &overlay.above else { return Ok(()) };
    if upper.is_dir() && work.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(work).context(|| format!("make {work:?}"))?;
    // Under another name until it is whole: what is killed in between begins anew.
    let next = upper.with_extension("next");
    match rustix::fs::mkdirat(CWD, &next, Mode::from(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context(|| format!("make {next:?}")),
    }
    copy_attributes(host, &next, notes).context(|| format!("give {next:?} what {host:?} has"))?;
    rustix::fs::rename(&next, upper).context(|| format!("rename {next:?}"))
}

/// An ordinary user gives what it can. Where the folder is another's, it is the caller's inside, who may write to it on
/// the host as well.
fn copy_attributes(from: &Path, to: &Path, notes: Notes) -> Result<()> {
    let open = |path: &Path| -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))
    };
    let (from, to) = (open(from)?, open(to)?);
    let found = rustix::fs::fstat(&from).context(|| "stat")?;
    let own = rustix::fs::fstat(&to).context(|| "stat")?;
    let mut mode = found.st_mode & 0o7777;
    if (found.st_uid, found.st_gid) != (own.st_uid, own.st_gid) {
        match notes {
            Notes::Trusted => {
                let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
                rustix::fs::fchown(&to, Some(uid), Some(gid)).context(|| "chown")?;
            }
            Notes::User => mode = mode & 0o1777 | 0o700,
        }
    }
    rustix::fs::fchmod(&to, Mode::from_raw_mode(mode)).context(|| "chmod")?;
    let has = rustix::fs::fstat(&to).context(|| "stat")?;
    Inherited::of(&has).note(notes, to.as_fd())?;
    for (name, value) in xattrs::of_host(from.as_fd(), c".")? {
        // An overlay would take its own for its own.
        if notes.has(&name) {
            continue;
        }
        match rustix::fs::fsetxattr(&to, name.as_c_str(), &value, XattrFlags::empty()) {
            // Labels, and lists that name others.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) if notes == Notes::User => {}
            other => other.context(|| format!("setxattr {name:?}"))?,
        }
    }
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as i64 };
    let times = Timestamps {
        last_access: time(found.st_atime as i64, found.st_atime_nsec as u64),
        last_modification: time(found.st_mtime as i64, found.st_mtime_nsec as u64),
    };
    rustix::fs::utimensat(&to, "", &times, AtFlags::EMPTY_PATH)
        .or_else(|_| rustix::fs::futimens(&to, &times))
        .context(|| "set the times")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_in_two_forms_says_nothing() {
        let known = |text: &str| Some(text.to_owned());
        assert!(are_told_apart(&known("uuid:1"), &known("uuid:2")));
        assert!(!are_told_apart(&known("uuid:1"), &known("uuid:1")));
        assert!(!are_told_apart(&known("uuid:1"), &known("number:2")));
        assert!(!are_told_apart(&None, &known("number:2")));
    }
}
