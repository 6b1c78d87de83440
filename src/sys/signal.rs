//! Signal masks and signalfd(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Signal;

use super::check;

/// A signal mask, as it was before [`block_all`].
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl Mask {
    /// That of this moment.
    pub fn now() -> Self {
        let mut now = MaybeUninit::uninit();
        // SAFETY: without a new set nothing is changed; the call writes the set, and cannot fail with a valid pointer.
        unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), now.as_mut_ptr());
            Self(now.assume_init())
        }
    }

    /// This one, with these signals blocked as well.
    #[must_use]
    pub fn with(mut self, signals: &[Signal]) -> Self {
        for signal in signals {
            // SAFETY: the set is a valid one of ours, and the number that of a signal.
            unsafe { libc::sigaddset(&raw mut self.0, signal.as_raw()) };
        }
        self
    }
}

/// Blocks every signal that can be blocked and gives back the mask of before.
pub fn block_all() -> Mask {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are written by the calls before they are read; SIG_BLOCK cannot fail with valid pointers.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        Mask(before.assume_init())
    }
}

/// Sets the mask to what it was.
pub fn restore(mask: &Mask) {
    // SAFETY: the set is a valid one that the kernel gave us.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) };
}

/// Gives a signal its default answer. One that is ignored stays so across an exec.
pub fn default(signal: Signal) {
    // SAFETY: the default answer is no handler, so nothing of ours runs in its context.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
}

/// Ignores a signal, as everything that is executed from then on does.
pub fn ignore(signal: Signal) {
    // SAFETY: no handler, so nothing of ours runs in its context.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

/// A descriptor that delivers every blocked signal, CLOEXEC and non-blocking.
///
/// # Errors
/// The errno of signalfd4(2), bare.
pub fn descriptor() -> Result<OwnedFd, Errno> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set, which is then read; the descriptor is new and ours.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let fd = check(libc::c_long::from(libc::signalfd(-1, all.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// The next signal of a [`descriptor`], if one is pending.
pub fn next(descriptor: &OwnedFd) -> Option<Signal> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size that is given; it is read only when the kernel has filled all of it.
    let number = unsafe {
        let read = libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size);
        if read != size as isize {
            return None;
        }
        info.assume_init().ssi_signo as i32
    };
    from_number(number)
}

/// Any signal that a container may get, the real-time ones included; `None` for a number that is none.
pub fn from_number(number: i32) -> Option<Signal> {
    if !(1..=64).contains(&number) {
        return None;
    }
    // SAFETY: the number is a signal of the kernel; it is only sent, no handler is ever installed with it.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}
