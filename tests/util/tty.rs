//! Terminals of a test: a pty to run a command on, and the socket that receives a container's.

use std::fs::File;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::until;
use super::wait::PATIENCE;

/// A terminal's master end, with all that was read from it.
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// A new one, of 24 rows and 80 columns, with its other end.
    pub fn open() -> (Self, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let terminal = Self::from(master);
        terminal.resize(24, 80);
        (terminal, slave.into())
    }

    /// Sets rows and columns.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// Types on it.
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that has come out of it.
    pub fn seen(&mut self) -> &str {
        let mut buffer = [0; 4096];
        // EIO is how a master says that nobody holds the other end any more.
        while let Ok(count @ 1..) = self.master.read(&mut buffer) {
            self.seen += &String::from_utf8_lossy(&buffer[..count]);
        }
        &self.seen
    }

    /// Waits until `text` has come out of it.
    #[track_caller]
    pub fn until_seen(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen().contains(text) {
            let seen = &self.seen;
            assert!(Instant::now() < deadline, "waited in vain for {text:?} on the terminal; it showed {seen:?}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

impl From<OwnedFd> for Terminal {
    fn from(master: OwnedFd) -> Self {
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        Self { master: master.into(), seen: String::new() }
    }
}

/// A socket that a runtime sends a descriptor to.
pub struct FdSocket {
    listener: UnixListener,
}

impl FdSocket {
    /// Listens at `path`.
    pub fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    /// Receives one message if somebody has connected already.
    #[track_caller]
    pub fn try_receive(&self) -> Option<(String, Vec<OwnedFd>)> {
        let connection = self.listener.accept().ok()?.0;
        connection.set_nonblocking(true).unwrap();
        Some(receive_on(&connection))
    }

    /// Receives one message: its text and its descriptors.
    #[track_caller]
    pub fn receive(&self) -> (String, Vec<OwnedFd>) {
        let connection = until("somebody connects to the socket", || self.listener.accept().ok()).0;
        connection.set_nonblocking(true).unwrap();
        receive_on(&connection)
    }
}

/// Receives one message on a connection.
#[track_caller]
pub fn receive_on(connection: &UnixStream) -> (String, Vec<OwnedFd>) {
    let mut text = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut fds = Vec::new();
    let length = until("a message arrives", || {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(connection.as_fd(), &mut [IoSliceMut::new(&mut text)], &mut control, flags).ok()?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Some(got.bytes)
    });
    text.truncate(length);
    (String::from_utf8_lossy(&text).into_owned(), fds)
}
