//! What the host's routes say: where the rest of the world is, and which addresses nobody uses.

use std::net::{IpAddr, Ipv4Addr};

use netlink_bindings::rt_route;
use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::net::devices::{into_io, link};

/// A shorter prefix than this is a default route, or half of one as VPNs make them.
const DEFAULT: u8 = 8;

/// Where our subnets come from, in the order in which they are tried: 4096 of four addresses each.
const POOLS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 211, 64, 0), Ipv4Addr::new(172, 29, 64, 0), Ipv4Addr::new(192, 168, 192, 0)];

/// Four addresses: the network's, the host's, the container's, the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet(u32);

impl Subnet {
    /// How many there are in a pool.
    pub(super) const COUNT: usize = 4096;

    /// Bits of the prefix.
    pub(super) fn length(self) -> u8 {
        30
    }

    /// The host's side, which is the gateway.
    pub(super) fn outside(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0 + 1)
    }

    /// The container's side.
    pub(super) fn inside(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0 + 2)
    }
}

/// A route of the host.
#[derive(Clone, Debug)]
struct Route {
    to: Ipv4Addr,
    length: u8,
    unicast: bool,
    /// Through which devices.
    devices: Vec<u32>,
}

/// All IPv4 routes, of all tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes(Vec<Route>);

impl Routes {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Self> {
        let what = || "list the host's routes";
        let request = rt_route::Request::new().op_getroute_dump(&header(0));
        let mut reply = socket.request(&request).context(what)?;
        let mut routes = Vec::new();
        while let Some(item) = reply.recv() {
            let (header, attributes) = item.map_err(into_io).context(what)?;
            let to = match attributes.get_dst() {
                Ok(IpAddr::V4(to)) => to,
                Ok(IpAddr::V6(_)) => continue,
                Err(_) => Ipv4Addr::UNSPECIFIED,
            };
            let mut devices: Vec<u32> = attributes.get_oif().into_iter().collect();
            devices.extend(attributes.get_multipath().map(next_hops).unwrap_or_default());
            routes.push(Route {
                to,
                length: header.rtm_dst_len,
                unicast: header.rtm_type == libc::RTN_UNICAST,
                devices,
            });
        }
        Ok(Self(routes))
    }

    /// The devices of the default routes.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn uplinks(&self) -> Result<Vec<u32>> {
        let default = |route: &&Route| route.unicast && route.length < DEFAULT;
        let mut devices: Vec<u32> = self.0.iter().filter(default).flat_map(|route| route.devices.clone()).collect();
        devices.sort_unstable();
        devices.dedup();
        match devices.is_empty() {
            true => Err(Error::new("the host has no default route")),
            false => Ok(devices),
        }
    }

    /// Where the routes lead that are no default ones, the longest prefix first: the network, the bits of its prefix, and
    /// whether it lies behind one of the uplinks. What is the host's own does not, whatever device it is on.
    pub(super) fn networks(&self, uplinks: &[u32]) -> Vec<(Ipv4Addr, u8, bool)> {
        let out = |route: &Route| {
            route.unicast && !route.devices.is_empty() && route.devices.iter().all(|device| uplinks.contains(device))
        };
        let counted = self.0.iter().filter(|route| route.length >= DEFAULT);
        let mut networks: Vec<_> = counted.map(|route| (route.to, route.length, out(route))).collect();
        // Of two that are alike, the one that leads nowhere counts.
        networks.sort_unstable_by_key(|(network, length, out)| (std::cmp::Reverse(*length), *network, *out));
        networks.dedup_by_key(|(network, length, _)| (*network, *length));
        networks
    }

    /// Whether no route of the host leads to a part of this network.
    pub(super) fn is_free(&self, network: Ipv4Addr, length: u8) -> bool {
        !self.0.iter().any(|route| route.meets(network, length))
    }

    /// The subnet of this number in the first pool where no route of the host leads to a part of it.
    pub(super) fn free_subnet(&self, number: usize) -> Option<Subnet> {
        let subnets = POOLS.iter().map(|pool| Subnet(pool.to_bits() + 4 * number as u32));
        let mut free = subnets.filter(|subnet| self.is_free(Ipv4Addr::from_bits(subnet.0), subnet.length()));
        free.next()
    }

    /// Whether the host has a device of this name.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub(super) fn has_link(&self, socket: &mut NetlinkSocket, name: &str) -> Result<bool> {
        match link(socket, name) {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(false),
            other => other.map(|_| true),
        }
    }
}

impl Route {
    fn meets(&self, network: Ipv4Addr, length: u8) -> bool {
        let length = u32::from(self.length.min(length));
        let same = |a: u32, b: u32| a.checked_shr(32 - length).unwrap_or(0) == b.checked_shr(32 - length).unwrap_or(0);
        self.length >= DEFAULT && same(self.to.to_bits(), network.to_bits())
    }
}

