//! The child's story: a fork of the runtime that builds the container around itself and becomes its program.
//!
//! It works on the parent's `&Plan`, copied by the fork: nothing is serialised. It trusts nothing that the container can
//! write, and until the exec it holds no descriptor that the program could inherit.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::become_program::{self, Door, Dress};
use super::create::CreateOptions;
use super::first::FirstProcess;
use super::hooks::Surroundings;
use super::launch::Ending;
use super::state::{Report, State, Status};
use super::wire::{self, Message, Wire};
use super::{gate, hooks, terminal};
use crate::cgroup::{Cgroup, View};
use crate::error::{Context, Error, Result};
use crate::namespaces::{self, Joins};
use crate::plan::{NamespaceKind, Plan, Process};
use crate::rootfs::Prepared;
use crate::security::{oom, rlimits, schedule, seccomp};
use crate::sys::beneath::Beneath;
use crate::sys::clone::{self, Forked};
use crate::sys::procfs::ProcFs;
use crate::{net, rootfs, trace};

/// What the child inherits.
pub struct Init<'a> {
    /// What it is to become.
    pub plan: &'a Plan,
    /// How the caller wants it.
    pub options: &'a CreateOptions,
    /// What is remembered of the container, for the hooks.
    pub state: &'a State,
    /// Where it waits before the exec.
    pub gate: Gate,
    /// Descriptors that only the host's rights could open.
    pub prepared: Prepared,
    /// The compiled seccomp filter; a sandbox's is sent later.
    pub filter: Option<seccomp::Program>,
    /// Open namespaces to join.
    pub joins: Joins,
    /// A first process that is not the program, whose namespaces are to be joined.
    pub first: Option<&'a FirstProcess>,
    /// Whether it forks once more, and with which CLONE_NEW* bits.
    pub second_fork: Option<u64>,
    /// To the runtime.
    pub wire: Wire,
}

/// Outside: compiles the filter and hands it over, which has time until the mounts are in their places.
///
/// # Errors
/// Where the profile cannot be compiled, or the other side is gone.
pub fn send_filter(plan: &Plan, wire: &Wire) -> Result<()> {
    let Some(profile) = &plan.seccomp else { return Ok(()) };
    for part in seccomp::compile(profile)?.parts(wire::LONGEST / 2) {
        wire.send(&Message::Filter(part))?;
    }
    wire.send(&Message::Proceed)
}

/// Inside: takes what [`send_filter`] sends. Where it has not come whole, that is an error, and never a start without one.
fn receive_filter(plan: &Plan, wire: &Wire) -> Result<Option<seccomp::Program>> {
    if plan.seccomp.is_none() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    loop {
        match wire.receive()? {
            Some(Message::Filter(part)) => parts.push(part),
            Some(Message::Proceed) => break,
            other => return Err(unexpected(other, "a part of the filter")),
        }
    }
    let filter = seccomp::Program::of_parts(&parts);
    filter.map(Some).ok_or_else(|| Error::new("linux.seccomp: the filter has not arrived"))
}

fn unexpected(message: Option<Message>, wanted: &str) -> Error {
    match message {
        Some(other) => Error::new(format!("unexpected message {other:?} instead of {wanted}")),
        None => Error::new("the runtime outside is gone"),
    }
}

/// Where the container's process waits for leave to exec.
pub enum Gate {
    /// `run`: the parent says it on the wire.
    Wire,
    /// `create`: some later `start` says it on this socket.
    Socket(OwnedFd),
}

/// Which messages the parent waits for before the gate.
pub struct Expected {
    /// [`Message::Second`]
    pub second: bool,
    /// [`Message::RootReady`]
    pub root_ready: bool,
    /// [`Message::Console`]
    pub console: bool,
    /// [`Message::AtGate`]
    pub gate: bool,
}

impl Expected {
    /// What this plan makes the child say.
    pub fn of(plan: &Plan, ending: Ending, second_fork: bool) -> Self {
        Self {
            second: second_fork,
            root_ready: parent_acts_on_root(plan),
            console: plan.process.terminal,
            gate: ending == Ending::Gate,
        }
    }

    /// Whether something is still to come.
    pub fn anything(&self) -> bool {
        self.second || self.root_ready || self.console || self.gate
    }
}

/// Whether the child may do nothing before the parent has given it ids, or systemd has given it a cgroup.
pub fn waits_for_parent(plan: &Plan, cgroup: &Cgroup) -> bool {
    let user = namespaces::clone_flags(&plan.namespaces) & NamespaceKind::User.flag() != 0;
    // Both are a first process's affair, where there is one.
    !plan.own_first_process && (user || cgroup.needs_adoption())
}

