//! The rights that working with boxes takes: mounting overlays and read-only views, and reading what a program has
//! forbidden even to its owner.
//!
//! Root has them. An ordinary user gets them over its own files by a user namespace that this process enters in place: it
//! stays one process, so that signals, terminal and exit code are what they are without it.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::DumpableBehavior;

use crate::error::{Context, Result};
use crate::namespaces;

/// A process enters once.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Whether the caller is no root, so that others' files are out of reach and setuid programs give nothing.
pub(super) fn are_of_a_user() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Whether they hold for the whole host, and not for a user namespace alone.
pub(super) fn are_of_the_host() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !are_of_a_user() && map.split_ascii_whitespace().eq(["0", "0", &u32::MAX.to_string()])
}

/// Sees to it that this process has them, as long as it lives.
///
/// # Errors
/// Where the host forbids user namespaces to the caller.
pub(super) fn enter() -> Result<()> {
    if are_of_a_user() && !ENTERED.swap(true, Ordering::Relaxed) {
        namespaces::enter_alone()?;
        // The kernel hides a process whose rights have changed, and what is forked from it, even from itself: its own
        // rights end at its user namespace. Nobody but the caller's own processes sees it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .context(|| "become visible again (PR_SET_DUMPABLE)")?;
    }
    Ok(())
}
