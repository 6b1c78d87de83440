//! What of /proc belongs to the machine and to no process, made read-only.
//!
//! Such a file is one object for all instances of procfs, and root's: whoever is root in a user namespace in which ids mean
//! themselves gives it another mode or owner on the host as well, and for good. Each is bound over itself, since what belongs
//! to a process has to stay as it is: programs write to /proc/self/oom_score_adj and its like, and a folder that comes and
//! goes with its process cannot be mounted on.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::mount::MountFlags;

use super::attributes;
use crate::error::{Context, Result};

const PROC: &str = "/proc";

/// What is left as it is: a bind mount of each costs a start some 11 us, with its end, and these hold nothing that their mode
/// keeps from anybody, take no orders, and are read by few. What this list does not know is bound.
const LEFT: [&str; 19] = [
    "buddyinfo",
    "config.gz",
    "consoles",
    "crypto",
    "devices",
    "dma",
    "execdomains",
    "fb",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "key-users",
    "locks",
    "misc",
    "partitions",
    "softirqs",
    "swaps",
    "zoneinfo",
];

/// Makes it read-only, but for [`LEFT`] and what is hidden later, by a mask that is read-only itself. The root has changed;
/// the working folder is /proc afterwards.
///
/// # Errors
/// Where a file cannot be bound.
pub(super) fn protect(masked: &[PathBuf]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, PROC, flags, Mode::empty()).context(|| "open /proc")?;
    rustix::process::fchdir(&proc).context(|| "fchdir /proc")?;
    let masked: Vec<&[u8]> = masked.iter().filter_map(|path| name_in_proc(path)).collect();
    // Each bind mount begins with the flags of what it shows, which spares a call for each.
    let read_only = |set, clear| attributes::change(&proc, set, clear).context(|| "change the flags of /proc");
    read_only(MountFlags::RDONLY, MountFlags::empty())?;
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&proc, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry.context(|| "read /proc")?;
        let name = entry.file_name();
        if is_protected(entry.file_type(), name.to_bytes()) && !masked.contains(&name.to_bytes()) {
            rustix::mount::mount_bind(name, name).context(|| format!("bind /proc/{name:?} read-only"))?;
        }
    }
    read_only(MountFlags::empty(), MountFlags::RDONLY)
}

/// Folders of processes have numbers; links lead there, and are objects of this instance alone.
fn is_protected(kind: FileType, name: &[u8]) -> bool {
    let machines = kind != FileType::Symlink && !matches!(name, b"." | b"..") && !name.iter().all(u8::is_ascii_digit);
    machines && !LEFT.iter().any(|left| left.as_bytes() == name)
}

fn name_in_proc(path: &Path) -> Option<&[u8]> {
    path.strip_prefix(PROC).ok().map(|name| name.as_os_str().as_encoded_bytes())
}
