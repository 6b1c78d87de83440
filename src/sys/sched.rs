//! sched_setattr(2), sched_setaffinity(2), ioprio_set(2), set_mempolicy(2), personality(2).

use rustix::io::Errno;

use super::check;
use crate::plan::{MemoryPolicy, Scheduler};

/// struct sched_attr of Linux 5.3 (include/uapi/linux/sched/types.h, SCHED_ATTR_SIZE_VER1): the kernel refuses the flags
/// for utilization clamps in a smaller one.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// "As the system has it". The specification has flags for utilization clamps, and no field for their values.
const NO_CLAMP: u32 = u32::MAX;

/// Sets the scheduling of this process.
///
/// # Errors
/// The errno of sched_setattr(2), bare.
pub fn set_attributes(scheduler: &Scheduler) -> Result<(), Errno> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        util_min: NO_CLAMP,
        util_max: NO_CLAMP,
    };
    // SAFETY: the kernel reads as many bytes as `size` says, all of them ours.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) }).map(drop)
}

/// Lets this process run on every CPU that its cgroup allows, whatever its caller was bound to.
///
/// # Errors
/// The errno of sched_setaffinity(2), bare.
pub fn unbind() -> Result<(), Errno> {
    // More bits than any kernel has CPUs (CONFIG_NR_CPUS); it reads as many as it knows.
    const ALL: [u64; 128] = [u64::MAX; 128];
    // SAFETY: the kernel reads at most as many bytes as are said, all of them ours.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&ALL), ALL.as_ptr()) }).map(drop)
}

/// Sets the I/O priority of this process: class in the upper three bits.
///
/// # Errors
/// The errno of ioprio_set(2), bare.
pub fn set_io_priority(priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, i32::from(priority)) }).map(drop)
}

/// Sets the memory policy of this process; its children inherit it.
///
/// # Errors
/// The errno of set_mempolicy(2), bare.
pub fn set_memory_policy(policy: &MemoryPolicy) -> Result<(), Errno> {
    let bits = u64::BITS as usize;
    let words = policy.nodes.iter().max().map_or(0, |last| *last as usize / bits + 1);
    let mut mask = vec![0_u64; words];
    for node in &policy.nodes {
        mask[*node as usize / bits] |= 1 << (*node as usize % bits);
    }
    // The kernel reads one bit less than it is told (set_mempolicy(2), NOTES of get_mempolicy).
    let count = if words == 0 { 0 } else { words * bits + 1 };
    let pointer = if words == 0 { std::ptr::null() } else { mask.as_ptr() };
    // SAFETY: the mask has the bits that are said; the one more is never read.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, policy.mode as i32, pointer, count) }).map(drop)
}

/// Sets the execution domain.
///
/// # Errors
/// The errno of personality(2), bare.
pub fn set_personality(personality: u64) -> Result<(), Errno> {
    // SAFETY: a number only.
    check(unsafe { libc::syscall(libc::SYS_personality, personality) }).map(drop)
}
