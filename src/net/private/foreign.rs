//! Other tables of the host: what a packet passes in ours, a chain of theirs may drop all the same.
//!
//! Docker drops whatever is forwarded and not its own, and leaves a chain for rules of others, DOCKER-USER: there the device
//! is let through, by rules in the form of iptables' own, which know their owner by their comment. Of everything else that
//! drops by policy we only say so: it is somebody's will.

use netlink_bindings::nftables::{self, CmpOps, MetaKeys};
use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;

use super::Record;
use super::filter::Verdict;
use super::rules::{Transaction, decide, family, meta};
use crate::error::{Context, Result};
use crate::net::devices::into_io;

/// Docker's table and the chain in it.
const DOCKER: (&str, &str) = ("filter", "DOCKER-USER");

/// NF_INET_FORWARD and NF_DROP, of the kernel's netfilter.h.
const FORWARD: u32 = 2;
const DROP: u32 = 0;

/// A chain of somebody.
struct Chain {
    family: u8,
    table: String,
    name: String,
    drops: bool,
}

/// Lets the device through where Docker would drop, and gives the chains that drop it still, as a person calls them.
///
/// # Errors
/// Where the kernel does not say or does not take the rules.
pub(super) fn pass(socket: &mut NetlinkSocket, record: &Record) -> Result<Vec<String>> {
    let ip = libc::NFPROTO_IPV4 as u8;
    let chains = chains(socket)?;
    let docker = chains.iter().any(|chain| (chain.family, &*chain.table, &*chain.name) == (ip, DOCKER.0, DOCKER.1));
    if docker {
        open(socket, record).context(|| format!("add rules to the chain {}", DOCKER.1))?;
    }
    let covered = |chain: &Chain| docker && (chain.family, &*chain.table) == (ip, DOCKER.0);
    let dropping = chains.iter().filter(|chain| chain.drops && !covered(chain));
    Ok(dropping.map(|chain| format!("chain {} of the table {}", chain.name, chain.table)).collect())
}

fn chains(socket: &mut NetlinkSocket) -> Result<Vec<Chain>> {
    let what = || "list the chains of nftables";
    let request = nftables::Request::new().op_getchain_dump(&family(libc::NFPROTO_UNSPEC as u8));
    let mut reply = socket.request(&request).context(what)?;
    let mut chains = Vec::new();
    while let Some(item) = reply.recv() {
        let (header, found) = item.map_err(into_io).context(what)?;
        let (Ok(table), Ok(name)) = (found.get_table(), found.get_name()) else { continue };
        let hook = found.get_hook().and_then(|hook| hook.get_num());
        chains.push(Chain {
            family: header.nfgen_family,
            table: table.to_string_lossy().into_owned(),
            name: name.to_string_lossy().into_owned(),
            drops: hook == Ok(FORWARD) && found.get_policy() == Ok(DROP),
        });
    }
    Ok(chains)
}

fn open(socket: &mut NetlinkSocket, record: &Record) -> Result<()> {
    let mut transaction = Transaction::begin(socket);
    let mut name = record.link.clone().into_bytes();
    name.push(0);
    for key in [MetaKeys::Iifname, MetaKeys::Oifname] {
        // At the head: what stands there may end the chain.
        let request = transaction.chain.request().set_create();
        let rule = request.op_newrule_do(&family(libc::NFPROTO_IPV4 as u8)).into_encoder();
        let rule = rule.push_table_bytes(DOCKER.0.as_bytes()).push_chain_bytes(DOCKER.1.as_bytes());
        let rule = rule.push_userdata(&comment(record));
        decide(meta(rule.nested_expressions(), key, CmpOps::Eq, &name), Verdict::Accept);
    }
    transaction.send(socket)
}

/// A comment as nft(8) and iptables(8) show it: type 0, length, text.
fn comment(record: &Record) -> Vec<u8> {
    let mut text = record.table.clone().into_bytes();
    text.push(0);
    [&[0, text.len() as u8][..], &text].concat()
}

/// Takes our rules out of Docker's chain, where they are.
///
/// # Errors
/// Where they stay.
pub(super) fn close(socket: &mut NetlinkSocket, record: &Record) -> Result<()> {
    let what = || format!("remove the rules from the chain {}", DOCKER.1);
    let ip = family(libc::NFPROTO_IPV4 as u8);
    let mut request = nftables::Request::new().op_getrule_dump(&ip);
    request.encode().push_table_bytes(DOCKER.0.as_bytes()).push_chain_bytes(DOCKER.1.as_bytes());
    let mut handles = Vec::new();
    let mut reply = socket.request(&request).context(what)?;
    while let Some(item) = reply.recv() {
        let (_, rule) = match item.map_err(into_io).context(what) {
            Err(error) if error.errno() == Some(Errno::NOENT) => break,
            other => other?,
        };
        if rule.get_userdata() == Ok(&comment(record)[..]) {
            handles.extend(rule.get_handle());
        }
    }
    drop(reply);
    if handles.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::begin(socket);
    for handle in handles {
        let mut request = transaction.chain.request().op_delrule_do(&ip);
        let rule = request.encode().push_table_bytes(DOCKER.0.as_bytes()).push_chain_bytes(DOCKER.1.as_bytes());
        rule.push_handle(handle);
    }
    transaction.send(socket).context(what)
}
