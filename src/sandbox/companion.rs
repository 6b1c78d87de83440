//! A box's own part in its run.

use std::cell::{Cell, OnceCell};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal};

use super::base;
use super::network::{self, Prepared};
use super::store::{Box, Run};
use super::tops::Tops;
use super::watch::Watch;
use crate::cgroup::Cgroup;
use crate::container;
use crate::error::Result;
use crate::sys::signal;

/// Who accompanies a run.
#[derive(Debug)]
pub(super) struct Companion<'a> {
    /// The box.
    pub(super) held: &'a Box,
    /// The run.
    pub(super) run: &'a Run,
    /// What the layers were before it.
    pub(super) before: OnceCell<Tops>,
    /// Its network.
    pub(super) connection: &'a Prepared,
    /// Who notes what is denied.
    pub(super) watch: &'a Watch,
    /// How many of its processes the kernel has killed for want of memory.
    pub(super) killed_for_memory: Cell<u64>,
}

impl container::Companion for Companion<'_> {
    fn begin(&self) -> Result<()> {
        // The program has its own way with this signal by now. Ours must not end before the box is noted and told of, though
        // nobody may be left who reads it.
        signal::ignore(Signal::PIPE);
        self.held.begin_run(self.run)?;
        base::unsettle(self.held)?;
        self.before.get_or_init(|| Tops::of(self.held));
        Ok(())
    }

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
