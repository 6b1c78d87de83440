//! The keeper of a program that carries a network ([`super::helper`]): the first process of a pid namespace, so that nothing
//! of the program outlives it. It ends with the runtime, or when the program has ended, and keeps the table inside true.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions};

use super::follow::{Follower, Place};
use super::helper::{READY, Readiness};
use crate::error::{Context, Error, Result};
use crate::sys::clone::{self, Forked};
use crate::sys::exec::{self, Image};
use crate::sys::signal;

/// The keeper's whole life: starts the program, tells how that went, and stays until the runtime or all below has ended.
pub(super) fn keep(image: &Image, readiness: Readiness, place: &Place<'_>, runtime: &OwnedFd, report: &OwnedFd) -> ! {
    if let Err(error) = live(image, readiness, place, runtime, report) {
        let _ = rustix::io::write(report, error.to_string().as_bytes());
    }
    exec::exit_now(0)
}

fn live(image: &Image, readiness: Readiness, place: &Place<'_>, runtime: &OwnedFd, report: &OwnedFd) -> Result<()> {
    let keep = || "keep the program";
    let mask = signal::block_all();
    retire([runtime, report, &place.process]).context(keep)?;
    if !start(image, readiness, &mask, report).context(keep)? {
        return Ok(());
    }
    let mut follower = Follower::begin(place)?;
    rustix::io::write(report, &[READY]).context(keep)?;
    stay(runtime, &mut follower)
}

/// Keeps these descriptors and nothing else of the runtime's.
fn retire(kept: [&OwnedFd; 3]) -> Result<(), Errno> {
    // What a terminal sends is not for us, and a pipe of the caller's closes when the caller closes it.
    rustix::process::setsid()?;
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    // Locks of the box are among the others.
    exec::close_all_but(0, kept.map(AsRawFd::as_raw_fd).to_vec())
}

/// Starts the program. Whether the network is there: where it is not, its words have been passed on.
fn start(image: &Image, readiness: Readiness, mask: &signal::Mask, report: &OwnedFd) -> Result<bool, Errno> {
    let (words, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready, is_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    let program = match clone::fork(0, None)? {
        Forked::Parent(child) => child,
        Forked::Child => become_tool(image, mask, &theirs, &is_ready),
    };
    drop((theirs, is_ready));
    let is_there = match readiness {
        Readiness::Background => {
            let status =
                rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(program.pid), WaitOptions::empty()))?;
            status.is_some_and(|(_, status)| status.exit_status() == Some(0))
        }
        Readiness::Byte => rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut [0_u8]))? != 0,
    };
    if !is_there {
        pass_on(&words, report)?;
    }
    Ok(is_there)
}

/// Until the runtime or the program has ended, or the table cannot be kept true: then the network ends.
fn stay(runtime: &OwnedFd, follower: &mut Follower<'_>) -> Result<()> {
    let signals = signal::descriptor().context(|| "signalfd")?;
    loop {
        let fds = [runtime.as_fd(), signals.as_fd(), follower.changes()];
        let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("poll", errno)),
        }
        let [ended, signalled, changed] = fds.map(|fd| !fd.revents().is_empty());
        if ended || (signalled && nobody_is_left(&signals)) {
            return Ok(());
        }
        if changed {
            follower.catch_up()?;
        }
    }
}

/// Takes note of what has ended; whether that was all.
fn nobody_is_left(signals: &OwnedFd) -> bool {
    while signal::next(signals).is_some() {}
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// What the program has said before it gave up.
fn pass_on(words: &OwnedFd, report: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(words, &mut buffer))? {
            0 => return Ok(()),
            count => rustix::io::write(report, &buffer[..count])?,
        };
    }
}

fn become_tool(image: &Image, mask: &signal::Mask, words: &OwnedFd, ready: &OwnedFd) -> ! {
    signal::restore(mask);
    // pasta takes it for a failure when somebody ignores this one already.
    signal::default(Signal::PIPE);
    let place = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 10);
    let placed = || -> Result<(), Errno> {
        rustix::stdio::dup2_stderr(words)?;
        // Out of the way of descriptor 3, whichever it was.
        let high = place(ready.as_fd())?;
        exec::close_all_but(0, vec![high.as_raw_fd()])?;
        let three = rustix::io::fcntl_dupfd_cloexec(&high, 3)?;
        rustix::io::fcntl_setfd(&three, FdFlags::empty())?;
        std::mem::forget((high, three));
        Ok(())
    };
    let errno = placed().err().unwrap_or_else(|| image.exec());
    let text = Error::call(format!("exec {:?}", image.path()), errno).to_string();
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    exec::exit_now(127)
}
