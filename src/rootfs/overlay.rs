//! An overlay filesystem as a detached mount.
//!
//! Layers are named by descriptors, `/proc/self/fd/N`: a path of the host may hold a comma or a colon, which mean
//! something to overlayfs, and what mountinfo shows inside names no folder of the host. Every option that lets one file
//! of a layer point to another is off: each layer can be read by itself, and a file means what its own bytes say.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::{Above, Overlay};
use crate::sys::mount::{Attributes, Tree, set_attributes};

/// Options that make layers depend on each other or on extended attributes of files.
const OFF: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

/// Makes the overlay, with the caller's rights: it is they that write below, whoever writes above. `None` where there is
/// nothing below any more.
///
/// # Errors
/// Where a folder of the layer is missing, or the kernel refuses one; with what it said.
pub(super) fn make(overlay: &Overlay) -> Result<Option<Tree>> {
    let lower = match open(&overlay.lower) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    match mount(overlay, lower) {
        Err(error) if overlay.or_read_only => {
            log::warn(format!(
                "{:?} is read-only inside, and sockets and named pipes there are the host's own: {error}",
                overlay.lower
            ));
            read_only(overlay).map(Some)
        }
        other => other.map(Some),
    }
}

fn mount(overlay: &Overlay, lower: OwnedFd) -> Result<Tree> {
    let layers = layers(overlay, lower)?;
    let what = || format!("make an overlay of {:?}", overlay.lower);
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context(what).map_err(unknown)?;
    let result = (|| {
        rustix::mount::fsconfig_set_string(&context, "source", "overlay")?;
        for (key, folders) in &layers {
            let paths: Vec<String> = folders.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
            rustix::mount::fsconfig_set_string(&context, *key, paths.join(":"))?;
        }
        if overlay.user_notes {
            rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
        }
        for (key, value) in OFF {
            rustix::mount::fsconfig_set_string(&context, key, value)?;
        }
        rustix::mount::fsconfig_create(&context)
    })();
    result.context(|| format!("{}{}", what(), said(&context))).map_err(|error| refused(error, overlay))?;
    let attributes = MountAttrFlags::from_bits_retain(overlay.attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(Tree::from_fd).context(what)
}

/// The folders of each option, open.
fn layers(overlay: &Overlay, lower: OwnedFd) -> Result<Vec<(&'static str, Vec<OwnedFd>)>> {
    Ok(match &overlay.above {
        Above::Layer { upper, work } => {
            vec![("lowerdir", vec![lower]), ("upperdir", vec![open(upper)?]), ("workdir", vec![open(work)?])]
        }
        Above::Nothing { empty } => vec![("lowerdir", vec![lower, open(empty)?])],
    })
}

/// The folder itself, with nothing below it that can be written.
fn read_only(overlay: &Overlay) -> Result<Tree> {
    let what = || format!("bind {:?} read-only", overlay.lower);
    let tree = Tree::open(&overlay.lower, false).context(what)?;
    let set = overlay.attributes | libc::MOUNT_ATTR_RDONLY;
    let set = set & !libc::MOUNT_ATTR__ATIME;
    set_attributes(&tree, false, Attributes { set, ..Attributes::default() }).context(what)?;
    Ok(tree)
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))
}

/// What the kernel wrote into the mount's own log, each line with a letter for its gravity before it.
fn said(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut line = [0; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let words = String::from_utf8_lossy(&line[..length]);
        if let Some(words) = words.trim_end().strip_prefix("e ") {
            text.push_str(&format!(" ({})", words.trim_start_matches("overlay: ")));
        }
    }
    text
}

fn unknown(error: Error) -> Error {
    match error.errno() {
        Some(Errno::NODEV) => error.hint("the kernel has no overlay filesystem: `modprobe overlay`, as root"),
        _ => error,
    }
}

fn is_overlay(path: &Path) -> bool {
    const OVERLAYFS: i64 = 0x794c_7630;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == OVERLAYFS)
}

fn refused(error: Error, overlay: &Overlay) -> Error {
    match error.errno() {
        Some(Errno::INVAL) => error.hint(match &overlay.above {
            // The kernel says this to its own log alone.
            Above::Layer { upper, .. } if is_overlay(&overlay.lower) && !is_overlay(upper) => {
                format!("{:?} is an overlay on an overlay already, and the kernel takes no third", overlay.lower)
            }
            Above::Layer { upper, .. } => format!(
                "the filesystem of {upper:?} cannot hold the changes of an overlay, or that of {:?} cannot lie below one",
                overlay.lower
            ),
            Above::Nothing { .. } => format!("the filesystem of {:?} cannot lie below an overlay", overlay.lower),
        }),
        _ => error,
    }
}
