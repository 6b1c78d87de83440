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
use crate::plan::Overlay;
use crate::sys::mount::{Attributes, Tree, set_attributes};

/// Options that make layers depend on each other or on extended attributes of files.
const OFF: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

/// Makes the overlay, with the caller's rights: it is they that write below, whoever writes above.
///
/// # Errors
/// Where a folder is missing, or the kernel refuses a layer; with what it said.
pub(super) fn make(overlay: &Overlay) -> Result<Tree> {
    match mount(overlay) {
        Err(error) if overlay.or_read_only => {
            log::warn(format!("{:?} is read-only inside: {error}", overlay.lower));
            read_only(overlay)
        }
        other => other,
    }
}

fn mount(overlay: &Overlay) -> Result<Tree> {
    let layers = [("lowerdir", &overlay.lower), ("upperdir", &overlay.upper), ("workdir", &overlay.work)];
    let layers = layers.map(|(key, path)| open(path).map(|fd| (key, fd)));
    let what = || format!("make an overlay of {:?}", overlay.lower);
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context(what).map_err(unknown)?;
    let result = (|| {
        rustix::mount::fsconfig_set_string(&context, "source", "overlay")?;
        for layer in &layers {
            let (key, fd) = layer.as_ref().map_err(|error| error.errno().unwrap_or(Errno::IO))?;
            rustix::mount::fsconfig_set_string(&context, *key, format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        }
        for (key, value) in OFF {
            rustix::mount::fsconfig_set_string(&context, key, value)?;
        }
        rustix::mount::fsconfig_create(&context)
    })();
    if let Some(error) = layers.into_iter().find_map(Result::err) {
        return Err(error);
    }
    result.context(|| format!("{}{}", what(), said(&context))).map_err(|error| refused(error, overlay))?;
    let attributes = MountAttrFlags::from_bits_retain(overlay.attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(Tree::from_fd).context(what)
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

fn refused(error: Error, overlay: &Overlay) -> Error {
    match error.errno() {
        Some(Errno::INVAL) => error.hint(format!(
            "the filesystem of {:?} cannot hold the changes of an overlay, or that of {:?} cannot lie below one",
            overlay.upper, overlay.lower
        )),
        _ => error,
    }
}
