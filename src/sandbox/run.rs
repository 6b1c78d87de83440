//! The story of a run: from the host's mounts to the program's exit code.

use std::cell::{Cell, OnceCell};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::companion::Companion;
use super::host::{HostMount, Top, Treatment};
use super::ordinary::{self, View};
use super::plan::{self, Network, Outline};
use super::report::Report;
use super::store::{Box, Run, Store};
use super::watch::Watch;
use super::{BoxName, Limits, Rules, Seccomp, base, commit, host, layers, lent, network, rights, streams};
use crate::cgroup::Driver;
use crate::container::{self, CreateOptions, FirstProcess, RunOptions};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::Namespaces;
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
    /// Whether the box was made for this run alone, and nobody gave it a name.
    pub unnamed: bool,
}

/// Runs a program in a box and waits for it.
///
/// # Errors
/// Where it cannot be started.
pub fn run(store: &Store, request: &RunRequest) -> Result<Ended> {
    // First of all, since it may begin this program anew.
    let binary = entry::ensure_protected()?;
    request.limits.check()?;
    // As early as can be, since its network takes the kernel as long as all that comes before the program takes us. An ordinary
    // user's is to have the ids and mounts of this process, which are still to come.
    let ahead = if rights::are_of_a_user() { None } else { Some(Ahead::begin(request)?) };
    let asked = Asked {
        request,
        ahead,
        filter: request.seccomp.resolved()?,
        rules: request.rules.resolved()?,
        sockets: request.sockets.iter().map(socket).collect::<Result<_>>()?,
        terminal: [rustix::stdio::stdin(), rustix::stdio::stdout()].into_iter().all(rustix::termios::isatty),
        binary,
    };
    let unnamed = request.name.is_none();
    // What can be refused is refused before there is a box.
    streams::check(asked.terminal)?;
    let (mut held, made) = store.hold_or_make(request.name.clone())?;
    // Told at the end, where a person still sees them.
    log::hold();
    match in_box(store, asked, &mut held) {
        Ok((code, report)) => Ok(Ended { code, held, report, unnamed }),
        Err(error) => {
            log::release().iter().for_each(log::warn);
            // A box that never held a program is nobody's.
            if made && (0..held.record.layers.len()).all(|place| held.is_unchanged(place)) {
                store.remove(held).unwrap_or_else(log::warn);
            }
            Err(error)
        }
    }
}

/// A request, looked at.
struct Asked<'a> {
    request: &'a RunRequest,
    ahead: Option<Ahead>,
    filter: Option<crate::plan::Seccomp>,
    rules: Rules,
    /// By their true paths.
    sockets: Vec<PathBuf>,
    /// Whether the program gets a terminal of its own.
    terminal: bool,
    /// The mount that this program runs from.
    binary: Option<OwnedFd>,
}

fn in_box(store: &Store, asked: Asked<'_>, held: &mut Box) -> Result<(u8, Report)> {
    let Asked { request, ahead, filter, rules, sockets, terminal, binary } = asked;
    commit::require_finished(held)?;
    // Of a run that was killed.
    base::settle(held)?;
    let engine = take_down(held)?;
    let mounts = host::read()?;
    let View { overlays, files: binds, skeleton } = view(held, &mounts)?;
    let Ahead { namespaces, mut first } = ahead.map_or_else(|| Ahead::begin(request), Ok)?;
    let connection = network::prepare(held, request.network)?;
    let mut plan = plan::make(Outline {
        command: &request.command,
        network: request.network,
        namespaces: &namespaces,
        connection: &connection,
        terminal,
        binds,
        overlays,
        hidden: &[store.real_path()?],
        sockets: &sockets,
        rules: &rules,
    })?;
    if request.network == Network::Host {
        log::warn("the network is the host's: what listens there, on abstract sockets as well, can be reached");
    }
    let mut this = Run {
        command: request.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        started: crate::time::now(),
        ended: None,
        exit_code: None,
        report: None,
    };
    let mut spent = streams::confine(terminal)?;
    spent.extend(binary);
    let lent = lent::note()?;
    let shared = sockets.iter().chain(&rules.write_through).cloned().collect();
    let (filter, watch) = Watch::over(filter, request.watch_sockets, held, shared)?;
    plan.seccomp = filter;
    let driver = request.limits.impose(&mut plan, held.name().as_str(), &*held, request.driver)?;
    let options = CreateOptions { driver, ..CreateOptions::default() };
    let companion = Companion {
        held,
        run: &this,
        before: OnceCell::new(),
        connection: &connection,
        watch: &watch,
        killed_for_memory: Cell::new(0),
    };
    let run = RunOptions { companion: Some(&companion), first: first.clone(), spent, ..RunOptions::default() };
    let code = container::run_plan(&engine, held.name().id(), &plan, b"", &options, run);
    let Companion { before, killed_for_memory, .. } = companion;
    if lent.is_something() {
        // Whoever is left can still change it.
        drop(first.take());
    }
    lent.take_back();
    network::part(&connection);
    network::settle(held)?;
    let code = code.map_err(|error| request.limits.explain(error))?;
    // Otherwise this is noted while the kernel takes the first process down, and all that lives beside it.
    let mut report = Report::new(connection.had(request.network), &rules.write_through, &sockets);
    (report.denied, report.denied_more) = watch.seen();
    report.watched = watch.watches();
    report.killed_for_memory = killed_for_memory.get();
    report.notes = log::release();
    report.notes.extend(request.limits.tell(report.killed_for_memory));
    this.report = Some(report.clone());
    this.ended = Some(crate::time::now());
    this.exit_code = Some(code);
    let noted = held.end_run(&this);
    drop(first);
    // The box may be removed from here on.
    drop(skeleton);
    let nothing = before.get().is_some_and(|before| before.stayed_empty(held));
    let settled = if nothing { base::settled(held) } else { base::settle(held) };
    // The exit code is known, whatever becomes of the notes: a full disk, say. The next command tries it again.
    if let Err(error) = noted.and(settled) {
        log::warn(format!("this run could not be noted: {error}"));
    }
    Ok((code, report))
}

/// What is begun ahead of a run.
struct Ahead {
    namespaces: Namespaces,
    /// Absent where it belongs into a cgroup that limits need and that is still to be made.
    first: Option<Rc<FirstProcess>>,
}

impl Ahead {
    fn begin(request: &RunRequest) -> Result<Self> {
        let namespaces = plan::namespaces(request.network)?;
        let first = request.limits.are_none().then(|| FirstProcess::begin(&namespaces).map(Rc::new)).transpose()?;
        Ok(Self { namespaces, first })
    }
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
        Treatment::Unchanging => mount.top() == Top::File,
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
