//! `process.scheduler`, `ioPriority` and `execCPUAffinity`: names to the numbers of the system calls.

use crate::bail;
use crate::error::Result;

use super::{Scheduler, cpulist, spec};

const SCHED_DEADLINE: u32 = 6;

/// Policies (include/uapi/linux/sched.h). No released kernel has SCHED_ISO; the specification lists it all the same.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", SCHED_DEADLINE),
];

/// Flags of sched_setattr(2).
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// Classes of ioprio_set(2).
const IO_CLASSES: [(&str, u16); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
const IO_CLASS_SHIFT: u16 = 13;

/// Resolves `scheduler`; `field` is the path of `process`.
pub(super) fn scheduler(scheduler: &spec::Scheduler, field: &str) -> Result<Scheduler> {
    let Some(&(_, policy)) = POLICIES.iter().find(|(name, _)| *name == scheduler.policy) else {
        bail!("{field}.scheduler.policy: {:?} is no scheduling policy", scheduler.policy);
    };
    let mut flags = 0;
    for (index, wanted) in scheduler.flags.iter().enumerate() {
        let Some((_, bit)) = FLAGS.iter().find(|(name, _)| name == wanted) else {
            bail!("{field}.scheduler.flags[{index}]: {wanted:?} is no flag of sched_setattr(2)");
        };
        flags |= bit;
    }
    if !(-20..=19).contains(&scheduler.nice) {
        bail!("{field}.scheduler.nice: {} is not within -20 and 19", scheduler.nice);
    }
    let realtime = matches!(scheduler.policy.as_str(), "SCHED_FIFO" | "SCHED_RR");
    let priorities = if realtime { 1..=99 } else { 0..=0 };
    if !priorities.contains(&scheduler.priority) {
        let wanted =
            if realtime { "a priority from 1 to 99" } else { "none: priorities are for SCHED_FIFO and SCHED_RR" };
        bail!("{field}.scheduler.priority: {} where {} takes {wanted}", scheduler.priority, scheduler.policy);
    }
    let times = [("runtime", scheduler.runtime), ("deadline", scheduler.deadline), ("period", scheduler.period)];
    if let Some((name, _)) = times.iter().find(|(_, time)| *time != 0 && policy != SCHED_DEADLINE) {
        bail!("{field}.scheduler.{name}: only SCHED_DEADLINE takes one, not {}", scheduler.policy);
    }
    Ok(Scheduler {
        policy,
        flags,
        nice: scheduler.nice,
        priority: scheduler.priority as u32,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    })
}

/// Resolves `ioPriority` to the argument of ioprio_set(2).
pub(super) fn io_priority(io: &spec::IoPriority, field: &str) -> Result<u16> {
    let Some(&(_, class)) = IO_CLASSES.iter().find(|(name, _)| *name == io.class) else {
        bail!("{field}.ioPriority.class: {:?} is none of IOPRIO_CLASS_RT, _BE and _IDLE", io.class);
    };
    if !(0..=7).contains(&io.priority) {
        bail!("{field}.ioPriority.priority: {} is not within 0 and 7", io.priority);
    }
    Ok(class << IO_CLASS_SHIFT | io.priority as u16)
}

/// Resolves one list of `execCPUAffinity`; an empty one says nothing.
pub(super) fn affinity(list: &str, field: &str, name: &str) -> Result<Option<Vec<u32>>> {
    if list.is_empty() {
        return Ok(None);
    }
    cpulist::parse(list, &format!("{field}.execCPUAffinity.{name}")).map(Some)
}
