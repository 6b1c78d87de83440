//! `linux.netDevices`: devices of the caller's network namespace move into the container's.
//!
//! Their permanent global addresses go with them (config-linux.md, "Network Devices"): the kernel drops addresses when a
//! device leaves its namespace, so they are read before and added again inside.

use std::ffi::CString;
use std::os::fd::AsFd;

use netlink_bindings::{rt_addr, rt_link};
use netlink_socket2::{NetlinkSocket, ReplyError};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use crate::error::{Context, Error, Result};
use crate::plan::NetDevice;

/// An address as the kernel reports it, to be given back.
struct Address {
    header: rt_addr::Ifaddrmsg,
    address: std::net::IpAddr,
    local: Option<std::net::IpAddr>,
    broadcast: Option<std::net::Ipv4Addr>,
    flags: u32,
    priority: Option<u32>,
}

/// Moves the devices into the network namespace of `pid`, under their names there, and sets them up.
///
/// # Errors
/// Names the field: no such device, a device that cannot move, or a name that is taken inside. Devices that have moved
/// by then come back, where they are physical, when the namespace ends.
pub fn move_devices(devices: &[NetDevice], pid: Pid) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut here = NetlinkSocket::new();
    let mut inside = socket_inside(pid)?;
    for device in devices {
        move_one(device, pid, &mut here, &mut inside).context(|| format!("linux.netDevices.{}", device.host_name))?;
    }
    Ok(())
}

fn move_one(device: &NetDevice, pid: Pid, here: &mut NetlinkSocket, inside: &mut NetlinkSocket) -> Result<()> {
    let NetDevice { host_name, name } = device;
    let header = link(here, host_name).map_err(|error| match error.errno() {
        Some(Errno::NODEV) => error.hint("there is no such device here: `ip link` lists them"),
        _ => error,
    })?;
    if header.ifi_flags & libc::IFF_LOOPBACK as u32 != 0 {
        return Err(Error::new("a loopback device cannot move to another network namespace"));
    }
    if name != host_name && link(inside, name).is_ok() {
        return Err(taken(name));
    }
    let addresses = permanent_addresses(here, header.ifi_index)?;
    // A device that is up keeps its name (the kernel answers EBUSY to a rename), so down it goes first.
    set_up_flag(here, header.ifi_index, false).context(|| format!("set {host_name:?} down"))?;
    let mut request = rt_link::Request::new().op_setlink_do(&link_header(header.ifi_index));
    let c_name = CString::new(name.as_str()).map_err(|_| Error::new("a zero byte in the name"))?;
    request.encode().push_net_ns_pid(pid.as_raw_nonzero().get() as u32).push_ifname(&c_name);
    acknowledged(here, &request).map_err(|error| match error.errno() {
        Some(Errno::EXIST) => taken(name),
        Some(Errno::INVAL | Errno::OPNOTSUPP) => {
            error.hint("some devices belong to their network namespace for good, such as bridges and tunnels")
        }
        _ => error.context("move it to the container's network namespace"),
    })?;
    let moved = link(inside, name)?;
    for address in &addresses {
        add_address(inside, moved.ifi_index, address).context(|| format!("add {} inside", address.address))?;
    }
    set_up_flag(inside, moved.ifi_index, true).context(|| format!("set {name:?} up inside"))
}

fn taken(name: &str) -> Error {
    Error::call(format!("the name {name:?} is taken in the container's network namespace"), Errno::EXIST)
        .hint("give another name: linux.netDevices.DEVICE.name")
}

/// A netlink socket belongs to the namespace in which it is made: goes there, makes it, comes back.
pub(super) fn socket_inside(pid: Pid) -> Result<NetlinkSocket> {
    let own = rustix::fs::openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = own.context(|| "open /proc/thread-self/ns/net")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context(|| format!("pidfd_open {pid}"))?;
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::NETWORK)
        .context(|| format!("setns to the network namespace of process {pid}"))?;
    let mut socket = NetlinkSocket::new();
    // The library opens its socket at the first request.
    let opened = link(&mut socket, "lo");
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))
        .context(|| "setns back to the own network namespace")?;
    opened.map(|_| socket)
}

