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

use super::profiles::{ARM_FAMILY, Machine, OPERATORS, Random, X86_FAMILY, calls_to_try, meaning, newer, profile};
use super::*;
use crate::plan::SeccompArch;

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

/// The profile in the oracle's words.
pub fn write(seccomp: &plan::Seccomp, machine: &Machine) -> String {
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
                let lacking = ours < 0 && theirs < 0;
                if !(ours == theirs || lacking || pseudo || newer) {
                    wrong.push(format!("{} {}: {ours}, libseccomp {theirs}", arch.name, machine.names.name(*call)));
                }
            }
        }
    }
    // And the other way round: each number that libseccomp has a name for is found by that name.
    let numbers: Vec<u32> = (0..600).collect();
    let answer = oracle.ask(&numbers.iter().map(|number| format!("M {number}\n")).collect::<String>());
    let words: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let columns = [(&X86_FAMILY, 0), (&X86_FAMILY, 1), (&X86_FAMILY, 2), (&ARM_FAMILY, 0), (&ARM_FAMILY, 1)];
    for (number, names) in numbers.iter().zip(words.chunks_exact(5 * 32)) {
        for ((machine, place), name) in columns.iter().zip(names.chunks_exact(32)) {
            let name = std::str::from_utf8(name).unwrap().trim_end_matches('\0');
            let arch = &machine.archs[*place];
            let ours = machine.names.find(name).and_then(|call| machine.names.number(call, arch.column));
            if !name.is_empty() && ours != Some(*number) {
                wrong.push(format!("{} {name}: {ours:?}, libseccomp {number}", arch.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
