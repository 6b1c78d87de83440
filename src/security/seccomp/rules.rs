//! What happens to which system call: the rules of a profile as ranges of numbers, one list for each architecture that
//! the kernel reports.
//!
//! The meaning is libseccomp's:
//!
//! - A rule whose action is the default one says nothing (its callers leave it out).
//! - A rule without conditions beats those with conditions, before and after it; of two such rules the first stands.
//! - Rules with conditions stand side by side; [`order`] says which one wins where several match.
//! - 32-bit conventions compare the lower half of an argument only, x32 included.
//! - On x86, a call that socketcall(2) or ipc(2) does as well gets a rule for both ways.
//! - An architecture that the profile does not name kills the thread; so do x32's numbers on x86_64 without x32.
//!
//! And one thing is runc's: where the default is a refusal, a number above all those that the profile names is answered
//! with ENOSYS. A C library that tries a new system call first then falls back to the old one, while EPERM would stop it.

use crate::error::Result;
use crate::plan::syscalls::{Call, Multiplexed, Names};
use crate::plan::{Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompOp, SeccompRule};

use super::{order, return_value};

/// The decision for one AUDIT_ARCH_* number.
#[derive(Debug)]
pub(super) struct Architecture {
    pub audit: u32,
    /// First number and place in `cells`; ascending, from 0, each up to the next. Neighbours differ.
    pub ranges: Vec<(u32, u16)>,
    pub cells: Vec<Cell>,
    /// What stands behind the conditions of a cell when none holds.
    pub default: u32,
}

/// What happens to the numbers of a range.
#[derive(Debug, PartialEq)]
pub(super) enum Cell {
    /// Always this.
    Return(u32),
    /// What the first rule whose conditions all hold says, else the default.
    Rules { rules: Vec<Conditional>, wide: bool },
}

/// A rule with conditions, for one number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conditional {
    pub conditions: Vec<SeccompArg>,
    pub value: u32,
    /// Its place in `linux.seccomp.syscalls`.
    pub index: usize,
}

/// Numbers below this are kept in a table; all but 32-bit ARM's own are.
const TABLE: usize = 1024;
/// 32-bit ARM's own calls: the first number, and how many places there are for them at the end of the table.
const FAR: u32 = 0xf_0000;
const FAR_PLACES: usize = 16;
/// In the table: the rest of the entry is a place among the conditional rules.
const CONDITIONAL: u16 = 0x8000;
/// The place of [`Cell::Return`] of the default action.
const DEFAULT: u16 = 0;
/// The first number of x32.
const X32: u32 = 0x4000_0000;

/// Decides a profile.
pub(super) fn decide(seccomp: &Seccomp, names: &Names) -> Result<Vec<Architecture>> {
    let mut decided: Vec<Architecture> = Vec::with_capacity(seccomp.architectures.len());
    let x32 = seccomp.architectures.iter().find(|arch| arch.offset == X32);
    for arch in seccomp.architectures.iter().filter(|arch| arch.offset == 0) {
        let default = return_value(seccomp.default_action);
        let mut architecture =
            Architecture { audit: arch.audit, ranges: Vec::new(), cells: vec![Cell::Return(default)], default };
        architecture.add(seccomp, names, arch)?;
        match x32 {
            Some(x32) if x32.audit == arch.audit => architecture.add(seccomp, names, x32)?,
            _ if arch.name == "SCMP_ARCH_X86_64" => {
                let kill = architecture.intern(Cell::Return(return_value(SeccompAction::KillThread)));
                architecture.range(X32, kill);
                // A tracer that skips a call sets its number to -1, which is no number of x32's.
                architecture.range(u32::MAX, DEFAULT);
            }
            _ => {}
        }
        decided.push(architecture);
    }
    Ok(decided)
}

