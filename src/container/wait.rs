//! The foreground: waits for a container's process, forwards signals to it, relays its terminal.

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::companion::Companion;
use super::notify_socket;
use super::terminal::Relay;
use crate::error::{Context, Result};
use crate::sys::clone::Child;
use crate::sys::signal;

/// What a terminal sends.
const OF_A_TERMINAL: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::HUP];

/// Waits until the process has ended, and gives its exit code: its own, or 128+n after signal n.
///
/// All signals are blocked by now and come through a descriptor: whatever this process is sent, the container's process
/// is sent as well, but for SIGCHLD and SIGWINCH, which are about us. `for_group`: what a terminal sends to all processes in
/// its foreground goes to those of the process's group.
///
/// # Errors
/// Where polling fails.
pub fn until_exit(
    child: &Child,
    for_group: bool,
    mut relay: Option<Relay>,
    mut notify: Option<notify_socket::Relay>,
    companion: Option<&dyn Companion>,
) -> Result<u8> {
    let signals = signal::descriptor().context(|| "make a signal descriptor")?;
    loop {
        let mut fds = vec![PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        // The terminal's three come next, where there is one; the service's socket and the companion's affair are last.
        if let Some(relay) = &relay {
            fds.extend(relay.interest());
        }
        if let Some(notify) = &notify {
            fds.push(PollFd::new(notify, PollFlags::IN));
        }
        let watched = companion.and_then(|companion| Some((companion, companion.watched()?)));
        if let Some((_, watched)) = &watched {
            fds.push(PollFd::new(watched, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other.context(|| "poll for the container's process")?,
        };
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if let (Some(relay), &[_, _, stdin, master, stdout, ..]) = (&mut relay, ready.as_slice()) {
            relay.pump([stdin, master, stdout]);
        }
        while let Some(signal) = ready[1].contains(PollFlags::IN).then(|| signal::next(&signals)).flatten() {
            match signal {
                Signal::CHILD => {}
                Signal::WINCH => {
                    if let Some(relay) = &relay {
                        relay.resize();
                    }
                }
                // A process that is gone in this very moment needs no signal. Its number is its own until it is reaped.
                other if for_group && OF_A_TERMINAL.contains(&other) => {
                    let _ = rustix::process::kill_process_group(child.pid, other);
                }
                other => drop(rustix::process::pidfd_send_signal(&child.pidfd, other)),
            }
        }
        if let (Some((companion, _)), Some(true)) = (watched, ready.last().map(|ready| !ready.is_empty())) {
            companion.attend();
        }
        if notify.as_ref().is_some_and(|notify| notify.pass_on().unwrap_or(true)) {
            notify = None;
        }
        if ready[0].contains(PollFlags::IN) {
            if let Some(relay) = &mut relay {
                relay.finish();
            }
            return reap(child);
        }
    }
}

/// Reaps a process that has ended, or waits for it.
///
/// # Errors
/// Where it is not a child of ours.
pub fn reap(child: &Child) -> Result<u8> {
    use std::os::fd::AsFd;
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other.context(|| "wait for the container's process")?,
        }
    };
    let Some(status) = status else { return Ok(0) };
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 0,
    };
    Ok(code as u8)
}
