//! The seccomp profile of containers made from images, and of boxes: what no service needs and attackers do.
//!
//! Everything that the `syscalls` crate knows by name is allowed, but for the calls of [`DENIED`], which answer EPERM.
//! What is newer than that answers ENOSYS, so that programs fall back as on an older kernel. The reasons stand in the
//! table; a call leaves it when somebody shows what breaks.

use super::seccomp::{MACHINE, OPERATORS, SPEC_ALLOW};
use super::syscalls::{Call, Calls, NATIVE};
use super::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule, spec};

/// Why, and which.
const DENIED: [(&str, &[&str]); 12] = [
    (
        "the kernel itself: its modules, its image, its power",
        &[
            "create_module",
            "delete_module",
            "finit_module",
            "get_kernel_syms",
            "init_module",
            "kexec_file_load",
            "kexec_load",
            "query_module",
            "reboot",
        ],
    ),
    (
        "mounts: the runtime has made them all, and each new way of mounting had its escape",
        &[
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "pivot_root",
            "umount",
            "umount2",
        ],
    ),
    ("namespaces: a new user namespace opens most of the kernel to an attacker", &["setns", "unshare"]),
    ("handles of files lead around every mount (the shocker escape)", &["open_by_handle_at"]),
    ("keys are not divided by containers", &["add_key", "keyctl", "request_key"]),
    (
        "large interfaces with a record of holes, which the host alone should use",
        &[
            "bpf",
            "fanotify_init",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "lookup_dcookie",
            "perf_event_open",
            "userfaultfd",
            "vmsplice",
        ],
    ),
    (
        "the host's clock, log, accounting, quotas and swap",
        &[
            "acct",
            "clock_adjtime",
            "clock_adjtime64",
            "clock_settime",
            "clock_settime64",
            "quotactl",
            "quotactl_fd",
            "settimeofday",
            "stime",
            "swapoff",
            "swapon",
            "syslog",
        ],
    ),
    ("ports and the old virtual mode of x86", &["ioperm", "iopl", "modify_ldt", "vm86", "vm86old"]),
    ("the host's memory nodes", &["migrate_pages", "move_pages", "set_mempolicy_home_node"]),
    ("names of the machine belong to who made it", &["setdomainname", "sethostname", "vhangup"]),
    (
        "calls that no kernel serves any more, or that only very old programs know",
        &["_sysctl", "afs_syscall", "bdflush", "nfsservctl", "sysfs", "uselib", "ustat"],
    ),
    ("listeners and tracing of kernel functions", &["uprobe", "uretprobe"]),
];

/// Bits of clone(2) that make namespaces.
const NAMESPACES: [u64; 7] = [
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];

/// Personalities that programs ask for: Linux, with 32-bit addresses or an old version; and the question itself.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Families of sockets that lead to the hypervisor and into the kernel's cryptography.
const FAMILIES: [u64; 2] = [libc::AF_ALG as u64, libc::AF_VSOCK as u64];

/// Those whose rules look at arguments; clone3 hides its own in memory, and answers ENOSYS so that clone is used.
const WITH_CONDITIONS: [&str; 4] = ["clone", "clone3", "personality", "socket"];

/// The filter, for the architectures that this machine's kernel runs. Made of numbers alone: it is on the path of each box's
/// start.
pub fn filter() -> Seccomp {
    let calls = |names: &[&str]| -> Vec<Call> { names.iter().filter_map(|name| NATIVE.find(name)).collect() };
    let denied: Vec<Call> = DENIED.iter().flat_map(|(_, names)| calls(names)).collect();
    let special: Calls = denied.iter().copied().chain(calls(&WITH_CONDITIONS)).collect();
    let allowed = NATIVE.all().filter(|call| !special.has(*call)).collect();
    let refused = SeccompAction::Errno(libc::EPERM as u16);
    let mut rules = vec![rule(allowed, SeccompAction::Allow, None), rule(denied, refused, None)];
    let mut about = |name: &str, action, arg| rules.push(rule(calls(&[name]), action, Some(arg)));
    about("clone", SeccompAction::Allow, masked(NAMESPACES.iter().sum(), 0));
    NAMESPACES.iter().for_each(|bit| about("clone", refused, masked(*bit, *bit)));
    PERSONALITIES
        .iter()
        .for_each(|value| about("personality", SeccompAction::Allow, compared(SeccompOp::Equal, *value)));
    let [low, high] = FAMILIES;
    about("socket", SeccompAction::Allow, compared(SeccompOp::Less, low));
    (low + 1..high).for_each(|family| about("socket", SeccompAction::Allow, compared(SeccompOp::Equal, family)));
    about("socket", SeccompAction::Allow, compared(SeccompOp::Greater, high));
    let unknown = SeccompAction::Errno(libc::EAFNOSUPPORT as u16);
    FAMILIES.iter().for_each(|family| about("socket", unknown, compared(SeccompOp::Equal, *family)));
    rules.iter_mut().enumerate().for_each(|(index, rule)| rule.index = index);
    Seccomp {
        default_action: SeccompAction::Errno(libc::ENOSYS as u16),
        architectures: MACHINE.iter().filter(|arch| ARCHITECTURES.contains(&arch.name)).copied().collect(),
        flags: SPEC_ALLOW,
        rules,
        listener_path: None,
        listener_metadata: String::new(),
    }
}

