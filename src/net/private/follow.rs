//! What the host's routes say changes while a run goes on: an address that the host gets later is as much the host as one that
//! it had before. The table inside ([`super::inside`]) follows.
//!
//! The kernel tells of each change once it is made, so a connection may come between the change and the table that knows it.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::filter::Rule;
use super::routes::Routes;
use super::{inside, rules};
use crate::error::{Context, Error, Result};
use crate::sys::clone;

/// RTMGRP_IPV4_ROUTE of rtnetlink(7). An address of one's own is a route as well.
const ROUTES: u32 = 0x40;

/// Where a table stands, and what it was made from.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The process that lives there.
    pub(super) process: OwnedFd,
    /// The name servers that it uses.
    pub(super) servers: &'a [Ipv4Addr],
    /// What was loaded.
    pub(super) rules: Vec<Rule>,
}

/// Keeps a table true.
pub(super) struct Follower<'a> {
    changes: OwnedFd,
    here: NetlinkSocket,
    inside: NetlinkSocket,
    servers: &'a [Ipv4Addr],
    rules: Vec<Rule>,
}

impl<'a> Follower<'a> {
    /// Begins, and takes this process into the other network namespace.
    ///
    /// # Errors
    /// Where the host's changes are not told, or the table cannot be reached.
    pub(super) fn begin(place: &'a Place<'a>) -> Result<Self> {
        let changes = subscribe().context(|| "ask for changes of the host's routes")?;
        let mut here = NetlinkSocket::new();
        // Its first question makes the socket, which then stays one of the host's.
        Routes::read(&mut here)?;
        clone::setns(&place.process, libc::CLONE_NEWNET as u64).context(|| "setns to the network namespace inside")?;
        let inside = NetlinkSocket::new();
        let mut follower = Self { changes, here, inside, servers: place.servers, rules: place.rules.clone() };
        follower.catch_up()?;
        Ok(follower)
    }

    /// Can be read when the host's routes have changed.
    pub(super) fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Puts another table in the place of this one, where the host's routes say something else by now.
    ///
    /// # Errors
    /// Where that fails. The old table is still there.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        self.forget()?;
        let routes = Routes::read(&mut self.here)?;
        // A host that has lost its default route may get it back.
        let uplinks = routes.uplinks().unwrap_or_default();
        let wanted = inside::rules(&routes.networks(&uplinks), self.servers);
        if wanted != self.rules {
            rules::replace(&mut self.inside, inside::TABLE, &wanted).context(|| "change the table of nftables")?;
            self.rules = wanted;
        }
        Ok(())
    }

    /// Takes what has been told so far: only that there was something counts.
    fn forget(&self) -> Result<()> {
        loop {
            match rustix::net::recv(&self.changes, &mut [0_u8; 64], RecvFlags::TRUNC) {
                // More has happened than the kernel keeps for us.
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(Error::call("recv of changes of the host's routes", errno)),
            }
        }
    }
}

fn subscribe() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 is that of routes.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, ROUTES))?;
    Ok(socket)
}
