//! A container's life: made by [`create()`] and [`run`], entered by [`exec()`], ended by [`kill`] and [`delete`].
//!
//! Owns the order of things and the two stories (the parent's in `launch`, the container's first process's in `init`).
//! What each step does to the kernel stands in the rooms to the right: rootfs, namespaces, cgroup, security, net.

mod become_program;
mod companion;
mod create;
mod exec;
mod first;
mod gate;
mod handover;
mod hooks;
mod init;
mod launch;
mod lifecycle;
mod notify_socket;
mod program;
mod remains;
mod state;
mod store;
mod terminal;
mod wait;
mod wire;

pub use companion::Companion;
pub use create::{CreateOptions, RunOptions, create, listen_fds, run, run_plan};
pub use exec::{Changes, ExecOptions, ProcessSource, exec};
pub use first::FirstProcess;
pub use lifecycle::{delete, kill, pause, resume, start, update};
pub use state::{Report, Status};
pub use store::Store;

use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::plan::ContainerId;
use crate::security::rdt;

use state::State;
use store::Folder;

/// A container that exists, in whatever condition.
#[derive(Debug)]
pub struct Container {
    folder: Folder,
    state: State,
}

/// Finds a container.
///
/// # Errors
/// `container does not exist`, or a state file that cannot be read.
pub fn load(store: &Store, id: &ContainerId) -> Result<Container> {
    let folder = store.find(id)?;
    let mut state = folder.state()?;
    if state.init.is_none() && !folder.is_busy() {
        // Whoever made it may have finished since.
        state = folder.state()?;
    }
    Ok(Container { folder, state })
}

/// All containers, by id; what cannot be read comes as its id and the reason, and stops nothing.
///
/// # Errors
/// Where the root folder itself cannot be read.
pub fn list(store: &Store) -> Result<Vec<(ContainerId, Result<Report>)>> {
    let report = |id: &ContainerId| load(store, id).map(|container| container.report());
    Ok(store.ids()?.into_iter().map(|id| (report(&id), id)).map(|(report, id)| (id, report)).collect())
}

impl Container {
    /// What it is doing now.
    pub fn status(&self) -> Status {
        match self.state.init {
            None if self.folder.is_busy() => Status::Creating,
            None => Status::Stopped,
            Some(init) if !init.is_alive() => Status::Stopped,
            Some(_) if self.is_at_gate() => Status::Created,
            Some(_) if self.is_paused() => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// The state as the specification has it.
    pub fn report(&self) -> Report {
        self.state.report(self.status())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// The number of its first process, while that lives.
    pub fn init_pid(&self) -> Option<i32> {
        self.state.init.filter(state::Process::is_alive).map(|init| init.pid)
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.state.cgroup)
    }

    /// Its resctrl group, where it has one.
    pub fn rdt_group(&self) -> Option<&rdt::Group> {
        self.state.rdt.as_ref()
    }

    /// The gate's socket stays behind when a `start` is killed at the wrong moment; then nobody listens on it.
    fn is_at_gate(&self) -> bool {
        gate::exists(&self.folder) && matches!(gate::connect(&self.folder), Ok(Some(_)))
    }

    fn is_paused(&self) -> bool {
        self.cgroup().is_frozen().unwrap_or(false)
    }
}
