//! The pair of devices: one on the host, one inside, `eth0` there.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr};

use netlink_bindings::traits::Pusher;
use netlink_bindings::{rt_addr, rt_link, rt_route, utils};
use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;
use rustix::process::Pid;

use super::{GROUP, Record};
use crate::error::{Context, Error, Result};
use crate::net::devices::{acknowledged, into_io, link, link_header, set_up_flag, socket_inside};
use crate::sys::procfs::ProcFs;

/// The device's name inside.
const INSIDE: &CStr = c"eth0";

/// IFLA_INFO_DATA, VETH_INFO_PEER, IFLA_IFNAME and IFLA_NET_NS_PID of the kernel's if_link.h and veth.h: the other end, for
/// which the netlink crate has no names.
const INFO_DATA: u16 = 2;
const INFO_PEER: u16 = 1;
const NAME: u16 = 3;
const NET_NS_PID: u16 = 19;

/// Makes both ends, the inner one right where it belongs.
///
/// # Errors
/// EEXIST where a name is taken.
pub(super) fn make_pair(here: &mut NetlinkSocket, record: &Record, pid: Pid) -> Result<()> {
    let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&link_header(0));
    let attributes = request.encode().push_ifname_bytes(record.link.as_bytes()).push_address(&record.address);
    let mut info = attributes.push_group(GROUP).nested_linkinfo().push_kind(c"veth");
    let buffer = info.as_vec_mut();
    let data = utils::push_nested_header(buffer, INFO_DATA);
    let peer = utils::push_nested_header(buffer, INFO_PEER);
    buffer.extend(link_header(0).as_slice());
    let name = INSIDE.to_bytes_with_nul();
    utils::push_header(buffer, NAME, name.len() as u16);
    buffer.extend(name);
    utils::push_header(buffer, NET_NS_PID, 4);
    buffer.extend((pid.as_raw_nonzero().get() as u32).to_ne_bytes());
    utils::finalize_nested_header(buffer, peer);
    utils::finalize_nested_header(buffer, data);
    drop(info);
    acknowledged(here, &request)
}

/// The device's number, where it is there and the one that was recorded.
///
/// # Errors
/// Where the kernel does not say.
pub(super) fn index_of(here: &mut NetlinkSocket, record: &Record) -> Result<Option<i32>> {
    let what = || format!("find the device {:?}", record.link);
    let mut request = rt_link::Request::new().op_getlink_do(&link_header(0));
    request.encode().push_ifname_bytes(record.link.as_bytes());
    let mut reply = here.request(&request).context(what)?;
    match reply.recv_one().map(|(header, found)| (header.ifi_index, found.get_address() == Ok(&record.address[..]))) {
        Ok((index, true)) => Ok(Some(index)),
        Ok((_, false)) => Ok(None),
        Err(error) => match Err(into_io(error)).context(what) {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
            other => other,
        },
    }
}

/// A device's name.
///
/// # Errors
/// Where it is gone.
pub(super) fn name_of(here: &mut NetlinkSocket, index: u32) -> Result<String> {
    let what = || format!("look up the device {index}");
    let request = rt_link::Request::new().op_getlink_do(&link_header(index as i32));
    let mut reply = here.request(&request).context(what)?;
    let (_, found) = reply.recv_one().map_err(into_io).context(what)?;
    let name = found.get_ifname().map(|name| name.to_string_lossy().into_owned());
    name.map_err(|_| Error::new(format!("{}: it has no name", what())))
}

/// Whether there is one device of ours, whoever made it.
///
/// # Errors
/// Where the kernel does not say.
pub(super) fn any_of_ours(here: &mut NetlinkSocket) -> Result<bool> {
    let what = || "list the devices";
    let request = rt_link::Request::new().op_getlink_dump(&link_header(0));
    let mut reply = here.request(&request).context(what)?;
    let mut any = false;
    // To the end, or the rest would answer the next question.
    while let Some(item) = reply.recv() {
        let (_, attributes) = item.map_err(into_io).context(what)?;
        any |= attributes.get_group() == Ok(GROUP);
    }
    Ok(any)
}

/// Removes a device, and with it its other end. One that is gone is fine: it goes with the namespace of its other end.
///
/// # Errors
/// Where it stays.
pub(super) fn delete(here: &mut NetlinkSocket, index: i32) -> Result<()> {
    match acknowledged(here, &rt_link::Request::new().op_dellink_do(&link_header(index))) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        other => other,
    }
}

/// What the kernel is to do with packets of the device on the host: forward them, only from addresses that lie behind it,
/// and no IPv6.
///
/// # Errors
/// Names the file.
pub(super) fn settings(proc: &ProcFs, name: &str) -> Result<()> {
    for (file, value) in [
        (format!("sys/net/ipv6/conf/{name}/disable_ipv6"), "1"),
        (format!("sys/net/ipv4/conf/{name}/rp_filter"), "1"),
        (format!("sys/net/ipv4/conf/{name}/forwarding"), "1"),
    ] {
        match proc.write(&file, value.as_bytes()) {
            // A kernel without IPv6.
            Err(Errno::NOENT) if file.contains("ipv6") => {}
            other => other.context(|| format!("write {value:?} to /proc/{file}"))?,
        }
    }
    Ok(())
}

/// The host's end gets its address and goes up.
///
/// # Errors
/// Where it does not.
pub(super) fn bring_up(here: &mut NetlinkSocket, index: i32, address: Ipv4Addr, length: u8) -> Result<()> {
    add_address(here, index, address, length).context(|| format!("give the host's end the address {address}"))?;
    set_up_flag(here, index, true).context(|| "set the host's end up")
}

/// The inner end likewise, with the default route.
///
/// # Errors
/// Where it does not.
pub(super) fn furnish(pid: Pid, address: Ipv4Addr, length: u8, gateway: Ipv4Addr) -> Result<()> {
    let mut inside = socket_inside(pid)?;
    let name = INSIDE.to_string_lossy();
    let index = link(&mut inside, &name)?.ifi_index;
    add_address(&mut inside, index, address, length).context(|| format!("give {name:?} the address {address}"))?;
    set_up_flag(&mut inside, index, true).context(|| format!("set {name:?} up"))?;
    let header = rt_route::Rtmsg {
        rtm_family: libc::AF_INET as u8,
        rtm_table: libc::RT_TABLE_MAIN,
        rtm_protocol: libc::RTPROT_BOOT,
        rtm_scope: libc::RT_SCOPE_UNIVERSE,
        rtm_type: libc::RTN_UNICAST,
        ..Default::default()
    };
    let mut request = rt_route::Request::new().set_create().op_newroute_do(&header);
    request.encode().push_gateway(gateway.into()).push_oif(index as u32);
    acknowledged(&mut inside, &request).context(|| format!("add the default route by {gateway}"))
}

fn add_address(socket: &mut NetlinkSocket, index: i32, address: Ipv4Addr, length: u8) -> Result<()> {
    let header = rt_addr::Ifaddrmsg {
        ifa_family: libc::AF_INET as u8,
        ifa_prefixlen: length,
        ifa_index: index as u32,
        ..Default::default()
    };
    let mut request = rt_addr::Request::new().set_create().op_newaddr_do(&header);
    request.encode().push_local(IpAddr::V4(address)).push_address(IpAddr::V4(address));
    acknowledged(socket, &request)
}
