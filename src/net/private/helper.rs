//! A private network for an ordinary user, who may make no device on the host: a program of the caller's own, pasta or
//! slirp4netns, holds a device inside and makes each connection again as the caller.
//!
//! The program lives in a pid namespace of its own below a process of ours, its *keeper*, which ends with the runtime,
//! however that ends; the kernel then ends everything in the namespace.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use netlink_socket2::NetlinkSocket;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::time::Timespec;

use super::filter::Rule;
use super::follow::Place;
use super::routes::Routes;
use super::{inside, keeper, rules};
use crate::error::{Context, Error, Result};
use crate::sys::clone::{self, Child, Forked};
use crate::sys::exec::{self, Image};

/// How a program says that the network is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It goes on in the background.
    Background,
    /// It writes to descriptor 3.
    Byte,
}

/// A program that can do it.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    readiness: Readiness,
    /// Before the number of a process inside.
    arguments: &'static [&'static str],
    /// Takes a network that the host does not use, and what follows the number.
    own_network: Option<(&'static str, &'static str)>,
}

/// In the order in which they are tried. Nothing of the host's loopback is mapped, no port leads in, and name servers are
/// asked directly.
const KINDS: [Kind; 2] = [
    Kind {
        name: "pasta",
        readiness: Readiness::Background,
        arguments: &[
            "--config-net",
            "--ipv4-only",
            "--no-map-gw",
            "--quiet",
            "--no-netns-quit",
            "-I",
            "eth0",
            "-t",
            "none",
            "-u",
            "none",
            "-T",
            "none",
            "-U",
            "none",
        ],
        own_network: None,
    },
    Kind {
        name: "slirp4netns",
        readiness: Readiness::Byte,
        arguments: &[
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            "--disable-dns",
            "--enable-seccomp",
            "--ready-fd=3",
        ],
        own_network: Some(("--cidr", "eth0")),
    },
];

/// What a program takes as its network, where the host has no route to it.
const NETWORKS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 0, 2, 0),
    Ipv4Addr::new(10, 211, 63, 0),
    Ipv4Addr::new(172, 29, 63, 0),
    Ipv4Addr::new(192, 168, 191, 0),
];

/// Bits of their prefix.
const LENGTH: u8 = 24;

/// How long a program may take.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// Such a program of this host.
#[derive(Debug)]
pub struct Tool {
    kind: &'static Kind,
    path: PathBuf,
}

impl Tool {
    /// Those that there are, on the caller's PATH.
    ///
    /// # Errors
    /// Where there is none, or no device could be made.
    pub fn all() -> Result<Vec<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let find = |kind: &'static Kind| {
            let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
            let mut files = folders.map(|folder| folder.join(kind.name)).filter(|file| file.is_file());
            Some(Self { kind, path: files.find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())? })
        };
        let tools: Vec<Self> = KINDS.iter().filter_map(find).collect();
        if tools.is_empty() {
            return Err(Error::new(
                "neither pasta (package passt) nor slirp4netns is installed, one of which it takes",
            ));
        }
        let device = "/dev/net/tun";
        let opened = rustix::fs::openat(CWD, device, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        opened.context(|| format!("open {device:?}"))?;
        Ok(tools)
    }

    fn command(&self, pid: Pid, routes: &Routes) -> Result<Image> {
        let mut words = vec![self.kind.name.to_owned()];
        words.extend(self.kind.arguments.iter().map(|word| (*word).to_owned()));
        let number = pid.as_raw_nonzero().to_string();
        match self.kind.own_network {
            None => words.push(number),
            Some((flag, last)) => {
                let mut free = NETWORKS.iter().filter(|network| routes.is_free(**network, LENGTH));
                let network = free.next().ok_or_else(|| Error::new("no private network is free"))?;
                words.extend([flag.to_owned(), format!("{network}/{LENGTH}"), number, last.to_owned()]);
            }
        }
        let env: Vec<String> = std::env::var("PATH").map(|path| format!("PATH={path}")).into_iter().collect();
        Image::new(self.path.as_os_str(), &words, &env).context(|| format!("exec {:?}", self.path))
    }
}

/// A program at work. It ends with this.
#[derive(Debug)]
pub struct Helper {
    keeper: Child,
    name: &'static str,
}

