//! The story of a run: from the host's mounts to the program's exit code.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use super::companion::Companion;
use super::host::{HostMount, Top, Treatment};
use super::ordinary::{self, View};
use super::plan::{self, Network, Outline};
use super::report::Report;
use super::store::{Box, Run, Store};
use super::watch::Watch;
use super::{BoxName, Limits, Rules, Seccomp, base, commit, host, layers, lent, network, rights, streams};
use crate::cgroup::Driver;
use crate::container::{self, CreateOptions, RunOptions};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::entry;

/// What is asked of a run.
#[derive(Debug)]
pub struct RunRequest {
    /// The box; without one, a new one is made.
    pub name: Option<BoxName>,
    /// Program and arguments; not empty.
    pub command: Vec<OsString>,
    /// What of the network is there.
    pub network: Network,
    /// Sockets of the host that the program may connect to.
    pub sockets: Vec<PathBuf>,
    /// What is different from the host.
    pub rules: Rules,
    /// What it may use.
    pub limits: Limits,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Whether attempts to connect to sockets of the host are noted as well.
    pub watch_sockets: bool,
    /// Who makes the cgroup that limits need.
    pub driver: Driver,
}

/// A run that is over.
#[derive(Debug)]
pub struct Ended {
    /// The program's own exit code, 128+n after signal n.
    pub code: u8,
    /// The box, still held.
    pub held: Box,
    /// What is to be told of it.
    pub report: Report,
}

/// Runs a program in a box and waits for it.
///
/// # Errors
/// Where it cannot be started.
pub fn run(store: &Store, request: &RunRequest) -> Result<Ended> {
    // First of all, since it may begin this program anew.
    entry::ensure_protected()?;
    request.limits.check()?;
    let filter = request.seccomp.resolved()?;
    let rules = request.rules.resolved()?;
    let sockets = request.sockets.iter().map(socket).collect::<Result<Vec<_>>>()?;
    let terminal = [rustix::stdio::stdin(), rustix::stdio::stdout()].into_iter().all(rustix::termios::isatty);
    let mut held = store.hold_or_make(request.name.clone())?;
    // Told at the end, where a person still sees them.
    log::hold();
    let result = in_box(store, request, &mut held, &sockets, &rules, filter, terminal);
    match result {
        Ok((code, report)) => Ok(Ended { code, held, report }),
        Err(error) => {
            log::release().iter().for_each(log::warn);
            // A box that never held a program is nobody's.
            if held.record.unnamed && held.record.runs.len() < 2 {
                store.remove(held)?;
            }
            Err(error)
        }
    }
}

fn in_box(
    store: &Store,
    request: &RunRequest,
    held: &mut Box,
    sockets: &[PathBuf],
    rules: &Rules,
    filter: Option<crate::plan::Seccomp>,
    terminal: bool,
) -> Result<(u8, Report)> {
    commit::require_finished(held)?;
    // Of a run that was killed.
    base::settle(held)?;
    let engine = take_down(held)?;
    let mounts = host::read()?;
    let View { overlays, files: binds, skeleton } = view(held, &mounts)?;
    let connection = network::prepare(held, request.network)?;
    let mut plan = plan::make(Outline {
        command: &request.command,
        network: request.network,
        connection: &connection,
        terminal,
        binds,
        overlays,
        hidden: &[store.real_path()?],
        sockets,
        rules,
    })?;
    if request.network == Network::Host {
        log::warn("the network is the host's: what listens there, on abstract sockets as well, can be reached");
    }
    held.record.add(Run {
        command: request.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        started: crate::time::now(),
        ended: None,
        exit_code: None,
        report: None,
    });
    held.record.unsettled = Some(base::now());
    held.save()?;
    streams::confine(terminal)?;
    let lent = lent::note()?;
    let shared = sockets.iter().chain(&rules.write_through).cloned().collect();
    let (filter, watch) = Watch::over(filter, request.watch_sockets, held, shared)?;
    plan.seccomp = filter;
    let driver = request.limits.impose(&mut plan, held.name().as_str(), &*held, request.driver)?;
    let options = CreateOptions { driver, ..CreateOptions::default() };
    let companion = Companion { held, connection: &connection, watch: &watch, killed_for_memory: Cell::new(0) };
    let run = RunOptions { companion: Some(&companion), ..RunOptions::default() };
    let code = container::run_plan(&engine, held.name().id(), &plan, b"{}", &options, &run);
    lent.take_back();
    // The box may be removed from here on.
    drop(skeleton);
    network::part(&connection);
    network::settle(held)?;
    let code = code.map_err(|error| request.limits.explain(error))?;
    let mut report = Report::new(connection.had(request.network), &rules.write_through, sockets);
    (report.denied, report.denied_more) = watch.seen();
    report.watched = watch.watches();
    report.killed_for_memory = companion.killed_for_memory.get();
    report.notes = log::release();
    report.notes.extend(request.limits.tell(report.killed_for_memory));
    if let Some(run) = held.record.runs.last_mut() {
        run.report = Some(report.clone());
        run.ended = Some(crate::time::now());
        run.exit_code = Some(code);
    }
    // The exit code is known, whatever becomes of the note: a full disk, say. The next command tries it again.
    if let Err(error) = base::settle(held).or_else(|error| held.save().and(Err(error))) {
        log::warn(format!("this run could not be noted: {error}"));
    }
    Ok((code, report))
}

/// Takes down what a killed run has left, its cgroup and its network as well; gives where the engine keeps its state.
///
/// # Errors
/// Where something of it cannot be removed.
pub(super) fn take_down(held: &Box) -> Result<container::Store> {
    let engine = container::Store::open(Some(held.run_folder()))?;
    container::delete(&engine, held.name().id(), true)?;
    network::settle(held)?;
    Ok(engine)
}

/// The host's files with the box's layers over them.
fn view(held: &mut Box, mounts: &[HostMount]) -> Result<View> {
    if rights::are_of_a_user() {
        return ordinary::view(held, mounts);
    }
    let files = mounts.iter().filter(|mount| is_bound(mount)).map(|mount| mount.path.clone());
    Ok(View { overlays: layers::overlays(held, mounts)?, files: files.collect(), skeleton: None })
}

/// Whether a mount is shown as it is, to be read: its filesystem cannot be written, or it is one file, over which no overlay
/// can stand.
fn is_bound(mount: &HostMount) -> bool {
    match mount.treatment {
        Treatment::Bind => mount.top() != Top::Other,
        Treatment::Fresh => false,
        Treatment::Overlay { read_only } => {
            let file = mount.top() == Top::File;
            if file && !read_only {
                log::warn(format!("{:?} is read-only inside: it is a file that was mounted by itself", mount.path));
            }
            file
        }
    }
}

/// A socket of the host, by its true path.
fn socket(path: &PathBuf) -> Result<PathBuf> {
    let what = || format!("--allow-socket {path:?}");
    let real = path.canonicalize().context(what)?;
    let kind = real.metadata().context(what)?.file_type();
    if !kind.is_socket() {
        return Err(Error::new(format!("{}: this is no socket", what())));
    }
    Ok(real)
}
