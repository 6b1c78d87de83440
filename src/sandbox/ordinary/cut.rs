//! The host's tree, cut at its mounts: folders with a mount somewhere below are made anew, what is in them is a piece.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::super::host::HostMount;
use super::super::tree;
use super::is_fresh;
use super::places::may_write;
use crate::error::{Context, Result};
use crate::log;

/// Larger files are not copied where a place is cut.
const LARGEST_COPY: u64 = 1 << 20;
/// Nor more than this in all.
const ALL_COPIES: u64 = 64 << 20;

/// One overlay.
pub(super) struct Piece {
    /// Where it stands.
    pub(super) path: PathBuf,
    /// What is below it.
    pub(super) lower: PathBuf,
    /// Whether it has a layer.
    pub(super) changes: bool,
}

/// All of them.
pub(super) struct Cut {
    pub(super) pieces: Vec<Piece>,
    /// Files beside the pieces.
    pub(super) files: Vec<PathBuf>,
}

/// Cuts the tree and fills `skeleton`, an empty folder, with what the pieces are mounted on.
pub(super) fn cut(mounts: &[HostMount], places: BTreeSet<PathBuf>, skeleton: &Path) -> Result<Cut> {
    let points: BTreeSet<&Path> = mounts.iter().map(|mount| mount.path.as_path()).collect();
    let ways = points.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    let mut cutter = Cutter {
        mounts,
        points,
        ways,
        places,
        skeleton,
        copied: 0,
        cut: Cut { pieces: Vec::new(), files: Vec::new() },
    };
    let top = tree::open_root(skeleton)?;
    cutter.tree(Path::new("/"), &top)?;
    // Those that lie deeper than where the tree is cut.
    for path in std::mem::take(&mut cutter.places) {
        cutter.piece(&path, true);
    }
    Ok(cutter.cut)
}

struct Cutter<'a> {
    mounts: &'a [HostMount],
    /// Where something is mounted.
    points: BTreeSet<&'a Path>,
    /// Folders that lead there.
    ways: BTreeSet<&'a Path>,
    /// Those that are no pieces yet.
    places: BTreeSet<PathBuf>,
    skeleton: &'a Path,
    /// Bytes.
    copied: u64,
    cut: Cut,
}