impl Helper {
    /// Connects the process `pid`, which lives in network and user namespaces of its own and can be seen by the caller.
    /// `servers` are the name servers that it uses.
    ///
    /// # Errors
    /// What stood in the way. Nothing is left of it.
    pub fn connect(pid: Pid, tools: &[Tool], servers: &[Ipv4Addr]) -> Result<Self> {
        let mut here = NetlinkSocket::new();
        let routes = Routes::read(&mut here)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        let process = process.context(|| format!("pidfd_open of process {pid}"))?;
        let rules = inside::rules(&routes.networks(&routes.uplinks()?), servers);
        // Before there is a device: there is no moment in which a packet passes unseen.
        in_a_child(|| load_rules(&process, &rules))?;
        let place = Place { process, servers, rules };
        let mut failure = Error::new("there is no program for it");
        for tool in tools {
            match Self::start(tool, pid, &routes, &place) {
                Ok(helper) => return Ok(helper),
                Err(error) => failure = error.context(tool.kind.name),
            }
        }
        Err(failure)
    }

    fn start(tool: &Tool, pid: Pid, routes: &Routes, place: &Place<'_>) -> Result<Self> {
        let image = tool.command(pid, routes)?;
        let (answer, report) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe2")?;
        let ourselves = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let ourselves = ourselves.context(|| "pidfd_open of this process")?;
        let forked = clone::fork(libc::CLONE_NEWPID as u64, None).context(|| "clone3 with CLONE_NEWPID")?;
        let helper = match forked {
            Forked::Parent(keeper) => Self { keeper, name: tool.kind.name },
            Forked::Child => keeper::keep(&image, tool.kind.readiness, place, &ourselves, &report),
        };
        drop(report);
        let mut said = Vec::new();
        loop {
            let ready = rustix::event::poll(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&PATIENCE));
            if ready.context(|| "poll for the program")? == 0 {
                return Err(Error::new("it does not say that the network is there"));
            }
            let mut buffer = [0; 4096];
            match rustix::io::read(&answer, &mut buffer).context(|| "read from the program")? {
                0 => return Err(Error::new(last_words(&said))),
                _ if buffer[0] == READY => return Ok(helper),
                count => said.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The name of the program, where it has ended before its time.
    pub fn ended(&self) -> Option<&'static str> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = rustix::event::poll(&mut [PollFd::new(&self.keeper.pidfd, PollFlags::IN)], Some(&now));
        (gone == Ok(1)).then_some(self.name)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The first process of its pid namespace: all go with it, and it is gone when they are.
        let _ = rustix::process::pidfd_send_signal(&self.keeper.pidfd, Signal::KILL);
        reap(&self.keeper);
    }
}

/// Loads the table where the process lives. Without rights over the own network namespace there is no way back.
fn load_rules(process: &OwnedFd, rules: &[Rule]) -> Result<()> {
    clone::setns(process, libc::CLONE_NEWNET as u64).context(|| "setns to the network namespace inside")?;
    rules::load(&mut NetlinkSocket::new(), inside::TABLE, rules).context(|| "make the table of nftables")
}

/// Does something in a process of its own.
fn in_a_child(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (answer, report) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe2")?;
    let child = match clone::fork(0, None).context(|| "fork")? {
        Forked::Parent(child) => child,
        Forked::Child => {
            let error = work().err().and_then(|error| serde_json::to_vec(&error).ok()).unwrap_or_default();
            let _ = rustix::io::write(&report, &error);
            exec::exit_now(0);
        }
    };
    drop(report);
    let mut said = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::fs::File::from(answer), &mut said);
    reap(&child);
    read.map_err(Error::of_io)?;
    if said.is_empty() {
        Ok(())
    } else {
        Err(serde_json::from_slice(&said).unwrap_or_else(|_| Error::new("a child failed")))
    }
}

/// Waits for the end of a child that is about to end.
fn reap(child: &Child) {
    let wait = || rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    while matches!(wait(), Err(Errno::INTR)) {}
}

/// Says that the network is there; no text has it.
pub(super) const READY: u8 = 0;

/// The last line that says something.
fn last_words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    // An old pasta tells of each line that it could not tell syslog.
    let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty() && !line.contains("to syslog"));
    lines.next().map_or_else(|| "it ended without a word".to_owned(), |line| line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_told() {
        assert_eq!(
            last_words(b"Failed to send 5 bytes to syslog\nNo route\n\nFailed to send 2 bytes to syslog"),
            "No route"
        );
        assert_eq!(last_words(b"\n"), "it ended without a word");
    }
}
