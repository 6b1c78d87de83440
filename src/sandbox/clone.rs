//! Another box with the same changes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags};
use rustix::io::Errno;

use super::store::{self, Box, PARTIAL, Record, Store};
use super::{BoxName, base, commit, disk, duplicate, remove, tree};
use crate::error::{Context, Error, Result};

impl Store {
    /// Makes a box that has all that another one changed, and nothing to do with it from then on. Runs, snapshots and what
    /// an undo needs are the other one's alone.
    ///
    /// # Errors
    /// Where the name is taken, a commit is unfinished, or something cannot be copied.
    pub fn clone_box(&self, held: &mut Box, name: BoxName) -> Result<()> {
        commit::require_finished(held)?;
        base::settle(held)?;
        let target = self.path().join(name.as_str());
        let taken = || Error::new(format!("there is a box {name} already"));
        if target.exists() {
            return Err(taken());
        }
        let (path, fd) = self.partial()?;
        let result = duplicate::state(held.path(), held.record.layers.len(), &path).and_then(|()| {
            let mut record = Record::new(false);
            record.layers.clone_from(&held.record.layers);
            let made = Box::new(name.clone(), fd, path.clone(), record);
            made.save()?;
            // A name must not come to the disk before what it names.
            disk::filesystem(&made)?;
            match rustix::fs::renameat_with(CWD, &path, CWD, &target, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => return Err(taken()),
                other => other.context(|| format!("rename {path:?} to {target:?}"))?,
            }
            disk::file(tree::Root::open(self.path())?)
        });
        result.inspect_err(|_| {
            // The reason for the failure matters more than one more.
            let _ = remove::tree(&path);
        })
    }

    /// A folder in which a box is made until it is whole. It is locked: one without a lock is what a killed command left.
    fn partial(&self) -> Result<(PathBuf, OwnedFd)> {
        loop {
            let path = self.path().join(format!("{PARTIAL}{}", BoxName::made_up()?));
            match rustix::fs::mkdirat(CWD, &path, Mode::from(0o700)) {
                Err(Errno::EXIST) => continue,
                other => other.context(|| format!("make {path:?}"))?,
            }
            // Whoever removes such remains may have been faster.
            let Ok(fd) = store::open_own(&path) else { continue };
            let locked = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && store::is_at(&fd, &path) {
                return Ok((path, fd));
            }
        }
    }
}
