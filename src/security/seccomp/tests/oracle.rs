//! Random profiles through this compiler and through libseccomp: both filters must answer alike.
//!
//! Needs `cc` and libseccomp's header. Where they are missing the comparison is left out, unless MYRT_TEST_ORACLE is
//! set: scripts/test.sh installs them and sets it.
//!
//! libseccomp 2.5 is wrong now and then, and a difference must mean something:
//!
//! - When a rule's later condition fails, the next rule may compare a word of the argument that was loaded for the former.
//!   So where a difference shows, the plain meaning of the rules is asked: if it leaves one answer, and that is ours,
//!   the difference is counted as libseccomp's. Where rules conflict it must be libseccomp's answer.
//! - Of conflicting bounds and "not equal" with values above 32 bits the first stands, not the one that [`order`] says:
//!   there ours only has to be one of the answers.
//! - A bound or "not equal" that another condition of the same rule follows shares its later comparisons with other
//!   rules', and "at most" after another condition is read as "above" on 32-bit conventions: not in the profiles.
//! - Where the cheapest of the calls is one that the architecture lacks, its filter never loads the number: skipped.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libc::sock_filter;

use super::*;
use crate::plan::seccomp::{MACHINE, MACHINE_ARM64};
use crate::plan::syscalls::{ARM64, Multiplexed, NATIVE, Names};
use crate::plan::{SeccompArch, SeccompArg, SeccompOp, SeccompRule};

const PROFILES: usize = 2500;

/// The compiled C program, in a folder that goes with it.
struct Oracle(PathBuf);

impl Drop for Oracle {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Oracle {
    fn build(name: &str) -> Option<Self> {
        let required = std::env::var_os("MYRT_TEST_ORACLE").is_some();
        if !required && !Path::new("/usr/include/seccomp.h").exists() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("myrt-oracle-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let oracle = Self(folder);
        std::fs::write(oracle.0.join("oracle.c"), include_str!("oracle.c")).unwrap();
        let built = Command::new("cc")
            .args(["-O1", "-o", "oracle", "oracle.c", "-lseccomp"])
            .current_dir(&oracle.0)
            .output()
            .is_ok_and(|output| output.status.success());
        assert!(built || !required, "cc or libseccomp-dev is missing");
        built.then_some(oracle)
    }

    /// Gives lines, gets 32-bit words.
    fn ask(&self, lines: &str) -> Vec<u32> {
        std::fs::write(self.0.join("in"), lines).unwrap();
        let status = Command::new("./oracle").args(["in", "out"]).current_dir(&self.0).status().unwrap();
        assert!(status.success(), "{status}");
        let bytes = std::fs::read(self.0.join("out")).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }
}

/// xorshift64*: the same profiles each time.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.next(values.len())]
    }
}

