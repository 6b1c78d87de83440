//! `linux.seccomp`: names of actions, operators, flags, architectures and system calls to numbers.
//!
//! What becomes of the rules is decided in `security::seccomp`.

use std::path::PathBuf;

use crate::bail;
use crate::error::Result;

use super::{Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompOp, SeccompRule, spec, syscalls};

/// Flags of seccomp(2). TSYNC is accepted and needless: there is one thread when the filter is loaded.
pub const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];
/// Leaves the mitigation of speculative store bypass off. It is the default where the profile has no list of flags; an empty
/// list asks for none.
pub const SPEC_ALLOW: u64 = 1 << 2;
/// Means something only together with a listener; the kernel refuses it otherwise.
pub const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Names of actions, in the order of the specification.
pub const ACTIONS: [(&str, SeccompAction); 9] = [
    ("SCMP_ACT_KILL", SeccompAction::KillThread),
    ("SCMP_ACT_KILL_PROCESS", SeccompAction::KillProcess),
    ("SCMP_ACT_KILL_THREAD", SeccompAction::KillThread),
    ("SCMP_ACT_TRAP", SeccompAction::Trap),
    ("SCMP_ACT_ERRNO", SeccompAction::Errno(libc::EPERM as u16)),
    ("SCMP_ACT_TRACE", SeccompAction::Trace(libc::EPERM as u16)),
    ("SCMP_ACT_ALLOW", SeccompAction::Allow),
    ("SCMP_ACT_LOG", SeccompAction::Log),
    ("SCMP_ACT_NOTIFY", SeccompAction::Notify),
];

/// Names of operators.
pub const OPERATORS: [(&str, SeccompOp); 7] = [
    ("SCMP_CMP_NE", SeccompOp::NotEqual),
    ("SCMP_CMP_LT", SeccompOp::Less),
    ("SCMP_CMP_LE", SeccompOp::LessOrEqual),
    ("SCMP_CMP_EQ", SeccompOp::Equal),
    ("SCMP_CMP_GE", SeccompOp::GreaterOrEqual),
    ("SCMP_CMP_GT", SeccompOp::Greater),
    ("SCMP_CMP_MASKED_EQ", SeccompOp::MaskedEqual),
];

/// Names of architectures. Those that this machine's kernel cannot run are accepted and need no code in the filter:
/// the kernel never reports them.
pub const ARCHITECTURES: [&str; 19] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
];

/// What libseccomp calls "the architecture this runs on"; runc accepts it.
const NATIVE: &str = "SCMP_ARCH_NATIVE";
/// Known to newer versions of libseccomp, not to the specification.
const NEWER_ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH"];

const fn arch(name: &'static str, audit: u32, column: usize, wide: bool) -> SeccompArch {
    SeccompArch { name, audit, column, wide, offset: 0, multiplexers: None }
}

/// The architectures of one kernel, the native one first; columns as in [`syscalls::NATIVE`]. Numbers: AUDIT_ARCH_* of
/// include/uapi/linux/audit.h.
#[cfg(target_arch = "x86_64")]
pub const MACHINE: &[SeccompArch] = &[
    arch("SCMP_ARCH_X86_64", 0xc000_003e, 0, true),
    SeccompArch { multiplexers: Some((102, 117)), ..arch("SCMP_ARCH_X86", 0x4000_0003, 1, false) },
    SeccompArch { offset: 0x4000_0000, ..arch("SCMP_ARCH_X32", 0xc000_003e, 2, false) },
];
/// 64-bit ARM, whose kernel runs 32-bit programs as well.
#[cfg(any(target_arch = "aarch64", test))]
pub const MACHINE_ARM64: &[SeccompArch] =
    &[arch("SCMP_ARCH_AARCH64", 0xc000_00b7, 0, true), arch("SCMP_ARCH_ARM", 0x4000_0028, 1, false)];
#[cfg(target_arch = "aarch64")]
pub use MACHINE_ARM64 as MACHINE;
/// The architectures of this kernel.
#[cfg(target_arch = "x86")]
pub const MACHINE: &[SeccompArch] =
    &[SeccompArch { multiplexers: Some((102, 117)), ..arch("SCMP_ARCH_X86", 0x4000_0003, 0, false) }];
