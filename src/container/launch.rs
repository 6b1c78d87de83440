//! The parent's story: reserves, clones, answers, and lets go or takes down.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::companion::Companion;
use super::create::CreateOptions;
use super::first::FirstProcess;
use super::hooks::Surroundings;
use super::init::{self, Expected, Gate, Init};
use super::state::{self, State, Status};
use super::store::{Folder, Store};
use super::wire::{Message, Wire};
use super::{gate, handover, hooks, notify_socket, remains, terminal, wait};
use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result};
use crate::plan::{ContainerId, Mount, MountKind, NamespaceKind, Plan};
use crate::security::seccomp;
use crate::sys::clone::{self, Child, Forked};
use crate::sys::procfs::ProcFs;
use crate::sys::signal;
use crate::{log, namespaces, net, rootfs, security, trace};

/// Where the launch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `create`: the process waits for `start`.
    Gate,
    /// `run`: the process becomes its program.
    Exec,
}

/// A container in the making: its process is at work. Dropped before it is let go, everything is taken down.
pub struct Launch<'a> {
    plan: &'a Plan,
    options: &'a CreateOptions,
    ending: Ending,
    child: Child,
    wire: Wire,
    cgroup: Cgroup,
    console: Option<OwnedFd>,
    /// The first process, where that is not the program.
    first: Option<Rc<FirstProcess>>,
    second_fork: Option<u64>,
    // Last: the process is killed before what it stands on is removed.
    made: Made,
}

/// What exists of a container in the making, beside its process.
struct Made {
    folder: Folder,
    state: State,
    /// From the first hook on, a failure runs the poststop hooks as well.
    hooks_ran: bool,
    /// It is finished: nothing is taken down any more.
    kept: bool,
}

impl<'a> Launch<'a> {
    /// Reserves the id, writes the state, makes the cgroup, clones. The new process is at work when this comes back. `first`
    /// is the first process, where that is not to be the program and is there already.
    ///
    /// # Errors
    /// Whatever stands in the way.
    pub fn begin(
        store: &Store,
        id: &ContainerId,
        plan: &'a Plan,
        config: &[u8],
        options: &'a CreateOptions,
        ending: Ending,
        first: Option<Rc<FirstProcess>>,
    ) -> Result<Self> {
        let step = trace::step("reserve");
        let record = cgroup::Record::plan(&cgroup::Request {
            id: id.as_str(),
            path: plan.cgroups_path.as_deref(),
            driver: options.driver,
            annotations: &plan.annotations,
            rootless: options.rootless,
        })?;
        let mut state = State::new(id.as_str(), plan, record)?;
        state.init = first.as_ref().and_then(|first| state::Process::of(first.pid()));
        let folder = store.reserve(id)?;
        // Before a state names that unit, and before there is anything to take down.
        if let Err(taken) = state.cgroup.check_free() {
            folder.remove()?;
            return Err(taken);
        }
        let mut made = Made { folder, state, hooks_ran: false, kept: false };
        // First the state: whatever is killed from here on can be listed and deleted.
        made.folder.write_first(&made.state, config)?;
        notify_socket::make_folder(&made.folder)?;
        drop(step);

        let step = trace::step("cgroup");
        let mut cgroup = match Cgroup::create(&made.state.cgroup, &plan.resources) {
            Ok(cgroup) => cgroup,
            Err(refused) => return Err(made.forget(refused)),
        };
        for warning in cgroup.warnings() {
            log::warn(warning);
        }
        drop(step);

        let first = match first {
            None if plan.own_first_process => Some(Rc::new(first_process(plan, &mut cgroup, &mut made)?)),
            given => given,
        };
        let step = trace::step("prepare");
        let (inside, wire) = Wire::pair()?;
        let mut init = Init {
            plan,
            options,
            state: &made.state,
            gate: match ending {
                Ending::Gate => Gate::Socket(gate::build(&made.folder)?),
                Ending::Exec => Gate::Wire,
            },
            prepared: rootfs::prepare(plan)?,
            filter: plan.seccomp.as_ref().filter(|_| first.is_none()).map(seccomp::compile).transpose()?,
            joins: namespaces::open(&plan.namespaces, &plan.sysctl)?,
            first: first.as_deref(),
            second_fork: namespaces::second_fork(&plan.namespaces),
            wire: inside,
        };
        drop(step);

        let step = trace::step("clone");
        let forked = match &first {
            Some(first) => {
                let (forked, once_more) = first.fork(&mut cgroup)?;
                init.second_fork = once_more.then_some(0);
                forked
            }
            None => fork(namespaces::clone_flags(&plan.namespaces), &mut cgroup)?,
        };
        let child = match forked {
            Forked::Parent(child) => child,
            Forked::Child => {
                // The other end must have one owner only, or its end would never be noticed.
                drop(wire);
                init::main(init, &cgroup)
            }
        };
        drop(step);
        let second_fork = init.second_fork;
        drop(init);
        let mut launch = Self { plan, options, ending, child, wire, cgroup, console: None, first, second_fork, made };
        if let Err(error) = launch.equip() {
            return Err(launch.last_words(&error).unwrap_or(error));
        }
        Ok(launch)
    }

