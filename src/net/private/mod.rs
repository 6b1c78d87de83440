//! A network of a container's own, with outbound connections by NAT: a pair of devices, an address that nothing on the
//! host uses, and a table of nftables that lets packets out through the host's default routes and nowhere else.
//!
//! Everything on the host has a name that is written down before it is made ([`Record`]), so that what a killed run has
//! left can be told from what belongs to another one. The device's name is chosen by making it: the kernel gives each name
//! once, so two starts never share one, nor the address that goes with it.
//!
//! IPv4 only: the device has no IPv6 address, and none is forwarded.

mod filter;
mod follow;
mod foreign;
mod forwarding;
mod helper;
mod inside;
mod keeper;
mod link;
mod routes;
mod rules;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::Ipv4Addr;

use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use self::forwarding::Forwarding;
pub use self::helper::{Helper, Tool};
use self::routes::{Routes, Subnet};
use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::procfs::ProcFs;

/// The group that all our devices on the host are in (`ip link show group 7239`).
const GROUP: u32 = 7239;

/// How the names of our devices on the host begin; a number follows.
const PREFIX: &str = "myrt";

/// What one private network has on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The device. Another one of this name is not ours unless it has this address:
    link: String,
    /// The hardware address that it was made with.
    address: [u8; 6],
    /// The table of the family inet.
    table: String,
}

impl Record {
    fn new(number: usize, owner: &str) -> Self {
        // A standard library's hash maps have random keys, which is all that a name needs.
        let random = RandomState::new().build_hasher().finish().to_be_bytes();
        let [_, _, a, b, c, d, e, f] = random;
        // Locally administered, of one station.
        let address = [a & 0xfc | 2, b, c, d, e, f];
        // Names that nft(8) reads: letters, digits, `_`, `-` and `.`.
        let owner: String = owner.chars().map(|letter| if letter == '+' { '_' } else { letter }).take(64).collect();
        Self {
            link: format!("{PREFIX}{number}"),
            address,
            table: format!("{PREFIX}-{owner}-{c:02x}{d:02x}{e:02x}{f:02x}"),
        }
    }
}

/// Which of these name servers can be reached from a private network: those that the host reaches through one of its default
/// routes. The host's own addresses are not among them.
///
/// # Errors
/// Where the host's routes cannot be read, or it has no default route.
pub fn reachable(servers: &[Ipv4Addr]) -> Result<Vec<Ipv4Addr>> {
    let mut socket = NetlinkSocket::new();
    let uplinks = Routes::read(&mut socket)?.uplinks()?;
    let usable = |server: &Ipv4Addr| routes::leads_out(&mut socket, *server, &uplinks);
    Ok(servers.iter().copied().filter(usable).collect())
}

/// Makes the network for the process `pid`, which lives in a network namespace of its own. `owner` is a name for people;
/// `servers` are the name servers that it uses; `remember` writes down what is about to be made, and is called once more
/// when a name turns out to be taken.
///
/// # Errors
/// Whatever stands in the way. What was made by then is what was written down: [`remove`] takes it away.
pub fn connect(pid: Pid, owner: &str, servers: &[Ipv4Addr], remember: &dyn Fn(&Record) -> Result<()>) -> Result<()> {
    let mut forwarding = Forwarding::lock()?;
    let mut here = NetlinkSocket::new();
    // Before anything is made: where there are no tables, none can be looked through for what is to be taken away.
    rules::probe(&mut here)?;
    let routes = Routes::read(&mut here)?;
    let uplinks = routes.uplinks()?;
    let (record, index, subnet) = make_link(&mut here, pid, owner, &routes, remember)?;
    let proc = ProcFs::open()?;
    link::settings(&proc, &record.link)?;
    for uplink in &uplinks {
        forwarding.switch_on(&proc, &link::name_of(&mut here, *uplink)?)?;
    }
    // Before the device is up: there is no moment in which a packet passes unseen.
    let switched = |uplink: &u32| link::name_of(&mut here, *uplink).is_ok_and(|name| forwarding.is_ours(&name));
    let guarded: Vec<u32> = uplinks.iter().copied().filter(switched).collect();
    let outline =
        filter::Outline { link: index, address: subnet.inside(), uplinks: &uplinks, guarded: &guarded, servers };
    rules::load(&mut here, &record.table, &filter::rules(&outline)).context(|| "make the table of nftables")?;
    link::bring_up(&mut here, index, subnet.outside(), subnet.length())?;
    link::furnish(pid, subnet.inside(), subnet.length(), subnet.outside())?;
    for chain in foreign::pass(&mut here, &record)? {
        log::warn(format!("this host drops what it forwards ({chain}): the program may reach nothing"));
    }
    Ok(())
}

/// The device, under the first number that is free.
fn make_link(
    here: &mut NetlinkSocket,
    pid: Pid,
    owner: &str,
    routes: &Routes,
    remember: &dyn Fn(&Record) -> Result<()>,
) -> Result<(Record, i32, Subnet)> {
    for number in 0..Subnet::COUNT {
        if routes.has_link(here, &format!("{PREFIX}{number}"))? {
            continue;
        }
        let Some(subnet) = routes.free_subnet(number) else { continue };
        let record = Record::new(number, owner);
        remember(&record)?;
        match link::make_pair(here, &record, pid) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {}
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                return Err(error.context("this kernel has no veth devices; root may load them (modprobe veth)"));
            }
            Err(error) => return Err(error.context(format!("make the device {:?}", record.link))),
            Ok(()) => {
                let index = link::index_of(here, &record)?.ok_or_else(|| Error::new("the new device is gone"))?;
                return Ok((record, index, subnet));
            }
        }
    }
    Err(Error::new("no private address is free: the host has routes for all of them"))
}

/// Takes away what [`connect`] made, as far as it is there.
///
/// # Errors
/// Where something of it stays.
pub fn remove(record: &Record) -> Result<()> {
    let mut forwarding = Forwarding::lock()?;
    let mut here = NetlinkSocket::new();
    if let Some(index) = link::index_of(&mut here, record)? {
        link::delete(&mut here, index).context(|| format!("remove the device {:?}", record.link))?;
    }
    foreign::close(&mut here, record)?;
    rules::delete(&mut here, &record.table).context(|| format!("remove the table {:?}", record.table))?;
    if !link::any_of_ours(&mut here)? {
        forwarding.restore(&ProcFs::open()?)?;
    }
    Ok(())
}