/// The architectures of this kernel.
#[cfg(target_arch = "arm")]
pub const MACHINE: &[SeccompArch] = &[arch("SCMP_ARCH_ARM", 0x4000_0028, 0, false)];
/// The architectures of this kernel.
#[cfg(target_arch = "riscv64")]
pub const MACHINE: &[SeccompArch] = &[arch("SCMP_ARCH_RISCV64", 0xc000_00f3, 0, true)];
/// The architectures of this kernel.
#[cfg(target_arch = "loongarch64")]
pub const MACHINE: &[SeccompArch] = &[arch("SCMP_ARCH_LOONGARCH64", 0xc000_0102, 0, true)];
/// The architectures of this kernel.
#[cfg(target_arch = "s390x")]
pub const MACHINE: &[SeccompArch] =
    &[SeccompArch { multiplexers: Some((102, 117)), ..arch("SCMP_ARCH_S390X", 0x8000_0016, 0, true) }];
/// The architectures of this kernel.
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
pub const MACHINE: &[SeccompArch] =
    &[SeccompArch { multiplexers: Some((102, 117)), ..arch("SCMP_ARCH_PPC64LE", 0xc000_0015, 0, true) }];
/// The architectures of this kernel.
#[cfg(all(target_arch = "powerpc64", target_endian = "big"))]
pub const MACHINE: &[SeccompArch] =
    &[SeccompArch { multiplexers: Some((102, 117)), ..arch("SCMP_ARCH_PPC64", 0x8000_0015, 0, true) }];

/// The largest errno that a system call can answer (include/linux/err.h).
const MAX_ERRNO: u32 = 4095;

impl Seccomp {
    /// Resolves `linux.seccomp`.
    ///
    /// # Errors
    /// For unknown names of anything but system calls, and for combinations that the specification or the kernel
    /// refuses.
    pub fn new(spec: &spec::Seccomp) -> Result<Self> {
        Self::for_machine(spec, MACHINE, &syscalls::NATIVE)
    }

    pub(crate) fn for_machine(spec: &spec::Seccomp, machine: &[SeccompArch], names: &syscalls::Names) -> Result<Self> {
        let default_action = action(&spec.default_action, spec.default_errno_ret, |errno| {
            if errno { "linux.seccomp.defaultErrnoRet" } else { "linux.seccomp.defaultAction" }.into()
        })?;
        let mut rules = Vec::with_capacity(spec.syscalls.len());
        for (index, rule) in spec.syscalls.iter().enumerate() {
            resolve_rule(rule, index, names, &mut rules)?;
        }
        let seccomp = Self {
            default_action,
            architectures: architectures(&spec.architectures, machine)?,
            flags: spec.flags.as_deref().map_or(Ok(SPEC_ALLOW), flags)?,
            rules,
            listener_path: spec.listener_path.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from),
            listener_metadata: spec.listener_metadata.clone().unwrap_or_default(),
        };
        seccomp.check_listener()?;
        Ok(seccomp)
    }

    /// Whether a rule hands system calls to a listener.
    pub fn uses_notify(&self) -> bool {
        self.rules.iter().any(|rule| rule.action == SeccompAction::Notify)
    }

    fn check_listener(&self) -> Result<()> {
        if self.default_action == SeccompAction::Notify {
            // The listener would have to answer the execve of the container's own program and everything before.
            bail!("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is for single system calls, not for all");
        }
        match &self.listener_path {
            Some(_) if !self.uses_notify() => Ok(()),
            None if self.uses_notify() => bail!("linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one"),
            None if !self.listener_metadata.is_empty() => {
                bail!("linux.seccomp.listenerMetadata: there is no listenerPath to send it to")
            }
            Some(path) if !path.is_absolute() => {
                bail!("linux.seccomp.listenerPath: {path:?} is not an absolute path")
            }
            _ => Ok(()),
        }
    }
}

fn resolve_rule(
    rule: &spec::SeccompRule,
    index: usize,
    names: &syscalls::Names,
    rules: &mut Vec<SeccompRule>,
) -> Result<()> {
    let field = || format!("linux.seccomp.syscalls[{index}]");
    if rule.names.is_empty() {
        bail!("{}.names: there is no system call in it", field());
    }
    let action = action(&rule.action, rule.errno_ret, |errno| {
        format!("{}.{}", field(), if errno { "errnoRet" } else { "action" })
    })?;
    let mut args = Vec::with_capacity(rule.args.len());
    for (place, arg) in rule.args.iter().enumerate() {
        let Some(&(_, op)) = OPERATORS.iter().find(|(name, _)| *name == arg.op) else {
            bail!("{}.args[{place}].op: {:?} is no operator", field(), arg.op);
        };
        if arg.index > 5 {
            bail!("{}.args[{place}].index: a system call has arguments 0 to 5, not {}", field(), arg.index);
        }
        args.push(SeccompArg { index: arg.index as u8, op, value: arg.value, value_two: arg.value_two });
    }
    let calls: Vec<_> = rule.names.iter().filter_map(|name| names.find(name)).collect();
    let twice = |arg: &SeccompArg| args.iter().filter(|other| other.index == arg.index).count() > 1;
    if args.iter().any(twice) {
        // libseccomp takes one condition an argument. Its callers, and so all profiles, have agreed on this: every
        // condition of such a rule becomes a rule of its own, "or" instead of "and".
        rules.extend(args.into_iter().map(|arg| SeccompRule { index, calls: calls.clone(), action, args: vec![arg] }));
    } else {
        args.sort_unstable_by_key(|arg| arg.index);
        rules.push(SeccompRule { index, calls, action, args });
    }
    Ok(())
}

