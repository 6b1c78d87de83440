//! Pseudo-terminals: the container's side, made inside its own devpts, and the caller's side, relayed in the foreground.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSlice};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::error::{Context, Error, Result};
use crate::plan::Process;
use crate::sys::beneath::Beneath;

/// Both sides of a new terminal.
#[derive(Debug)]
pub struct Terminal {
    /// Goes outside.
    pub master: OwnedFd,
    /// The program's standard streams.
    pub slave: OwnedFd,
}

/// Inside: a terminal of the container's own devpts, so that its number means the same to the program.
///
/// The slave comes from the master by TIOCGPTPEER, not by a path: a link planted as /dev/pts/N is never followed
/// (CVE-2025-52565).
///
/// # Errors
/// Where the container has no devpts at /dev/pts.
pub fn open(root: &Beneath, process: &Process) -> Result<Terminal> {
    let what = || "open a terminal of the container's /dev/pts";
    let hint = "process.terminal needs a mount of type devpts at /dev/pts";
    let master = root.openat(Path::new("/dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY);
    let master = master.context(what).map_err(|error| error.hint(hint))?;
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    if rustix::fs::fstatfs(&master).context(what)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
        return Err(Error::new("the container's /dev/pts/ptmx is no terminal of a devpts").hint(hint));
    }
    rustix::pty::unlockpt(&master).context(what)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).context(what)?;
    // Before the program looks: that of config.json, or that of the caller's terminal.
    let callers = || callers_size().map(|size| (size.ws_row, size.ws_col));
    if let Some((rows, columns)) = process.console_size.or_else(callers) {
        set_size(&master, rows, columns).context(what)?;
    }
    Ok(Terminal { master, slave })
}

/// Inside: makes the slave the controlling terminal and the standard streams. The caller is a session leader.
///
/// # Errors
/// Where a call fails.
pub fn attach(slave: &OwnedFd) -> Result<()> {
    control(slave)?;
    streams(slave)?;
    rustix::stdio::dup2_stderr(slave).context(|| "dup2 stderr")
}

/// Inside: likewise, but for a standard error that the caller has sent elsewhere.
///
/// # Errors
/// Where a call fails.
pub fn attach_beside_stderr(slave: &OwnedFd) -> Result<()> {
    control(slave)?;
    streams(slave)?;
    match rustix::termios::tcgetattr(rustix::stdio::stderr()) {
        Err(Errno::NOTTY) => Ok(()),
        // One that has been hung up since is still the caller's, and no program's.
        _ => rustix::stdio::dup2_stderr(slave).context(|| "dup2 stderr"),
    }
}

fn control(slave: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave).context(|| "make the terminal the controlling one")
}

fn streams(slave: &OwnedFd) -> Result<()> {
    rustix::stdio::dup2_stdin(slave).context(|| "dup2 stdin")?;
    rustix::stdio::dup2_stdout(slave).context(|| "dup2 stdout")
}

/// Outside: hands a descriptor (the master of a terminal, a pidfd) to who listens on the socket at `path`.
///
/// # Errors
/// Where nobody listens there.
pub fn send_descriptor(path: &Path, name: &str, fd: BorrowedFd<'_>) -> Result<()> {
    let what = || format!("send {name} to {path:?}");
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.context(what)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).context(what)?).context(what)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let name = [IoSlice::new(name.as_bytes())];
    rustix::net::sendmsg(&socket, &name, &mut ancillary, SendFlags::NOSIGNAL).map(drop).context(what)
}

/// The size of the caller's terminal; any of the standard streams may be it, where the others are redirected.
fn callers_size() -> Option<Winsize> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    streams.into_iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok())
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) -> Result<(), Errno> {
    rustix::termios::tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
}

/// The caller's terminal in raw mode, connected to the container's. Dropped, it is as it was.
pub struct Relay {
    master: OwnedFd,
    /// The caller's settings; absent when its standard input is no terminal.
    before: Option<Termios>,
    to_master: Buffer,
    to_caller: Buffer,
    input_open: bool,
    output_open: bool,
}

