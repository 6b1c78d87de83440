//! The table of a private network, as data: what passes and what does not.
//!
//! Packets of the container go out by the devices of the host's default routes and nowhere else: not to the host itself,
//! whichever of its addresses they name, not to networks that lie behind the host (bridges of containers and machines, other
//! private networks), not to what the host sends on by a rule of its own (published ports), and not to link-local addresses,
//! where clouds keep the credentials of a machine. Nothing but answers comes in from outside; the host itself may connect.

use std::net::Ipv4Addr;

/// What is known when the table is made.
pub(super) struct Outline<'a> {
    /// The device on the host.
    pub(super) link: i32,
    /// The container's address.
    pub(super) address: Ipv4Addr,
    /// The devices of the host's default routes.
    pub(super) uplinks: &'a [u32],
    /// Those of them that forward for our sake alone.
    pub(super) guarded: &'a [u32],
    /// Name servers that the container uses.
    pub(super) servers: &'a [Ipv4Addr],
}

/// The chains, by the hook of the kernel that each stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// To the host itself.
    Input,
    /// Through the host.
    Forward,
    /// From this namespace itself.
    Output,
    /// On the way out.
    Postrouting,
}

impl Chain {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Input, Self::Forward, Self::Output, Self::Postrouting];
}

/// What a packet must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It came by this device.
    From(u32),
    /// It leaves by this one.
    To(u32),
    /// It leaves by no device of ours.
    ToNoneOfOurs,
    /// It is IPv4.
    Ipv4,
    /// It is anything else.
    NotIpv4,
    /// It belongs to a connection that has been let through.
    Known,
    /// The host has changed where it goes.
    Redirected,
    /// It is sent by this address.
    Source(Ipv4Addr),
    /// It is sent by any other address.
    NotSource(Ipv4Addr),
    /// It goes to this address.
    Destination(Ipv4Addr),
    /// It goes to 169.254.0.0/16.
    LinkLocal,
    /// It goes to this network, of which so many bits count.
    Within(Ipv4Addr, u8),
    /// TCP or UDP to this port; both have it at the same place.
    Port(u16),
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes this table.
    Accept,
    /// It is refused, and its sender is told.
    Refuse,
    /// It is gone, and nobody is told.
    Drop,
    /// It leaves with the host's address.
    Masquerade,
}

/// A rule: all must hold.
pub(super) type Rule = (Chain, Vec<Match>, Verdict);

/// All rules, in order.
pub(super) fn rules(outline: &Outline<'_>) -> Vec<Rule> {
    use Chain::{Forward, Input, Postrouting};
    use Match::{
        Destination, From, Ipv4, Known, LinkLocal, NotIpv4, NotSource, Port, Redirected, Source, To, ToNoneOfOurs,
    };
    use Verdict::{Accept, Drop, Masquerade, Refuse};
    let Outline { link, address, uplinks, guarded, servers } = *outline;
    let link = link as u32;
    let mut rules = vec![
        // Answers to what the host itself has begun.
        (Input, vec![From(link), Known], Accept),
        (Input, vec![From(link)], Refuse),
        (Forward, vec![From(link), NotIpv4], Refuse),
        (Forward, vec![From(link), NotSource(address)], Refuse),
        (Forward, vec![From(link), Redirected], Refuse),
    ];
    let out = |matches: &[Match]| {
        let to = |uplink: &u32| (Forward, [&[From(link)], matches, &[To(*uplink)]].concat(), Accept);
        uplinks.iter().map(to).collect::<Vec<Rule>>()
    };
    for server in servers.iter().filter(|server| server.is_link_local()) {
        rules.extend(out(&[Destination(*server), Port(53)]));
    }
    rules.push((Forward, vec![From(link), LinkLocal], Refuse));
    rules.extend(out(&[]));
    rules.push((Forward, vec![From(link)], Refuse));
    rules.push((Forward, vec![To(link), Known], Accept));
    rules.push((Forward, vec![To(link)], Drop));
    // What the host has never forwarded, it does not begin to forward for others.
    rules.extend(guarded.iter().map(|uplink| (Forward, vec![From(*uplink), ToNoneOfOurs], Drop)));
    rules.push((Postrouting, vec![Ipv4, Source(address)], Masquerade));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_name_server_is_the_one_exception() {
        let servers = [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(192, 0, 2, 53)];
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let all = rules(&Outline { link: 7, address, uplinks: &[2, 3], guarded: &[], servers: &servers });
        let exceptions: Vec<&Rule> =
            all.iter().filter(|(_, matches, _)| matches.iter().any(|one| matches!(one, Match::Port(53)))).collect();
        assert_eq!(exceptions.len(), 2);
        let refusal = all.iter().position(|(_, matches, _)| matches.contains(&Match::LinkLocal)).unwrap();
        let allowed = all.iter().position(|rule| rule == exceptions[0]).unwrap();
        assert!(allowed < refusal);
    }
}