const VALUES: &[u64] = &[0, 1, 2, 3, 5, 8, 0x40, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (1 << 32) + 5, !0];
const SMALL: &[u64] = VALUES.split_at(9).0;
const CALLS: &[&str] = &[
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
const DEFAULTS: &[SeccompAction] = &[
    SeccompAction::Allow,
    SeccompAction::Log,
    SeccompAction::Trace(9),
    SeccompAction::Errno(1),
    SeccompAction::Errno(38),
    SeccompAction::KillProcess,
    SeccompAction::Trap,
];
const ACTIONS: &[SeccompAction] = &[
    SeccompAction::Allow,
    SeccompAction::Errno(1),
    SeccompAction::Errno(13),
    SeccompAction::KillThread,
    SeccompAction::Notify,
    SeccompAction::Trace(1),
];
const OPERATORS: &[SeccompOp] = &[
    SeccompOp::NotEqual,
    SeccompOp::Less,
    SeccompOp::LessOrEqual,
    SeccompOp::Equal,
    SeccompOp::GreaterOrEqual,
    SeccompOp::Greater,
    SeccompOp::MaskedEqual,
];

/// One machine: its rows, its names, and the columns in the answers to `N`.
struct Machine {
    archs: &'static [SeccompArch],
    names: &'static Names,
    columns: &'static [usize],
    native: bool,
}

const X86_FAMILY: Machine = Machine { archs: MACHINE, names: &NATIVE, columns: &[0, 1, 2], native: true };
const ARM_FAMILY: Machine = Machine { archs: MACHINE_ARM64, names: &ARM64, columns: &[3, 4], native: false };

/// What one condition means.
fn holds(arg: &SeccompArg, args: &[u64; 6], wide: bool) -> bool {
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

fn condition(random: &mut Random, values: &[u64], index: u8, last: bool, alone: bool) -> SeccompArg {
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

fn profile(random: &mut Random, machine: &Machine) -> (plan::Seccomp, Vec<&'static str>) {
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

/// The profile in the oracle's words.
fn write(seccomp: &plan::Seccomp, machine: &Machine) -> String {
    let token = |arch: &SeccompArch| if arch.name == "SCMP_ARCH_X32" { 0x4000_003e } else { arch.audit };
    let default = return_value(seccomp.default_action);
    let mut text = format!("P {default}\n");
    // A filter needs one architecture at all times.
    for arch in &seccomp.architectures {
        writeln!(text, "A {}", token(arch)).unwrap();
    }
    if !machine.native {
        text.push_str("F\n");
    }
    for rule in seccomp.rules.iter().filter(|rule| return_value(rule.action) != default) {
        for call in &rule.calls {
            let name = machine.names.name(*call);
            write!(text, "R {} {name} {}", return_value(rule.action), rule.args.len()).unwrap();
            for arg in &rule.args {
                let op = OPERATORS.iter().position(|op| *op == arg.op).unwrap() + 1;
                write!(text, " {} {op} {} {}", arg.index, arg.value, arg.value_two).unwrap();
            }
            text.push('\n');
        }
    }
    text.push_str("E\n");
    text
}

/// runc's answer to calls newer than the profile, which libseccomp does not have.
fn newer(seccomp: &plan::Seccomp, names: &Names, call: &Call) -> bool {
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
fn meaning(seccomp: &plan::Seccomp, names: &Names, call: &Call) -> Option<Vec<u32>> {
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

fn calls_to_try(random: &mut Random, seccomp: &plan::Seccomp, machine: &Machine, names: &[&str]) -> Vec<Call> {
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

/// Whether an architecture's part starts with a comparison although nothing but the architecture was loaded.
fn forgets_the_number(code: &[sock_filter]) -> bool {
    let of_arch = |at: usize| code[at].code == 0x15 && (code[at].k & 0x4000_0000 != 0 || code[at].k == 0x8000_0016);
    let mut at = 1;
    while at < code.len() && of_arch(at) {
        if matches!(code[at + 1 + usize::from(code[at].jt)].code, 0x15 | 0x35) {
            return true;
        }
        at += 1 + usize::from(code[at].jf);
    }
    false
}

fn compare(name: &str, machine: &Machine, seed: u64) {
    let Some(oracle) = Oracle::build(name) else { return };
    let mut random = Random(seed);
    let profiles: Vec<_> = (0..PROFILES).map(|_| profile(&mut random, machine)).collect();
    let lines: String = profiles.iter().map(|(seccomp, _)| write(seccomp, machine)).collect();
    let answer = oracle.ask(&lines);
    let mut words = answer.into_iter();
    let (mut compared, mut refused, mut ours_refused, mut broken, mut wrong) = (0, 0, 0, 0, 0);
    for (seccomp, names) in &profiles {
        let (status, count) = (words.next().unwrap() as i32, words.next().unwrap());
        let theirs: Vec<sock_filter> = (0..count)
            .map(|_| {
                let (head, k) = (words.next().unwrap(), words.next().unwrap());
                sock_filter { code: head as u16, jt: (head >> 16) as u8, jf: (head >> 24) as u8, k }
            })
            .collect();
        let Ok(ours) = compile_with(seccomp, machine.names) else {
            ours_refused += 1;
            assert_ne!(status, 0, "only we refuse\n{}", write(seccomp, machine));
            continue;
        };
        if status != 0 {
            refused += 1;
            continue;
        }
        if forgets_the_number(&theirs) {
            broken += 1;
            continue;
        }
        for call in calls_to_try(&mut random, seccomp, machine, names) {
            let expected = if newer(seccomp, machine.names, &call) { ENOSYS } else { run(&theirs, &call) };
            let actual = run(&ours.code, &call);
            let said = seccomp.rules.iter().flat_map(|rule| &rule.args).map(|arg| arg.value | arg.value_two);
            let large = said.chain(call.args).any(|value| value >> 32 != 0);
            let meant = || meaning(seccomp, machine.names, &call).unwrap_or_default();
            let ours_holds =
                |meant: Vec<u32>| meant.contains(&actual) && (large || meant.iter().all(|value| *value == actual));
            if actual != expected && ours_holds(meant()) {
                wrong += 1;
                continue;
            }
            assert_eq!(
                actual,
                expected,
                "{actual:#x} and not {expected:#x} for {call:x?}\n{}",
                write(seccomp, machine)
            );
            compared += 1;
        }
    }
    println!(
        "{name}: {PROFILES} profiles, {compared} calls compared; {refused} profiles refused by libseccomp alone, \
         {ours_refused} by both, {broken} broken by libseccomp, which is wrong about {wrong} calls more"
    );
    assert!(compared > 100_000 && wrong < compared / 1000);
}

#[test]
fn x86_family_agrees_with_libseccomp() {
    compare("x86", &X86_FAMILY, 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn arm_family_agrees_with_libseccomp() {
    compare("arm", &ARM_FAMILY, 0xdead_beef_cafe_f00d);
}

/// The last number that every architecture had when libseccomp 2.5.4 came out (Linux 5.17).
const KNOWN_TO_LIBSECCOMP: i32 = 450;

#[test]
fn names_agree_with_libseccomp() {
    let Some(oracle) = Oracle::build("names") else { return };
    let mut wrong = Vec::new();
    for machine in [&X86_FAMILY, &ARM_FAMILY] {
        let all: Vec<_> = machine.names.all().collect();
        let lines: String = all.iter().map(|call| format!("N {}\n", machine.names.name(*call))).collect();
        let answer = oracle.ask(&lines);
        for (call, theirs) in all.iter().zip(answer.chunks_exact(5)) {
            for (arch, column) in machine.archs.iter().zip(machine.columns) {
                let ours = machine.names.number(*call, arch.column).map_or(-1, |number| (number + arch.offset) as i32);
                let theirs = theirs[*column] as i32;
                let pseudo = theirs < 0 && arch.multiplexers.is_some() && machine.names.multiplexed(*call).is_some();
                let newer = theirs == -1 || theirs < 0 && (ours - arch.offset as i32) > KNOWN_TO_LIBSECCOMP;
                if ours != theirs && !(ours < 0 && theirs < 0) && !pseudo && !newer {
                    wrong.push(format!("{} {}: {ours}, libseccomp {theirs}", arch.name, machine.names.name(*call)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