/// `field` names the action, or with `true` the errno, in a refusal.
fn action(name: &str, errno: Option<u32>, field: impl Fn(bool) -> String) -> Result<SeccompAction> {
    let Some(&(_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        bail!("{}: {name:?} is no action of seccomp(2)", field(false));
    };
    let Some(errno) = errno else { return Ok(action) };
    match action {
        SeccompAction::Errno(_) if errno > MAX_ERRNO => bail!("{}: {errno} is above {MAX_ERRNO}", field(true)),
        SeccompAction::Errno(_) => Ok(SeccompAction::Errno(errno as u16)),
        SeccompAction::Trace(_) if errno > u32::from(u16::MAX) => bail!("{}: {errno} is above 65535", field(true)),
        SeccompAction::Trace(_) => Ok(SeccompAction::Trace(errno as u16)),
        _ => bail!("{}: {name} returns no errno", field(true)),
    }
}

/// The native architecture always counts, as libseccomp has it.
fn architectures(wanted: &[String], machine: &[SeccompArch]) -> Result<Vec<SeccompArch>> {
    for (index, name) in wanted.iter().enumerate() {
        let name = name.as_str();
        if !ARCHITECTURES.contains(&name) && name != NATIVE && !NEWER_ARCHITECTURES.contains(&name) {
            bail!("linux.seccomp.architectures[{index}]: {name:?} is no architecture");
        }
    }
    let chosen =
        machine.iter().enumerate().filter(|(place, row)| *place == 0 || wanted.iter().any(|name| name == row.name));
    Ok(chosen.map(|(_, row)| *row).collect())
}

fn flags(wanted: &[String]) -> Result<u64> {
    let mut flags = 0;
    for (index, wanted) in wanted.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == wanted) {
            Some((_, bit)) => flags |= bit,
            None => bail!("linux.seccomp.flags[{index}]: {wanted:?} is no flag of seccomp(2)"),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: serde_json::Value) -> Result<Seccomp> {
        Seccomp::new(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn each_refusal_names_its_field() {
        let rule = |rule: serde_json::Value| serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let refused = [
            (serde_json::json!({"defaultAction": "X"}), "linux.seccomp.defaultAction:"),
            (serde_json::json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction:"),
            (
                serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
                "linux.seccomp.defaultErrnoRet:",
            ),
            (serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}), "linux.seccomp.flags[0]:"),
            (
                serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}),
                "linux.seccomp.architectures[0]:",
            ),
            (
                serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
                "linux.seccomp.listenerMetadata:",
            ),
            (rule(serde_json::json!({"names": [], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names:"),
            (rule(serde_json::json!({"names": ["read"], "action": "X"})), "linux.seccomp.syscalls[0].action:"),
            (
                rule(serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000})),
                "linux.seccomp.syscalls[0].errnoRet:",
            ),
            (rule(serde_json::json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})), "linux.seccomp.listenerPath:"),
            (
                rule(
                    serde_json::json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "X"}]}),
                ),
                "linux.seccomp.syscalls[0].args[0].op:",
            ),
            (
                rule(serde_json::json!({"names": ["read"], "action": "SCMP_ACT_LOG",
                    "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]})),
                "linux.seccomp.syscalls[0].args[0].index:",
            ),
        ];
        for (json, start) in refused {
            let error = plan(json.clone()).expect_err(&json.to_string()).to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn two_conditions_on_one_argument_are_alternatives() {
        let seccomp = plan(serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{
            "names": ["socket", "unheard_of"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}],
        }]}))
        .unwrap();
        assert_eq!(seccomp.rules.len(), 2);
        assert_eq!(seccomp.rules[0].calls.len(), 1);
        assert_eq!(seccomp.flags, SPEC_ALLOW);
    }

    #[test]
    fn architectures_of_other_machines_need_no_code() {
        let json = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_PARISC"]});
        let names: Vec<_> = plan(json).unwrap().architectures.iter().map(|arch| arch.name).collect();
        assert!(!names.contains(&"SCMP_ARCH_S390X") || cfg!(target_arch = "s390x"));
        assert_eq!(names[0], MACHINE[0].name);
    }
}
