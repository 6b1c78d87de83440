//! A filter of system calls: the part of a plan that `seccomp` fills in.

use std::path::PathBuf;

use super::syscalls;

/// `linux.seccomp`, names resolved to rows of [`syscalls::NATIVE`].
#[derive(Clone, Debug, PartialEq)]
pub struct Seccomp {
    /// What happens where no rule matches.
    pub default_action: SeccompAction,
    /// Architectures that this machine's kernel can run, the native one first.
    pub architectures: Vec<SeccompArch>,
    /// SECCOMP_FILTER_FLAG_* bits that matter to a single thread, so without TSYNC.
    pub flags: u64,
    /// The rules, in order.
    pub rules: Vec<SeccompRule>,
    /// Where the descriptor of SCMP_ACT_NOTIFY goes.
    pub listener_path: Option<PathBuf>,
    /// What goes with it.
    pub listener_metadata: String,
}

/// One rule: the action holds for each system call where all the conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub struct SeccompRule {
    /// Its place in `linux.seccomp.syscalls`, for messages.
    pub index: usize,
    /// The system calls; names that no architecture of this machine has are left out.
    pub calls: Vec<syscalls::Call>,
    /// What happens.
    pub action: SeccompAction,
    /// All must hold; each argument at most once.
    pub args: Vec<SeccompArg>,
}

/// What a filter answers, seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeccompAction {
    /// SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD
    KillThread,
    /// SCMP_ACT_KILL_PROCESS
    KillProcess,
    /// SCMP_ACT_TRAP
    Trap,
    /// SCMP_ACT_ERRNO with its errno
    Errno(u16),
    /// SCMP_ACT_TRACE with its message
    Trace(u16),
    /// SCMP_ACT_ALLOW
    Allow,
    /// SCMP_ACT_LOG
    Log,
    /// SCMP_ACT_NOTIFY
    Notify,
}

/// One calling convention that a kernel serves: libseccomp's SCMP_ARCH_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompArch {
    /// Such as `SCMP_ARCH_X86_64`.
    pub name: &'static str,
    /// The AUDIT_ARCH_* number that the kernel puts into seccomp_data; x32 shares x86_64's.
    pub audit: u32,
    /// Column of the numbers in [`syscalls::Names`].
    pub column: usize,
    /// Whether arguments have 64 bits.
    pub wide: bool,
    /// What is added to each number; not 0 for x32 alone.
    pub offset: u32,
    /// The numbers of socketcall(2) and ipc(2), where they stand for several system calls.
    pub multiplexers: Option<(u16, u16)>,
}

/// One condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompArg {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub op: SeccompOp,
    /// With what; the mask for [`SeccompOp::MaskedEqual`].
    pub value: u64,
    /// The value behind the mask.
    pub value_two: u64,
}

/// SCMP_CMP_*.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeccompOp {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}
