//! The layers of a box: for each filesystem of the host that it sees writable, one folder that takes the changes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::changes::xattrs;
use super::host::{HostMount, Treatment};
use super::store::{self, Box, Layer};
use crate::error::{Context, Error, Result};
use crate::plan::Overlay;

/// The folders of a layer.
pub(super) const UPPER: &str = "upper";
pub(super) const WORK: &str = "work";

/// The folder of a layer in that of a box or snapshot, by its place in the record.
pub(super) fn folder(top: &Path, place: usize) -> PathBuf {
    top.join(store::LAYERS).join(place.to_string())
}

/// The overlays for these mounts, with their layers made and remembered.
///
/// # Errors
/// Where a layer cannot be made, or belongs to another filesystem than the one that is mounted there now.
pub(super) fn overlays(held: &mut Box, mounts: &[HostMount]) -> Result<Vec<(PathBuf, Overlay)>> {
    let mut overlays = Vec::new();
    let before = held.record.layers.len();
    for mount in mounts {
        let Treatment::Overlay { read_only } = mount.treatment else { continue };
        let place = match held.record.layers.iter().position(|layer| layer.path == mount.path) {
            Some(place) => {
                check_same(held, &held.record.layers[place], place, mount)?;
                place
            }
            None => {
                let layer = Layer { path: mount.path.clone(), root: mount.root.clone(), kind: mount.kind.clone() };
                held.record.layers.push(layer);
                held.record.layers.len() - 1
            }
        };
        let folder = held.layer_folder(place);
        let overlay = Overlay {
            lower: mount.path.clone(),
            upper: folder.join(UPPER),
            work: folder.join(WORK),
            attributes: attributes(mount, read_only),
            or_read_only: mount.path != Path::new("/"),
        };
        make(&overlay).context(|| format!("the layer of {:?}", mount.path))?;
        overlays.push((mount.path.clone(), overlay));
    }
    if held.record.layers.len() != before {
        held.save()?;
    }
    Ok(overlays)
}

/// A box that changed a disk's files must not lay these changes over another disk's.
fn check_same(held: &Box, layer: &Layer, place: usize, mount: &HostMount) -> Result<()> {
    if (&layer.kind, &layer.root) == (&mount.kind, &mount.root) {
        return Ok(());
    }
    let upper = held.layer_folder(place).join(UPPER);
    if std::fs::read_dir(&upper).map_or(true, |mut entries| entries.next().is_none()) {
        return Ok(());
    }
    Err(Error::new(format!(
        "the box {} has changes of {:?} on {}, but now {} is mounted there",
        held.name(),
        mount.path,
        layer.kind,
        mount.kind
    ))
    .hint("mount the other filesystem again, or discard the box"))
}

/// What holds on the host holds inside; and no device node of the host's files can be opened, whoever owns it.
fn attributes(mount: &HostMount, read_only: bool) -> u64 {
    let rows = [
        (read_only, libc::MOUNT_ATTR_RDONLY),
        (mount.nosuid, libc::MOUNT_ATTR_NOSUID),
        (mount.noexec, libc::MOUNT_ATTR_NOEXEC),
        (mount.noatime, libc::MOUNT_ATTR_NOATIME),
    ];
    rows.iter().filter(|(holds, _)| *holds).fold(libc::MOUNT_ATTR_NODEV, |all, (_, bit)| all | bit)
}

/// Makes both folders. The upper one is the root of the overlay, so it gets what the filesystem's own root has.
fn make(overlay: &Overlay) -> Result<()> {
    if overlay.upper.is_dir() && overlay.work.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(&overlay.work).context(|| format!("make {:?}", overlay.work))?;
    // Under another name until it is whole: what is killed in between begins anew.
    let next = overlay.upper.with_extension("next");
    match rustix::fs::mkdirat(CWD, &next, Mode::from(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context(|| format!("make {next:?}")),
    }
    copy_attributes(&overlay.lower, &next).context(|| format!("give {next:?} what {:?} has", overlay.lower))?;
    rustix::fs::rename(&next, &overlay.upper).context(|| format!("rename {next:?}"))
}

fn copy_attributes(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))
    };
    let (from, to) = (open(from)?, open(to)?);
    let found = rustix::fs::fstat(&from).context(|| "stat")?;
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    rustix::fs::fchown(&to, Some(uid), Some(gid)).context(|| "chown")?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(found.st_mode & 0o7777)).context(|| "chmod")?;
    for (name, value) in xattrs::of_host(from.as_fd(), c".")? {
        // An overlay would take its own for its own.
        if xattrs::is_overlays(&name) {
            continue;
        }
        rustix::fs::fsetxattr(&to, name.as_c_str(), &value, XattrFlags::empty())
            .context(|| format!("setxattr {name:?}"))?;
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
