//! Rules on their way to the kernel: tables of nftables by netlink, each in one transaction.

use std::net::Ipv4Addr;

use netlink_bindings::nftables::{
    self, CmpOps, CtKeys, MetaKeys, Nfgenmsg, PayloadBase, PushExprListAttrs, PushRuleAttrs, Registers, RejectInetCode,
    RejectTypes, VerdictCode,
};
use netlink_bindings::utils::RequestBuf;
use netlink_socket2::NetlinkSocket;
use rustix::io::Errno;

use super::GROUP;
use super::filter::{Chain, Match, Rule, Verdict};
use crate::error::{Context, Result};
use crate::net::devices::into_io;

/// NFPROTO_INET: IPv4 and IPv6 in one table.
const INET: u8 = 1;

/// Of a chain: its name, type, hook (NF_INET_* of the kernel's netfilter.h) and priority.
fn base(chain: Chain) -> (&'static str, &'static str, u32, i32) {
    match chain {
        Chain::Input => ("input", "filter", 1, 0),
        Chain::Forward => ("forward", "filter", 2, 0),
        Chain::Output => ("output", "filter", 3, 0),
        Chain::Postrouting => ("postrouting", "nat", 4, 100),
    }
}

/// What is sent is done as a whole or not at all.
pub(super) struct Transaction {
    pub(super) chain: nftables::Chained<'static>,
}

impl Transaction {
    pub(super) fn begin(socket: &mut NetlinkSocket) -> Self {
        let mut chain = nftables::Chained::new(socket.reserve_seq(512));
        chain.request().op_batch_begin_do(&batch());
        Self { chain }
    }

    pub(super) fn send(mut self, socket: &mut NetlinkSocket) -> Result<()> {
        self.chain.request().op_batch_end_do(&batch());
        let chain = self.chain.finalize();
        let mut reply = socket.request_chained(&chain).context(|| "nftables")?;
        reply.recv_all().map_err(into_io).context(|| "nftables")
    }
}

fn batch() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    // NFNL_SUBSYS_NFTABLES
    header.set_res_id(10);
    header
}

pub(super) fn family(family: u8) -> Nfgenmsg {
    Nfgenmsg { nfgen_family: family, ..Default::default() }
}

/// Asks whether tables can be had at all: the kernel may not know them, or not let us.
///
/// # Errors
/// Where they cannot.
pub(super) fn probe(socket: &mut NetlinkSocket) -> Result<()> {
    let what = || "list the tables of nftables";
    let request = nftables::Request::new().op_gettable_dump(&family(INET));
    let mut reply = socket.request(&request).context(what)?;
    while let Some(item) = reply.recv() {
        item.map_err(into_io).context(what)?;
    }
    Ok(())
}

/// Makes a table with these rules, and the chains that they are of.
///
/// # Errors
/// Where the kernel does not take it; nothing is there then.
pub(super) fn load(socket: &mut NetlinkSocket, table: &str, rules: &[Rule]) -> Result<()> {
    let mut transaction = Transaction::begin(socket);
    fill(&mut transaction.chain, table, rules);
    transaction.send(socket)
}

/// Puts these rules in the place of a table's own, in one step: there is no moment without either.
///
/// # Errors
/// Where the kernel does not take it; the table is as it was then.
pub(super) fn replace(socket: &mut NetlinkSocket, table: &str, rules: &[Rule]) -> Result<()> {
    let mut transaction = Transaction::begin(socket);
    transaction.chain.request().op_deltable_do(&family(INET)).encode().push_name_bytes(table.as_bytes());
    fill(&mut transaction.chain, table, rules);
    transaction.send(socket)
}

fn fill(requests: &mut nftables::Chained<'static>, table: &str, rules: &[Rule]) {
    requests.request().set_create().set_excl().op_newtable_do(&family(INET)).encode().push_name_bytes(table.as_bytes());
    for chain in Chain::ALL.iter().filter(|chain| rules.iter().any(|(other, ..)| other == *chain)) {
        let (name, kind, hook, priority) = base(*chain);
        let attributes = requests.request().set_create().op_newchain_do(&family(INET)).into_encoder();
        let attributes = attributes.push_table_bytes(table.as_bytes()).push_name_bytes(name.as_bytes());
        let attributes = attributes.nested_hook().push_num(hook).push_priority(priority).end_nested();
        attributes.push_type_bytes(kind.as_bytes());
    }
    for (chain, matches, verdict) in rules {
        let rule = requests.request().set_create().set_append().op_newrule_do(&family(INET)).into_encoder();
        let rule = rule.push_table_bytes(table.as_bytes()).push_chain_bytes(base(*chain).0.as_bytes());
        let expressions = matches.iter().fold(rule.nested_expressions(), |all, one| matching(all, *one));
        decide(expressions, *verdict);
    }
}