/// Whether the parent has something to do between mounts and pivot.
fn parent_acts_on_root(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    !(hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && plan.net_devices.is_empty() && !plan.connected)
}

/// Runs the story; whatever stops it is told to the parent.
pub fn main(init: Init<'_>, cgroup: &Cgroup) -> ! {
    become_program::or_report(&init.wire, || story(&init, cgroup))
}

fn story(init: &Init<'_>, cgroup: &Cgroup) -> Result<Infallible> {
    let Init { plan, options, wire, .. } = init;
    if waits_for_parent(plan, cgroup) {
        wire.wait_for_proceed()?;
    }
    let log = become_program::relay_log(wire)?;
    // While the host's /proc is still ours to see: labels, sysctls and scores go through this descriptor.
    let proc = ProcFs::open()?;
    let report = report_for_hooks(init);
    enter_namespaces(init, cgroup, &proc)?;

    // A session of its own, so that the caller's terminal and job control are out of reach.
    rustix::process::setsid().context(|| "start a new session (setsid)")?;
    if init.first.is_none() && plan.namespaces.creates(NamespaceKind::Network) {
        let _step = trace::step("loopback");
        net::loopback_up()?;
    }

    let step = trace::step("mounts");
    let root = rootfs::build(plan, &init.prepared, &View::of(cgroup.record())?, &proc)?;
    drop(step);
    let sent = init.first.map_or(Ok(None), |_| receive_filter(plan, wire))?;
    let filter = sent.as_ref().or(init.filter.as_ref());
    if parent_acts_on_root(plan) {
        wire.send(&Message::RootReady)?;
        wire.wait_for_proceed()?;
    }
    if !plan.hooks.create_container.is_empty() {
        let json = hook_json(report.as_ref(), Status::Creating);
        hooks::run(&plan.hooks.create_container, "createContainer", &json, Surroundings::default())?;
    }
    let step = trace::step("pivot");
    let inside = root.pivot(options.no_pivot, &proc)?;
    inside.check_namespace(&proc)?;
    drop(step);
    init.first.map_or(Ok(()), FirstProcess::release)?;

    let step = trace::step("finish root");
    namespaces::set_names(plan)?;
    namespaces::write_sysctls(&plan.sysctl, &proc)?;
    let root = Beneath::open(Path::new("/"))?;
    if plan.process.terminal {
        let terminal = terminal::open(&root, &plan.process)?;
        inside.console(&terminal.slave)?;
        wire.send(&Message::Console(terminal.master))?;
        match init.first.is_some() {
            true => terminal::attach_beside_stderr(&terminal.slave)?,
            false => terminal::attach(&terminal.slave)?,
        }
    }
    inside.finish(plan, &proc)?;
    drop(inside);
    drop(step);

    let step = trace::step("rights");
    let mut keep = vec![wire.as_fd().as_raw_fd(), log];
    if let Gate::Socket(listener) = &init.gate {
        keep.push(listener.as_raw_fd());
    }
    keep.extend(init.first.map(|first| first.as_fd().as_raw_fd()));
    let dress = Dress {
        process: &plan.process,
        personality: plan.personality,
        memory_policy: plan.memory_policy.as_ref(),
        filter,
        listener_may_follow: init.first.is_some(),
        keyring: (!options.no_new_keyring).then_some(init.state.id.as_str()),
        limits_are_set: plan.namespaces.separate(NamespaceKind::User),
        make_cwd: true,
        preserve_fds: options.preserve_fds,
        listen_fds: options.listen_fds,
        root: &root,
        keep: &keep,
    };
    let door = Door::approach(&dress, proc)?;
    drop(step);

    let opener = wait_at_gate(init)?;
    let opener = opener.as_ref().unwrap_or(wire);
    become_program::or_report(opener, || {
        if let Some(first) = init.first {
            first.wait_until_bare()?;
            if filter.is_some_and(|filter| filter.uses_notify() && !filter.allows_sendmsg()) {
                // An opener without rights over the machine takes a descriptor out of this process only if it is visible.
                // Nobody else lives here yet who could look into it.
                rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
                    .context(|| "become visible to the runtime (PR_SET_DUMPABLE)")?;
            }
        }
        door.run_hooks(&plan.hooks.start_container, &hook_json(report.as_ref(), Status::Created))?;
        door.pass(opener)
    })
}

