//! Signals after a program's end: they end this program while it asks what to do, and it still says what has become of the box.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::error::{Context, Result};
use crate::sys::signal::{self, Mask};

/// What ends a program that does nothing against it, from a terminal or from somebody who wants it to end.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// The signals, as long as something is asked.
pub(super) struct Interrupts {
    signals: OwnedFd,
    /// One that came before anything was asked.
    came: Option<Signal>,
}

impl Interrupts {
    /// Gives signals their meaning back, which is that of `before`, once a program has ended that got all of them. Where
    /// something is asked, those that end this program are kept for [`Self::or_input`].
    ///
    /// # Errors
    /// Where the kernel refuses a descriptor.
    pub(super) fn after_a_run(before: &Mask, asks: bool) -> Result<Self> {
        let signals = signal::descriptor().context(|| "make a signal descriptor")?;
        // What was typed was typed for the program, which had ended a moment before.
        let typed = [Signal::INT, Signal::QUIT];
        let came = std::iter::from_fn(|| signal::next(&signals)).filter(|came| !typed.contains(came));
        let came = came.filter(|came| ENDING.contains(came)).last();
        signal::restore(&if asks { before.with(&ENDING) } else { *before });
        Ok(Self { signals, came })
    }

    /// Waits for something to read on standard input. Gives the signal that came first, if one did.
    ///
    /// # Errors
    /// Where polling fails.
    pub(super) fn or_input(&mut self) -> Result<Option<Signal>> {
        loop {
            if let Some(signal) = self.came.take().or_else(|| signal::next(&self.signals)) {
                return Ok(Some(signal));
            }
            let mut fds = [
                PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) if fds[1].revents().is_empty() => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "poll for an answer"),
            }
        }
    }
}
