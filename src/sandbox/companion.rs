//! A box's own part in its run.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::Pid;

use super::network::{self, Prepared};
use super::store::Box;
use super::watch::Watch;
use crate::cgroup::Cgroup;
use crate::container;
use crate::error::Result;

/// Who accompanies a run.
#[derive(Debug)]
pub(super) struct Companion<'a> {
    /// The box.
    pub(super) held: &'a Box,
    /// Its network.
    pub(super) connection: &'a Prepared,
    /// Who notes what is denied.
    pub(super) watch: &'a Watch,
    /// How many of its processes the kernel has killed for want of memory.
    pub(super) killed_for_memory: Cell<u64>,
}

impl container::Companion for Companion<'_> {
    fn connect(&self, pid: Pid) -> Result<()> {
        network::connect(self.held, self.connection, pid)
    }

    fn listen(&self, listener: OwnedFd) {
        self.watch.listen(listener);
    }

    fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watch.watched()
    }

    fn attend(&self) {
        self.watch.attend();
    }

    fn ended(&self, cgroup: &Cgroup) {
        self.killed_for_memory.set(cgroup.killed_for_memory());
    }
}
