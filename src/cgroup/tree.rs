//! Walking a cgroup and those below it: which processes live there, and taking the folders down.
//!
//! What is below is the container's own doing, and it may nest deeper than a path or a table of descriptors reaches: the walk
//! holds one descriptor and steps down by name and up by `..`.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::file;

/// How long the last process of a killed container may take to be gone, and systemd to remove its cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

/// Visits a cgroup and all below it, deepest first. `leave` is called for each with an open folder, and, once back in the
/// folder above, `done` with that folder and the name below. A folder that goes away meanwhile is passed over.
fn walk(
    top: &Path,
    mut leave: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut done: impl FnMut(BorrowedFd<'_>, &OsString) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut here = file::open_folder(CWD, top)?;
    let mut pending = vec![file::children(&here)?];
    let mut names: Vec<OsString> = Vec::new();
    loop {
        match pending.last_mut().and_then(Vec::pop) {
            Some(name) => match file::open_folder(&here, &name) {
                Ok(below) => {
                    pending.push(file::children(&below)?);
                    here = below;
                    names.push(name);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            },
            None => {
                leave(here.as_fd())?;
                pending.pop();
                let Some(name) = names.pop() else { return Ok(()) };
                here = file::open_folder(&here, "..")?;
                done(here.as_fd(), &name)?;
            }
        }
    }
}

/// The processes of a cgroup and of all below it; none where it is gone.
pub(super) fn pids(top: &Path) -> Result<Vec<i32>, Errno> {
    let mut pids = Vec::new();
    let result = walk(
        top,
        |folder| {
            let text = match own_pids(folder, "cgroup.procs") {
                // A threaded cgroup: its processes are those of the domain above; their threads are listed here.
                Err(Errno::OPNOTSUPP) => own_pids(folder, "cgroup.threads"),
                other => other,
            };
            match text {
                // 0 stands for a process outside the caller's pid namespace.
                Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid > 0)),
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(errno),
            }
            Ok(())
        },
        |_, _| Ok(()),
    );
    match result {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {
            pids.sort_unstable();
            pids.dedup();
            Ok(pids)
        }
        Err(errno) => Err(errno),
    }
}

fn own_pids(folder: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    file::read_fd(rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Removes a cgroup and all below it. What is missing is fine. Waits for processes that are about to be gone.
///
/// # Errors
/// EBUSY where processes stay.
pub(super) fn remove(top: &Path) -> Result<(), Errno> {
    match rustix::fs::rmdir(top) {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        // A read-only mount refuses before it looks whether there is anything.
        Err(errno) if errno != Errno::BUSY && errno != Errno::NOTEMPTY => {
            return if file::exists(top) { Err(errno) } else { Ok(()) };
        }
        Err(_) => {}
    }
    let result = walk(
        top,
        |_| Ok(()),
        |above, name| patiently(|| rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR), above, name),
    );
    match result {
        Ok(()) => patiently(|| rustix::fs::rmdir(top), CWD, top),
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes one folder, waiting while it is busy with processes on their way out.
fn patiently(
    remove: impl Fn() -> Result<(), Errno>,
    at: impl AsFd,
    name: impl rustix::path::Arg + Copy,
) -> Result<(), Errno> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        match remove() {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < end => {}
            Err(errno) => return Err(errno),
        }
        // v2 tells when the last process has left; v1 has to be asked again.
        let told = match file::open_folder(at.as_fd(), name).and_then(events_of) {
            Ok(events) => !wait_until(events, "populated 0", Duration::from_millis(20))?,
            Err(_) => false,
        };
        if !told {
            std::thread::sleep(pause);
        }
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Waits, but not for ever, until somebody else has removed a cgroup.
pub(super) fn wait_until_gone(top: &Path) {
    let end = Instant::now() + PATIENCE;
    while file::exists(top) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn events_of(folder: OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Waits until a line stands in an open cgroup.events; the kernel signals each change of that file. Gives back whether it
/// came in time. A file that is gone counts as that.
pub(super) fn wait_until(events: OwnedFd, line: &str, patience: Duration) -> Result<bool, Errno> {
    let end = Instant::now() + patience;
    loop {
        match rustix::fs::seek(&events, rustix::fs::SeekFrom::Start(0)).and_then(|_| file::read_fd(&events)) {
            Ok(text) if text.lines().any(|found| found == line) => return Ok(true),
            Ok(_) => {}
            Err(Errno::NODEV | Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(errno),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut files = [PollFd::new(&events, PollFlags::PRI)];
        match rustix::event::poll(&mut files, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
