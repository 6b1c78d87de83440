//! Which of two rules for one system call wins where the conditions of both hold.
//!
//! libseccomp keeps the rules of a system call in a tree of 32-bit comparisons and tries them in the order of the tree,
//! not of the profile. Profiles mean what they did there, so the order is found the same way: rules are compared
//! comparison by comparison; a higher argument goes first, then equality before upper bounds before lower bounds, then
//! the larger value (of upper bounds the smaller, so the narrower); a rule that is the beginning of another goes first.
//!
//! Two rules with the same conditions and different actions are refused, as there.

use crate::bail;
use crate::error::Result;
use crate::plan::{SeccompArch, SeccompArg, SeccompOp};

use super::rules::Conditional;

/// Puts the rules of one number in order and drops repetitions. `name` is asked for in a refusal.
pub(super) fn resolve(
    mut rules: Vec<Conditional>,
    arch: &SeccompArch,
    name: impl Fn() -> &'static str,
) -> Result<Vec<Conditional>> {
    let mut kept: Vec<Conditional> = Vec::with_capacity(rules.len());
    for rule in rules.drain(..) {
        match kept.iter().find(|earlier| earlier.conditions == rule.conditions) {
            Some(earlier) if earlier.value != rule.value => bail!(
                "linux.seccomp.syscalls[{}] and [{}] say different things about {:?} under the same conditions ({})",
                earlier.index,
                rule.index,
                name(),
                arch.name
            ),
            Some(_) => {}
            None => kept.push(rule),
        }
    }
    // Rules of one action cannot conflict.
    if kept.windows(2).all(|pair| pair[0].value == pair[1].value) {
        return Ok(kept);
    }
    let paths: Vec<Vec<Node>> = kept.iter().map(|rule| path(&rule.conditions, arch.wide)).collect();
    let mut order = Vec::with_capacity(kept.len());
    walk((0..kept.len()).collect(), 0, &paths, &mut order);
    let mut slots: Vec<_> = kept.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| slots[place].take()).collect())
}

/// One 32-bit comparison on the way of a rule.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Argument and half, the upper half counted as the higher.
    half: u8,
    /// How a processor compares: at most equality, masks and two kinds of "greater" are left of the seven operators.
    compare: SeccompOp,
    /// Rank of the operator in the profile.
    rank: u8,
    /// Of upper bounds the smaller goes first.
    ascending: bool,
    value: u32,
    mask: u32,
}

impl Node {
    fn same(&self, other: &Self) -> bool {
        (self.half, self.compare, self.value, self.mask) == (other.half, other.compare, other.value, other.mask)
    }

    /// Sorts ascending.
    fn key(&self) -> impl Ord + use<> {
        use std::cmp::Reverse;
        let value = if self.ascending { self.value } else { !self.value };
        (Reverse(self.half), Reverse(self.rank), value)
    }
}

/// The comparisons of a rule, in the order in which they are made.
fn path(conditions: &[SeccompArg], wide: bool) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(conditions.len() * 3);
    for arg in conditions {
        let (mask, value) = match arg.op {
            SeccompOp::MaskedEqual => (arg.value, arg.value_two),
            _ => (u64::MAX, arg.value),
        };
        let (rank, ascending) = match arg.op {
            SeccompOp::Equal | SeccompOp::NotEqual | SeccompOp::MaskedEqual => (3, false),
            SeccompOp::Less | SeccompOp::LessOrEqual => (2, true),
            SeccompOp::Greater | SeccompOp::GreaterOrEqual => (1, false),
        };
        let low = match arg.op {
            SeccompOp::Greater | SeccompOp::LessOrEqual => SeccompOp::Greater,
            SeccompOp::GreaterOrEqual | SeccompOp::Less => SeccompOp::GreaterOrEqual,
            SeccompOp::MaskedEqual => SeccompOp::MaskedEqual,
            SeccompOp::Equal | SeccompOp::NotEqual => SeccompOp::Equal,
        };
        let mut push = |high: bool, compare| {
            let shift = if high { 32 } else { 0 };
            let (value, mask) = ((value >> shift) as u32, (mask >> shift) as u32);
            nodes.push(Node { half: arg.index * 2 + u8::from(high), compare, rank, ascending, value, mask });
        };
        if wide {
            if rank < 3 {
                push(true, SeccompOp::Greater);
            }
            push(true, if low == SeccompOp::MaskedEqual { low } else { SeccompOp::Equal });
        }
        push(false, low);
    }
    nodes
}

/// Visits a level of the tree: `rules` are those that share everything above it.
fn walk(rules: Vec<usize>, depth: usize, paths: &[Vec<Node>], order: &mut Vec<usize>) {
    let mut groups: Vec<(Node, Vec<usize>)> = Vec::new();
    for rule in rules {
        let Some(node) = paths[rule].get(depth) else {
            order.push(rule);
            continue;
        };
        match groups.iter_mut().find(|(first, _)| first.same(node)) {
            Some((_, group)) => group.push(rule),
            None => groups.push((*node, vec![rule])),
        }
    }
    // What is equal stays in the order of the profile.
    groups.sort_unstable_by_key(|(node, group)| (node.key(), group.first().copied()));
    for (_, group) in groups {
        walk(group, depth + 1, paths, order);
    }
}
