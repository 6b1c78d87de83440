//! From the gate to the program: whoever opens the gate hears how the exec went, and fetches the seccomp listener.
//!
//! The listener is born in the container's process by the very last call before its exec, when the filter may forbid it
//! every other call. So it cannot send the descriptor: it writes its number into memory that both sides see and waits
//! there; the opener takes the descriptor out of it with pidfd_getfd(2) and says so in the same memory. Where the filter
//! leaves futex(2) alone, both sides sleep meanwhile; otherwise the process spins, without a system call.
//!
//! A sandbox's program may begin before that: what it calls in the meantime waits for its answer. Where the filter allows
//! sendmsg(2), its listener just goes over the wire.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::thread::futex;
use rustix::time::Timespec;

use super::companion::Companion;
use super::state::{State, Status};
use super::wire::{Message, Wire};
use crate::error::{Context, Error, Result};
use crate::plan::Seccomp;
use crate::security;
use crate::sys::shared::Shared;

/// How long either side waits for the other: a runtime that is killed here must not leave a spinning process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cells: the listener's number plus one; 1 once it has been fetched; 1 where the process uses futex(2) for both.
const CELLS: usize = 3;

/// How often the process looks before it sleeps: some ten microseconds.
const LOOKS: u32 = 1000;

/// How long the opener sleeps at once: where nobody wakes it, and otherwise, since the process may die.
const BRIEF: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000 };
const LONG: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Who takes the listener.
pub struct Taker<'a> {
    /// The profile, which may name an agent.
    pub seccomp: Option<&'a Seccomp>,
    /// What that agent is told.
    pub state: &'a State,
    /// Who takes it where the profile names nobody.
    pub companion: Option<&'a dyn Companion>,
}

/// Outside: waits until the exec closes the wire.
///
/// # Errors
/// The reason why the program does not run.
pub fn hear_exec(wire: &Wire, pidfd: &OwnedFd, taker: &Taker<'_>) -> Result<()> {
    loop {
        match wire.receive()? {
            None => return Ok(()),
            Some(Message::Notify(file)) => fetch_listener(&file, pidfd, taker)?,
            Some(Message::Listener(listener)) => give(listener, taker)?,
            Some(Message::Failed(error)) => return Err(error),
            Some(other) => return Err(Error::new(format!("unexpected message from the container: {other:?}"))),
        }
    }
}

/// Outside: takes the listener out of the process and sends it to who listens at linux.seccomp.listenerPath, or gives it to
/// the companion.
fn fetch_listener(memory: &OwnedFd, pidfd: &OwnedFd, taker: &Taker<'_>) -> Result<()> {
    let cells = Shared::<AtomicU32>::of_file(memory, CELLS).context(|| "map the memory shared with the container")?;
    let [number, fetched, sleeps] = cells.get() else { return Err(Error::new("the shared memory has the wrong size")) };
    let end = Instant::now() + PATIENCE;
    while number.load(Ordering::Acquire) == 0 {
        let brief = if sleeps.load(Ordering::Acquire) == 1 { LONG } else { BRIEF };
        // Woken, late or changed meanwhile: the loop looks again.
        let _ = futex::wait(number, futex::Flags::empty(), 0, Some(&brief));
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = || rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).unwrap_or(0) > 0;
        if number.load(Ordering::Acquire) == 0 && (gone() || Instant::now() > end) {
            // Its own error, if it has one, is still to come.
            return Ok(());
        }
    }
    let number = number.load(Ordering::Acquire) - 1;
    let listener = rustix::process::pidfd_getfd(pidfd, number as i32, rustix::process::PidfdGetfdFlags::empty());
    give(listener.context(|| "fetch the seccomp listener (pidfd_getfd)")?, taker)?;
    fetched.store(1, Ordering::Release);
    // Nobody sleeps there where the filter forbids it.
    let _ = futex::wake(fetched, futex::Flags::empty(), 1);
    Ok(())
}

/// Outside: to whom it is for.
fn give(listener: OwnedFd, taker: &Taker<'_>) -> Result<()> {
    let agent = taker.seccomp.and_then(|seccomp| Some((seccomp.listener_path.as_ref()?, seccomp)));
    if let Some((path, seccomp)) = agent {
        let report = serde_json::to_value(taker.state.report(Status::Running)).unwrap_or_default();
        security::notify::send(path, &listener, &seccomp.listener_metadata, &report)?;
    } else if let Some(companion) = taker.companion {
        companion.listen(listener);
    }
    Ok(())
}

/// Inside: the cells, before the filter is installed.
#[derive(Debug)]
pub struct Announcement {
    cells: Shared<AtomicU32>,
    sleeps: bool,
}

impl Announcement {
    /// Makes the cells and sends them to the opener. `sleeps`: whether the filter will allow futex(2).
    ///
    /// # Errors
    /// Where memory or wire fails.
    pub fn prepare(wire: &Wire, sleeps: bool) -> Result<Self> {
        let (cells, file) =
            Shared::<AtomicU32>::with_file("myrt-notify", CELLS).context(|| "make memory to share with the runtime")?;
        if let [_, _, cell] = cells.get() {
            cell.store(u32::from(sleeps), Ordering::Release);
        }
        wire.send(&Message::Notify(file))?;
        Ok(Self { cells, sleeps })
    }

    /// Announces the listener and waits until it has been fetched. Makes no system call but futex(2), and that only where
    /// the filter allows it. (The clock is read in the vDSO.)
    ///
    /// # Errors
    /// Where nobody fetched it in time.
    pub fn hand_over(&self, listener: i32) -> Result<()> {
        let [number, fetched, _] = self.cells.get() else {
            return Err(Error::new("the shared memory has the wrong size"));
        };
        number.store(listener as u32 + 1, Ordering::Release);
        if self.sleeps {
            let _ = futex::wake(number, futex::Flags::empty(), 1);
        }
        let end = Instant::now() + PATIENCE;
        let mut looks = 0;
        while fetched.load(Ordering::Acquire) == 0 {
            looks += 1;
            if looks < LOOKS {
                // The other side needs a few microseconds for it, and to be woken takes longer.
                std::hint::spin_loop();
                continue;
            }
            if Instant::now() > end {
                return Err(Error::new("linux.seccomp: nobody fetched the listener of SCMP_ACT_NOTIFY"));
            }
            if self.sleeps {
                let _ = futex::wait(fetched, futex::Flags::empty(), 0, Some(&LONG));
            } else {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }
}
