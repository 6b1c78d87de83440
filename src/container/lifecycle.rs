//! What is done to a container that exists: start, kill, delete, pause, resume, update.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::time::Timespec;

use super::hooks::Surroundings;
use super::state::State;
use super::store::Folder;
use super::wire::Message;
use super::{Container, Status, Store, gate, handover, hooks, load, notify_socket, remains};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::{self, ContainerId, Seccomp, spec};

/// How long a delete waits for a killed process: the kernel may have much memory or many mounts to take down first.
const DYING: Duration = Duration::from_secs(10);

/// Lets a created container through its gate.
///
/// # Errors
/// Where it is not created, or its program cannot run; then it has ended.
pub fn start(store: &Store, id: &ContainerId) -> Result<()> {
    let container = load(store, id)?;
    let Some(wire) = gate::connect(&container.folder)? else {
        return Err(match container.status() {
            Status::Stopped => Error::new("cannot start a container that has stopped"),
            Status::Creating => Error::new("cannot start a container that is still being created"),
            _ => Error::new("cannot start an already running container"),
        });
    };
    let pidfd = container.pidfd()?;
    let config = container.config()?;
    let seccomp = config.linux.seccomp.as_ref().map(Seccomp::new).transpose()?;
    let notify = notify_socket::Relay::listen(&container.folder, container.state.init.map_or(0, |init| init.pid))?;
    wire.send(&Message::Proceed)?;
    let seccomp = seccomp.as_ref();
    let taker = handover::Taker { seccomp, state: &container.state, companion: None };
    handover::hear_exec(&wire, &pidfd, &taker)?;
    gate::close(&container.folder);
    let running = container.state.hook_json(Status::Running);
    hooks::run(&config.hooks.poststart, "poststart", &running, Surroundings::default()).inspect_err(|_| {
        // Fatal since runtime-spec 1.3: the container does not outlive it.
        let _ = container.end_all();
    })?;
    notify.map_or(Ok(()), |notify| notify.until_ready(&pidfd))
}

/// Sends a signal to the first process, or to all; without one it only looks whether there is a process.
///
/// # Errors
/// `container not running` where it has ended.
pub fn kill(store: &Store, id: &ContainerId, signal: Option<Signal>, all: bool) -> Result<()> {
    let container = load(store, id)?;
    let Some(signal) = signal else {
        // "All" of a stopped container are none, which is no failure with any signal.
        return if all { Ok(()) } else { container.pidfd().map(drop) };
    };
    let alone = container.state.own_pid_namespace;
    if all || (!alone && signal == Signal::KILL) {
        // In a shared pid namespace nothing else ends with the first process.
        return container.cgroup().kill(signal);
    }
    let pidfd = container.pidfd().map_err(|_| Error::new("container not running"))?;
    match rustix::process::pidfd_send_signal(&pidfd, signal) {
        Err(Errno::SRCH) => return Err(Error::new("container not running")),
        other => other.context(|| format!("send signal {} to the container", signal.as_raw()))?,
    }
    if signal == Signal::KILL && container.is_paused() {
        // On cgroup v1 a frozen process keeps even SIGKILL waiting.
        container.cgroup().thaw()?;
    }
    Ok(())
}

/// Removes a container that has stopped; with `force`, in any condition, and an unknown one is fine.
///
/// # Errors
/// Where it runs, or something of it cannot be removed; it stays listed then.
pub fn delete(store: &Store, id: &ContainerId, force: bool) -> Result<()> {
    let Some((folder, state)) = find_for_delete(store, id, force)? else { return Ok(()) };
    let state = match state {
        Err(_) if force && !folder.is_busy() => return remains::remove_without_state(&folder, id),
        other => other?,
    };
    let container = Container { folder, state };
    match container.status() {
        Status::Stopped => {}
        // A created one has not begun yet; engines delete it without force.
        Status::Created => container.end_all()?,
        _ if force => container.end_all()?,
        status => {
            return Err(Error::new(format!("cannot delete container {id} that is not stopped: {}", status.name()))
                .hint(format!("stop it first: myrt kill {id} KILL, or myrt delete --force {id}")));
        }
    }
    if !container.state.own_pid_namespace || container.state.init.is_none() {
        // What was killed while it was made may have left a process that no state names.
        container.kill_leftovers()?;
    }
    remains::remove(&container.folder, &container.state)
}

