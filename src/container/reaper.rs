//! The first process of a pid namespace that is not the program: reaps orphans, passes signals on, ends with the program.
//!
//! A program that finds itself first in a pid namespace gets no signal that it does not handle, and has children that it
//! never made. Here the first process stays a copy of the runtime's init, without a descriptor of its own. It never
//! executes anything: for a container with a user namespace its memory still belongs to the caller's namespace, and it is
//! not dumpable, so that nobody inside can look into it through /proc/1.

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use super::terminal;
use super::wire::{Message, Wire};
use crate::error::{Context, Result};
use crate::sys::clone::{self, Forked};
use crate::sys::{exec, signal};

/// What a terminal sends goes to all processes in its foreground; so it does here.
const OF_A_TERMINAL: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::HUP];

/// Forks. It is the child that comes back, in a session of its own, with the terminal on its standard input as the
/// controlling one where it has one. The parent stays until the child ends, and ends with its exit code. It tells `opener`
/// which process the child is.
///
/// # Errors
/// Where the fork or the session fails.
pub fn stand_by(terminal: bool, opener: Option<&Wire>) -> Result<()> {
    // Nothing that comes from here on is lost: it waits for the first process to pass it on.
    let mask = signal::block_all();
    match clone::fork(0, None).context(|| "fork the program from the first process")? {
        Forked::Parent(child) => {
            if let Some(opener) = opener {
                opener.send(&Message::Program(child.pidfd))?;
            }
            // By number from here on: it is our child, and no other takes its number before we have reaped it.
            watch(child.pid)
        }
        Forked::Child => {
            rustix::process::setsid().context(|| "start a new session (setsid)")?;
            if terminal {
                terminal::control(rustix::stdio::stdin())?;
            }
            signal::restore(&mask);
            if opener.is_some() {
                // An opener without rights over the machine takes a descriptor out of this process only if it is visible.
                // Nobody else lives here yet who could look into it.
                rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
                    .context(|| "become visible to the runtime (PR_SET_DUMPABLE)")?;
            }
            Ok(())
        }
    }
}

fn watch(program: Pid) -> ! {
    let code = attend(program).unwrap_or(125);
    exec::exit_now(code)
}

fn attend(program: Pid) -> Result<i32, Errno> {
    // The runtime may be killed: then this process goes, and with it the namespace.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // A pipe that the program closes must close.
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::mem::forget(null);
    exec::close_all_but(0, Vec::new())?;
    let signals = signal::descriptor()?;
    loop {
        if let Some(code) = reap(program)? {
            return Ok(code);
        }
        match rustix::event::poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        while let Some(signal) = signal::next(&signals) {
            pass_on(program, signal);
        }
    }
}

/// Reaps what has ended; gives the exit code of the program once it has, 128+n after signal n.
fn reap(program: Pid) -> Result<Option<i32>, Errno> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                let after_signal = || 128 + status.terminating_signal().unwrap_or(0);
                return Ok(Some(status.exit_status().unwrap_or_else(after_signal)));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// Children of ours and changes of a terminal are not the program's affair. One that is gone needs no signal.
fn pass_on(program: Pid, signal: Signal) {
    let _ = match signal {
        Signal::CHILD | Signal::WINCH => Ok(()),
        signal if OF_A_TERMINAL.contains(&signal) => rustix::process::kill_process_group(program, signal),
        signal => rustix::process::kill_process(program, signal),
    };
}