pub(super) fn link_header(index: i32) -> rt_link::Ifinfomsg {
    let mut header = rt_link::Ifinfomsg::new();
    header.ifi_index = index;
    header
}

/// Index and flags of a device.
pub(super) fn link(socket: &mut NetlinkSocket, name: &str) -> Result<rt_link::Ifinfomsg> {
    let what = || format!("find the device {name:?}");
    let c_name = CString::new(name).map_err(|_| Error::new("a zero byte in the name"))?;
    let mut request = rt_link::Request::new().op_getlink_do(&link_header(0));
    request.encode().push_ifname(&c_name);
    let mut reply = socket.request(&request).context(what)?;
    let found = reply.recv_one().map(|(header, _)| header).map_err(into_io);
    found.context(what)
}

pub(super) fn set_up_flag(socket: &mut NetlinkSocket, index: i32, up: bool) -> Result<()> {
    let mut header = link_header(index);
    header.ifi_change = libc::IFF_UP as u32;
    header.ifi_flags = if up { libc::IFF_UP as u32 } else { 0 };
    acknowledged(socket, &rt_link::Request::new().op_setlink_do(&header))
}

/// The addresses that config-linux.md wants kept: permanent ones of global scope, of any family.
fn permanent_addresses(socket: &mut NetlinkSocket, index: i32) -> Result<Vec<Address>> {
    let what = || "list its addresses";
    let request = rt_addr::Request::new().op_getaddr_dump(&rt_addr::Ifaddrmsg::new());
    let mut reply = socket.request(&request).context(what)?;
    let mut addresses = Vec::new();
    while let Some(item) = reply.recv() {
        let (header, attributes) = item.map_err(into_io).context(what)?;
        let flags = attributes.get_flags().unwrap_or(header.ifa_flags.into());
        let permanent = flags & libc::IFA_F_PERMANENT != 0 && header.ifa_scope == libc::RT_SCOPE_UNIVERSE;
        if header.ifa_index != index as u32 || !permanent {
            continue;
        }
        let Ok(address) = attributes.get_address() else { continue };
        addresses.push(Address {
            header,
            address,
            local: attributes.get_local().ok(),
            broadcast: attributes.get_broadcast().ok(),
            flags,
            priority: attributes.get_rt_priority().ok(),
        });
    }
    Ok(addresses)
}