/// Removes a table. One that is gone is fine.
///
/// # Errors
/// Where it stays.
pub(super) fn delete(socket: &mut NetlinkSocket, table: &str) -> Result<()> {
    let mut transaction = Transaction::begin(socket);
    transaction.chain.request().op_deltable_do(&family(INET)).encode().push_name_bytes(table.as_bytes());
    match transaction.send(socket) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

type Expressions<'a> = PushExprListAttrs<PushRuleAttrs<RequestBuf<'a>>>;

fn matching(expressions: Expressions<'_>, one: Match) -> Expressions<'_> {
    // What a register holds is in the machine's order, what a packet holds in the network's.
    match one {
        Match::From(device) => meta(expressions, MetaKeys::Iif, CmpOps::Eq, &device.to_ne_bytes()),
        Match::To(device) => meta(expressions, MetaKeys::Oif, CmpOps::Eq, &device.to_ne_bytes()),
        Match::ToNoneOfOurs => meta(expressions, MetaKeys::Oifgroup, CmpOps::Neq, &GROUP.to_ne_bytes()),
        Match::Ipv4 => meta(expressions, MetaKeys::Nfproto, CmpOps::Eq, &[libc::NFPROTO_IPV4 as u8]),
        Match::NotIpv4 => meta(expressions, MetaKeys::Nfproto, CmpOps::Neq, &[libc::NFPROTO_IPV4 as u8]),
        // Bits of the kernel's nf_conntrack_common.h: established, related.
        Match::Known => connection(expressions, CtKeys::State, 2 | 4),
        // IPS_DST_NAT
        Match::Redirected => connection(expressions, CtKeys::Status, 1 << 5),
        Match::Source(address) => header(expressions, 12, CmpOps::Eq, &address.octets()),
        Match::NotSource(address) => header(expressions, 12, CmpOps::Neq, &address.octets()),
        Match::Destination(address) => header(expressions, 16, CmpOps::Eq, &address.octets()),
        Match::LinkLocal => header(expressions, 16, CmpOps::Eq, &[169, 254]),
        Match::Within(network, length) => within(expressions, network, length),
        Match::Port(port) => payload(expressions, PayloadBase::TransportHeader, 2, CmpOps::Eq, &port.to_be_bytes()),
    }
}

pub(super) fn meta<'a>(expressions: Expressions<'a>, key: MetaKeys, op: CmpOps, value: &[u8]) -> Expressions<'a> {
    let meta = expressions.nested_elem().nested_data_meta();
    let meta = meta.push_dreg(Registers::Reg1 as u32).push_key(key as u32);
    compare(meta.end_nested().end_nested(), op, value)
}

fn header<'a>(expressions: Expressions<'a>, offset: u32, op: CmpOps, value: &[u8]) -> Expressions<'a> {
    payload(expressions, PayloadBase::NetworkHeader, offset, op, value)
}

fn payload<'a>(
    expressions: Expressions<'a>,
    base: PayloadBase,
    offset: u32,
    op: CmpOps,
    value: &[u8],
) -> Expressions<'a> {
    let payload = expressions.nested_elem().nested_data_payload().push_dreg(Registers::Reg1 as u32);
    let payload = payload.push_base(base as u32).push_offset(offset).push_len(value.len() as u32);
    compare(payload.end_nested().end_nested(), op, value)
}

/// Whether the first bits of where it goes are these.
fn within(expressions: Expressions<'_>, network: Ipv4Addr, length: u8) -> Expressions<'_> {
    let bits = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let register = Registers::Reg1 as u32;
    let payload = expressions.nested_elem().nested_data_payload().push_dreg(register);
    let payload = payload.push_base(PayloadBase::NetworkHeader as u32).push_offset(16).push_len(4);
    let mask = payload.end_nested().end_nested().nested_elem().nested_data_bitwise();
    let mask = mask.push_sreg(register).push_dreg(register).push_len(4);
    let mask = mask.nested_mask().push_value(&bits.to_be_bytes()).end_nested();
    let mask = mask.nested_xor().push_value(&[0; 4]).end_nested();
    compare(mask.end_nested().end_nested(), CmpOps::Eq, &(network.to_bits() & bits).to_be_bytes())
}

/// Whether one of these bits is set.
fn connection(expressions: Expressions<'_>, key: CtKeys, bits: u32) -> Expressions<'_> {
    let register = Registers::Reg1 as u32;
    let ct = expressions.nested_elem().nested_data_ct().push_dreg(register).push_key(key as u32);
    let mask = ct.end_nested().end_nested().nested_elem().nested_data_bitwise();
    let mask = mask.push_sreg(register).push_dreg(register).push_len(4);
    let mask = mask.nested_mask().push_value(&bits.to_ne_bytes()).end_nested();
    let mask = mask.nested_xor().push_value(&[0; 4]).end_nested();
    compare(mask.end_nested().end_nested(), CmpOps::Neq, &[0; 4])
}

fn compare<'a>(expressions: Expressions<'a>, op: CmpOps, value: &[u8]) -> Expressions<'a> {
    let compare = expressions.nested_elem().nested_data_cmp().push_sreg(Registers::Reg1 as u32);
    let compare = compare.push_op(op as u32).nested_data().push_value(value).end_nested();
    compare.end_nested().end_nested()
}

pub(super) fn decide(expressions: Expressions<'_>, verdict: Verdict) {
    match verdict {
        Verdict::Accept => code(expressions, VerdictCode::Accept),
        Verdict::Drop => code(expressions, VerdictCode::Drop),
        Verdict::Refuse => {
            let reject = expressions.nested_elem().nested_data_reject();
            let reject = reject.push_type(RejectTypes::IcmpxUnreach as u32);
            drop(reject.push_icmp_code(RejectInetCode::IcmpxAdminProhibited as u8));
        }
        Verdict::Masquerade => drop(expressions.nested_elem().push_name(c"masq")),
    }
}

fn code(expressions: Expressions<'_>, code: VerdictCode) {
    let immediate = expressions.nested_elem().nested_data_immediate();
    let data = immediate.push_dreg(Registers::RegVerdict as u32).nested_data();
    drop(data.nested_verdict().push_code(code as u32));
}
