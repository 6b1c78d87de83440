//! Writes the instructions of a filter (classic BPF, Documentation/networking/filter.rst of the kernel).
//!
//! Jumps only go forward, by at most 255 instructions when they depend on a comparison. So the program is written from
//! its end: every target is known, with its distance, by the time something jumps to it, and one that has got too far
//! away is brought near by a copy of a `ret` or by an unconditional jump, which reaches any distance.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use crate::plan::{SeccompAction, SeccompArg, SeccompOp};

use super::return_value;
use super::rules::{Architecture, Cell, Conditional};

/// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Beyond this a target is brought near; some less than 255, for what is written between the decision and the jump.
const REACH: usize = 250;

/// A place in the program, counted from its end.
type Label = usize;

struct Program {
    /// Last instruction first.
    code: Vec<sock_filter>,
    /// The nearest `ret` of each value.
    returns: Vec<(u32, Label)>,
}

/// Writes the filter for all architectures.
pub(super) fn program(architectures: &[Architecture]) -> Vec<sock_filter> {
    let mut program = Program { code: Vec::with_capacity(512), returns: Vec::new() };
    let sections: Vec<(u32, Label)> =
        architectures.iter().rev().map(|architecture| (architecture.audit, program.section(architecture))).collect();
    let mut next = program.leave(return_value(SeccompAction::KillThread));
    for (audit, section) in sections {
        next = program.branch(BPF_JEQ, audit, section, next);
    }
    program.load(ARCHITECTURE);
    program.code.reverse();
    program.code
}

impl Program {
    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> Label {
        self.code.push(sock_filter { code: code as u16, jt, jf, k });
        self.code.len() - 1
    }

    /// Loads a word; the next instruction follows.
    fn load(&mut self, offset: u32) -> Label {
        self.push(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
    }

    /// How far an instruction written now would jump to get there.
    fn distance(&self, label: Label) -> usize {
        self.code.len() - label - 1
    }

    /// Ends the program with a value.
    fn leave(&mut self, value: u32) -> Label {
        let known = self.returns.iter().position(|(known, _)| *known == value);
        match known {
            Some(place) if self.distance(self.returns[place].1) <= REACH => self.returns[place].1,
            _ => {
                let label = self.push(BPF_RET | BPF_K, 0, 0, value);
                match known {
                    Some(place) => self.returns[place].1 = label,
                    None => self.returns.push((value, label)),
                }
                label
            }
        }
    }

    /// The same place, within reach.
    fn near(&mut self, label: Label) -> Label {
        let distance = self.distance(label);
        if distance <= REACH {
            return label;
        }
        let target = self.code[label];
        if u32::from(target.code) == BPF_RET | BPF_K {
            return self.leave(target.k);
        }
        self.push(BPF_JMP | BPF_JA, 0, 0, distance as u32)
    }

    /// Goes to one of two places by a comparison of the loaded word.
    fn branch(&mut self, compare: u32, with: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(BPF_JMP | compare | BPF_K, jt, jf, with)
    }

    /// All numbers of an architecture.
    fn section(&mut self, architecture: &Architecture) -> Label {
        // Conditions load words of their own, so each cell with some is written once and jumped to.
        let mut cells = vec![None; architecture.cells.len()];
        let entry = self.search(&architecture.ranges, architecture, &mut cells);
        // Where all numbers are alike nothing compares them, and the entry may stand anywhere.
        if architecture.ranges.len() > 1 { self.load(NUMBER) } else { entry }
    }

    /// Binary search among ranges, with the number loaded.
    fn search(&mut self, ranges: &[(u32, u16)], of: &Architecture, cells: &mut [Option<Label>]) -> Label {
        match *ranges {
            [] => self.leave(of.default),
            [(_, cell)] => self.cell(cell, of, cells),
            // One number among others that are treated alike: one comparison does.
            [(_, around), (number, cell), (next, after)] if around == after && next == number + 1 => {
                let (yes, no) = (self.cell(cell, of, cells), self.cell(around, of, cells));
                self.branch(BPF_JEQ, number, yes, no)
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let yes = self.search(above, of, cells);
                let no = self.search(below, of, cells);
                self.branch(BPF_JGE, above[0].0, yes, no)
            }
        }
    }

    fn cell(&mut self, cell: u16, of: &Architecture, cells: &mut [Option<Label>]) -> Label {
        let place = usize::from(cell);
        match &of.cells[place] {
            Cell::Return(value) => self.leave(*value),
            Cell::Rules { rules, wide } => match cells[place] {
                Some(label) => label,
                None => {
                    let label = self.rules(rules, *wide, of.default);
                    cells[place] = Some(label);
                    label
                }
            },
        }
    }

    fn rules(&mut self, rules: &[Conditional], wide: bool, default: u32) -> Label {
        let mut next = self.leave(default);
        for rule in rules.iter().rev() {
            let mut holds = self.leave(rule.value);
            for condition in rule.conditions.iter().rev() {
                holds = self.condition(condition, wide, holds, next);
            }
            next = holds;
        }
        next
    }

    /// Compares an argument, half by half where it has two.
    fn condition(&mut self, arg: &SeccompArg, wide: bool, holds: Label, fails: Label) -> Label {
        let base = ARGUMENTS + 8 * u32::from(arg.index);
        let (low, high) = if cfg!(target_endian = "little") { (base, base + 4) } else { (base + 4, base) };
        let (value, upper) = (arg.value as u32, (arg.value >> 32) as u32);
        // The upper and lower bounds are each other's opposites.
        let (compare, yes, no) = match arg.op {
            SeccompOp::MaskedEqual => return self.masked(arg, [low, high], wide, holds, fails),
            SeccompOp::Equal => (BPF_JEQ, holds, fails),
            SeccompOp::NotEqual => (BPF_JEQ, fails, holds),
            SeccompOp::Greater => (BPF_JGT, holds, fails),
            SeccompOp::LessOrEqual => (BPF_JGT, fails, holds),
            SeccompOp::GreaterOrEqual => (BPF_JGE, holds, fails),
            SeccompOp::Less => (BPF_JGE, fails, holds),
        };
        self.branch(compare, value, yes, no);
        let lower = self.load(low);
        if !wide {
            return lower;
        }
        let mut upper_equal = self.branch(BPF_JEQ, upper, lower, no);
        if compare != BPF_JEQ {
            upper_equal = self.branch(BPF_JGT, upper, yes, upper_equal);
        }
        debug_assert_eq!(self.distance(upper_equal), 0);
        self.load(high)
    }

    fn masked(&mut self, arg: &SeccompArg, halves: [u32; 2], wide: bool, holds: Label, fails: Label) -> Label {
        let mut next = holds;
        for (half, offset) in halves.into_iter().enumerate() {
            let (mask, value) = ((arg.value >> (32 * half)) as u32, (arg.value_two >> (32 * half)) as u32);
            if mask == 0 || half == 1 && !wide {
                continue;
            }
            self.branch(BPF_JEQ, value, next, fails);
            if mask != u32::MAX {
                self.push(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
            }
            next = self.load(offset);
        }
        next
    }
}
