//! The last stretch, the same for a container's first process and for `exec`: attributes, rights, user, and the door
//! behind which the program begins.
//!
//! The order is a chain of rights: each step needs what a later one takes away. Behind the seccomp filter only the handing
//! over of its listener, where it has one, one capset(2), where no_new_privs is not set, and the execve(2) remain.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;

use super::handover::Announcement;
use super::hooks::Surroundings;
use super::wire::{Message, Wire};
use super::{hooks, program};
use crate::error::{Context, Error, Result};
use crate::plan::{Capabilities, MemoryPolicy, Process, capability, spec};
use crate::security::{self, capabilities, keyring, labels, oom, rlimits, schedule, user};
use crate::sys::beneath::{Beneath, Leaf};
use crate::sys::exec::{self, Image};
use crate::sys::procfs::ProcFs;
use crate::sys::spawn::LastStep;
use crate::{log, trace};

/// What the program is to wear.
pub struct Dress<'a> {
    /// Who and what it is.
    pub process: &'a Process,
    /// `linux.personality`
    pub personality: Option<u64>,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<&'a MemoryPolicy>,
    /// The compiled seccomp filter.
    pub filter: Option<&'a security::seccomp::Program>,
    /// Whether the program may begin before its opener has taken the listener of its filter: what it calls meanwhile waits.
    pub listener_may_follow: bool,
    /// The container's id, where it gets a session keyring of its own.
    pub keyring: Option<&'a str>,
    /// Whether limits and oom score were set with the host's rights already.
    pub limits_are_set: bool,
    /// Whether a missing working folder is made, as it is for a container's first process.
    pub make_cwd: bool,
    /// How many descriptors from 3 on it gets from `--preserve-fds`.
    pub preserve_fds: u32,
    /// How many after these come from the caller's socket activation (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// The container's root, which is the root of this process by now.
    pub root: &'a Beneath,
    /// What is still needed up to the exec: the way to the runtime, and the gate.
    pub keep: &'a [RawFd],
}

/// The process, ready for its exec.
pub struct Door<'a> {
    dress: &'a Dress<'a>,
    image: Image,
    /// What the program finds, and hooks that name no environment.
    env: Vec<OsString>,
    /// The capabilities that the program will have.
    granted: Capabilities,
    /// The filter is loaded with CAP_SYS_ADMIN, which is then still to be taken away.
    borrows_admin: bool,
}

/// Runs a story that ends in an exec; what stops it is told to who listens.
pub fn or_report(wire: &Wire, story: impl FnOnce() -> Result<Infallible>) -> ! {
    let Err(error) = story();
    // Nobody listens: nobody cares any more.
    let _ = wire.send(&Message::Failed(error));
    exec::exit_now(1)
}

/// From here on records go to the parent: the name of the log file means something else in the container. Gives the
/// descriptor that they take.
///
/// # Errors
/// Where the descriptor cannot be copied.
pub fn relay_log(wire: &Wire) -> Result<RawFd> {
    let wire = wire.duplicate()?;
    let fd = wire.as_fd().as_raw_fd();
    log::relay_to(Box::new(move |level, text| {
        let _ = wire.send(&Message::Log(level, text.to_owned()));
    }));
    Ok(fd)
}

/// Makes this process untouchable for those that it is about to live among: no ptrace, no pidfd_getfd(2), no /proc/PID/fd
/// (CVE-2016-9962). Comes before it joins their user namespace, whose root has every right over it from then on. The
/// files of /proc/self that only their owner may write are out of its own reach as well, once it has no rights outside.
///
/// # Errors
/// Where prctl(2) fails.
pub fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context(|| "become invisible to ptrace (PR_SET_DUMPABLE)")
}

impl<'a> Door<'a> {
    /// Puts everything on but the filter. Afterwards the process has no descriptor but its root, those to keep and those
    /// for the program: whatever else it held, the caller must have dropped or must never drop.
    ///
    /// # Errors
    /// Names the field that cannot be had.
    pub fn approach(dress: &'a Dress<'a>, proc: ProcFs) -> Result<Self> {
        let process = dress.process;
        // While the rights for it are there.
        schedule::apply(process)?;
        schedule::apply_shared(dress.personality, dress.memory_policy)?;
        if let Some(id) = dress.keyring {
            keyring::label(process.selinux_label.as_deref(), &proc)?;
            keyring::join(id)?;
        }
        if !dress.limits_are_set {
            oom::apply(process.oom_score_adj, None, &proc)?;
            rlimits::apply(&process.rlimits, None)?;
        }
        labels::apparmor(process.apparmor_profile.as_deref(), &proc)?;
        labels::selinux(process.selinux_label.as_deref(), &proc)?;
        own_streams(process)?;
        hide()?;
        // Not only at the exec: until then a working folder or a program named /proc/self/fd/N/../… would lead out, and a
        // process at its gate would hold the host's folders open for whoever may trace it (CVE-2024-21626).
        drop(proc);
        let for_program = dress.preserve_fds.saturating_add(dress.listen_fds);
        let keep = [dress.keep, &[dress.root.as_fd().as_raw_fd()]].concat();
        exec::close_all_but(for_program, keep).context(|| "close descriptors (close_range)")?;
        // A folder that only root may enter, or that only the user may enter: one of the two attempts opens it.
        let entered = enter_cwd(dress);
        capabilities::drop_bounding(process.capabilities.bounding)?;
        user::apply(process)?;
        let borrows_admin = dress.filter.is_some() && !process.no_new_privileges;
        let granted =
            capabilities::prepare(&process.capabilities, if borrows_admin { capability::SYS_ADMIN } else { 0 })?;
        if process.no_new_privileges {
            rustix::thread::set_no_new_privs(true).context(|| "process.noNewPrivileges: prctl")?;
        }
        match entered {
            Err(error) if error.errno() == Some(Errno::ACCESS) => enter_cwd(dress)?,
            other => other?,
        }
        check_cwd(&process.cwd)?;

        let env = environment(dress);
        let path = program::find(&process.args[0], &env)?;
        let image = Image::new(path.as_os_str(), &process.args, &env)
            .context(|| "process.args, process.env: a string holds a NUL byte")?;
        Ok(Self { dress, image, env, granted, borrows_admin })
    }