fn add_address(socket: &mut NetlinkSocket, index: i32, address: &Address) -> Result<()> {
    let header = rt_addr::Ifaddrmsg { ifa_index: index as u32, ..address.header };
    let mut request = rt_addr::Request::new().op_newaddr_do(&header);
    let mut push = request.encode().push_address(address.address);
    if let Some(local) = address.local {
        push = push.push_local(local);
    }
    if let Some(broadcast) = address.broadcast {
        push = push.push_broadcast(broadcast);
    }
    if let Some(priority) = address.priority {
        push = push.push_rt_priority(priority);
    }
    // What the kernel found out about the address on the old side is not a wish for the new one.
    push.push_flags(address.flags & !(libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED));
    match acknowledged(socket, &request) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

pub(super) fn acknowledged<R: netlink_bindings::traits::NetlinkRequest>(
    socket: &mut NetlinkSocket,
    request: &R,
) -> Result<()> {
    let mut reply = socket.request(request).context(|| "netlink request")?;
    reply.recv_ack().map_err(into_io).context(|| "netlink")
}

/// The errno of a netlink answer; what the kernel says in words stays with it where there is no errno.
pub(super) fn into_io(error: ReplyError) -> std::io::Error {
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{clone, procfs::ProcFs};

    /// A process in a network namespace of its own, killed at the end.
    struct Inside(clone::Child);

    impl Inside {
        fn new() -> Self {
            match clone::fork(libc::CLONE_NEWNET as u64, None).unwrap() {
                clone::Forked::Parent(child) => Self(child),
                clone::Forked::Child => loop {
                    rustix::event::pause();
                },
            }
        }

        fn interfaces(&self) -> Vec<String> {
            let pid = self.0.pid.as_raw_nonzero().get();
            let all = crate::net::statistics(&ProcFs::open().unwrap(), pid).unwrap();
            all.into_iter().map(|interface| interface.name).collect()
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            let _ = rustix::process::pidfd_send_signal(&self.0.pidfd, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(self.0.pid), rustix::process::WaitOptions::empty());
        }
    }

    /// Puts the test's thread into a namespace with a device of this name and the address 192.0.2.7/24. Only root can.
    fn host_with(name: &str) -> Option<NetlinkSocket> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        clone::unshare(libc::CLONE_NEWNET as u64).unwrap();
        let mut socket = NetlinkSocket::new();
        let mut request = rt_link::Request::new().set_create().op_newlink_do(&link_header(0));
        let c_name = CString::new(name).unwrap();
        request.encode().push_ifname(&c_name).nested_linkinfo().push_kind(c"veth");
        acknowledged(&mut socket, &request).unwrap();
        let header = rt_addr::Ifaddrmsg { ifa_family: libc::AF_INET as u8, ifa_prefixlen: 24, ..Default::default() };
        let mut address = Address {
            header,
            address: "192.0.2.7".parse().unwrap(),
            local: Some("192.0.2.7".parse().unwrap()),
            broadcast: None,
            flags: 0,
            priority: None,
        };
        let index = link(&mut socket, name).unwrap().ifi_index;
        add_address(&mut socket, index, &address).unwrap();
        address.header =
            rt_addr::Ifaddrmsg { ifa_family: libc::AF_INET6 as u8, ifa_prefixlen: 64, ..Default::default() };
        address.address = "2001:db8::7".parse().unwrap();
        address.local = None;
        add_address(&mut socket, index, &address).unwrap();
        Some(socket)
    }

    fn device(host_name: &str, name: &str) -> NetDevice {
        NetDevice { host_name: host_name.into(), name: name.into() }
    }

    #[test]
    fn a_device_moves_with_its_addresses_and_comes_up() {
        let Some(mut here) = host_with("myrt0") else { return };
        let inside = Inside::new();
        move_devices(&[device("myrt0", "lan")], inside.0.pid).unwrap();
        assert_eq!(link(&mut here, "myrt0").unwrap_err().errno(), Some(Errno::NODEV));
        assert_eq!(inside.interfaces(), ["lo", "lan"]);
        let mut socket = socket_inside(inside.0.pid).unwrap();
        let lan = link(&mut socket, "lan").unwrap();
        assert_ne!(lan.ifi_flags & libc::IFF_UP as u32, 0);
        let addresses = permanent_addresses(&mut socket, lan.ifi_index).unwrap();
        let mut texts: Vec<String> = addresses.iter().map(|address| address.address.to_string()).collect();
        texts.sort();
        assert_eq!(texts, ["192.0.2.7", "2001:db8::7"]);
    }

    #[test]
    fn what_cannot_move_is_named() {
        let Some(_) = host_with("myrt1") else { return };
        let inside = Inside::new();
        for (host_name, name, words) in [
            ("nowhere", "x", "linux.netDevices.nowhere: find the device \"nowhere\": no such device"),
            ("myrt1", "lo", "linux.netDevices.myrt1: the name \"lo\" is taken in the container's network namespace"),
            ("lo", "lo", "linux.netDevices.lo: a loopback device cannot move"),
        ] {
            let error = move_devices(&[device(host_name, name)], inside.0.pid).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
        assert_eq!(inside.interfaces(), ["lo"]);
    }

    #[test]
    fn loopback_comes_up() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        clone::unshare(libc::CLONE_NEWNET as u64).unwrap();
        let mut socket = NetlinkSocket::new();
        assert_eq!(link(&mut socket, "lo").unwrap().ifi_flags & libc::IFF_UP as u32, 0);
        crate::net::loopback_up().unwrap();
        assert_ne!(link(&mut socket, "lo").unwrap().ifi_flags & libc::IFF_UP as u32, 0);
    }
}
