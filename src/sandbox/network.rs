//! The network of a run, where it has one of its own: connected while the run starts, taken down when it is over.
//!
//! What is made on the host is noted in the box first, so that the next run or discard removes what a killed run has left. An
//! ordinary user makes nothing there: a program of the user's own carries the connections, and ends with the run.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::Pid;

use super::plan::Network;
use super::rights;
use super::store::Box;
use crate::error::{Context, Result};
use crate::log;
use crate::net::private::{Helper, Tool};
use crate::net::{private, resolver};

/// In the box's folder: what is there on the host.
const RECORD: &str = "network.json";
/// What stands in place of the host's resolv.conf.
const RESOLVER: &str = "resolv.conf";

/// Where the host's resolver names its servers.
const HOSTS_RESOLVER: &str = "/etc/resolv.conf";

/// Where the servers stand behind a resolver of the host's own, which listens where nobody inside can reach it: those of
/// systemd-resolved and of NetworkManager.
const BEHIND: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];

/// What a run gets.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Whether it is to be connected.
    pub(super) connected: bool,
    /// A file of ours and the host's that it hides.
    pub(super) resolver: Option<(PathBuf, PathBuf)>,
    servers: Vec<Ipv4Addr>,
    /// Programs that connect an ordinary user's run.
    tools: Vec<Tool>,
    /// How far it has come.
    state: RefCell<State>,
}

/// Whether a run is connected.
#[derive(Debug, Default)]
enum State {
    #[default]
    NotYet,
    /// By devices of the host.
    Devices,
    /// By a program.
    Program(Helper),
}

impl Prepared {
    /// The network that the run has had, after it was asked for one.
    pub(super) fn had(&self, asked: Network) -> Network {
        match (asked, &*self.state.borrow()) {
            (Network::Private, State::NotYet) => Network::None,
            _ => asked,
        }
    }
}

/// Looks at the host's network before anything is made. A host that has none to share is no error.
///
/// # Errors
/// Where the box cannot be written.
pub(super) fn prepare(held: &Box, network: Network) -> Result<Prepared> {
    if network != Network::Private {
        return Ok(Prepared::default());
    }
    let text = std::fs::read_to_string(HOSTS_RESOLVER).unwrap_or_default();
    let named = resolver::servers(&text);
    let tools = || if rights::are_of_a_user() { Tool::all() } else { Ok(Vec::new()) };
    let (mut servers, tools) = match usable(&named).and_then(|servers| Ok((servers, tools()?))) {
        Ok(found) => found,
        Err(error) => {
            no_network(&error);
            return Ok(Prepared::default());
        }
    };
    let mut prepared = Prepared { connected: true, tools, ..Prepared::default() };
    if servers.len() < named.len() || named.is_empty() {
        for file in BEHIND.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
            if servers.is_empty() {
                servers = usable(&resolver::servers(&file))?;
            }
        }
        match std::fs::canonicalize(HOSTS_RESOLVER) {
            Ok(hosts) if !servers.is_empty() => {
                let ours = held.path().join(RESOLVER);
                let what = || format!("write {ours:?}");
                std::fs::write(&ours, resolver::with_servers(&text, &servers)).context(what)?;
                // Whoever the program becomes may read it.
                std::fs::set_permissions(&ours, PermissionsExt::from_mode(0o644)).context(what)?;
                prepared.resolver = Some((ours, hosts));
            }
            _ => log::warn(
                "no names can be looked up inside: the name servers of /etc/resolv.conf are the host's own, out of reach",
            ),
        }
    }
    prepared.servers = servers;
    Ok(prepared)
}

/// Those that can be reached from inside, where there is no IPv6.
fn usable(servers: &[IpAddr]) -> Result<Vec<Ipv4Addr>> {
    let v4 = |server: &IpAddr| match server {
        IpAddr::V4(server) => Some(*server),
        IpAddr::V6(_) => None,
    };
    private::reachable(&servers.iter().filter_map(v4).collect::<Vec<_>>())
}

fn no_network(error: &crate::error::Error) {
    log::warn(format!("there is no network inside: {error}"));
}

/// Connects a run's process, which lives in a network namespace of its own. What cannot be made is no error.
///
/// # Errors
/// Where half of it cannot be taken down again.
pub(super) fn connect(held: &Box, prepared: &Prepared, pid: Pid) -> Result<()> {
    let remember = |record: &private::Record| held.write_file(RECORD, record);
    let made = match rights::are_of_a_user() {
        true => Helper::connect(pid, &prepared.tools, &prepared.servers).map(State::Program),
        false => private::connect(pid, held.name().as_str(), &prepared.servers, &remember).map(|()| State::Devices),
    };
    match made {
        Ok(state) => {
            prepared.state.replace(state);
            Ok(())
        }
        Err(error) => {
            no_network(&error);
            settle(held)
        }
    }
}

/// Ends the program that carries a run's connections, and says so where it has ended by itself.
pub(super) fn part(prepared: &Prepared) {
    if let State::Program(helper) = &*prepared.state.borrow()
        && let Some(name) = helper.ended()
    {
        log::warn(format!("the network inside was gone before the program was: {name} has ended"));
    }
}

/// Takes down what a run has made on the host, this one or one that was killed.
///
/// # Errors
/// Where something of it stays.
pub(super) fn settle(held: &Box) -> Result<()> {
    let Some(record) = held.read_file(RECORD)? else { return Ok(()) };
    private::remove(&record).context(|| "take down the network of the box")?;
    match rustix::fs::unlinkat(held, RECORD, rustix::fs::AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other.context(|| format!("remove {RECORD}")),
    }
}