    /// Runs the startContainer hooks as the program would run: under its filter, with the same rights and not those still
    /// borrowed. Their files lie in the image, which a hostile one replaces.
    ///
    /// # Errors
    /// The first failure of a hook.
    pub fn run_hooks(&self, hooks: &[spec::Hook], state: &[u8]) -> Result<()> {
        if hooks.is_empty() {
            return Ok(());
        }
        let filter = self.dress.filter.map(security::seccomp::Program::without_listener);
        let confine = || {
            if let Some(filter) = &filter {
                filter.install()?;
            }
            self.give_back()
        };
        // What a config.json gave is UTF-8.
        let env: Vec<String> = self.env.iter().filter_map(|entry| entry.clone().into_string().ok()).collect();
        let around = Surroundings { env: Some(&env), last: LastStep::of(&confine), ..Surroundings::default() };
        hooks::run(hooks, "startContainer", state, around)
    }

    /// Whether the listener goes by a message, which takes nobody's time; a filter may forbid that.
    fn sends_listener(&self) -> bool {
        self.dress.listener_may_follow && self.dress.filter.is_some_and(security::seccomp::Program::allows_sendmsg)
    }

    /// Takes away what was borrowed for loading the filter.
    fn give_back(&self) -> Result<()> {
        if self.borrows_admin {
            capabilities::finish(&self.granted)?;
        }
        Ok(())
    }

    /// Loads the filter and becomes the program.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn pass(&self, opener: &Wire) -> Result<Infallible> {
        let step = trace::step("seccomp");
        if let Some(filter) = self.dress.filter {
            let announces = filter.uses_notify() && !self.sends_listener();
            let announcement = announces.then(|| Announcement::prepare(opener, filter.allows_futex())).transpose()?;
            let listener = filter.install()?;
            if let Some(listener) = listener {
                if let Some(announcement) = &announcement {
                    announcement.hand_over(listener.as_raw_fd())?;
                }
                let listener = Message::Listener(listener);
                if announcement.is_none() {
                    opener.send(&listener)?;
                }
                // Closed by the exec: a close(2) of its own may be forbidden by now.
                std::mem::forget(listener);
            }
        }
        self.give_back()?;
        drop(step);
        Err(program::explain(self.image.path(), self.image.exec()))
    }
}

/// Gives the program's user its own standard streams, so that it may open /dev/stdout. Pipes and terminals, that is: the
/// owner of /dev/null and of files is not ours to change.
fn own_streams(process: &Process) -> Result<()> {
    if process.uid == 0 {
        return Ok(());
    }
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
        let Ok(found) = fstat(stream) else { continue };
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_terminal = kind == FileType::CharacterDevice && rustix::termios::isatty(stream);
        if found.st_uid == process.uid || !(is_terminal || kind == FileType::Fifo) {
            continue;
        }
        match fchown(stream, Some(Uid::from_raw(process.uid)), Some(Gid::from_raw(found.st_gid))) {
            // Not mapped here, or of a filesystem that forbids it: the program still has the open descriptor.
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            other => other.context(|| "give the standard streams to process.user")?,
        }
    }
    Ok(())
}

fn enter_cwd(dress: &Dress<'_>) -> Result<()> {
    let cwd = &dress.process.cwd;
    let what = || format!("process.cwd: chdir to {cwd:?}");
    match rustix::process::chdir(cwd) {
        Err(Errno::NOENT) if dress.make_cwd => {
            dress.root.ensure(cwd, Leaf::Folder).context(what)?;
            rustix::process::chdir(cwd).context(what)
        }
        other => other.context(what),
    }
}

/// The kernel calls a working folder outside the root unreachable: reached through a descriptor of the host, for
/// instance by a cwd of /proc/self/fd/N (CVE-2024-21626).
fn check_cwd(cwd: &Path) -> Result<()> {
    let real = rustix::process::getcwd(Vec::new()).map(std::ffi::CString::into_bytes);
    if real.is_ok_and(|path| path.starts_with(b"/")) {
        return Ok(());
    }
    Err(Error::new(format!("process.cwd: {cwd:?} lies outside the container's root")))
}

/// The environment of the program: as it is said, and HOME where that is missing or empty.
fn environment(dress: &Dress<'_>) -> Vec<OsString> {
    let mut env = dress.process.env.clone();
    env.retain(|entry| entry != "HOME=");
    if !env.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=")) {
        env.push(format!("HOME={}", user::home(dress.root, dress.process.uid)).into());
    }
    if dress.listen_fds > 0 {
        env.push(format!("LISTEN_FDS={}", dress.listen_fds).into());
        env.push(format!("LISTEN_PID={}", rustix::process::getpid().as_raw_nonzero()).into());
    }
    env
}
