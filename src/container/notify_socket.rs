//! sd_notify(3) across the container's border: a service that says READY=1 inside is heard by the caller's manager.
//!
//! The manager's socket ($NOTIFY_SOCKET) is not bound into the container: everything said there would count as said by
//! the runtime. The container gets a socket of its own, in a folder of its state that is mounted at /run/notify, and only
//! READY=1 is passed on, with the MAINPID that the manager is to watch.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::store::{Folder, Store};
use crate::error::{Context, Result};
use crate::plan::{ContainerId, Mount, MountKind, Plan};

/// The folder below the container's state.
const FOLDER: &str = "notify";
/// The socket in it.
const SOCKET: &str = "notify.sock";
/// Where the folder appears inside.
const INSIDE: &str = "/run/notify";

/// The manager's socket, where there is a manager.
fn manager() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Gives the container a folder for its socket and tells its program where that is. Does nothing without a manager.
pub fn add_to(plan: &mut Plan, store: &Store, id: &ContainerId) {
    if manager().is_none() {
        return;
    }
    plan.rootfs.mounts.push(Mount {
        index: plan.rootfs.mounts.len(),
        destination: INSIDE.into(),
        kind: MountKind::Bind { source: store.root().join(id.as_str()).join(FOLDER), recursive: false },
        flags: MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY,
        cleared: MountFlags::empty(),
        recursive_set: 0,
        recursive_clear: 0,
        propagation: Vec::new(),
        data: String::new(),
        copy_up: false,
        idmap: None,
    });
    plan.process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}").into());
}

/// Makes the folder, before the container mounts it.
///
/// # Errors
/// Where it cannot be made.
pub fn make_folder(folder: &Folder) -> Result<()> {
    if manager().is_none() {
        return Ok(());
    }
    rustix::fs::mkdirat(folder, FOLDER, Mode::from(0o755)).context(|| format!("make {:?}", folder.path().join(FOLDER)))
}

/// The container's socket, being listened on.
#[derive(Debug)]
pub struct Relay {
    socket: OwnedFd,
    manager: PathBuf,
    pid: i32,
}

impl Relay {
    /// Listens on the container's socket, where it has one. `pid` is its first process.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn listen(folder: &Folder, pid: i32) -> Result<Option<Self>> {
        let (Some(manager), home) = (manager(), folder.path().join(FOLDER)) else { return Ok(None) };
        if !home.is_dir() {
            return Ok(None);
        }
        let path = home.join(SOCKET);
        let what = || format!("listen on {path:?}");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).context(what)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).context(what)?).context(what)?;
        // The program may be any user of the container.
        rustix::fs::chmodat(CWD, &path, Mode::from(0o777), rustix::fs::AtFlags::empty()).context(what)?;
        Ok(Some(Self { socket, manager, pid }))
    }

    /// Reads what was said; true once the manager has been told that the service is ready.
    ///
    /// # Errors
    /// Where the manager cannot be reached.
    pub fn pass_on(&self) -> Result<bool> {
        let mut text = [0; 4096];
        loop {
            let length = match rustix::net::recv(&self.socket, &mut text, rustix::net::RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(_) => return Ok(false),
            };
            if text[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return self.tell(&format!("READY=1\nMAINPID={}", self.pid)).map(|()| true);
            }
        }
    }

    /// Waits until the service is ready, or its process has ended.
    ///
    /// # Errors
    /// As [`Relay::pass_on`].
    pub fn until_ready(&self, pidfd: impl AsFd) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other.context(|| "wait for the service to be ready")?,
            };
            let ended = !fds[1].revents().is_empty();
            if self.pass_on()? || ended {
                return Ok(());
            }
        }
    }

    fn tell(&self, text: &str) -> Result<()> {
        let what = || format!("notify {:?}", self.manager);
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let socket = socket.context(what)?;
        let address = match self.manager.to_str().and_then(|path| path.strip_prefix('@')) {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(Path::new(&self.manager)),
        };
        rustix::net::sendto(&socket, text.as_bytes(), SendFlags::NOSIGNAL, &address.context(what)?)
            .map(drop)
            .context(what)
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