    /// Why the new process has gone, where it is for that that something could not be sent to it.
    fn last_words(&self, error: &Error) -> Option<Error> {
        if !matches!(error.errno(), Some(Errno::PIPE | Errno::CONNRESET)) {
            return None;
        }
        // Its end is closed, so that this ends.
        while let Ok(Some(message)) = self.wire.receive() {
            if let Message::Failed(reason) = message {
                return Some(reason);
            }
        }
        Some(self.died_early())
    }

    /// Gives the new process what only we can give, while it already works on its mounts.
    fn equip(&mut self) -> Result<()> {
        let _step = trace::step("equip");
        if self.first.is_some() {
            // It has its ids, and all that it waits for is the filter, if its cgroup is not systemd's affair.
            return if self.cgroup.is_of_a_users_manager() { Ok(()) } else { init::send_filter(self.plan, &self.wire) };
        }
        let pid = self.child.pid;
        if namespaces::clone_flags(&self.plan.namespaces) & NamespaceKind::User.flag() != 0 {
            self.settle_user_namespace()?;
        }
        let adopted = self.cgroup.adopt(pid.as_raw_nonzero().get(), &self.plan.resources);
        // Also of one that failed: what is taken down then must be ours.
        self.made.state.cgroup.clone_from(self.cgroup.record());
        adopted?;
        self.delegate_cgroup()?;
        if init::waits_for_parent(self.plan, &self.cgroup) {
            self.wire.send(&Message::Proceed)?;
        }
        if let (Some(rdt), Some(group)) = (&self.plan.intel_rdt, &self.made.state.rdt) {
            group.apply(rdt, pid.as_raw_nonzero().get())?;
        }
        self.note_process()
    }

    /// Ids, and what is a right of the host's user namespace: limits, and a low oom score.
    fn settle_user_namespace(&self) -> Result<()> {
        let pid = self.child.pid;
        namespaces::write_id_maps(&self.plan.namespaces, pid)?;
        security::rlimits::apply(&self.plan.process.rlimits, Some(pid))?;
        security::oom::apply(self.plan.process.oom_score_adj, Some(pid), &ProcFs::open()?)
    }

    /// Root of a user namespace owns the cgroup that it sees as the root of its hierarchy, where it may write there: so a
    /// container can run containers.
    fn delegate_cgroup(&self) -> Result<()> {
        let namespaces = &self.plan.namespaces;
        let own = [NamespaceKind::User, NamespaceKind::Cgroup].into_iter().all(|kind| namespaces.creates(kind));
        let writable = |mount: &Mount| {
            matches!(mount.kind, MountKind::Cgroup) && !mount.flags.contains(rustix::mount::MountFlags::RDONLY)
        };
        match namespaces.root_outside() {
            Some((uid, gid)) if own && self.plan.rootfs.mounts.iter().any(writable) => self.cgroup.delegate(uid, gid),
            _ => Ok(()),
        }
    }

