//! `exec`: one more process in a container that runs. The same two stories as a start, with joined namespaces.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::become_program::{self, Door, Dress};
use super::create::write_pid_file;
use super::terminal::{self, Relay};
use super::wire::{Message, Wire};
use super::{Container, Status, Store, handover, load, wait};
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::plan::{self, ContainerId, MemoryPolicy, NamespaceKind, Namespaces, Process, Seccomp, spec};
use crate::security;
use crate::sys::beneath::Beneath;
use crate::sys::clone::{self, Child, Forked};
use crate::sys::entry;
use crate::sys::procfs::ProcFs;
use crate::sys::signal;
use crate::{log, trace};

/// What `exec` is asked.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// What is to run.
    pub process: ProcessSource,
    /// Come back as soon as it runs.
    pub detach: bool,
    /// Who gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// Where its number goes.
    pub pid_file: Option<PathBuf>,
    /// Who gets its pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on it gets.
    pub preserve_fds: u32,
    /// Cgroups below the container's: `PATH`, or `CONTROLLER,…:PATH` on v1.
    pub cgroup: Vec<String>,
    /// Join a container that is paused.
    pub ignore_paused: bool,
}

/// Where the process is described.
#[derive(Debug)]
pub enum ProcessSource {
    /// A file with the `process` object of the specification.
    File(PathBuf),
    /// The container's own process, with changes.
    Changed(Box<Changes>),
}

impl Default for ProcessSource {
    fn default() -> Self {
        Self::Changed(Box::default())
    }
}

/// Changes to the container's own process; what is not said stays as config.json has it.
#[derive(Debug, Default)]
pub struct Changes {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Whether it gets a terminal: unlike the rest, never inherited.
    pub terminal: bool,
    /// Working folder.
    pub cwd: Option<String>,
    /// Added to the environment, last one wins.
    pub env: Vec<String>,
    /// User and, if said, group.
    pub user: Option<(u32, Option<u32>)>,
    /// Supplementary groups in place of the container's.
    pub additional_gids: Vec<u32>,
    /// Capabilities added to all sets that a plain process uses.
    pub capabilities: Vec<String>,
    /// SELinux label.
    pub label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
}

/// The parent's side of an exec.
struct Exec<'a> {
    container: &'a Container,
    namespaces: Namespaces,
    seccomp: Option<Seccomp>,
    personality: Option<u64>,
    memory_policy: Option<MemoryPolicy>,
    process: Process,
    options: &'a ExecOptions,
    pidfd: OwnedFd,
    cgroup: Cgroup,
    filter: Option<security::seccomp::Program>,
}

/// Runs a process in a container. In the foreground, gives its exit code.
///
/// # Errors
/// Where the container does not run, or the process cannot; `exec` then ends with 255, as callers expect.
pub fn exec(store: &Store, id: &ContainerId, options: &ExecOptions) -> Result<u8> {
    run(store, id, options).map_err(|error| error.exit_with(255))
}

fn run(store: &Store, id: &ContainerId, options: &ExecOptions) -> Result<u8> {
    let _binary = entry::ensure_protected()?;
    let step = trace::step("read state");
    let container = load(store, id)?;
    check_status(&container, options)?;
    let config = container.config()?;
    let process = resolve(&config, options)?;
    check_terminal(&process, options)?;
    drop(step);
    let step = trace::step("prepare");
    let seccomp = config.linux.seccomp.as_ref().map(Seccomp::new).transpose()?;
    let mut exec = Exec {
        namespaces: Namespaces::new(&config.linux)?,
        filter: seccomp.as_ref().map(security::seccomp::compile).transpose()?,
        personality: config.linux.personality.as_ref().map(plan::memory::personality).transpose()?,
        memory_policy: config.linux.memory_policy.as_ref().map(plan::memory::memory_policy).transpose()?,
        pidfd: container.pidfd()?,
        cgroup: open_cgroup(&container, options)?,
        container: &container,
        seccomp,
        process,
        options,
    };
    drop(step);
    let (child, wire, second_fork) = exec.launch()?;
    let mut started = Started { child, kept: false };
    let console = exec.converse(&mut started.child, &wire, second_fork)?;
    if let Some(path) = &options.pid_file {
        write_pid_file(path, started.child.pid)?;
    }
    if let Some(path) = &options.pidfd_socket {
        terminal::send_descriptor(path, "pidfd", started.child.pidfd.as_fd())?;
    }
    if !options.detach {
        signal::block_all();
    }
    let step = trace::step("wait for the exec");
    wire.send(&Message::Proceed)?;
    let seccomp = exec.seccomp.as_ref();
    let taker = handover::Taker { seccomp, state: &container.state, companion: None };
    handover::hear_exec(&wire, &started.child.pidfd, &taker)?;
    drop(step);
    started.kept = true;
    if options.detach {
        return Ok(0);
    }
    wait::until_exit(&started.child, false, console.map(Relay::new).transpose()?, None, None)
}

