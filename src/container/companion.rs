//! Who accompanies a run: the caller's own part in it, for what the engine itself does not do.

use rustix::process::Pid;

use crate::error::Result;

/// The caller's part in a run.
pub trait Companion: std::fmt::Debug {
    /// The container's network namespace is there and its program is not yet: called where [`crate::plan::Plan::connected`].
    ///
    /// # Errors
    /// Whatever is to stop the run.
    fn connect(&self, pid: Pid) -> Result<()>;
}
