//! `process.rlimits`, by prlimit(2).

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::plan::Rlimit;
use crate::sys::rlimit;

/// Sets the limits of a process, or of this one.
///
/// # Errors
/// Names the limit; raising a hard limit needs CAP_SYS_RESOURCE in the host's user namespace.
pub fn apply(limits: &[Rlimit], pid: Option<Pid>) -> Result<()> {
    for limit in limits {
        rlimit::set(pid, limit.resource, limit.soft, limit.hard).map_err(|errno| {
            let error = Error::call(
                format!("process.rlimits: set {} to {} (hard {})", limit.name, limit.soft, limit.hard),
                errno,
            );
            match errno {
                Errno::PERM => {
                    error.hint("raising a hard limit needs CAP_SYS_RESOURCE: ask for no more than the runtime has")
                }
                _ => error,
            }
        })?;
    }
    Ok(())
}
