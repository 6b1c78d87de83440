//! `create` and `run`: from a bundle to a container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags};

use super::companion::Companion;
use super::first::FirstProcess;
use super::hooks::Surroundings;
use super::launch::{Ending, Launch};
use super::terminal::{self, Relay};
use super::{Status, Store, hooks, notify_socket, wait};
use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::plan::{ContainerId, Plan};
use crate::sys::entry;
use crate::{log, trace};

/// What `create` and `run` are asked, beside the bundle's own config.json.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// Another config.json than the bundle's.
    pub config: Option<PathBuf>,
    /// Who gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// Where the number of the first process goes.
    pub pid_file: Option<PathBuf>,
    /// Who gets a pidfd of the first process.
    pub pidfd_socket: Option<PathBuf>,
    /// MS_MOVE and chroot in place of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// How many after these come from the caller's socket activation ($LISTEN_FDS).
    pub listen_fds: u32,
    /// Who makes the cgroup.
    pub driver: cgroup::Driver,
    /// Whether a cgroup that cannot be had is a warning.
    pub rootless: bool,
}

/// What `run` is asked beyond that.
#[derive(Debug, Default)]
pub struct RunOptions<'a> {
    /// Come back as soon as the program runs.
    pub detach: bool,
    /// Leave the container when it has ended.
    pub keep: bool,
    /// Leave orphans of the container to the caller.
    pub no_subreaper: bool,
    /// The caller's own part in it.
    pub companion: Option<&'a dyn Companion>,
    /// The first process, for a plan whose program is another: made ahead, or else when it is needed. One that the caller
    /// keeps is dying when the run is over, and gone when the caller drops it.
    pub first: Option<Rc<FirstProcess>>,
    /// What is let go of once the program runs, since that takes its time and nobody needs it any more.
    pub spent: Vec<OwnedFd>,
}

/// Makes a container up to its gate: `start` lets it through.
///
/// # Errors
/// Whatever stands in the way; nothing is left behind then.
pub fn create(store: &Store, id: &ContainerId, options: &CreateOptions) -> Result<()> {
    let _binary = entry::ensure_protected()?;
    let (plan, config) = read_plan(store, id, options)?;
    check_terminal(&plan, options, true)?;
    let mut launch = Launch::begin(store, id, &plan, &config, options, Ending::Gate, None)?;
    launch.converse(None)?;
    publish(&launch, options)?;
    launch.leave_at_gate()
}

/// Makes a container and lets it through. In the foreground, gives the program's exit code and takes everything down.
///
/// # Errors
/// Whatever stands in the way; nothing is left behind then.
pub fn run(store: &Store, id: &ContainerId, options: &CreateOptions, mut run: RunOptions<'_>) -> Result<u8> {
    run.spent.extend(entry::ensure_protected()?);
    let (plan, config) = read_plan(store, id, options)?;
    run_plan(store, id, &plan, &config, options, run)
}

/// Likewise, with a plan that is made already; `config` is what is kept beside the state, unless it is empty. The caller has
/// protected the binary, by [`entry::ensure_protected`], before it did anything else: that may begin the program anew.
///
/// # Errors
/// As [`run`].
pub fn run_plan(
    store: &Store,
    id: &ContainerId,
    plan: &Plan,
    config: &[u8],
    options: &CreateOptions,
    run: RunOptions<'_>,
) -> Result<u8> {
    check_terminal(plan, options, run.detach)?;
    if !run.detach && !run.no_subreaper && !plan.namespaces.creates(crate::plan::NamespaceKind::Pid) {
        // Without a pid namespace the program's orphans would become the caller's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context(|| "become a subreaper")?;
    }
    let mut launch = Launch::begin(store, id, plan, config, options, Ending::Exec, run.first)?;
    if let Some(companion) = run.companion {
        companion.begin()?;
    }
    launch.converse(run.companion)?;
    publish(&launch, options)?;
    let notify = notify_socket::Relay::listen(launch.folder(), launch.child().pid.as_raw_nonzero().get())?;
    launch.open_gate(!run.detach, run.companion)?;
    drop(run.spent);
    if !plan.hooks.poststart.is_empty() {
        let running = launch.state().hook_json(Status::Running);
        hooks::run(&plan.hooks.poststart, "poststart", &running, Surroundings::default())?;
    }
    if run.detach {
        if let Some(notify) = notify {
            notify.until_ready(&launch.child().pidfd)?;
        }
        launch.leave();
        return Ok(0);
    }
    let relay = launch.take_console().map(Relay::new).transpose()?;
    let code = wait::until_exit(launch.child(), plan.own_first_process, relay, notify, run.companion)?;
    if let Some(companion) = run.companion {
        companion.ended(launch.cgroup());
    }
    launch.end(run.keep)?;
    Ok(code)
}

/// How many descriptors the caller's service manager has opened for the program: $LISTEN_FDS, of sd_listen_fds(3).
pub fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Reads and checks the bundle. The text is kept with the state, since the bundle may change later.
fn read_plan(store: &Store, id: &ContainerId, options: &CreateOptions) -> Result<(Plan, Vec<u8>)> {
    let _step = trace::step("plan");
    let bundle = options.bundle.canonicalize().context(|| format!("bundle {:?}", options.bundle))?;
    let file = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
    let text = crate::plan::read(&file)?;
    let mut plan = Plan::new(crate::plan::parse(&text, &file)?, &bundle)?;
    for warning in &plan.warnings {
        log::warn(warning);
    }
    notify_socket::add_to(&mut plan, store, id);
    Ok((plan, text))
}

/// A terminal needs somebody to hold its master once the runtime is gone, and only then.
fn check_terminal(plan: &Plan, options: &CreateOptions, detached: bool) -> Result<()> {
    match (plan.process.terminal, &options.console_socket) {
        (true, None) if detached => {
            Err(Error::new("cannot allocate tty if the runtime detaches without a console socket")
                .hint("give --console-socket PATH, run it in the foreground, or set process.terminal to false"))
        }
        (false, Some(_)) => Err(Error::new("cannot use a console socket: process.terminal is false")
            .hint("leave --console-socket out, or set process.terminal to true")),
        _ => Ok(()),
    }
}

/// Tells the caller which process it is.
fn publish(launch: &Launch<'_>, options: &CreateOptions) -> Result<()> {
    if let Some(path) = &options.pid_file {
        write_pid_file(path, launch.child().pid)?;
    }
    if let Some(path) = &options.pidfd_socket {
        use std::os::fd::AsFd;
        terminal::send_descriptor(path, "pidfd", launch.child().pidfd.as_fd())?;
    }
    Ok(())
}

/// Writes digits, nothing else, and puts the file in place by one rename: who waits for it never reads half of it.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write_pid_file(path: &Path, pid: rustix::process::Pid) -> Result<()> {
    let what = || format!("write the pid file {path:?}");
    let name = path.file_name().ok_or_else(|| Error::new(format!("--pid-file {path:?} names no file")))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let next = path.with_file_name(hidden);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Left over by a killed runtime, perhaps.
    let _ = rustix::fs::unlink(&next);
    let file = rustix::fs::openat(CWD, &next, flags, Mode::from(0o644)).context(what)?;
    rustix::io::write(&file, pid.as_raw_nonzero().to_string().as_bytes()).context(what)?;
    rustix::fs::rename(&next, path).context(what)
}
