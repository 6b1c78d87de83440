//! The session keyring: keys of the caller's session are not the container's.

use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sys::keyring;
use crate::sys::procfs::ProcFs;

/// Sets the SELinux label of keyrings that this process makes, which is to say of the one that [`join`] makes next.
///
/// # Errors
/// Where the kernel has no SELinux, or refuses the label.
pub fn label(label: Option<&str>, proc: &ProcFs) -> Result<()> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(()) };
    proc.write("thread-self/attr/keycreate", label.as_bytes())
        .context(|| format!("process.selinuxLabel: label the session keyring {label:?}"))
}

/// Joins a new session keyring named after the container (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
///
/// # Errors
/// Where the kernel has keyrings and refuses one for another reason than a full quota.
pub fn join(id: &str) -> Result<()> {
    match keyring::join_session(&format!("_ses.{id}")) {
        // Without keyrings in the kernel, or where an outer container's filter hides them, there is nothing to keep apart.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT) => Ok(()),
        other => other.context(|| "join a new session keyring"),
    }
}