/// A process that is killed unless its exec has succeeded.
struct Started {
    child: Child,
    kept: bool,
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.kept {
            let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
            let _ = wait::reap(&self.child);
        }
    }
}

fn check_status(container: &Container, options: &ExecOptions) -> Result<()> {
    match container.status() {
        Status::Running | Status::Created => Ok(()),
        Status::Paused if options.ignore_paused => Ok(()),
        Status::Paused => Err(Error::new("cannot exec in a paused container")
            .hint("resume it first, or use --ignore-paused: then the process starts when it is resumed")),
        Status::Stopped => Err(Error::new("cannot exec in a stopped container: container not running")),
        Status::Creating => Err(Error::new("cannot exec in a container that is still being created")),
    }
}

fn check_terminal(process: &Process, options: &ExecOptions) -> Result<()> {
    match (process.terminal, &options.console_socket) {
        (true, None) if options.detach => {
            Err(Error::new("cannot allocate tty if the runtime detaches without a console socket")
                .hint("give --console-socket PATH, or leave out --tty or --detach"))
        }
        (false, Some(_)) => Err(Error::new("cannot use a console socket without a terminal").hint("give --tty")),
        _ => Ok(()),
    }
}

/// The process that is to run, checked as config.json's own.
fn resolve(config: &spec::Spec, options: &ExecOptions) -> Result<Process> {
    let process = match &options.process {
        ProcessSource::File(file) => plan::parse_process(&plan::read_file(file)?, &file.to_string_lossy())?,
        ProcessSource::Changed(changes) => changes.apply(config.process.clone().unwrap_or_default()),
    };
    let mut process = Process::new(&process, "process")?;
    process.keep_groups = plan::process::keeps_groups(&config.annotations);
    for warning in &process.warnings {
        log::warn(warning);
    }
    Ok(process)
}

impl Changes {
    fn apply(&self, mut process: spec::Process) -> spec::Process {
        process.terminal = self.terminal;
        process.args.clone_from(&self.args);
        process.env.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if let Some((uid, gid)) = self.user {
            process.user.uid = uid;
            process.user.gid = gid.unwrap_or(process.user.gid);
        }
        if !self.additional_gids.is_empty() {
            process.user.additional_gids.clone_from(&self.additional_gids);
        }
        if !self.capabilities.is_empty() {
            let sets = process.capabilities.get_or_insert_default();
            for name in &self.capabilities {
                // Not inheritable: that would hand them to every program of a user (CVE-2022-29162). Where config.json has
                // made one inheritable, an ordinary user keeps it by the ambient set; elsewhere that falls away.
                for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.ambient] {
                    set.push(name.clone());
                }
            }
        }
        if self.label.is_some() {
            process.selinux_label.clone_from(&self.label);
        }
        if self.apparmor.is_some() {
            process.apparmor_profile.clone_from(&self.apparmor);
        }
        process.no_new_privileges |= self.no_new_privileges;
        process
    }
}

fn open_cgroup(container: &Container, options: &ExecOptions) -> Result<Cgroup> {
    let record = &container.state.cgroup;
    match options.cgroup.as_slice() {
        [] => Cgroup::join(record).or_else(|error| match container.init_pid() {
            Some(pid) if error.errno() == Some(Errno::NOENT) => Cgroup::beside(record, pid),
            _ => Err(error),
        }),
        paths => Cgroup::sub(record, paths),
    }
}