impl Architecture {
    /// Adds the ranges of one convention, which follow those that are there.
    fn add(&mut self, seccomp: &Seccomp, names: &Names, arch: &SeccompArch) -> Result<()> {
        let mut table = Table::new(arch, self.default);
        for rule in &seccomp.rules {
            let value = return_value(rule.action);
            for call in &rule.calls {
                table.add(names, *call, rule, value);
            }
        }
        let beyond = match (seccomp.default_action, table.newest) {
            // A tracer or an audit log is to see new calls as well.
            (SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace(_), _) | (_, None) => DEFAULT,
            _ => self.intern(Cell::Return(return_value(SeccompAction::Errno(libc::ENOSYS as u16)))),
        };
        table.finish(self, names, beyond)
    }

    /// What is always said about a number; `None` where that depends on arguments.
    pub(super) fn always(&self, number: u32) -> Option<u32> {
        let after = self.ranges.partition_point(|(start, _)| *start <= number);
        let (_, cell) = self.ranges.get(after.checked_sub(1)?)?;
        match self.cells.get(usize::from(*cell))? {
            Cell::Return(value) => Some(*value),
            Cell::Rules { .. } => None,
        }
    }

    /// Begins a range; it is part of the one before when that says the same.
    fn range(&mut self, start: u32, cell: u16) {
        if self.ranges.last().is_none_or(|(_, last)| *last != cell) {
            self.ranges.push((start, cell));
        }
    }

    fn intern(&mut self, cell: Cell) -> u16 {
        let place = self.cells.iter().position(|known| *known == cell).unwrap_or_else(|| {
            self.cells.push(cell);
            self.cells.len() - 1
        });
        place as u16
    }
}

/// What the rules say about each number of one convention, while they are read.
struct Table<'a> {
    arch: &'a SeccompArch,
    default: u32,
    /// The place of a cell, or [`CONDITIONAL`].
    numbers: [u16; TABLE + FAR_PLACES],
    /// Values of unconditional rules: the cell with place n + 1.
    returns: Vec<u32>,
    conditional: Vec<Vec<Conditional>>,
    /// The highest number that the profile names, whatever the action.
    newest: Option<u32>,
    /// How many places of the table may be filled: a multiplexer may lie above all that is named.
    filled: usize,
}

impl<'a> Table<'a> {
    fn new(arch: &'a SeccompArch, default: u32) -> Self {
        let numbers = [DEFAULT; TABLE + FAR_PLACES];
        Self { arch, default, numbers, returns: Vec::new(), conditional: Vec::new(), newest: None, filled: 0 }
    }

    /// Adds one rule for one call, by its number and as part of a multiplexer.
    fn add(&mut self, names: &Names, call: Call, rule: &SeccompRule, value: u32) {
        let number = names.number(call, self.arch.column);
        if let Some(number) = number.filter(|number| *number < FAR) {
            self.newest = self.newest.max(Some(number));
            self.filled = self.filled.max(number as usize + 1);
        }
        if value == self.default {
            return;
        }
        if let (Some((socketcall, ipc)), Some(part)) = (self.arch.multiplexers, names.multiplexed(call)) {
            let (multiplexer, part) = match part {
                Multiplexed::Socket(part) => (socketcall, part),
                Multiplexed::Ipc(part) => (ipc, part),
            };
            // The first argument says which part; the others are a pointer to the part's own, or what ipc(2) makes of
            // them. libseccomp leaves conditions on those as they are.
            let first = SeccompArg { index: 0, op: SeccompOp::Equal, value: u64::from(part), value_two: 0 };
            let others = rule.args.iter().copied().filter(|arg| arg.index != 0);
            let args: Vec<_> = std::iter::once(first).chain(others).collect();
            self.filled = self.filled.max(usize::from(multiplexer) + 1);
            self.put(u32::from(multiplexer), &args, value, rule.index);
        }
        if let Some(number) = number {
            self.put(number, &rule.args, value, rule.index);
        }
    }

