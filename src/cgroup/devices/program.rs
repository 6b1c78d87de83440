//! Device rules as an eBPF program for a v2 cgroup.
//!
//! The program gets what is asked for (kind, numbers, kinds of access) and walks the rules from the last to the first. A
//! rule that matches settles those kinds of access that it names: a denied one ends it, allowed ones are crossed off, and
//! nothing left to settle means allowed. What the rules leave open is settled by the default.

use super::rules::{ALL, Nodes, Rule, Rules};
use crate::bail;
use crate::error::Result;
use crate::sys::bpf::Instruction;

/// Return value.
const R0: u8 = 0;
/// The context: `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`.
const R1: u8 = 1;
/// The kind of node.
const R2: u8 = 2;
/// The kinds of access that are not settled yet.
const R3: u8 = 3;
/// Major number.
const R4: u8 = 4;
/// Minor number.
const R5: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// 32-bit jumps, since numbers of nodes use all 32 bits and an operand would be sign-extended.
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_ANY_BIT: u8 = 0x46;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

/// Makes the program.
///
/// # Errors
/// Where there are more rules than a jump can pass over.
pub(super) fn program(rules: &Rules) -> Result<Vec<Instruction>> {
    let mut code = vec![
        op(LOAD_WORD, R2, R1, 0, 0),
        op(MOVE_REGISTER, R3, R2, 0, 0),
        op(AND, R2, 0, 0, 0xffff),
        op(SHIFT_RIGHT, R3, 0, 0, 16),
        op(LOAD_WORD, R4, R1, 4, 0),
        op(LOAD_WORD, R5, R1, 8, 0),
    ];
    for group in groups(&rules.list) {
        add_group(&mut code, &group);
    }
    finish(&mut code, rules.default);
    // Every jump stays inside the program, so this also says that no distance was cut off.
    if code.len() > i16::MAX as usize {
        bail!("linux.resources.devices: {} rules are too many for one device program", rules.list.len());
    }
    Ok(code)
}

/// The rules from the last to the first. Neighbours that say the same, allow or deny, may change places, so they are put
/// together by kind and major number: most requests then skip a whole group with one comparison.
fn groups(rules: &[Rule]) -> Vec<Vec<Rule>> {
    let mut rules: Vec<Rule> = rules.iter().rev().copied().collect();
    for run in rules.chunk_by_mut(|a, b| a.allow == b.allow) {
        // A rule for single nodes settles a request at once; the wildcards, which come first in the order, only help.
        run.sort_by_key(|rule| std::cmp::Reverse((rule.nodes, rule.access)));
    }
    rules.dedup();
    let same = |a: &Rule, b: &Rule| (a.allow, a.nodes.kind, a.nodes.major) == (b.allow, b.nodes.kind, b.nodes.major);
    rules.chunk_by(same).map(<[Rule]>::to_vec).collect()
}

/// Adds rules that share kind and major number.
fn add_group(code: &mut Vec<Instruction>, group: &[Rule]) {
    let Some(Rule { nodes: Nodes { kind, major, .. }, .. }) = group.first() else { return };
    let start = code.len();
    code.push(op(JUMP_NOT_EQUAL, R2, 0, 0, *kind as i32));
    if let Some(major) = major {
        code.push(op(JUMP_NOT_EQUAL, R4, 0, 0, major.cast_signed()));
    }
    let tests = start..code.len();
    for rule in group {
        add_rule(code, rule);
        // Nothing gets past this one, and the kernel refuses code that cannot be reached.
        if rule.nodes.minor.is_none() && rule.access == ALL {
            break;
        }
    }
    let end = code.len();
    for at in tests {
        code[at].offset = distance(at, end);
    }
}

/// Adds one rule of a group: its minor number, then what it settles.
fn add_rule(code: &mut Vec<Instruction>, rule: &Rule) {
    let test = code.len();
    if let Some(minor) = rule.nodes.minor {
        code.push(op(JUMP_NOT_EQUAL, R5, 0, 0, minor.cast_signed()));
    }
    let access = i32::from(rule.access);
    match (rule.allow, rule.access) {
        (allow, ALL) => finish(code, allow),
        (true, _) => {
            code.push(op(AND, R3, 0, 0, !access));
            code.push(op(JUMP_NOT_EQUAL, R3, 0, 2, 0));
            finish(code, true);
        }
        (false, _) => {
            code.push(op(JUMP_ANY_BIT, R3, 0, 1, access));
            code.push(op(JUMP, 0, 0, 2, 0));
            finish(code, false);
        }
    }
    let end = code.len();
    if rule.nodes.minor.is_some() {
        code[test].offset = distance(test, end);
    }
}

/// Ends the program: 1 allows, 0 denies.
fn finish(code: &mut Vec<Instruction>, allow: bool) {
    code.push(op(MOVE, R0, 0, 0, i32::from(allow)));
    code.push(op(EXIT, 0, 0, 0, 0));
}

/// How far a jump at `from` goes to land on `to`.
fn distance(from: usize, to: usize) -> i16 {
    i16::try_from(to - from - 1).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::devices::rules::Kind;

    /// Runs a program as the kernel does; only what is used here.
    fn run(code: &[Instruction], kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | kind as u32, major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0;
        loop {
            let Instruction { code, registers: names, offset, immediate } = code[at];
            let (to, from) = (usize::from(names & 15), usize::from(names >> 4));
            let operand = immediate.cast_unsigned();
            at += 1;
            let mut jump = |condition: bool| {
                if condition {
                    at = at.strict_add_signed(offset.into())
                }
            };
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                MOVE => registers[to] = operand,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= operand,
                SHIFT_RIGHT => registers[to] >>= operand,
                JUMP_NOT_EQUAL => jump(registers[to] != operand),
                JUMP_ANY_BIT => jump(registers[to] & operand != 0),
                JUMP => jump(true),
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    /// What the rules mean, said as simply as can be: for each kind of access the last rule that is about it.
    fn meant(rules: &Rules, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let about = |rule: &&Rule| {
                let Nodes { kind: k, major: a, minor: b } = rule.nodes;
                k == kind && a.is_none_or(|a| a == major) && b.is_none_or(|b| b == minor) && rule.access & bit != 0
            };
            rules.list.iter().rev().find(about).map_or(rules.default, |rule| rule.allow)
        })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let number = || prop_oneof![Just(None), Just(Some(u32::MAX)), (0u32..3).prop_map(Some)];
        let kind = prop_oneof![Just(Kind::Block), Just(Kind::Char)];
        (any::<bool>(), kind, number(), number(), 1u8..8).prop_map(|(allow, kind, major, minor, access)| Rule {
            allow,
            nodes: Nodes { kind, major, minor },
            access,
        })
    }

    proptest! {
        #[test]
        fn the_program_does_what_the_rules_mean(default: bool, list in prop::collection::vec(rule(), 0..12)) {
            let rules = Rules { default, list };
            let code = program(&rules).unwrap();
            for kind in [Kind::Block, Kind::Char] {
                for access in 1..8 {
                    for (major, minor) in [(0, 0), (1, 2), (2, 1), (7, 7), (u32::MAX, 1), (1, u32::MAX)] {
                        let got = run(&code, kind, access, major, minor);
                        prop_assert_eq!(got, meant(&rules, kind, access, major, minor), "{:?}", (kind, access, major, minor));
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_list_is_short() {
        assert!(program(&Rules::read(&[]).unwrap()).unwrap().len() < 64);
    }
}
