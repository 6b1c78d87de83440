//! Where an ordinary user may write: the folders of the host that get layers.
//!
//! The topmost ones, on the way to the folders that matter and by a search that is bounded in depth and breadth. In a place
//! a folder of somebody else stays as it is, since the kernel cannot give it to the layer; one that the caller may write to
//! is a place of its own, and so are the caller's below it. What is deeper than the search goes is read-only inside, and a
//! program that tries to write there is told so.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat};

use super::super::host::HostMount;
use super::is_fresh;

/// How deep below `/` the search goes.
const DEPTH: usize = 3;
/// How deep below a place.
const DEPTH_IN_PLACE: usize = 2;
/// How many folders are read at most, from each folder where it begins.
const FOLDERS: usize = 1024;

/// Folders of the distribution's own files, which are many, and none of them the caller's.
const NOT_SEARCHED: [&str; 13] = [
    "/bin",
    "/boot",
    "/lib",
    "/lib64",
    "/lost+found",
    "/sbin",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
];

/// Folders in which programs write wherever they find them.
const COMMON: [&str; 2] = ["/tmp", "/var/tmp"];

/// Variables that name such folders.
const VARIABLES: [&str; 8] = [
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "CARGO_HOME",
];

/// All of them. `known`: those that the box has changes of.
pub(super) fn find(mounts: &[HostMount], known: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut search = Search { mounts, found: BTreeSet::new() };
    let variables = VARIABLES.iter().filter_map(|name| std::env::var_os(name).map(PathBuf::from));
    let wanted = std::env::current_dir().into_iter().chain(COMMON.map(PathBuf::from)).chain(variables);
    for path in wanted.filter_map(|path| path.canonicalize().ok()) {
        let covered = search.follow(&path);
        search.descend(path, DEPTH_IN_PLACE, covered);
    }
    for mount in mounts {
        search.follow(&mount.path);
    }
    search.found.extend(known.iter().filter(|path| may_write(path).is_some()).cloned());
    for place in search.found.clone() {
        search.descend(place, DEPTH_IN_PLACE, true);
    }
    search.descend(PathBuf::from("/"), DEPTH, false);
    search.found
}

struct Search<'a> {
    mounts: &'a [HostMount],
    found: BTreeSet<PathBuf>,
}

impl Search<'_> {
    /// The places on the way to a path; gives whether the folder there is covered, or one.
    fn follow(&mut self, path: &Path) -> bool {
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        way.into_iter().fold(false, |covered, path| self.look(path, covered))
    }

    /// Takes a folder that has to be a place. `covered`: the one around it can be changed by the layer of a place; gives
    /// whether this one can.
    fn look(&mut self, path: &Path, covered: bool) -> bool {
        if is_fresh(self.mounts, path) {
            return false;
        }
        match may_write(path) {
            None => false,
            Some(found) => {
                if !covered || !is_own(path, &found) {
                    self.found.insert(path.to_owned());
                }
                true
            }
        }
    }

    /// Searches the folders below, the nearest first.
    fn descend(&mut self, top: PathBuf, depth: usize, covered: bool) {
        let mut pending = VecDeque::from([(top, depth, covered)]);
        let mut read = 0;
        while let Some((folder, depth, covered)) = pending.pop_front() {
            if depth == 0 || read == FOLDERS {
                continue;
            }
            read += 1;
            for path in folders_in(&folder) {
                let skipped = NOT_SEARCHED.iter().any(|skipped| path == Path::new(skipped));
                if skipped || is_fresh(self.mounts, &path) || self.found.contains(&path) {
                    continue;
                }
                let covered = self.look(&path, covered);
                let depth = if self.found.contains(&path) { DEPTH_IN_PLACE } else { depth - 1 };
                pending.push_back((path, depth, covered));
            }
        }
    }
}

/// The folders in a folder that can be read; no links.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut all: Vec<PathBuf> = entries.flatten().filter(is_folder).map(|entry| entry.path()).collect();
    all.sort_unstable();
    all
}

/// A folder, no link, that the caller may make files in, or may allow itself to.
pub(super) fn may_write(path: &Path) -> Option<Stat> {
    let found = rustix::fs::lstat(path).ok()?;
    let folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
    let access = |access| rustix::fs::accessat(CWD, path, access, AtFlags::empty()).is_ok();
    let may = || access(Access::WRITE_OK | Access::EXEC_OK) || (is_own(path, &found) && writable_mount(path));
    (folder && may()).then_some(found)
}

/// Whether a folder is the caller's, by user and by group.
fn is_own(path: &Path, found: &Stat) -> bool {
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // In a user namespace that knows no others, theirs have the number of nobody. Where that is the caller, the kernel is
    // asked: it lets none but the owner read a file without a trace.
    let may_be_anybodys = own.0 == NOBODY;
    let asked = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).is_ok()
    };
    (found.st_uid, found.st_gid) == own && (!may_be_anybodys || asked())
}

/// The number that stands for users whom a user namespace does not know (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

fn writable_mount(path: &Path) -> bool {
    let flags = rustix::fs::statvfs(path).map(|found| found.f_flag);
    flags.is_ok_and(|flags| !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
