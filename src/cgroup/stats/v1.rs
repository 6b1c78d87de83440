//! Statistics of v1 cgroups (the kernel's cgroup-v1 folder of documents).

use std::path::Path;

use super::parse::{amount, list, number, page_sizes, table, text};
use super::{Blkio, BlkioEntry, Hugetlb, MemoryEntry, Stats};
use crate::cgroup::record::{Record, Tree};
use crate::error::Result;

/// A controller and what reads it.
type Reader = (&'static str, fn(&Path, &mut Stats) -> Result<()>);

const READERS: [Reader; 7] = [
    ("cpuacct", cpuacct),
    ("cpu", cpu),
    ("cpuset", cpuset),
    ("memory", memory),
    ("pids", pids),
    ("blkio", blkio),
    ("hugetlb", hugetlb),
];

pub(super) fn read(record: &Record, stats: &mut Stats) -> Result<()> {
    for (controller, reader) in READERS {
        if let Some(folder) = record.v1(controller).map(Tree::folder) {
            reader(&folder, stats)?;
        }
    }
    Ok(())
}

fn cpuacct(folder: &Path, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = number(folder, "cpuacct.usage")?;
    usage.user = number(folder, "cpuacct.usage_user")?;
    usage.kernel = number(folder, "cpuacct.usage_sys")?;
    usage.percpu.clear();
    usage.percpu_user.clear();
    usage.percpu_kernel.clear();
    // Lines of CPU, user and system time, after a heading.
    for line in text(folder, "cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut numbers = line.split(' ').skip(1).map(amount);
        let (user, kernel) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        usage.percpu_user.push(user);
        usage.percpu_kernel.push(kernel);
        usage.percpu.push(user + kernel);
    }
    Ok(())
}

fn cpu(folder: &Path, stats: &mut Stats) -> Result<()> {
    let table = table(folder, "cpu.stat")?;
    let value = |key: &str| table.get(key).copied().unwrap_or(0);
    stats.cpu.throttling.periods = value("nr_periods");
    stats.cpu.throttling.throttled_periods = value("nr_throttled");
    stats.cpu.throttling.throttled_time = value("throttled_time");
    Ok(())
}

fn cpuset(folder: &Path, stats: &mut Stats) -> Result<()> {
    let set = &mut stats.cpuset;
    let read = |name: &str| number(folder, &format!("cpuset.{name}"));
    set.cpus = list(&text(folder, "cpuset.cpus")?.unwrap_or_default());
    set.mems = list(&text(folder, "cpuset.mems")?.unwrap_or_default());
    set.cpu_exclusive = read("cpu_exclusive")?;
    set.mem_hardwall = read("mem_hardwall")?;
    set.mem_exclusive = read("mem_exclusive")?;
    set.memory_migrate = read("memory_migrate")?;
    set.memory_spread_page = read("memory_spread_page")?;
    set.memory_spread_slab = read("memory_spread_slab")?;
    set.memory_pressure = read("memory_pressure")?;
    set.sched_load_balance = read("sched_load_balance")?;
    let level = text(folder, "cpuset.sched_relax_domain_level")?.unwrap_or_default();
    set.sched_relax_domain_level = level.trim().parse().unwrap_or(0);
    Ok(())
}

fn memory(folder: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = table(folder, "memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    let entry = |name: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(folder, &format!("memory{name}.limit_in_bytes"))?,
            usage: number(folder, &format!("memory{name}.usage_in_bytes"))?,
            max: number(folder, &format!("memory{name}.max_usage_in_bytes"))?,
            failcnt: number(folder, &format!("memory{name}.failcnt"))?,
        })
    };
    memory.usage = entry("")?;
    memory.swap = entry(".memsw")?;
    memory.kernel = entry(".kmem")?;
    memory.kernel_tcp = entry(".kmem.tcp")?;
    Ok(())
}

fn pids(folder: &Path, stats: &mut Stats) -> Result<()> {
    stats.pids.current = number(folder, "pids.current")?;
    let limit = number(folder, "pids.max")?;
    stats.pids.limit = if limit == u64::MAX { 0 } else { limit };
    Ok(())
}

fn blkio(folder: &Path, stats: &mut Stats) -> Result<()> {
    let psi = stats.blkio.psi.take();
    // The scheduler's own numbers where it keeps some, then those of throttling, which count everything.
    let read = |name: &str| -> Result<Vec<BlkioEntry>> {
        for file in [
            format!("blkio.bfq.{name}_recursive"),
            format!("blkio.{name}_recursive"),
            format!("blkio.throttle.{name}_recursive"),
        ] {
            let entries = entries(&text(folder, &file)?.unwrap_or_default());
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    };
    stats.blkio = Blkio {
        io_service_bytes: read("io_service_bytes")?,
        io_serviced: read("io_serviced")?,
        io_queued: read("io_queued")?,
        io_service_time: read("io_service_time")?,
        io_wait_time: read("io_wait_time")?,
        io_merged: read("io_merged")?,
        io_time: read("time")?,
        sectors: read("sectors")?,
        psi,
    };
    Ok(())
}

/// Lines such as `8:0 Read 4096` or `8:0 77`; those of totals have no device.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = words.next()?.split_once(':')?;
        let (op, value) = match (words.next()?, words.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry { major: amount(major), minor: amount(minor), op: op.to_owned(), value: amount(value) })
    };
    text.lines().filter_map(entry).collect()
}

fn hugetlb(folder: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes() {
        let Some(usage) = text(folder, &format!("hugetlb.{size}.usage_in_bytes"))? else { continue };
        let max = number(folder, &format!("hugetlb.{size}.max_usage_in_bytes"))?;
        let failcnt = number(folder, &format!("hugetlb.{size}.failcnt"))?;
        stats.hugetlb.insert(size, Hugetlb { usage: amount(usage.trim()), max, failcnt });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_blkio() {
        let all = entries("8:0 Read 4096\n8:16 77\n8:0 Total 4096\nTotal 4096\n");
        let rows: Vec<_> = all.iter().map(|entry| (entry.major, entry.minor, entry.op.as_str(), entry.value)).collect();
        assert_eq!(rows, [(8, 0, "Read", 4096), (8, 16, "", 77), (8, 0, "Total", 4096)]);
    }
}