    /// Remembers which process is the first. One that is gone already is reported by its end, not here.
    fn note_process(&mut self) -> Result<()> {
        self.made.note_process(self.child.pid)
    }

    /// Answers the new process until there is nothing more to answer before its gate.
    ///
    /// # Errors
    /// Its own, that of a hook, or the companion's.
    pub fn converse(&mut self, companion: Option<&dyn Companion>) -> Result<()> {
        let _step = trace::step("converse");
        let mut expected = Expected::of(self.plan, self.ending, self.second_fork.is_some());
        while expected.anything() {
            match self.wire.receive()? {
                Some(Message::Second(number, pidfd)) => {
                    self.replace_child(number, pidfd)?;
                    expected.second = false;
                }
                Some(Message::RootReady) => {
                    self.on_root_ready(companion)?;
                    expected.root_ready = false;
                }
                Some(Message::Console(master)) => {
                    match &self.options.console_socket {
                        Some(path) => terminal::send_descriptor(path, "terminal", master.as_fd())?,
                        None => self.console = Some(master),
                    }
                    expected.console = false;
                }
                Some(Message::AtGate) => expected.gate = false,
                Some(Message::Failed(error)) => return Err(error),
                Some(other) => return Err(Error::new(format!("unexpected message from the container: {other:?}"))),
                None => return Err(self.died_early()),
            }
        }
        Ok(())
    }

    /// A second fork was needed: the first child has ended, this is the container's process.
    fn replace_child(&mut self, number: i32, pidfd: OwnedFd) -> Result<()> {
        let pid = Pid::from_raw(number).ok_or_else(|| Error::new("the container has no process"))?;
        let first = std::mem::replace(&mut self.child, Child { pid, pidfd });
        wait::reap(&first)?;
        if self.second_fork.is_some_and(|flags| flags & NamespaceKind::User.flag() != 0) {
            self.settle_user_namespace()?;
            self.wire.send(&Message::Proceed)?;
        }
        if self.first.is_none() {
            return self.note_process();
        }
        if self.cgroup.is_of_a_users_manager() {
            self.cgroup.attach(pid)?;
            self.wire.send(&Message::Proceed)?;
            init::send_filter(self.plan, &self.wire)?;
        }
        Ok(())
    }

    /// The mounts are there, the old root still is: devices move in, and the hooks of the runtime's namespace run.
    fn on_root_ready(&mut self, companion: Option<&dyn Companion>) -> Result<()> {
        net::move_devices(&self.plan.net_devices, self.child.pid)?;
        if let Some(companion) = companion.filter(|_| self.plan.connected) {
            companion.connect(self.child.pid)?;
        }
        self.made.hooks_ran = true;
        let json = self.made.state.hook_json(Status::Creating);
        let around = Surroundings { cwd: Some(&self.plan.bundle), ..Surroundings::default() };
        hooks::run(&self.plan.hooks.prestart, "prestart", &json, around)?;
        hooks::run(&self.plan.hooks.create_runtime, "createRuntime", &json, around)?;
        self.wire.send(&Message::Proceed)
    }

    /// Lets the process through its gate and hears how its exec went. In the foreground every signal is blocked first:
    /// from its first instruction on, the program gets what we are sent.
    ///
    /// # Errors
    /// The reason why the program does not run.
    pub fn open_gate(&mut self, foreground: bool, companion: Option<&dyn Companion>) -> Result<()> {
        let _step = trace::step("wait for the exec");
        if foreground {
            signal::block_all();
        }
        self.wire.send(&Message::Proceed)?;
        if let Some(first) = self.first.as_ref().filter(|_| !self.cgroup.needs_adoption()) {
            // But what a scope of systemd's has counted is read before its last process goes.
            first.end_with(&self.child);
        }
        let taker = handover::Taker { seccomp: self.plan.seccomp.as_ref(), state: &self.made.state, companion };
        handover::hear_exec(&self.wire, &self.child.pidfd, &taker)
    }

    /// Ends a create: the process stays at its gate.
    ///
    /// # Errors
    /// Where it has ended in the meantime.
    pub fn leave_at_gate(mut self) -> Result<()> {
        self.wire.send(&Message::Proceed)?;
        self.made.kept = true;
        Ok(())
    }

