//! Random profiles, and what they plainly mean.

use super::oracle::write;
use super::*;
use crate::plan::seccomp::{MACHINE, MACHINE_ARM64};
use crate::plan::syscalls::{ARM64, Multiplexed, NATIVE, Names};
use crate::plan::{SeccompArch, SeccompArg, SeccompOp, SeccompRule};

/// xorshift64*: the same profiles each time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.next(values.len())]
    }
}

pub const VALUES: &[u64] =
    &[0, 1, 2, 3, 5, 8, 0x40, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (1 << 32) + 5, !0];
pub const SMALL: &[u64] = VALUES.split_at(9).0;
pub const CALLS: &[&str] = &[
    "read",
    "write",
    "ioctl",
    "clone",
    "personality",
    "socket",
    "bind",
    "accept4",
    "sendto",
    "recv",
    "send",
    "semop",
    "shmat",
    "semtimedop",
    "ipc",
    "socketcall",
    "execve",
    "preadv2",
    "mmap2",
    "_llseek",
    "openat2",
    "futex",
    "arch_prctl",
    "uselib",
    "set_tls",
    "cacheflush",
    "fstatat64",
    "prctl",
];
pub const DEFAULTS: &[SeccompAction] = &[
    SeccompAction::Allow,
    SeccompAction::Log,
    SeccompAction::Trace(9),
    SeccompAction::Errno(1),
    SeccompAction::Errno(38),
    SeccompAction::KillProcess,
    SeccompAction::Trap,
];
pub const ACTIONS: &[SeccompAction] = &[
    SeccompAction::Allow,
    SeccompAction::Errno(1),
    SeccompAction::Errno(13),
    SeccompAction::KillThread,
    SeccompAction::Notify,
    SeccompAction::Trace(1),
];
pub const OPERATORS: &[SeccompOp] = &[
    SeccompOp::NotEqual,
    SeccompOp::Less,
    SeccompOp::LessOrEqual,
    SeccompOp::Equal,
    SeccompOp::GreaterOrEqual,
    SeccompOp::Greater,
    SeccompOp::MaskedEqual,
];

/// One machine: its rows, its names, and the columns in the answers to `N`.
pub struct Machine {
    pub archs: &'static [SeccompArch],
    pub names: &'static Names,
    pub columns: &'static [usize],
    pub native: bool,
}

pub const X86_FAMILY: Machine = Machine { archs: MACHINE, names: &NATIVE, columns: &[0, 1, 2], native: true };
pub const ARM_FAMILY: Machine = Machine { archs: MACHINE_ARM64, names: &ARM64, columns: &[3, 4], native: false };

/// What one condition means.
pub fn holds(arg: &SeccompArg, args: &[u64; 6], wide: bool) -> bool {
    let mask = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let (actual, value) = (args[usize::from(arg.index)] & mask, arg.value & mask);
    match arg.op {
        SeccompOp::NotEqual => actual != value,
        SeccompOp::Less => actual < value,
        SeccompOp::LessOrEqual => actual <= value,
        SeccompOp::Equal => actual == value,
        SeccompOp::GreaterOrEqual => actual >= value,
        SeccompOp::Greater => actual > value,
        SeccompOp::MaskedEqual => actual & value == arg.value_two & value,
    }
}

pub fn condition(random: &mut Random, values: &[u64], index: u8, last: bool, alone: bool) -> SeccompArg {
    let op = loop {
        let op = random.of(OPERATORS);
        let exact = matches!(op, SeccompOp::Equal | SeccompOp::MaskedEqual);
        if exact || last && (alone || op != SeccompOp::LessOrEqual) {
            break op;
        }
    };
    let upper = matches!(op, SeccompOp::Less | SeccompOp::LessOrEqual);
    let value = random.of(if upper { SMALL } else { values });
    SeccompArg { index, op, value, value_two: random.of(values) }
}

