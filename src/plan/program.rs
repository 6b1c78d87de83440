//! What runs, as whom, and with which rights: the part of a plan that `process`, `memory` and `schedule` fill in.

use std::ffi::OsString;
use std::path::PathBuf;

/// `process`: what runs, as whom, and with which rights.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Whether it gets a new pseudo-terminal.
    pub terminal: bool,
    /// Rows and columns of that terminal.
    pub console_size: Option<(u16, u16)>,
    /// User id, as the process sees it.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
    /// umask(2), if said.
    pub umask: Option<u32>,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// The caller's supplementary groups stay and `additional_gids` are not set; an annotation of the container says so
    /// ([`super::process::keeps_groups`]), hence never this object itself.
    pub keep_groups: bool,
    /// Program and arguments; never empty. Bytes: those of config.json are UTF-8, those that a person types may be any.
    pub args: Vec<OsString>,
    /// Environment, `NAME=value` each.
    pub env: Vec<OsString>,
    /// Working folder, absolute.
    pub cwd: PathBuf,
    /// The five sets; all empty when config.json says nothing, as runc and crun understand silence.
    pub capabilities: Capabilities,
    /// Resource limits, each resource once.
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// AppArmor profile to enter at the exec.
    pub apparmor_profile: Option<String>,
    /// SELinux label of the exec.
    pub selinux_label: Option<String>,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): class in the upper bits, priority in the lower.
    pub io_priority: Option<u16>,
    /// CPUs of the runtime's own process until the exec.
    pub affinity_initial: Option<Vec<u32>>,
    /// CPUs of the program.
    pub affinity_final: Option<Vec<u32>>,
    /// What was tolerated and is worth a line in the log, such as a capability that nobody knows.
    pub warnings: Vec<String>,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// RLIMIT_* number.
    pub resource: u32,
    /// Its name in config.json, for messages.
    pub name: &'static str,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Bit sets of capabilities: bit n is the capability with number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    #[allow(missing_docs, reason = "the names of capabilities(7)")]
    pub bounding: u64,
    #[allow(missing_docs, reason = "the names of capabilities(7)")]
    pub effective: u64,
    #[allow(missing_docs, reason = "the names of capabilities(7)")]
    pub inheritable: u64,
    #[allow(missing_docs, reason = "the names of capabilities(7)")]
    pub permitted: u64,
    #[allow(missing_docs, reason = "the names of capabilities(7)")]
    pub ambient: u64,
}

/// The arguments of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// SCHED_* number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// Nice value, of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority, of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, of SCHED_DEADLINE.
    pub period: u64,
}

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// MPOL_* number with its mode flags.
    pub mode: u32,
    /// NUMA nodes.
    pub nodes: Vec<u32>,
}
