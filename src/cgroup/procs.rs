//! The processes of a container's cgroups: counted, signalled, frozen.

use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::record::{Record, Tree};
use super::{file, tree};
use crate::bail;
use crate::error::{Context, Error, Result};

/// How long processes may take to freeze: one that waits for a device cannot be frozen before it returns.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hierarchies to look for processes in: v2 alone where there is one, else the v1 one that is the surest to be ours.
fn census(record: &Record) -> Option<&Tree> {
    record.v2().or_else(|| record.v1("pids")).or_else(|| record.v1("devices")).or_else(|| record.trees.first())
}

/// All processes of the container, those in cgroups below included, in the order of their numbers.
pub(super) fn pids(record: &Record) -> Result<Vec<i32>> {
    let Some(tree) = census(record) else { return Ok(Vec::new()) };
    tree::pids(&tree.folder()).context(|| format!("read the processes of {}", tree.folder().display()))
}

/// Sends a signal to all processes of the container.
pub(super) fn kill(record: &Record, signal: Signal) -> Result<()> {
    if let (Signal::KILL, Some(tree)) = (signal, record.v2()) {
        // Since Linux 5.14: the kernel does it, nothing forks away from it, frozen or not.
        match file::write(&tree.folder(), "cgroup.kill", "1") {
            // Killed, but a process in a frozen v1 cgroup does not get to die.
            Ok(()) => return if v1_frozen(record)? { set_frozen(record, false) } else { Ok(()) },
            // Removed while it was opened: systemd takes down a scope that has become empty by itself.
            Err(Errno::NODEV) => return Ok(()),
            Err(Errno::NOENT) if !file::exists(&tree.folder()) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(|| format!("write 1 to {}/cgroup.kill", tree.folder().display())),
        }
    }
    // Frozen, no process can fork away, and no number can be given to another in between. Where freezing is not to be had,
    // the list is read again until nobody new is found.
    let paused = is_frozen(record)?;
    let froze = !paused && set_frozen(record, true).is_ok();
    let result = signal_all(record, signal);
    // v1 does not let a frozen process die, and v2 has let go of what was killed.
    if froze || (paused && signal == Signal::KILL) {
        set_frozen(record, false)?;
    }
    result
}

fn signal_all(record: &Record, signal: Signal) -> Result<()> {
    let mut known = Vec::new();
    for _ in 0..100 {
        let new: Vec<i32> = pids(record)?.into_iter().filter(|pid| !known.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            known.push(pid);
            let Some(target) = Pid::from_raw(pid) else { continue };
            match rustix::process::kill_process(target, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(errno).context(|| format!("send signal {} to process {pid}", signal.as_raw()));
                }
            }
        }
    }
    Ok(())
}

/// Whether the container is frozen, in either way: on a hybrid host others may use the one or the other.
pub(super) fn is_frozen(record: &Record) -> Result<bool> {
    Ok(v1_frozen(record)? || v2_frozen(record)?)
}

fn v1_frozen(record: &Record) -> Result<bool> {
    // FREEZING counts as well: it was asked for.
    record.v1("freezer").map_or(Ok(false), |tree| says(tree, "freezer.state", &["FROZEN", "FREEZING"]))
}

fn v2_frozen(record: &Record) -> Result<bool> {
    record.v2().map_or(Ok(false), |tree| says(tree, "cgroup.freeze", &["1"]))
}

/// Whether a file holds one of these words. One that is gone holds none.
fn says(tree: &Tree, name: &str, words: &[&str]) -> Result<bool> {
    let folder = tree.folder();
    match file::read_line(&folder, name) {
        Ok(text) => Ok(words.contains(&text.as_str())),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno).context(|| format!("read {}/{name}", folder.display())),
    }
}

/// Freezes or thaws the container and waits until it is so. Where there is a v1 freezer it is the one to use, since on such
/// a host it is where everybody looks; a thaw lets go of both.
pub(super) fn set_frozen(record: &Record, frozen: bool) -> Result<()> {
    match (record.v1("freezer"), record.v2()) {
        (Some(tree), v2) => {
            freeze_v1(tree, frozen)?;
            v2.filter(|_| !frozen && v2_frozen(record).unwrap_or(false)).map_or(Ok(()), |tree| freeze_v2(tree, false))
        }
        (None, Some(tree)) => freeze_v2(tree, frozen),
        (None, None) => Err(Error::new("the container has no cgroup that can be frozen")
            .hint("it was made without cgroups, or the host has no freezer controller")),
    }
}

fn freeze_v2(tree: &Tree, frozen: bool) -> Result<()> {
    let folder = tree.folder();
    let what = || format!("{} {}", if frozen { "freeze" } else { "thaw" }, folder.display());
    file::write(&folder, "cgroup.freeze", if frozen { "1" } else { "0" }).context(what)?;
    if !frozen {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let events = rustix::fs::openat(CWD, folder.join("cgroup.events"), flags, Mode::empty()).context(what)?;
    if !tree::wait_until(events, "frozen 1", PATIENCE).context(what)? {
        let _ = file::write(&folder, "cgroup.freeze", "0");
        bail!("{}: a process did not freeze within {} seconds", what(), PATIENCE.as_secs());
    }
    Ok(())
}

fn freeze_v1(tree: &Tree, frozen: bool) -> Result<()> {
    let folder = tree.folder();
    let state = if frozen { "FROZEN" } else { "THAWED" };
    let what = || format!("write {state} to {}/freezer.state", folder.display());
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        // A process that forks meanwhile can slip through; writing it again catches the new one.
        file::write(&folder, "freezer.state", state).context(what)?;
        if file::read(&folder, "freezer.state").context(what)?.trim() == state {
            return Ok(());
        }
        if Instant::now() > end {
            let _ = file::write(&folder, "freezer.state", "THAWED");
            bail!("{}: a process did not freeze within {} seconds", what(), PATIENCE.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
