//! Who accompanies a run: the caller's own part in it, for what the engine itself does not do.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::error::Result;

/// The caller's part in a run.
pub trait Companion: std::fmt::Debug {
    /// The first process is at work, and waits at its gate until this comes back: what has to be done before the program
    /// begins and need not hold up anything before.
    ///
    /// # Errors
    /// Whatever is to stop the run.
    fn begin(&self) -> Result<()>;

    /// The container's network namespace is there and its program is not yet: called where [`crate::plan::Plan::connected`].
    ///
    /// # Errors
    /// Whatever is to stop the run.
    fn connect(&self, pid: Pid) -> Result<()>;

    /// Takes the listener of a filter that notifies and names no other agent. Comes before the program begins.
    fn listen(&self, listener: OwnedFd);

    /// What is to be watched while the program runs, if there is anything.
    fn watched(&self) -> Option<BorrowedFd<'_>>;

    /// That has something to read, or has ended.
    fn attend(&self);

    /// The program has ended, and its cgroup is still there.
    fn ended(&self, cgroup: &Cgroup);
}