/// What a delete is to remove; `None` where a forced one finds nothing. By force it may come while the container is being
/// made: systemd is perhaps about to make a cgroup that is not there yet. What can be killed already is, so that the maker
/// gives up, and then takes down what it has made; nothing is removed under its hands.
fn find_for_delete(store: &Store, id: &ContainerId, force: bool) -> Result<Option<(Folder, Result<State>)>> {
    let end = Instant::now() + DYING;
    loop {
        let folder = match store.find(id) {
            Err(error) if force && error.errno().is_none() => return Ok(None),
            other => other?,
        };
        let state = folder.state();
        if !force || state.as_ref().is_ok_and(|state| state.init.is_some()) {
            return Ok(Some((folder, state)));
        }
        if !folder.is_busy() {
            // Read once more: it may have been finished since.
            let state = folder.state();
            return Ok(Some((folder, state)));
        }
        if Instant::now() > end {
            return Err(Error::new(format!("cannot delete container {id}: it is still being created"))
                .hint("end the command that creates it, or try again later"));
        }
        if let Ok(state) = state {
            Container { folder, state }.kill_leftovers()?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Freezes all processes.
///
/// # Errors
/// Where it is not running, or has no cgroup.
pub fn pause(store: &Store, id: &ContainerId) -> Result<()> {
    let container = load(store, id)?;
    match container.status() {
        Status::Running | Status::Created => container.cgroup().freeze(),
        status => bail!("cannot pause container {id}: it is {}, container not running", status.name()),
    }
}

/// Thaws all processes.
///
/// # Errors
/// Where it is not paused.
pub fn resume(store: &Store, id: &ContainerId) -> Result<()> {
    let container = load(store, id)?;
    match container.status() {
        Status::Paused => container.cgroup().thaw(),
        status => bail!("cannot resume container {id}: it is {}, not paused", status.name()),
    }
}

/// Changes limits of a living container.
///
/// # Errors
/// Where it has ended, or the kernel refuses a limit.
pub fn update(
    store: &Store,
    id: &ContainerId,
    resources: &spec::Resources,
    rdt: Option<&spec::IntelRdt>,
) -> Result<()> {
    let container = load(store, id)?;
    if container.status() == Status::Stopped {
        bail!("cannot update container {id}: container not running");
    }
    for warning in container.cgroup().update(resources)? {
        log::warn(warning);
    }
    if let Some(rdt) = rdt {
        let group = container.rdt_group().ok_or_else(|| {
            Error::new(format!("container {id} has no resctrl group")).hint("set linux.intelRdt in config.json")
        })?;
        group.update(rdt)?;
    }
    Ok(())
}

impl Container {
    /// The config.json of its create, which was checked then.
    pub(super) fn config(&self) -> Result<spec::Spec> {
        plan::parse(&self.folder.config()?, &self.folder.path().join("config.json"))
    }

    /// A descriptor of its first process, which cannot come to mean another one.
    pub(super) fn pidfd(&self) -> Result<OwnedFd> {
        let gone = || Error::new("container not running");
        let init = self.state.init.ok_or_else(gone)?;
        let pid = Pid::from_raw(init.pid).ok_or_else(gone)?;
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Err(gone()),
            other => other.context(|| format!("pidfd_open {}", init.pid))?,
        };
        // First the descriptor, then the check: the number cannot have changed hands in between.
        if init.is_alive() { Ok(pidfd) } else { Err(gone()) }
    }

    /// Kills the first process and waits until it is gone, and with it all others of its pid namespace.
    pub(super) fn end_all(&self) -> Result<()> {
        if let Ok(pidfd) = self.pidfd() {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            if self.is_paused() {
                self.cgroup().thaw()?;
            }
            wait_for_end(&pidfd)?;
        }
        self.kill_leftovers()
    }

    /// Kills whatever is still in the cgroup.
    fn kill_leftovers(&self) -> Result<()> {
        match self.cgroup().kill(Signal::KILL) {
            // No cgroup, no processes in it.
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
            other => other,
        }
    }
}

/// Waits until a process that was sent SIGKILL has ended.
fn wait_for_end(pidfd: &OwnedFd) -> Result<()> {
    let patience = Timespec::try_from(DYING).ok();
    match rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], patience.as_ref()) {
        Ok(0) => Err(Error::new("the container's process does not end after SIGKILL")
            .hint("it waits for the kernel, perhaps for a disk or a network filesystem, or is in a cgroup that somebody froze: try again later")),
        other => other.map(drop).context(|| "wait for the container's process to end"),
    }
}