/// Joins what is to be joined and leaves what clone could not leave; forks again where the kernel puts only children in.
fn enter_namespaces(init: &Init<'_>, cgroup: &Cgroup, proc: &ProcFs) -> Result<()> {
    let _step = trace::step("namespaces");
    let namespaces = &init.plan.namespaces;
    let joins_user =
        namespaces.separate(NamespaceKind::User) && (init.first.is_some() || !namespaces.creates(NamespaceKind::User));
    if joins_user {
        // Rights of the caller's user namespace.
        rlimits::apply(&init.plan.process.rlimits, None)?;
        oom::apply(init.plan.process.oom_score_adj, None, proc)?;
    }
    // In that of a sandbox lives nobody yet but its first process, and who makes its network has to see this one.
    let is_to_hide = joins_user && init.first.is_none();
    if is_to_hide && namespaces.time_offsets.is_empty() {
        become_program::hide()?;
    }
    init.joins.enter(namespaces, proc)?;
    match init.first {
        Some(first) => first.join()?,
        None => {
            cgroup.enter()?;
            // A sandbox's program runs where its caller may.
            schedule::unbind();
        }
    }
    if let Some(flags) = init.second_fork {
        namespaces::unshare_time(namespaces, proc)?;
        let forked = clone::fork(flags | libc::CLONE_PARENT as u64, None);
        match forked.map_err(|errno| namespaces::explain_clone(flags, errno))? {
            Forked::Parent(child) => {
                init.wire.send(&Message::Second(child.pid.as_raw_nonzero().get(), child.pidfd))?;
                crate::sys::exec::exit_now(0);
            }
            // Its ids are written once the parent knows of it, or its cgroup is entered for it.
            Forked::Child if flags & NamespaceKind::User.flag() != 0 => init.wire.wait_for_proceed()?,
            Forked::Child if init.first.is_some() && cgroup.is_of_a_users_manager() => init.wire.wait_for_proceed()?,
            Forked::Child => {}
        }
    }
    if is_to_hide {
        // Time offsets are written by a process that can be seen, though by nobody of a joined pid namespace.
        become_program::hide()?;
    }
    if init.first.is_some() {
        cgroup.enter()?;
    }
    namespaces::unshare_cgroup(namespaces)?;
    if namespaces.separate(NamespaceKind::User) {
        become_somebody_inside(&init.plan.process)?;
    }
    Ok(())
}

/// What is made from here on belongs to root of the new user namespace, not to an id that it does not know: those can make
/// nothing (EOVERFLOW). A namespace without an id 0 is unusual and allowed; there it is the program's user, and the
/// capabilities are the same.
fn become_somebody_inside(process: &Process) -> Result<()> {
    use rustix::io::Errno;
    use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
    let group = |gid: Gid| set_thread_res_gid(gid, gid, gid);
    let user = |uid: Uid| set_thread_res_uid(uid, uid, uid);
    let group_set = group(Gid::ROOT).or_else(|_| group(Gid::from_raw(process.gid)));
    let user_set = user(Uid::ROOT).or_else(|_| user(Uid::from_raw(process.uid)));
    for changed in [group_set, user_set] {
        match changed {
            // Not mapped either: that is said where the program becomes its user.
            Ok(()) | Err(Errno::INVAL) => {}
            other => other.context(|| "become root of the user namespace")?,
        }
    }
    Ok(())
}

/// The state for hooks that run inside, before the root changes: the owner's name is looked up in the host's /etc/passwd,
/// and that of the container may be a fifo without a writer, or endless.
fn report_for_hooks(init: &Init<'_>) -> Option<Report> {
    let hooks = &init.plan.hooks;
    let none = hooks.create_container.is_empty() && hooks.start_container.is_empty();
    (!none).then(|| init.state.report(Status::Creating))
}

/// What hooks that run inside read: the process as it sees itself.
fn hook_json(report: Option<&Report>, status: Status) -> Vec<u8> {
    let Some(report) = report else { return Vec::new() };
    let report = Report { status, pid: rustix::process::getpid().as_raw_nonzero().get(), ..report.clone() };
    serde_json::to_vec(&report).unwrap_or_default()
}

/// Waits for leave to exec; gives the wire to whoever gave it, where that is not the parent.
fn wait_at_gate(init: &Init<'_>) -> Result<Option<Wire>> {
    let _step = trace::step("wait at the gate");
    match &init.gate {
        Gate::Wire => init.wire.wait_for_proceed().map(|()| None),
        Gate::Socket(listener) => {
            init.wire.send(&Message::AtGate)?;
            // The parent has saved the state and published the pid: from here on it may be gone.
            init.wire.wait_for_proceed()?;
            gate::wait(listener).map(Some)
        }
    }
}
