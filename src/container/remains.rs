//! Taking a container down: everything that its state names, in the order that leaves nothing unlisted.

use super::hooks;
use super::state::{State, Status};
use super::store::Folder;
use crate::cgroup;
use crate::error::Result;
use crate::log;

/// Removes a container whose processes have ended, and runs its poststop hooks.
///
/// # Errors
/// Where something cannot be removed; it stays listed then.
pub fn remove(folder: &Folder, state: &State) -> Result<()> {
    take_down(folder, state)?;
    run_poststop(state);
    Ok(())
}

/// Removes cgroup, resctrl group and folder, the folder last: what is interrupted can be found and removed again.
///
/// # Errors
/// Where something cannot be removed.
pub fn take_down(folder: &Folder, state: &State) -> Result<()> {
    cgroup::remove_record(&state.cgroup)?;
    if let Some(group) = &state.rdt {
        group.remove()?;
    }
    folder.remove()
}

/// Runs the poststop hooks. The container is gone whatever they say, so a failure is a warning (runtime.md, step 13).
pub fn run_poststop(state: &State) {
    if state.poststop.is_empty() {
        return;
    }
    let json = state.hook_json(Status::Stopped);
    for hook in &state.poststop {
        if let Err(error) = hooks::run(std::slice::from_ref(hook), "poststop", &json) {
            log::warn(error.to_string());
        }
    }
}