pub fn profile(random: &mut Random, machine: &Machine) -> (plan::Seccomp, Vec<&'static str>) {
    let values = if random.next(4) == 0 { VALUES } else { SMALL };
    let calls: Vec<_> = (0..2 + random.next(5)).map(|_| random.of(CALLS)).collect();
    let mut rules = Vec::new();
    // Few actions make agreeing rules, many make conflicts.
    let actions: Vec<_> = (0..1 + random.next(3)).map(|_| random.of(ACTIONS)).collect();
    for index in 0..1 + random.next(9) {
        let names: Vec<_> = (0..1 + random.next(2)).map(|_| random.of(&calls)).collect();
        let mut indexes: Vec<u8> = (0..6).filter(|_| random.next(6) == 0).collect();
        if indexes.is_empty() && random.next(4) > 0 {
            indexes.push(random.next(3) as u8);
        }
        let count = indexes.len();
        let args = indexes
            .iter()
            .enumerate()
            .map(|(at, i)| condition(random, values, *i, at + 1 == count, count == 1))
            .collect();
        let calls = names.iter().filter_map(|name| machine.names.find(name)).collect();
        rules.push(SeccompRule { index, calls, action: random.of(&actions), args });
    }
    let archs = machine.archs.iter().enumerate().filter(|(at, _)| *at == 0 || random.next(2) == 0);
    let architectures = archs.map(|(_, arch)| *arch).collect();
    let seccomp = plan::Seccomp {
        default_action: random.of(DEFAULTS),
        architectures,
        flags: 0,
        rules,
        listener_path: None,
        listener_metadata: String::new(),
    };
    (seccomp, calls)
}

/// runc's answer to calls newer than the profile, which libseccomp does not have.
pub fn newer(seccomp: &plan::Seccomp, names: &Names, call: &Call) -> bool {
    let open = matches!(
        seccomp.default_action,
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace(_) | SeccompAction::Errno(38)
    );
    let x32 = call.audit == X86_64 && call.number & 0x4000_0000 != 0;
    let arch = seccomp.architectures.iter().find(|arch| arch.audit == call.audit && (arch.offset != 0) == x32);
    let Some(arch) = arch.filter(|_| !open) else { return false };
    let all = seccomp.rules.iter().flat_map(|rule| &rule.calls);
    // 32-bit ARM's own calls lie far above and are no sign of a new kernel.
    let own = 0xf_0000..0xf_0010;
    let numbers = all.filter_map(|call| names.number(*call, arch.column)).filter(|number| !own.contains(number));
    let newest = numbers.max().map(|newest| newest + arch.offset);
    let is_own = arch.name == "SCMP_ARCH_ARM" && own.contains(&call.number);
    let multiplexes = arch.multiplexers.is_some_and(|(socketcall, ipc)| {
        let default = return_value(seccomp.default_action);
        let rules = seccomp.rules.iter().filter(|rule| return_value(rule.action) != default);
        rules.flat_map(|rule| &rule.calls).filter_map(|call| names.multiplexed(*call)).any(|part| match part {
            Multiplexed::Socket(_) => u32::from(socketcall) == call.number,
            Multiplexed::Ipc(_) => u32::from(ipc) == call.number,
        })
    });
    newest.is_some_and(|newest| call.number > newest) && !is_own && !multiplexes
}

