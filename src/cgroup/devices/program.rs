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
const JUMP_EQUAL: u8 = 0x16;
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
    let mut builder = Builder::default();
    builder.code.extend([
        op(LOAD_WORD, R2, R1, 0, 0),
        op(MOVE_REGISTER, R3, R2, 0, 0),
        op(AND, R2, 0, 0, 0xffff),
        op(SHIFT_RIGHT, R3, 0, 0, 16),
        op(LOAD_WORD, R4, R1, 4, 0),
        op(LOAD_WORD, R5, R1, 8, 0),
    ]);
    let ordered = ordered(&rules.list);
    for kind in ordered.chunk_by(|a, b| (a.allow, a.nodes.kind) == (b.allow, b.nodes.kind)) {
        let Some(first) = kind.first() else { continue };
        builder.unless(R2, Some(first.nodes.kind as u32), |builder| {
            for group in kind.chunk_by(|a, b| a.nodes.major == b.nodes.major) {
                builder.group(group);
            }
        });
    }
    let code = builder.finish(rules.default);
    // Every jump stays inside the program, so this also says that no distance was cut off.
    if code.len() > i16::MAX as usize {
        bail!("linux.resources.devices: {} rules are too many for one device program", rules.list.len());
    }
    Ok(code)
}

/// The rules from the last to the first. Neighbours that say the same, allow or deny, may change places, so they are put
/// together by kind and major number: most requests then skip many of them with one comparison.
fn ordered(rules: &[Rule]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = rules.iter().rev().copied().collect();
    for run in rules.chunk_by_mut(|a, b| a.allow == b.allow) {
        // Single numbers before wildcards, which come first in the order of the type.
        run.sort_unstable_by_key(|rule| std::cmp::Reverse((rule.nodes, rule.access)));
    }
    rules.dedup();
    rules
}

/// A program that grows. Its two endings are written last, once each: the kernel's work grows with every instruction.
#[derive(Default)]
struct Builder {
    code: Vec<Instruction>,
    /// Jumps that settle the request, and how.
    verdicts: Vec<(usize, bool)>,
}

impl Builder {
    /// Adds what `inner` adds, to be skipped unless the register has this value.
    fn unless(&mut self, register: u8, value: Option<u32>, inner: impl FnOnce(&mut Self)) {
        let test = self.code.len();
        if let Some(value) = value {
            self.code.push(op(JUMP_NOT_EQUAL, register, 0, 0, value.cast_signed()));
        }
        inner(self);
        if value.is_some() {
            self.code[test].offset = distance(test, self.code.len());
        }
    }

    /// Adds a jump to a verdict.
    fn settle(&mut self, jump: Instruction, allow: bool) {
        self.verdicts.push((self.code.len(), allow));
        self.code.push(jump);
    }

    /// Adds rules of one kind and one major number.
    fn group(&mut self, group: &[Rule]) {
        match group {
            [] => {}
            // All nodes of this number, with everything: one comparison.
            [Rule { allow, nodes: Nodes { major: Some(major), minor: None, .. }, access: ALL }, ..] => {
                self.settle(op(JUMP_EQUAL, R4, 0, 0, major.cast_signed()), *allow);
            }
            [first, ..] => self.unless(R4, first.nodes.major, |builder| {
                for rule in group {
                    builder.rule(rule);
                    // Nothing gets past this one, and the kernel refuses code that cannot be reached.
                    if rule.nodes.minor.is_none() && rule.access == ALL {
                        break;
                    }
                }
            }),
        }
    }

    /// Adds one rule of a group: its minor number, then what it settles.
    fn rule(&mut self, rule: &Rule) {
        let access = i32::from(rule.access);
        match (rule.access, rule.nodes.minor) {
            (ALL, Some(minor)) => self.settle(op(JUMP_EQUAL, R5, 0, 0, minor.cast_signed()), rule.allow),
            (ALL, None) => self.settle(op(JUMP, 0, 0, 0, 0), rule.allow),
            (_, minor) if rule.allow => self.unless(R5, minor, |builder| {
                builder.code.push(op(AND, R3, 0, 0, !access));
                builder.settle(op(JUMP_EQUAL, R3, 0, 0, 0), true);
            }),
            (_, minor) => self.unless(R5, minor, |builder| {
                builder.settle(op(JUMP_ANY_BIT, R3, 0, 0, access), false);
            }),
        }
    }

    /// Adds the endings: what is left falls through to the default; the other one only if something leads there.
    fn finish(mut self, default: bool) -> Vec<Instruction> {
        for allow in [default, !default] {
            let end = self.code.len();
            let mut reached = allow == default;
            for &(from, _) in self.verdicts.iter().filter(|(_, verdict)| *verdict == allow) {
                self.code[from].offset = distance(from, end);
                reached = true;
            }
            if reached {
                self.code.push(op(MOVE, R0, 0, 0, i32::from(allow)));
                self.code.push(op(EXIT, 0, 0, 0, 0));
            }
        }
        self.code
    }
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
                JUMP_EQUAL => jump(registers[to] == operand),
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
        fn the_kernel_takes_every_program(default: bool, list in prop::collection::vec(rule(), 0..12)) {
            if rustix::process::geteuid().is_root() {
                crate::sys::bpf::load_device_program(&program(&Rules { default, list }).unwrap(), [0; 16]).unwrap();
            }
        }

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
        assert!(program(&Rules::read(&[]).unwrap()).unwrap().len() < 32);
    }
}
