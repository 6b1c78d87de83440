//! When and where the program runs: scheduler, I/O priority, CPUs, memory policy, personality.

use rustix::io::Errno;
use rustix::thread::CpuSet;

use crate::error::{Context, Error, Result};
use crate::plan::{MemoryPolicy, Process};
use crate::sys::sched;

/// Sets scheduler and I/O priority, while the rights for it are there.
///
/// # Errors
/// Names the field.
pub fn apply(process: &Process) -> Result<()> {
    if let Some(scheduler) = &process.scheduler {
        sched::set_attributes(scheduler).map_err(|errno| {
            let error = Error::call("process.scheduler: sched_setattr", errno);
            match errno {
                Errno::PERM => {
                    error.hint("this policy needs CAP_SYS_NICE, and on cgroup v1 a share of real-time runtime")
                }
                _ => error,
            }
        })?;
    }
    if let Some(priority) = process.io_priority {
        sched::set_io_priority(priority).context(|| "process.ioPriority: ioprio_set")?;
    }
    Ok(())
}

/// Sets what the whole container shares: personality and memory policy.
///
/// # Errors
/// Names the field.
pub fn apply_shared(personality: Option<u64>, policy: Option<&MemoryPolicy>) -> Result<()> {
    if let Some(personality) = personality {
        sched::set_personality(personality).context(|| "linux.personality: personality")?;
    }
    if let Some(policy) = policy {
        sched::set_memory_policy(policy).map_err(|errno| {
            Error::call("linux.memoryPolicy: set_mempolicy", errno)
                .hint("the nodes must exist and be allowed: see /sys/devices/system/node and the cgroup's cpuset.mems")
        })?;
    }
    Ok(())
}

/// Takes back what bound the caller to CPUs, such as a daemon under taskset(1): which ones a container uses is said by its
/// cpuset, and the kernel keeps a binding beyond the change of cgroup. To be called once the process is in its cgroup.
pub fn unbind() {
    // An outer filter may forbid it; then the container runs where its caller does.
    let _ = sched::unbind();
}

/// Binds this process to CPUs; `field` names who asks.
///
/// # Errors
/// Where none of them may be used.
pub fn bind_to(cpus: Option<&[u32]>, field: &str) -> Result<()> {
    let Some(cpus) = cpus else { return Ok(()) };
    let mut set = CpuSet::new();
    for cpu in cpus {
        if *cpu as usize >= CpuSet::MAX_CPU {
            return Err(Error::new(format!("{field}: CPU {cpu} does not exist")));
        }
        set.set(*cpu as usize);
    }
    rustix::thread::sched_setaffinity(None, &set).context(|| format!("{field}: sched_setaffinity {cpus:?}"))
}