    fn put(&mut self, number: u32, args: &[SeccompArg], value: u32, index: usize) {
        let place = match number.checked_sub(FAR) {
            Some(far) => TABLE + far as usize,
            None => number as usize,
        };
        let Some(entry) = self.numbers.get_mut(place) else { return };
        let conditional = *entry & CONDITIONAL != 0;
        if *entry != DEFAULT && !conditional {
            return;
        }
        let conditions: Vec<_> = args.iter().filter_map(|arg| condition(*arg, self.arch.wide)).collect();
        if conditions.is_empty() {
            let known = self.returns.iter().position(|known| *known == value);
            *entry = 1 + known.unwrap_or(self.returns.len()) as u16;
            if known.is_none() {
                self.returns.push(value);
            }
            return;
        }
        let rule = Conditional { conditions, value, index };
        if conditional {
            self.conditional[usize::from(*entry & !CONDITIONAL)].push(rule);
        } else {
            *entry = CONDITIONAL | self.conditional.len() as u16;
            self.conditional.push(vec![rule]);
        }
    }

    /// Turns the table into ranges; `beyond` is the cell of all numbers above the newest that the profile names.
    fn finish(self, into: &mut Architecture, names: &Names, beyond: u16) -> Result<()> {
        let Self { arch, numbers, returns, conditional, newest, filled, .. } = self;
        let returns: Vec<u16> = returns.into_iter().map(|value| into.intern(Cell::Return(value))).collect();
        let mut places = vec![None; conditional.len()];
        let mut conditional: Vec<_> = conditional.into_iter().map(Some).collect();
        let known = newest.map_or(0, |newest| newest as usize + 1);
        let beyond_of = |place: usize| if (known..TABLE).contains(&place) { beyond } else { DEFAULT };
        // 32-bit ARM's own calls are no news to anybody, so they are never beyond.
        let far = if arch.name == "SCMP_ARCH_ARM" { TABLE + FAR_PLACES } else { TABLE };
        let with_number = (0..filled).map(|place| (place as u32, place));
        let with_far = (TABLE..far).map(|place| (FAR + (place - TABLE) as u32, place));
        for (number, place) in with_number.chain([(filled as u32, usize::MAX)]).chain(with_far) {
            let cell = match numbers.get(place) {
                None => beyond,
                // Numbers that do not fit s390's instruction arrive as 0, the call `setup`, which nobody uses.
                Some(_) if number == 0 && beyond != DEFAULT && arch.name == "SCMP_ARCH_S390X" => beyond,
                Some(&DEFAULT) => beyond_of(place),
                Some(&entry) if entry & CONDITIONAL == 0 => returns[usize::from(entry) - 1],
                Some(&entry) => {
                    let chain = usize::from(entry & !CONDITIONAL);
                    match (places[chain], conditional[chain].take()) {
                        (Some(place), _) => place,
                        (None, rules) => {
                            let rules = order::resolve(rules.unwrap_or_default(), arch, || name(names, arch, number))?;
                            let place = into.intern(Cell::Rules { rules, wide: arch.wide });
                            places[chain] = Some(place);
                            place
                        }
                    }
                }
            };
            into.range(arch.offset + number, cell);
        }
        if far > TABLE {
            into.range(arch.offset + FAR + (far - TABLE) as u32, beyond);
        }
        Ok(())
    }
}

/// The name of a number, for messages.
fn name(names: &Names, arch: &SeccompArch, number: u32) -> &'static str {
    names.all().find(|call| names.number(*call, arch.column) == Some(number)).map_or("", |call| names.name(call))
}

/// A condition as a convention sees it; nothing where it always holds.
fn condition(mut arg: SeccompArg, wide: bool) -> Option<SeccompArg> {
    if !wide {
        arg.value &= u64::from(u32::MAX);
    }
    if arg.op == SeccompOp::MaskedEqual {
        arg.value_two &= arg.value;
        return Some(arg).filter(|arg| arg.value != 0);
    }
    arg.value_two = 0;
    Some(arg)
}
