//! Taking a container down: everything that its state names, in the order that leaves nothing unlisted.

use rustix::io::Errno;
use rustix::process::Signal;

use super::hooks::{self, Surroundings};
use super::state::{State, Status};
use super::store::Folder;
use crate::cgroup::{self, Cgroup};
use crate::error::Result;
use crate::log;
use crate::plan::{self, ContainerId};

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

/// Removes a container whose state file is lost: what the config.json beside it lets us find again, then the folder.
///
/// Only a cgroup that is named after the container is believed to be its own: all in it is killed.
///
/// # Errors
/// Where something cannot be removed; it stays listed then.
pub fn remove_without_state(folder: &Folder, id: &ContainerId) -> Result<()> {
    for record in cgroups_by_config(folder, id) {
        match Cgroup::open(&record).kill(Signal::KILL) {
            Err(error) if error.errno() != Some(Errno::NOENT) => return Err(error),
            _ => cgroup::remove_record(&record)?,
        }
    }
    folder.remove()
}

/// Where a create with this config.json puts the container, by the driver that the form of the path tells, or by either
/// where there is no path.
fn cgroups_by_config(folder: &Folder, id: &ContainerId) -> Vec<cgroup::Record> {
    let Some(config) = folder.config().ok().and_then(|text| plan::parse(&text, folder.path()).ok()) else {
        return Vec::new();
    };
    let path = config.linux.cgroups_path.as_deref().filter(|path| !path.is_empty());
    let plan = |(driver, separator)| {
        if path.is_some_and(|path| path.rsplit(separator).next() != Some(id.as_str())) {
            return None;
        }
        let request = cgroup::Request {
            id: id.as_str(),
            path,
            driver,
            annotations: &config.annotations,
            rootless: !rustix::process::geteuid().is_root(),
        };
        // What is not there needs no removal, and systemd no call.
        cgroup::Record::plan(&request).ok().filter(|record| record.trees().iter().any(|tree| tree.folder().exists()))
    };
    [(cgroup::Driver::Cgroupfs, '/'), (cgroup::Driver::Systemd, ':')].into_iter().filter_map(plan).collect()
}

/// Runs the poststop hooks. The container is gone whatever they say, so a failure is a warning (runtime.md, step 13).
pub fn run_poststop(state: &State) {
    if state.poststop.is_empty() {
        return;
    }
    let json = state.hook_json(Status::Stopped);
    for hook in &state.poststop {
        if let Err(error) = hooks::run(std::slice::from_ref(hook), "poststop", &json, Surroundings::default()) {
            log::warn(error.to_string());
        }
    }
}
