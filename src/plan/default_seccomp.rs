//! The seccomp profile of containers made from images, and of boxes: what no service needs and attackers do.
//!
//! Everything that the `syscalls` crate knows by name is allowed, but for the calls of [`DENIED`], which answer EPERM.
//! What is newer than that answers ENOSYS, so that programs fall back as on an older kernel. The reasons stand in the
//! table; a call leaves it when somebody shows what breaks.

use super::spec::{Seccomp, SeccompArg, SeccompRule};
use super::syscalls::NATIVE;

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

/// The profile, for the architectures that this machine's kernel runs.
pub fn profile() -> Seccomp {
    let denied: Vec<&str> = DENIED.iter().flat_map(|(_, names)| *names).copied().collect();
    let special = |name: &&str| denied.contains(name) || WITH_CONDITIONS.contains(name);
    let mut allowed: Vec<&str> = NATIVE.all().map(|call| NATIVE.name(call)).filter(|name| !special(name)).collect();
    allowed.sort_unstable();
    let permission = Some(libc::EPERM as u32);
    let mut rules = vec![rule(&allowed, ALLOW, None, None), rule(&denied, ERRNO, permission, None)];
    let all = NAMESPACES.iter().sum();
    rules.push(rule(&["clone"], ALLOW, None, Some(masked(all, 0))));
    rules.extend(NAMESPACES.map(|bit| rule(&["clone"], ERRNO, permission, Some(masked(bit, bit)))));
    rules.extend(PERSONALITIES.map(|value| rule(&["personality"], ALLOW, None, Some(compared("SCMP_CMP_EQ", value)))));
    let [low, high] = FAMILIES;
    rules.push(rule(&["socket"], ALLOW, None, Some(compared("SCMP_CMP_LT", low))));
    rules.extend((low + 1..high).map(|family| rule(&["socket"], ALLOW, None, Some(compared("SCMP_CMP_EQ", family)))));
    rules.push(rule(&["socket"], ALLOW, None, Some(compared("SCMP_CMP_GT", high))));
    let unknown_family = Some(libc::EAFNOSUPPORT as u32);
    rules
        .extend(FAMILIES.map(|family| rule(&["socket"], ERRNO, unknown_family, Some(compared("SCMP_CMP_EQ", family)))));
    Seccomp {
        default_action: ERRNO.to_owned(),
        default_errno_ret: Some(libc::ENOSYS as u32),
        architectures: ARCHITECTURES.map(str::to_owned).to_vec(),
        syscalls: rules,
        ..Seccomp::default()
    }
}

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";

/// The machine's own and its 32-bit one. x32 is not among them: nobody uses it, and it doubles what can be attacked.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
/// Elsewhere none is named, which means the machine's own.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: [&str; 0] = [];

fn rule(names: &[&str], action: &str, errno_ret: Option<u32>, arg: Option<SeccompArg>) -> SeccompRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    SeccompRule { names, action: action.to_owned(), errno_ret, args: arg.into_iter().collect() }
}

/// A comparison of the first argument.
fn compared(op: &str, value: u64) -> SeccompArg {
    SeccompArg { index: 0, value, value_two: 0, op: op.to_owned() }
}

/// The first argument has these bits of the mask set and no others of it.
fn masked(mask: u64, bits: u64) -> SeccompArg {
    SeccompArg { index: 0, value: mask, value_two: bits, op: "SCMP_CMP_MASKED_EQ".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
