//! The table of a network that a program of the caller's own makes ([`super::helper`]), as data. It stands in the container's
//! own namespace, whose programs have no right over it.
//!
//! Such a program connects to whatever its caller could: the host's own addresses, networks behind the host. What the host's
//! routes say of these when the container starts is refused here, the longest prefix first, as the kernel itself reads
//! routes.

use std::net::Ipv4Addr;

use super::filter::{Chain, Match, Rule, Verdict};

/// The table's name.
pub(super) const TABLE: &str = "myrt";

/// The loopback device, first in each network namespace.
const LOOPBACK: u32 = 1;

/// What leads nowhere on every host: multicast, and beyond it what nobody has, with the broadcast address.
const NOWHERE: (Ipv4Addr, u8) = (Ipv4Addr::new(224, 0, 0, 0), 3);

/// All rules, in order. `networks` are those of the host's routes, the longest prefix first, and whether they lie outside;
/// `servers` are the name servers that the container uses.
pub(super) fn rules(networks: &[(Ipv4Addr, u8, bool)], servers: &[Ipv4Addr]) -> Vec<Rule> {
    use Match::{Destination, LinkLocal, NotIpv4, Port, To, Within};
    use Verdict::{Accept, Refuse};
    let mut all = vec![(vec![To(LOOPBACK)], Accept), (vec![NotIpv4], Refuse)];
    let link_local = servers.iter().filter(|server| server.is_link_local());
    all.extend(link_local.map(|server| (vec![Destination(*server), Port(53)], Accept)));
    all.push((vec![LinkLocal], Refuse));
    all.push((vec![Within(NOWHERE.0, NOWHERE.1)], Refuse));
    all.extend(networks.iter().map(|(network, length, outside)| {
        let verdict = if *outside { Accept } else { Refuse };
        (vec![Within(*network, *length)], verdict)
    }));
    all.into_iter().map(|(matches, verdict)| (Chain::Output, matches, verdict)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_comes_before_the_network_around_it() {
        let own = (Ipv4Addr::new(192, 0, 2, 7), 32, false);
        let around = (Ipv4Addr::new(192, 0, 2, 0), 24, true);
        let all = rules(&[own, around], &[Ipv4Addr::new(169, 254, 1, 1), Ipv4Addr::new(192, 0, 2, 53)]);
        let place = |one: Match| all.iter().position(|(_, matches, _)| matches.contains(&one)).unwrap();
        assert!(place(Match::Within(own.0, 32)) < place(Match::Within(around.0, 24)));
        assert!(place(Match::Destination(Ipv4Addr::new(169, 254, 1, 1))) < place(Match::LinkLocal));
        assert_eq!(all.iter().filter(|(_, matches, _)| matches.contains(&Match::Port(53))).count(), 1);
    }
}
