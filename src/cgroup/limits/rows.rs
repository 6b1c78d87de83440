//! The limits that are one value each: a row says where config.json has it and which file of v1 and of v2 takes it.

use super::convert::{io_weight, swap_alone, weight_of_shares};
use crate::bail;
use crate::error::Result;
use crate::plan::spec::{Cpu, Memory, Resources};

/// One limit of config.json.
pub(super) struct Row {
    /// Its name below `linux.resources.`.
    pub(super) field: &'static str,
    /// The controller's name on v1, and on v2 where it is another one.
    pub(super) controller: (&'static str, &'static str),
    /// The value as config.json says it; absent when it says nothing or, by custom, 0.
    pub(super) asked: fn(&Resources) -> Option<String>,
    pub(super) v1: Form,
    pub(super) v2: Form,
}

/// What one version of cgroups makes of a value.
pub(super) enum Form {
    /// This file takes it as it stands.
    Same(&'static str),
    /// This file takes what the function makes of it; nothing where that is covered by another row.
    Made(&'static str, fn(&Resources) -> Result<Option<String>>),
    /// The first of these files that exists takes what the function makes.
    First(&'static [Choice]),
    /// This file holds two words. Only the second is asked for, unless the function says that another row gives both.
    SecondWord(&'static str, fn(&Resources) -> bool),
    /// There is no such thing.
    Refused(&'static str),
    /// There is no such thing any more, and no harm in that.
    Pointless(&'static str),
}

/// A file that may exist, and the value for it.
type Choice = (&'static str, fn(&Resources) -> String);

use Form::{First, Made, Pointless, Refused, Same, SecondWord};

/// All of them. Order is the order of writing; a value that is refused because of one further down is tried again.
pub(super) const ROWS: &[Row] = &[
    Row {
        field: "memory.limit",
        controller: ("memory", "memory"),
        asked: |r| memory(r, |m| m.limit).map(text),
        v1: Same("memory.limit_in_bytes"),
        v2: Made("memory.max", |r| Ok(memory(r, |m| m.limit).map(or_max))),
    },
    Row {
        field: "memory.swap",
        controller: ("memory", "memory"),
        asked: |r| memory(r, |m| m.swap).or_else(|| memory(r, |m| m.limit).filter(|limit| *limit == -1)).map(text),
        v1: Same("memory.memsw.limit_in_bytes"),
        v2: Made("memory.swap.max", |r| {
            let said = |pick| memory(r, pick).unwrap_or(0);
            Ok(swap_alone(said(|m| m.swap), said(|m| m.limit))?.map(or_max))
        }),
    },
    Row {
        field: "memory.reservation",
        controller: ("memory", "memory"),
        asked: |r| memory(r, |m| m.reservation).map(text),
        v1: Same("memory.soft_limit_in_bytes"),
        v2: Made("memory.low", |r| Ok(memory(r, |m| m.reservation).map(or_max))),
    },
    Row {
        field: "memory.kernelTCP",
        controller: ("memory", "memory"),
        asked: |r| memory(r, |m| m.kernel_tcp).map(text),
        v1: Same("memory.kmem.tcp.limit_in_bytes"),
        v2: Pointless("cgroup v2 counts it in with memory.limit"),
    },
    Row {
        field: "memory.kernel",
        controller: ("memory", "memory"),
        asked: |r| memory(r, |m| m.kernel).map(text),
        v1: Pointless("the kernel counts it in with memory.limit"),
        v2: Pointless("the kernel counts it in with memory.limit"),
    },
    Row {
        field: "memory.swappiness",
        controller: ("memory", "memory"),
        asked: |r| r.memory.as_ref()?.swappiness.map(|value| value.to_string()),
        v1: Made("memory.swappiness", |r| match r.memory.as_ref().and_then(|m| m.swappiness) {
            Some(value @ 101..) => bail!("linux.resources.memory.swappiness: {value} is not between 0 and 100"),
            value => Ok(value.map(|value| value.to_string())),
        }),
        v2: Refused("cgroup v2 has no swappiness of a cgroup"),
    },
    Row {
        field: "memory.disableOOMKiller",
        controller: ("memory", "memory"),
        asked: |r| r.memory.as_ref()?.disable_oom_killer.map(|value| u8::from(value).to_string()),
        v1: Same("memory.oom_control"),
        v2: Refused("cgroup v2 cannot do without the OOM killer"),
    },
    Row {
        field: "memory.useHierarchy",
        controller: ("memory", "memory"),
        asked: |r| r.memory.as_ref()?.use_hierarchy.filter(|value| !value).map(|_| "0".to_owned()),
        v1: Pointless("the kernel always counts hierarchically"),
        v2: Pointless("the kernel always counts hierarchically"),
    },
    // An idle cgroup has no weight of its own and refuses one: weight first, idle after; the other way round it is the
    // second try that succeeds.
    Row {
        field: "cpu.shares",
        controller: ("cpu", "cpu"),
        asked: |r| cpu(r, |c| c.shares).map(|value| value.to_string()),
        v1: Made("cpu.shares", |r| match cpu(r, |c| c.shares) {
            Some(value @ (..2 | 262_145..)) => bail!("linux.resources.cpu.shares: {value} is not between 2 and 262144"),
            value => Ok(value.map(|value| value.to_string())),
        }),
        v2: Made("cpu.weight", |r| Ok(cpu(r, |c| c.shares).map(|value| weight_of_shares(value).to_string()))),
    },
    Row {
        field: "cpu.idle",
        controller: ("cpu", "cpu"),
        asked: |r| r.cpu.as_ref()?.idle.map(text),
        v1: Same("cpu.idle"),
        v2: Same("cpu.idle"),
    },
    Row {
        field: "cpu.period",
        controller: ("cpu", "cpu"),
        asked: |r| cpu(r, |c| c.period).map(|value| value.to_string()),
        v1: Same("cpu.cfs_period_us"),
        v2: SecondWord("cpu.max", |r| cpu_signed(r, |c| c.quota).is_some()),
    },
    Row {
        field: "cpu.quota",
        controller: ("cpu", "cpu"),
        asked: |r| cpu_signed(r, |c| c.quota).map(text),
        v1: Same("cpu.cfs_quota_us"),
        v2: Made("cpu.max", |r| {
            let quota = cpu_signed(r, |c| c.quota).map(|quota| if quota > 0 { text(quota) } else { "max".to_owned() });
            // Without a period the one that is there stays.
            let period = cpu(r, |c| c.period).map(|period| format!(" {period}")).unwrap_or_default();
            Ok(quota.map(|quota| quota + &period))
        }),
    },
    Row {
        field: "cpu.burst",
        controller: ("cpu", "cpu"),
        asked: |r| r.cpu.as_ref()?.burst.map(|value| value.to_string()),
        v1: Same("cpu.cfs_burst_us"),
        v2: Same("cpu.max.burst"),
    },
    Row {
        field: "cpu.realtimePeriod",
        controller: ("cpu", "cpu"),
        asked: |r| cpu(r, |c| c.realtime_period).map(|value| value.to_string()),
        v1: Same("cpu.rt_period_us"),
        v2: Refused("cgroup v2 has no limits for realtime processes"),
    },
    Row {
        field: "cpu.realtimeRuntime",
        controller: ("cpu", "cpu"),
        asked: |r| cpu_signed(r, |c| c.realtime_runtime).map(text),
        v1: Same("cpu.rt_runtime_us"),
        v2: Refused("cgroup v2 has no limits for realtime processes"),
    },
    Row {
        field: "cpu.cpus",
        controller: ("cpuset", "cpuset"),
        asked: |r| r.cpu.as_ref()?.cpus.clone().filter(|list| !list.is_empty()),
        v1: Same("cpuset.cpus"),
        v2: Same("cpuset.cpus"),
    },
    Row {
        field: "cpu.mems",
        controller: ("cpuset", "cpuset"),
        asked: |r| r.cpu.as_ref()?.mems.clone().filter(|list| !list.is_empty()),
        v1: Same("cpuset.mems"),
        v2: Same("cpuset.mems"),
    },
    Row {
        field: "pids.limit",
        controller: ("pids", "pids"),
        asked: |r| r.pids.as_ref()?.limit.map(|limit| if limit > 0 { text(limit) } else { "max".to_owned() }),
        v1: Same("pids.max"),
        v2: Same("pids.max"),
    },
    Row {
        field: "blockIO.weight",
        controller: ("blkio", "io"),
        asked: |r| io(r).map(|weight| weight.to_string()),
        v1: First(&[("blkio.bfq.weight", |r| plain(io(r))), ("blkio.weight", |r| plain(io(r)))]),
        v2: First(&[("io.bfq.weight", |r| plain(io(r))), ("io.weight", |r| plain(io(r).map(io_weight)))]),
    },
    Row {
        field: "blockIO.leafWeight",
        controller: ("blkio", "io"),
        asked: |r| r.block_io.as_ref()?.leaf_weight.filter(|weight| *weight != 0).map(|weight| weight.to_string()),
        v1: Same("blkio.leaf_weight"),
        v2: Refused("cgroup v2 has no leaf weights"),
    },
    Row {
        field: "network.classID",
        controller: ("net_cls", "net_cls"),
        asked: |r| r.network.as_ref()?.class_id.filter(|id| *id != 0).map(|id| id.to_string()),
        v1: Same("net_cls.classid"),
        v2: Refused("cgroup v2 has no net_cls controller"),
    },
];

fn memory(r: &Resources, pick: fn(&Memory) -> Option<i64>) -> Option<i64> {
    r.memory.as_ref().and_then(pick).filter(|value| *value != 0)
}

fn cpu(r: &Resources, pick: fn(&Cpu) -> Option<u64>) -> Option<u64> {
    r.cpu.as_ref().and_then(pick).filter(|value| *value != 0)
}

fn cpu_signed(r: &Resources, pick: fn(&Cpu) -> Option<i64>) -> Option<i64> {
    r.cpu.as_ref().and_then(pick).filter(|value| *value != 0)
}

fn io(r: &Resources) -> Option<u16> {
    r.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0)
}

fn text(value: i64) -> String {
    value.to_string()
}

fn plain(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A number of bytes for v2, where unlimited is a word.
fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