impl Cutter<'_> {
    /// What is at `path`, which the open folder `here` of the skeleton stands for.
    fn tree(&mut self, path: &Path, here: &OwnedFd) -> Result<()> {
        let Ok(found) = rustix::fs::lstat(path) else {
            // Another user's FUSE.
            return forbid(here, 0);
        };
        if !may(path, Access::EXEC_OK) && !may(path, Access::READ_OK) {
            return forbid(here, found.st_mode);
        }
        let place = self.places.remove(path);
        if !self.ways.contains(path) {
            self.piece(path, place);
            return Ok(());
        }
        self.folder(path, here, place).context(|| format!("{path:?}"))?;
        if place {
            let lower = self.skeleton.join(path.strip_prefix("/").unwrap_or(path));
            self.cut.pieces.push(Piece { path: path.to_owned(), lower, changes: true });
        }
        give(here, &found)
    }

    fn piece(&mut self, path: &Path, changes: bool) {
        self.cut.pieces.push(Piece { path: path.to_owned(), lower: path.to_owned(), changes });
    }

    /// A folder that leads to a mount: each of its entries.
    fn folder(&mut self, path: &Path, here: &OwnedFd, place: bool) -> Result<()> {
        // Those of a folder that cannot be read, or that the box has another one of, are known by the mounts and the places.
        let ways = self.ways.iter().chain(&self.points).filter(|way| way.parent() == Some(path));
        let places = self.places.iter().filter_map(|place| place.strip_prefix(path).ok()?.iter().next());
        let known = ways.filter_map(|way| way.file_name()).chain(places);
        let mut names: BTreeSet<CString> = known.filter_map(|name| CString::new(name.as_bytes()).ok()).collect();
        if let Ok(folder) = tree::open_root(path)
            && !self.fresh(path)
        {
            names.extend(tree::entries(&folder).context(|| "read the folder")?);
        }
        let mut bound = false;
        for name in names {
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            let found = match rustix::fs::lstat(&inner) {
                Ok(found) => found,
                // Gone, or another user's FUSE, on which nobody needs to stand.
                Err(_) => continue,
            };
            bound |= self.entry(&inner, &found, here, &name, place).context(|| format!("{name:?}"))?;
        }
        if bound && place {
            log::warn(format!("some files right in {path:?} can only be read inside: something is mounted below it"));
        }
        Ok(())
    }

    /// One entry; gives whether it is a file that the caller may write to, and that is bound.
    fn entry(&mut self, path: &Path, found: &Stat, at: &OwnedFd, name: &CStr, place: bool) -> Result<bool> {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(at, name, Mode::from(0o700)).context(|| "mkdir")?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let here = rustix::fs::openat(at, name, flags, Mode::empty()).context(|| "open")?;
                if self.fresh(path) {
                    // An automounter's folder leads to mounts, too.
                    if self.ways.contains(path) {
                        self.folder(path, &here, false)?;
                    }
                    return give(&here, found).map(|()| false);
                }
                // In a place that is cut, each folder is one.
                if place && may_write(path).is_some() {
                    self.places.insert(path.to_owned());
                }
                self.tree(path, &here)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(CWD, path, Vec::new()).context(|| "read the link")?;
                rustix::fs::symlinkat(target, at, name).context(|| "symlink")?;
            }
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = rustix::fs::openat(at, name, flags, Mode::empty()).context(|| "make")?;
                // One that cannot be read is there, and cannot be read. One that is mounted by itself is not changed by a
                // commit, which would put another file in its place.
                let mounted = self.points.contains(path);
                if !self.fresh(path) && may(path, Access::READ_OK) && (mounted || !self.copy(path, found, copy)?) {
                    self.cut.files.push(path.to_owned());
                    return Ok(may(path, Access::WRITE_OK));
                }
            }
            // What is there, but leads nowhere.
            kind @ (FileType::Socket | FileType::Fifo) => {
                let mode = Mode::from_raw_mode(found.st_mode & 0o777);
                rustix::fs::mknodat(at, name, kind, mode, 0).context(|| "mknod")?;
            }
            _ => {}
        }
        Ok(false)
    }

    /// Whether what is there is no part of the box.
    fn fresh(&self, path: &Path) -> bool {
        is_fresh(self.mounts, path)
    }

    /// Copies a small file, so that one in a place can be changed and removed. Gives whether it is small.
    fn copy(&mut self, path: &Path, found: &Stat, to: OwnedFd) -> Result<bool> {
        let size = found.st_size as u64;
        if size > LARGEST_COPY || self.copied + size > ALL_COPIES {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // It may be gone by now.
        let Ok(from) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return Ok(true) };
        let (from, mut to) = (std::fs::File::from(from), std::fs::File::from(to));
        std::io::copy(&mut std::io::Read::take(from, LARGEST_COPY), &mut to).context(|| "copy")?;
        self.copied += size;
        give(to, found).map(|()| true)
    }
}

fn may(path: &Path, access: Access) -> bool {
    rustix::fs::accessat(CWD, path, access, AtFlags::empty()).is_ok()
}

/// Nobody may look into it: the caller is its owner.
fn forbid(here: &OwnedFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(here, Mode::from_raw_mode(mode & 0o077)).context(|| "chmod")
}

/// Mode and times, once nothing is made in it any more.
fn give(file: impl AsFd, found: &Stat) -> Result<()> {
    // Bits that only an owner or a group can give mean nothing here.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(found.st_mode & 0o1777)).context(|| "chmod")?;
    let time = |tv_sec, nanoseconds| Timespec { tv_sec, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec as i64),
        last_modification: time(found.st_mtime, found.st_mtime_nsec as i64),
    };
    match rustix::fs::futimens(&file, &times) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        other => other.context(|| "set the times"),
    }
}