/// What the rules say of a call, plainly: each value that one of them gives, or the default alone. Nothing where other
/// things than rules decide.
pub fn meaning(seccomp: &plan::Seccomp, names: &Names, call: &Call) -> Option<Vec<u32>> {
    let x32 = call.audit == X86_64 && call.number & 0x4000_0000 != 0;
    let arch = seccomp.architectures.iter().find(|arch| arch.audit == call.audit && (arch.offset != 0) == x32)?;
    if newer(seccomp, names, call) {
        return None;
    }
    let default = return_value(seccomp.default_action);
    let mut rules: Vec<(Vec<SeccompArg>, u32)> = Vec::new();
    for rule in seccomp.rules.iter().filter(|rule| return_value(rule.action) != default) {
        for named in &rule.calls {
            let number = names.number(*named, arch.column).map(|number| number + arch.offset);
            if number == Some(call.number) {
                rules.push((rule.args.clone(), return_value(rule.action)));
            }
            let part = match (arch.multiplexers, names.multiplexed(*named)) {
                (Some((number, _)), Some(Multiplexed::Socket(part))) if call.number == u32::from(number) => part,
                (Some((_, number)), Some(Multiplexed::Ipc(part))) if call.number == u32::from(number) => part,
                _ => continue,
            };
            let part = SeccompArg { index: 0, op: SeccompOp::Equal, value: part.into(), value_two: 0 };
            let others = rule.args.iter().filter(|arg| arg.index != 0).copied();
            rules.push((others.chain([part]).collect(), return_value(rule.action)));
        }
    }
    let mask = if arch.wide { u64::MAX } else { u64::from(u32::MAX) };
    let always = |arg: &SeccompArg| arg.op == SeccompOp::MaskedEqual && arg.value & mask == 0;
    if let Some((_, value)) = rules.iter().find(|(args, _)| args.iter().all(always)) {
        return Some(vec![*value]);
    }
    rules.retain(|(args, _)| args.iter().all(|arg| holds(arg, &call.args, arch.wide)));
    let values: Vec<_> = rules.into_iter().map(|(_, value)| value).collect();
    Some(if values.is_empty() { vec![default] } else { values })
}

pub fn calls_to_try(random: &mut Random, seccomp: &plan::Seccomp, machine: &Machine, names: &[&str]) -> Vec<Call> {
    let mut audits: Vec<_> = machine.archs.iter().map(|arch| arch.audit).collect();
    audits.push(0x8000_0016);
    let mut numbers: Vec<u32> = vec![0, 102, 117, 600, 0x3fff_ffff, 0x4000_0000, 0x4000_0300, u32::MAX];
    for call in names.iter().filter_map(|name| machine.names.find(name)) {
        for arch in machine.archs {
            let number = machine.names.number(call, arch.column).map(|number| number + arch.offset);
            numbers.extend(number.into_iter().flat_map(|number| [number.saturating_sub(1), number, number + 1]));
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let said: Vec<_> = seccomp.rules.iter().flat_map(|rule| &rule.args).collect();
    let mut calls = Vec::new();
    for audit in audits {
        for number in &numbers {
            for round in 0..16 {
                let mut args = [0; 6].map(|_: u64| random.of(VALUES));
                for arg in said.iter().filter(|_| round % 2 == 0) {
                    if random.next(2) == 0 {
                        let value = if arg.op == SeccompOp::MaskedEqual { arg.value_two } else { arg.value };
                        args[usize::from(arg.index)] = value.wrapping_add(random.next(3) as u64).wrapping_sub(1);
                    }
                }
                calls.push(Call { number: *number, audit, args });
            }
        }
    }
    calls
}

/// Everything at once, against the plain meaning: what libseccomp gets wrong included.
#[test]
fn rules_mean_what_they_say() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..1500 {
        let (mut seccomp, names) = profile(&mut random, &X86_FAMILY);
        for arg in seccomp.rules.iter_mut().flat_map(|rule| &mut rule.args) {
            arg.op = random.of(OPERATORS);
        }
        let Ok(program) = compile(&seccomp) else { continue };
        for call in calls_to_try(&mut random, &seccomp, &X86_FAMILY, &names) {
            let actual = run(&program.code, &call);
            let Some(meant) = meaning(&seccomp, &NATIVE, &call) else { continue };
            let fine = meant.contains(&actual);
            assert!(fine, "{actual:#x} and not one of {meant:x?} for {call:x?}\n{}", write(&seccomp, &X86_FAMILY));
        }
    }
}
