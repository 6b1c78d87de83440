//! Statistics of a v2 cgroup (the kernel's cgroup-v2.rst).

use std::path::Path;

use super::parse::{amount, number, page_sizes, pressure, table, text};
use super::{BlkioEntry, Hugetlb, MemoryEntry, MemoryEvents, Stats};
use crate::error::Result;

pub(super) fn read(folder: &Path, stats: &mut Stats) -> Result<()> {
    cpu(folder, stats)?;
    memory(folder, stats)?;
    pids(folder, stats)?;
    io(folder, stats)?;
    hugetlb(folder, stats)
}

fn cpu(folder: &Path, stats: &mut Stats) -> Result<()> {
    let table = table(folder, "cpu.stat")?;
    // Microseconds here.
    let value = |key: &str| table.get(key).copied().unwrap_or(0);
    let time = |key: &str| value(key).saturating_mul(1000);
    stats.cpu.usage.total = time("usage_usec");
    stats.cpu.usage.user = time("user_usec");
    stats.cpu.usage.kernel = time("system_usec");
    stats.cpu.throttling.periods = value("nr_periods");
    stats.cpu.throttling.throttled_periods = value("nr_throttled");
    stats.cpu.throttling.throttled_time = time("throttled_usec");
    stats.cpu.psi = pressure(folder, "cpu.pressure")?;
    Ok(())
}

fn memory(folder: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.psi = pressure(folder, "memory.pressure")?;
    memory.raw = table(folder, "memory.stat")?;
    if memory.raw.is_empty() {
        return Ok(());
    }
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    let entry = |name: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(folder, &format!("{name}.max"))?,
            usage: number(folder, &format!("{name}.current"))?,
            // Since 5.19, of swap since 6.5.
            max: number(folder, &format!("{name}.peak"))?,
            failcnt: 0,
        })
    };
    memory.usage = entry("memory")?;
    let swap = entry("memory.swap")?;
    // Readers expect memory and swap together, as v1 counts; a peak of the sum is not known.
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(memory.usage.limit),
        usage: swap.usage.saturating_add(memory.usage.usage),
        max: 0,
        failcnt: 0,
    };
    let events = table(folder, "memory.events")?;
    let event = |key: &str| events.get(key).copied().unwrap_or(0);
    memory.event_count = MemoryEvents {
        low: event("low"),
        high: event("high"),
        max: event("max"),
        oom: event("oom"),
        oom_kill: event("oom_kill"),
        oom_group_kill: event("oom_group_kill"),
    };
    Ok(())
}

fn pids(folder: &Path, stats: &mut Stats) -> Result<()> {
    stats.pids.current = match text(folder, "pids.current")? {
        Some(text) => amount(text.trim()),
        // Without the controller they can be counted.
        None => text(folder, "cgroup.procs").ok().flatten().map_or(0, |text| text.lines().count() as u64),
    };
    let limit = number(folder, "pids.max")?;
    stats.pids.limit = if limit == u64::MAX { 0 } else { limit };
    Ok(())
}

fn io(folder: &Path, stats: &mut Stats) -> Result<()> {
    stats.blkio.psi = pressure(folder, "io.pressure")?;
    for line in text(folder, "io.stat")?.unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(|number| number.split_once(':')) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut stats.blkio.io_service_bytes, "Read"),
                "wbytes" => (&mut stats.blkio.io_service_bytes, "Write"),
                "rios" => (&mut stats.blkio.io_serviced, "Read"),
                "wios" => (&mut stats.blkio.io_serviced, "Write"),
                _ => continue,
            };
            let (major, minor) = (amount(major), amount(minor));
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value: amount(value) });
        }
    }
    Ok(())
}

fn hugetlb(folder: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes() {
        let Some(usage) = text(folder, &format!("hugetlb.{size}.current"))? else { continue };
        let events = table(folder, &format!("hugetlb.{size}.events"))?;
        let failcnt = events.get("max").copied().unwrap_or(0);
        stats.hugetlb.insert(size, Hugetlb { usage: amount(usage.trim()), max: 0, failcnt });
    }
    Ok(())
}