    /// Ends a detached run.
    pub fn leave(mut self) {
        self.made.kept = true;
    }

    /// Ends a foreground run whose process has ended.
    ///
    /// # Errors
    /// Where something cannot be taken down.
    pub fn end(mut self, keep: bool) -> Result<()> {
        let _step = trace::step("take down");
        self.made.kept = true;
        // With it goes whatever the program has left in the pid namespace.
        if let Some(first) = self.first.take() {
            first.kill();
            if !keep && self.made.state.cgroup.trees().is_empty() {
                // Nothing but files is left to remove, for which nobody has to be gone; and nobody can stop that any more.
                return remains::remove(&self.made.folder, &self.made.state);
            }
        }
        if !self.made.state.own_pid_namespace {
            self.cgroup.kill(Signal::KILL)?;
        }
        if keep {
            return Ok(());
        }
        remains::remove(&self.made.folder, &self.made.state)
    }

    /// The container's state folder.
    pub fn folder(&self) -> &Folder {
        &self.made.folder
    }

    /// The container's cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The container's process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// The master of the terminal, if it was not sent away.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What is remembered of the container.
    pub fn state(&self) -> &State {
        &self.made.state
    }

    /// The process is gone without a word, which only a signal does.
    fn died_early(&self) -> Error {
        let code = wait::reap(&self.child).unwrap_or_default();
        let error =
            Error::new(format!("the container's first process ended before its program ran (exit code {code})"));
        match code {
            137 => error.hint("it was killed: a memory limit below what a start needs, or somebody's SIGKILL"),
            159 => error.hint("a seccomp filter killed it"),
            _ => error,
        }
    }
}

/// Begins a first process that is not the program, in the cgroup, which is then ready for the program too.
fn first_process(plan: &Plan, cgroup: &mut Cgroup, made: &mut Made) -> Result<FirstProcess> {
    let first = FirstProcess::begin_in(&plan.namespaces, cgroup)?;
    if cgroup.needs_adoption() {
        let adopted = cgroup.adopt(first.pid().as_raw_nonzero().get(), &plan.resources);
        // Also of one that failed: what is taken down then must be ours.
        made.state.cgroup.clone_from(cgroup.record());
        adopted?;
        *cgroup = Cgroup::join(cgroup.record())?;
    }
    made.note_process(first.pid())?;
    Ok(first)
}

/// Forks into new namespaces (CLONE_NEW* bits) and, where the kernel and the hierarchy take it, straight into the cgroup.
///
/// # Errors
/// What the refusal means to a person.
pub(super) fn fork(flags: u64, cgroup: &mut Cgroup) -> Result<Forked> {
    let target = cgroup.clone_target();
    let born_inside = target.is_some();
    let forked = match clone::fork(flags, target) {
        Err(refusal @ (Errno::INVAL | Errno::BUSY | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM)) if born_inside => {
            // The child moves itself; if it was not the cgroup, the same error comes again.
            cgroup.enter_instead(refusal)?;
            clone::fork(flags, None)
        }
        other => other,
    };
    forked.map_err(|errno| namespaces::explain_clone(flags, errno))
}

impl Drop for Launch<'_> {
    fn drop(&mut self) {
        if !self.made.kept {
            let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
            let _ = wait::reap(&self.child);
        }
    }
}

impl Made {
    fn note_process(&mut self, pid: Pid) -> Result<()> {
        self.state.init = state::Process::of(pid);
        self.folder.save(&self.state)
    }

    /// Gives up before there is a cgroup: what stands under its name is another's, with processes that are not ours to kill.
    fn forget(mut self, reason: Error) -> Error {
        self.kept = true;
        // The reason says more than what else goes wrong now; delete --force tries again.
        let _ = self.folder.remove();
        reason
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.hooks_ran {
            remains::run_poststop(&self.state);
        }
        // What cannot be taken down now stays listed, and delete --force tries again.
        let _ = remains::take_down(&self.folder, &self.state);
    }
}
