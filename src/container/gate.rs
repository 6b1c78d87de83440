//! The gate: where a created container waits for `start`, which may come from any process and at any time.
//!
//! A packet socket in the state folder. The container's first process inherits the listening end and accepts; `start`
//! connects, says Proceed and hears how the exec went. When the process has become its program nobody listens any more:
//! a refused connection is how a stale socket file is told from a gate.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::store::{Folder, GATE};
use super::wire::{Message, Wire};
use crate::error::{Context, Result};

/// The listening end, before the clone.
///
/// # Errors
/// Where the socket cannot be made in the state folder.
pub fn build(folder: &Folder) -> Result<OwnedFd> {
    let what = || format!("make the socket {:?}", folder.path().join(GATE));
    let socket = new_socket(SocketFlags::CLOEXEC).context(what)?;
    rustix::net::bind(&socket, &address(folder).context(what)?).context(what)?;
    rustix::net::listen(&socket, 1).context(what)?;
    Ok(socket)
}

/// Inside: waits until somebody connects and says Proceed. Who connects only to look is gone again, and is ignored.
///
/// # Errors
/// Where the socket fails.
pub fn wait(listener: &OwnedFd) -> Result<Wire> {
    loop {
        let visitor = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            other => Wire::from_fd(other.context(|| "wait at the gate")?),
        };
        if let Ok(Some(Message::Proceed)) = visitor.receive() {
            return Ok(visitor);
        }
    }
}

/// Outside: connects to a waiting container; `None` where none waits.
///
/// # Errors
/// Where the socket is there but cannot be used.
pub fn connect(folder: &Folder) -> Result<Option<Wire>> {
    let what = || format!("connect to {:?}", folder.path().join(GATE));
    // Not blocking: a second visitor of a gate whose queue is full has come too late anyway.
    let socket = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).context(what)?;
    match rustix::net::connect(&socket, &address(folder).context(what)?) {
        Ok(()) => {
            rustix::io::ioctl_fionbio(&socket, false).context(what)?;
            Ok(Some(Wire::from_fd(socket)))
        }
        Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno).context(what),
    }
}

/// Removes the socket file: the container has started.
pub fn close(folder: &Folder) {
    // A file that stays is told from a gate by the refused connection.
    let _ = rustix::fs::unlinkat(folder, GATE, rustix::fs::AtFlags::empty());
}

/// Whether the socket file is there.
pub fn exists(folder: &Folder) -> bool {
    rustix::fs::accessat(folder, GATE, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty()).is_ok()
}

fn new_socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// A socket's address holds 108 bytes; a state folder's path may be longer, the path through its descriptor never is.
fn address(folder: &Folder) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", folder.as_fd().as_raw_fd()))
}