/// The filter as a profile, for a config.json: `linux.seccomp`, each list of names sorted.
pub fn profile() -> spec::Seccomp {
    let Seccomp { default_action, architectures, rules, .. } = filter();
    let spelled = |action| match action {
        SeccompAction::Errno(errno) => ("SCMP_ACT_ERRNO".to_owned(), Some(u32::from(errno))),
        _ => ("SCMP_ACT_ALLOW".to_owned(), None),
    };
    let compared = |arg: SeccompArg| spec::SeccompArg {
        index: arg.index.into(),
        value: arg.value,
        value_two: arg.value_two,
        op: OPERATORS.iter().find(|(_, op)| *op == arg.op).map(|(name, _)| (*name).to_owned()).unwrap_or_default(),
    };
    let rule = |rule: SeccompRule| {
        let mut names: Vec<String> = rule.calls.iter().map(|call| NATIVE.name(*call).to_owned()).collect();
        names.sort_unstable();
        let (action, errno_ret) = spelled(rule.action);
        spec::SeccompRule { names, action, errno_ret, args: rule.args.into_iter().map(compared).collect() }
    };
    let (default_action, default_errno_ret) = spelled(default_action);
    spec::Seccomp {
        default_action,
        default_errno_ret,
        architectures: architectures.iter().map(|arch| arch.name.to_owned()).collect(),
        syscalls: rules.into_iter().map(rule).collect(),
        ..spec::Seccomp::default()
    }
}

/// The machine's own and its 32-bit one. x32 is not among them: nobody uses it, and it doubles what can be attacked.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
/// Elsewhere the machine's own.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: [&str; 1] = [MACHINE[0].name];

fn rule(calls: Vec<Call>, action: SeccompAction, arg: Option<SeccompArg>) -> SeccompRule {
    SeccompRule { index: 0, calls, action, args: arg.into_iter().collect() }
}

/// A comparison of the first argument.
fn compared(op: SeccompOp, value: u64) -> SeccompArg {
    SeccompArg { index: 0, op, value, value_two: 0 }
}

/// The first argument has these bits of the mask set and no others of it.
fn masked(mask: u64, bits: u64) -> SeccompArg {
    SeccompArg { index: 0, op: SeccompOp::MaskedEqual, value: mask, value_two: bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By name, so that the order of a list's calls is no difference.
    fn by_name(mut seccomp: Seccomp) -> Seccomp {
        seccomp.rules.iter_mut().for_each(|rule| rule.calls.sort_by_key(|call| NATIVE.name(*call)));
        seccomp
    }

    #[test]
    fn the_filter_is_what_its_profile_says() {
        assert_eq!(by_name(filter()), by_name(Seccomp::new(&profile()).unwrap()));
    }

    #[test]
    fn what_is_denied_is_a_call_and_is_not_allowed_elsewhere() {
        let profile = profile();
        let allowed = &profile.syscalls[0].names;
        assert!(allowed.len() > 300, "{}", allowed.len());
        for (_, names) in DENIED {
            for name in names {
                assert!(!allowed.iter().any(|allowed| allowed == name), "{name}");
            }
        }
        // A slip of the pen would deny nothing.
        let unknown: Vec<_> =
            DENIED.iter().flat_map(|(_, names)| *names).filter(|name| NATIVE.find(name).is_none()).collect();
        #[cfg(target_arch = "x86_64")]
        assert!(unknown.is_empty(), "{unknown:?}");
        #[cfg(not(target_arch = "x86_64"))]
        assert!(unknown.len() < 20, "{unknown:?}");
    }
}