/// Bytes that were read and wait to be written.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    sent: usize,
}

/// How much is read at once.
const CHUNK: usize = 16 << 10;

impl Relay {
    /// Takes over the caller's terminal, if standard input is one, and gives the container's its size.
    ///
    /// # Errors
    /// Where the settings cannot be read or changed.
    pub fn new(master: OwnedFd) -> Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = match rustix::termios::tcgetattr(stdin) {
            Ok(before) => {
                let mut raw = before.clone();
                raw.make_raw();
                rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw)
                    .context(|| "set the terminal to raw mode")?;
                Some(before)
            }
            Err(_) => None,
        };
        // Neither side may stop the other: what cannot be written now is kept.
        rustix::io::ioctl_fionbio(&master, true).context(|| "make the terminal non-blocking")?;
        let (to_master, to_caller) = (Buffer::default(), Buffer::default());
        let relay = Self { master, before, to_master, to_caller, input_open: true, output_open: true };
        if relay.before.is_some() {
            relay.resize();
        }
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's.
    pub fn resize(&self) {
        if let Some(size) = callers_size() {
            // A terminal that is gone has no size to change.
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// What to poll for: standard input, the master, standard output.
    pub fn interest(&self) -> [PollFd<'_>; 3] {
        let when = |condition: bool, flag: PollFlags| if condition { flag } else { PollFlags::empty() };
        let master = when(self.output_open && self.to_caller.is_empty(), PollFlags::IN)
            | when(!self.to_master.is_empty(), PollFlags::OUT);
        [
            PollFd::from_borrowed_fd(
                rustix::stdio::stdin(),
                when(self.input_open && self.to_master.is_empty(), PollFlags::IN),
            ),
            PollFd::new(&self.master, master),
            PollFd::from_borrowed_fd(rustix::stdio::stdout(), when(!self.to_caller.is_empty(), PollFlags::OUT)),
        ]
    }

    /// Moves what can be moved, after a poll for [`Relay::interest`] answered with these events.
    pub fn pump(&mut self, events: [PollFlags; 3]) {
        const READABLE: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);
        if self.input_open && events[0].intersects(READABLE) && self.to_master.is_empty() {
            self.input_open = self.to_master.fill(rustix::stdio::stdin());
            if !self.input_open && self.before.is_none() {
                // The end of a file or pipe becomes the end-of-file character of the terminal.
                self.to_master.bytes.push(4);
            }
        }
        if self.output_open && events[1].intersects(READABLE) && self.to_caller.is_empty() {
            self.output_open = self.to_caller.fill(self.master.as_fd());
        }
        self.to_master.flush(self.master.as_fd());
        if events[2].intersects(PollFlags::OUT) || events[1].intersects(READABLE) {
            self.to_caller.flush(rustix::stdio::stdout());
        }
    }

    /// Writes what the program left behind when it ended.
    pub fn finish(&mut self) {
        while self.output_open {
            self.to_caller.flush_all(rustix::stdio::stdout());
            self.output_open = self.to_caller.fill(self.master.as_fd()) && !self.to_caller.is_empty();
        }
        self.to_caller.flush_all(rustix::stdio::stdout());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Reads once; false at the end. A master whose slaves are all closed answers EIO, which is its end.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        self.bytes.resize(CHUNK, 0);
        self.sent = 0;
        let read = rustix::io::read(from, &mut self.bytes);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        matches!(read, Ok(1..) | Err(Errno::AGAIN | Errno::INTR))
    }

    /// Writes once; what does not fit stays. Where nobody reads any more it is dropped.
    fn flush(&mut self, to: BorrowedFd<'_>) {
        if self.is_empty() {
            return;
        }
        match rustix::io::write(to, &self.bytes[self.sent..]) {
            Ok(written) => self.sent += written,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.sent = self.bytes.len(),
        }
    }

    /// Writes everything, waiting for a reader that is slow.
    fn flush_all(&mut self, to: BorrowedFd<'_>) {
        while !self.is_empty() {
            let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            self.flush(to);
        }
    }
}