fn header(length: u8) -> rt_route::Rtmsg {
    rt_route::Rtmsg { rtm_family: libc::AF_INET as u8, rtm_dst_len: length, ..Default::default() }
}

/// The devices of a route over several, rtnexthop of rtnetlink(7): length, flags, hops, device.
fn next_hops(mut hops: &[u8]) -> Vec<u32> {
    let mut devices = Vec::new();
    while let Some(&[a, b, _, _, c, d, e, f]) = hops.first_chunk() {
        devices.push(u32::from_ne_bytes([c, d, e, f]));
        let length = usize::from(u16::from_ne_bytes([a, b])).next_multiple_of(4);
        hops = hops.get(length.max(8)..).unwrap_or_default();
    }
    devices
}

/// Whether the host reaches an address through one of its uplinks.
pub(super) fn leads_out(socket: &mut NetlinkSocket, address: Ipv4Addr, uplinks: &[u32]) -> bool {
    let mut request = rt_route::Request::new().op_getroute_do(&header(32));
    request.encode().push_dst(address.into());
    let Ok(mut reply) = socket.request(&request) else { return false };
    let Ok((header, attributes)) = reply.recv_one() else { return false };
    header.rtm_type == libc::RTN_UNICAST && attributes.get_oif().is_ok_and(|device| uplinks.contains(&device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(all: &[(&str, u8, u32)]) -> Routes {
        let route = |(to, length, device): &(&str, u8, u32)| Route {
            to: to.parse().unwrap(),
            length: *length,
            unicast: true,
            devices: vec![*device],
        };
        Routes(all.iter().map(route).collect())
    }

    #[test]
    fn a_subnet_avoids_every_route_but_the_default_ones() {
        let first = |all: &[(&str, u8, u32)]| routes(all).free_subnet(1).map(|subnet| subnet.inside().to_string());
        assert_eq!(first(&[("0.0.0.0", 0, 2), ("0.0.0.0", 1, 3)]).as_deref(), Some("10.211.64.6"));
        assert_eq!(first(&[("10.0.0.0", 8, 2)]).as_deref(), Some("172.29.64.6"));
        assert_eq!(first(&[("10.211.64.4", 32, 2)]).as_deref(), Some("172.29.64.6"));
        assert_eq!(first(&[("10.211.64.8", 30, 2)]).as_deref(), Some("10.211.64.6"));
        assert_eq!(first(&[("10.0.0.0", 8, 2), ("172.16.0.0", 12, 2)]).as_deref(), Some("192.168.192.6"));
        assert_eq!(first(&[("10.0.0.0", 8, 2), ("172.16.0.0", 12, 2), ("192.168.0.0", 16, 2)]), None);
    }

    #[test]
    fn the_longest_prefix_decides_what_lies_outside() {
        let mut all = routes(&[("0.0.0.0", 0, 2), ("10.0.0.0", 8, 9), ("10.1.0.0", 16, 2), ("192.0.2.0", 24, 2)]);
        let own = Route { to: Ipv4Addr::new(192, 0, 2, 7), length: 32, unicast: false, devices: vec![2] };
        all.0.push(own);
        let shown: Vec<String> =
            all.networks(&[2]).iter().map(|(network, length, out)| format!("{network}/{length} {out}")).collect();
        assert_eq!(shown, ["192.0.2.7/32 false", "192.0.2.0/24 true", "10.1.0.0/16 true", "10.0.0.0/8 false"]);
    }

    #[test]
    fn a_pool_ends_before_the_next_network() {
        for pool in POOLS {
            let last = Subnet(pool.to_bits() + 4 * (Subnet::COUNT as u32 - 1));
            assert_eq!(pool.octets()[..2], last.inside().octets()[..2]);
            assert!(last.inside().is_private());
        }
    }

    #[test]
    fn default_routes_name_the_uplinks() {
        assert_eq!(routes(&[("0.0.0.0", 0, 2), ("10.8.0.0", 16, 9), ("128.0.0.0", 1, 5)]).uplinks().unwrap(), [2, 5]);
        assert!(routes(&[("10.8.0.0", 16, 9)]).uplinks().is_err());
        let hops = [
            8_u16.to_ne_bytes().as_slice(),
            &[0, 0],
            &3_u32.to_ne_bytes(),
            &16_u16.to_ne_bytes(),
            &[0, 0],
            &4_u32.to_ne_bytes(),
            &[8, 0, 5, 0, 1, 2, 3, 4],
        ]
        .concat();
        assert_eq!(next_hops(&hops), [3, 4]);
        assert_eq!(next_hops(&hops[..9]), [3]);
    }
}
