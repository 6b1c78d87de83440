//! Statistics of a container's cgroups, in the shape of `events --stats`: the JSON keys are runc's, times are nanoseconds,
//! sizes bytes. What a controller that is missing would say is 0 or left out.

mod parse;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::Record;
use crate::error::Result;

/// Declares structs of the JSON, with runc's choice of which fields are left out when they are zero.
macro_rules! json {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal $($lean:literal)?,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct $name {
            $($(#[$field_meta])*
            #[serde(rename = $key $(, skip_serializing_if = $lean)?)]
            pub $field: $type,)*
        }
    )*};
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

json! {
    /// The whole: `data` of an event of type `stats`.
    Stats {
        /// Processor time.
        cpu: Cpu = "cpu",
        /// Processors and memory nodes that may be used (v1).
        cpuset: Cpuset = "cpuset",
        /// Memory.
        memory: Memory = "memory",
        /// Number of processes.
        pids: Pids = "pids",
        /// Block devices.
        blkio: Blkio = "blkio",
        /// Huge pages, by size.
        hugetlb: BTreeMap<String, Hugetlb> = "hugetlb",
        /// Cache and memory bandwidth; filled in by whoever manages resctrl.
        intel_rdt: BTreeMap<String, String> = "intel_rdt",
        /// Network interfaces; filled in by whoever sees them.
        network_interfaces: Vec<NetworkInterface> = "network_interfaces",
    }

    /// Processor time.
    Cpu {
        /// What was used.
        usage: CpuUsage = "usage",
        /// What was held back.
        throttling: Throttling = "throttling",
        /// Stalls.
        psi: Option<Psi> = "psi" "is_zero",
    }

    /// Processor time used, in nanoseconds.
    CpuUsage {
        /// All of it.
        total: u64 = "total" "is_zero",
        /// By CPU (v1).
        percpu: Vec<u64> = "percpu" "is_zero",
        /// By CPU, in the kernel (v1).
        percpu_kernel: Vec<u64> = "percpu_kernel" "is_zero",
        /// By CPU, in programs (v1).
        percpu_user: Vec<u64> = "percpu_user" "is_zero",
        /// In the kernel.
        kernel: u64 = "kernel",
        /// In programs.
        user: u64 = "user",
    }

    /// Being held back by a quota.
    Throttling {
        /// Periods that have passed.
        periods: u64 = "periods" "is_zero",
        /// Periods in which the quota was used up.
        throttled_periods: u64 = "throttledPeriods" "is_zero",
        /// Nanoseconds of waiting for the next period.
        throttled_time: u64 = "throttledTime" "is_zero",
    }

    /// Pressure stall information (the kernel's accounting/psi.rst).
    Psi {
        /// Some task waited.
        some: PsiData = "some",
        /// All tasks waited.
        full: PsiData = "full",
    }

    /// One line of a pressure file: shares of time in per cent, and microseconds in total.
    PsiData {
        /// Over ten seconds.
        avg10: f64 = "avg10",
        /// Over a minute.
        avg60: f64 = "avg60",
        /// Over five minutes.
        avg300: f64 = "avg300",
        /// Microseconds since the cgroup was made.
        total: u64 = "total",
    }

    /// A v1 cpuset.
    Cpuset {
        /// Processors.
        cpus: Vec<u16> = "cpus" "is_zero",
        /// cpuset.cpu_exclusive
        cpu_exclusive: u64 = "cpu_exclusive",
        /// Memory nodes.
        mems: Vec<u16> = "mems" "is_zero",
        /// cpuset.mem_hardwall
        mem_hardwall: u64 = "mem_hardwall",
        /// cpuset.mem_exclusive
        mem_exclusive: u64 = "mem_exclusive",
        /// cpuset.memory_migrate
        memory_migrate: u64 = "memory_migrate",
        /// cpuset.memory_spread_page
        memory_spread_page: u64 = "memory_spread_page",
        /// cpuset.memory_spread_slab
        memory_spread_slab: u64 = "memory_spread_slab",
        /// cpuset.memory_pressure
        memory_pressure: u64 = "memory_pressure",
        /// cpuset.sched_load_balance
        sched_load_balance: u64 = "sched_load_balance",
        /// cpuset.sched_relax_domain_level
        sched_relax_domain_level: i64 = "sched_relax_domain_level",
    }

    /// Memory, in bytes.
    Memory {
        /// Page cache.
        cache: u64 = "cache" "is_zero",
        /// All memory.
        usage: MemoryEntry = "usage",
        /// Memory and swap together, as v1 counts.
        swap: MemoryEntry = "swap",
        /// Kernel memory (v1).
        kernel: MemoryEntry = "kernel",
        /// TCP buffers (v1).
        kernel_tcp: MemoryEntry = "kernelTCP",
        /// memory.stat as it stands.
        raw: BTreeMap<String, u64> = "raw" "is_zero",
        /// Stalls.
        psi: Option<Psi> = "psi" "is_zero",
        /// memory.events (v2).
        event_count: MemoryEvents = "event_count",
    }

    /// One kind of memory.
    MemoryEntry {
        /// The limit; the largest number where there is none (v2).
        limit: u64 = "limit",
        /// In use.
        usage: u64 = "usage" "is_zero",
        /// The peak.
        max: u64 = "max" "is_zero",
        /// How often the limit was hit (v1).
        failcnt: u64 = "failcnt",
    }

    /// memory.events of v2.
    MemoryEvents {
        /// Reclaimed below memory.low.
        low: u64 = "low" "is_zero",
        /// Throttled at memory.high.
        high: u64 = "high" "is_zero",
        /// The limit was about to be passed.
        max: u64 = "max" "is_zero",
        /// The limit was reached and nothing could be reclaimed.
        oom: u64 = "oom" "is_zero",
        /// Processes killed.
        oom_kill: u64 = "oom_kill" "is_zero",
        /// Whole cgroups killed.
        oom_group_kill: u64 = "oom_group_kill" "is_zero",
    }

    /// Number of processes.
    Pids {
        /// Now.
        current: u64 = "current" "is_zero",
        /// The limit; 0 where there is none.
        limit: u64 = "limit" "is_zero",
    }

    /// Block devices.
    Blkio {
        /// Bytes.
        io_service_bytes: Vec<BlkioEntry> = "ioServiceBytesRecursive" "is_zero",
        /// Operations.
        io_serviced: Vec<BlkioEntry> = "ioServicedRecursive" "is_zero",
        /// Operations that wait (v1).
        io_queued: Vec<BlkioEntry> = "ioQueueRecursive" "is_zero",
        /// Nanoseconds of service (v1).
        io_service_time: Vec<BlkioEntry> = "ioServiceTimeRecursive" "is_zero",
        /// Nanoseconds of waiting (v1).
        io_wait_time: Vec<BlkioEntry> = "ioWaitTimeRecursive" "is_zero",
        /// Merged operations (v1).
        io_merged: Vec<BlkioEntry> = "ioMergedRecursive" "is_zero",
        /// Milliseconds of disk time (v1).
        io_time: Vec<BlkioEntry> = "ioTimeRecursive" "is_zero",
        /// Sectors (v1).
        sectors: Vec<BlkioEntry> = "sectorsRecursive" "is_zero",
        /// Stalls.
        psi: Option<Psi> = "psi" "is_zero",
    }

    /// One number of one block device.
    BlkioEntry {
        /// Major number.
        major: u64 = "major" "is_zero",
        /// Minor number.
        minor: u64 = "minor" "is_zero",
        /// `Read`, `Write` and others.
        op: String = "op" "is_zero",
        /// The number.
        value: u64 = "value" "is_zero",
    }

    /// Huge pages of one size, in bytes.
    Hugetlb {
        /// In use.
        usage: u64 = "usage" "is_zero",
        /// The peak (v1).
        max: u64 = "max" "is_zero",
        /// How often the limit was hit.
        failcnt: u64 = "failcnt",
    }

    /// One network interface.
    NetworkInterface {
        /// Its name.
        name: String = "Name",
        /// Bytes received.
        rx_bytes: u64 = "RxBytes",
        /// Packets received.
        rx_packets: u64 = "RxPackets",
        /// Errors receiving.
        rx_errors: u64 = "RxErrors",
        /// Packets dropped receiving.
        rx_dropped: u64 = "RxDropped",
        /// Bytes sent.
        tx_bytes: u64 = "TxBytes",
        /// Packets sent.
        tx_packets: u64 = "TxPackets",
        /// Errors sending.
        tx_errors: u64 = "TxErrors",
        /// Packets dropped sending.
        tx_dropped: u64 = "TxDropped",
    }
}

/// Reads them all. On a hybrid host each controller is read where it is, and pressure from the v2 tree.
pub(super) fn read(record: &Record) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(tree) = record.v2() {
        v2::read(&tree.folder(), &mut stats)?;
    }
    v1::read(record, &mut stats)?;
    Ok(stats)
}