impl Exec<'_> {
    /// Clones into the container's pid namespace and cgroup.
    ///
    /// The third value says whether the child forks once more.
    fn launch(&mut self) -> Result<(Child, Wire, bool)> {
        let _step = trace::step("clone");
        let (inside, outside) = Wire::pair()?;
        let joins_pid = self.namespaces.separate(NamespaceKind::Pid);
        // Which pid namespace a process is in is settled by its birth. With rights over the container's we only have to
        // say so before the clone; without (rootless) the child joins the user namespace first and forks once more.
        let direct = joins_pid && clone::setns(&self.pidfd, NamespaceKind::Pid.flag()).is_ok();
        let second_fork = joins_pid && !direct;
        let target = self.cgroup.clone_target();
        let born_inside = target.is_some();
        let forked = match clone::fork(0, target) {
            // The container has passed its controllers on: only the cgroups below take processes.
            Err(Errno::BUSY) if born_inside && self.options.cgroup.is_empty() => {
                self.cgroup = Cgroup::beside(&self.container.state.cgroup, self.container.init_pid().unwrap_or(0))?;
                clone::fork(0, self.cgroup.clone_target())
            }
            Err(refusal @ (Errno::INVAL | Errno::BUSY | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM))
                if born_inside =>
            {
                self.cgroup.enter_instead(refusal)?;
                clone::fork(0, None)
            }
            other => other,
        };
        match forked.context(|| "fork into the container")? {
            Forked::Parent(child) => Ok((child, outside, second_fork)),
            Forked::Child => {
                drop(outside);
                become_program::or_report(&inside, || self.child(&inside, direct, second_fork))
            }
        }
    }

    /// Answers the child until there is nothing more to answer before its last leave.
    fn converse(&self, child: &mut Child, wire: &Wire, second_fork: bool) -> Result<Option<OwnedFd>> {
        let mut console = None;
        let (mut second_expected, mut console_expected) = (second_fork, self.process.terminal);
        while second_expected || console_expected {
            match wire.receive()? {
                Some(Message::Second(number, pidfd)) => {
                    let pid = Pid::from_raw(number).ok_or_else(|| Error::new("the exec has no process"))?;
                    wait::reap(&std::mem::replace(child, Child { pid, pidfd }))?;
                    second_expected = false;
                }
                Some(Message::Console(master)) => {
                    match &self.options.console_socket {
                        Some(path) => terminal::send_descriptor(path, "terminal", master.as_fd())?,
                        None => console = Some(master),
                    }
                    console_expected = false;
                }
                Some(Message::Failed(error)) => return Err(error),
                Some(other) => return Err(Error::new(format!("unexpected message from the process: {other:?}"))),
                None => return Err(Error::new("the process ended before its program ran")),
            }
        }
        Ok(console)
    }

    /// The child's story.
    fn child(&self, wire: &Wire, direct: bool, second_fork: bool) -> Result<Infallible> {
        let log = become_program::relay_log(wire)?;
        let proc = ProcFs::open()?;
        let own_user_namespace = self.namespaces.separate(NamespaceKind::User);
        if own_user_namespace {
            // Rights of the host's user namespace, which we are about to leave.
            security::rlimits::apply(&self.process.rlimits, None)?;
            security::oom::apply(self.process.oom_score_adj, None, &proc)?;
        }
        security::schedule::bind_to(self.process.affinity_initial.as_deref(), "process.execCPUAffinity.initial")?;
        self.cgroup.enter()?;
        if self.process.affinity_initial.is_none() {
            security::schedule::unbind();
        }
        become_program::hide()?;
        self.join(direct)?;
        if second_fork {
            match clone::fork(libc::CLONE_PARENT as u64, None).context(|| "fork into the pid namespace")? {
                Forked::Parent(child) => {
                    wire.send(&Message::Second(child.pid.as_raw_nonzero().get(), child.pidfd))?;
                    crate::sys::exec::exit_now(0);
                }
                Forked::Child => {}
            }
        }
        rustix::process::setsid().context(|| "start a new session (setsid)")?;
        let root = Beneath::open(Path::new("/"))?;
        if self.process.terminal {
            let terminal = terminal::open(&root, &self.process)?;
            wire.send(&Message::Console(terminal.master))?;
            terminal::attach(&terminal.slave)?;
        }
        // For exec alone: the specification keeps the container's first process out of it.
        security::schedule::bind_to(self.process.affinity_final.as_deref(), "process.execCPUAffinity.final")?;
        let dress = Dress {
            process: &self.process,
            personality: self.personality,
            memory_policy: self.memory_policy.as_ref(),
            filter: self.filter.as_ref(),
            listener_may_follow: false,
            keyring: None,
            limits_are_set: own_user_namespace,
            make_cwd: false,
            preserve_fds: self.options.preserve_fds,
            listen_fds: 0,
            root: &root,
            keep: &[wire.as_fd().as_raw_fd(), log],
        };
        let door = Door::approach(&dress, proc)?;
        wire.wait_for_proceed()?;
        door.pass(wire)
    }

    /// Joins the container's namespaces, all at once and by its pidfd: none of them can be another's.
    fn join(&self, direct: bool) -> Result<()> {
        let kinds = NamespaceKind::ALL
            .into_iter()
            .filter(|kind| self.namespaces.separate(*kind) && !(direct && *kind == NamespaceKind::Pid));
        let flags = kinds.fold(0, |flags, kind| flags | kind.flag());
        if flags == 0 {
            return Ok(());
        }
        let what = || format!("join the namespaces of container {}", self.container.id());
        match clone::setns(&self.pidfd, flags).context(what) {
            // At its gate it is still a copy of the runtime, whose memory belongs to the caller's user namespace and is
            // hidden: only root outside may look at it.
            Err(error) if error.errno() == Some(Errno::PERM) && self.container.status() == Status::Created => {
                Err(error.hint("an ordinary user enters a container once it has been started: myrt start ID"))
            }
            other => other,
        }
    }
}
