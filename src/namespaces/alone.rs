//! An ordinary user's own user namespace, entered in place: rights over mounts and over the caller's own files, and
//! nothing else. The process stays who it is, with its groups; of all ids it knows its own one alone.

use crate::error::{Context, Result};
use crate::plan::NamespaceKind;
use crate::sys::clone;
use crate::sys::procfs::ProcFs;

/// Moves this process, which has one thread, into a new user namespace and a mount namespace that belongs to it. There
/// is no way back: rights that it had outside are gone.
///
/// # Errors
/// Where the host forbids it to ordinary users.
pub fn enter_alone() -> Result<()> {
    // Asked before: afterwards nobody is known until the maps are written.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = NamespaceKind::User.flag() | NamespaceKind::Mount.flag();
    clone::unshare(flags).map_err(|errno| super::explain_clone(flags, errno))?;
    let proc = ProcFs::open()?;
    let lines = [("setgroups", "deny".to_owned()), ("uid_map", format!("{uid} {uid} 1\n"))];
    for (file, text) in lines.into_iter().chain([("gid_map", format!("{gid} {gid} 1\n"))]) {
        proc.write(format!("self/{file}"), text.as_bytes())
            .context(|| format!("write {text:?} to /proc/self/{file}"))
            .map_err(|error| {
                error.hint("this host forbids user namespaces to you: `myrt check` says what blocks them")
            })?;
    }
    Ok(())
}
