//! `myrt update`: other limits for a container that runs.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{id, store};
use crate::cli::values::Size;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container;
use crate::error::{Context, Result};
use crate::plan::spec::{BlockIo, Cpu, IntelRdt, Memory, Pids, Resources};
use crate::plan::{self, load};

crate::args! {
    /// Flags of `update`.
    pub struct Args {
        /// Limits as JSON, from a file or - for stdin; the flags below go over it
        resources: Option<PathBuf> = "--resources -r FILE",
        /// Most memory
        memory: Option<Size> = "--memory BYTES",
        /// Memory to fall back to when the host runs short
        memory_reservation: Option<Size> = "--memory-reservation BYTES",
        /// Most memory and swap together; -1 for any amount
        memory_swap: Option<Size> = "--memory-swap BYTES",
        /// Weight among others (1024 is usual)
        cpu_share: Option<u64> = "--cpu-share N",
        /// Time in each period
        cpu_quota: Option<i64> = "--cpu-quota MICROSECONDS",
        /// Length of a period
        cpu_period: Option<u64> = "--cpu-period MICROSECONDS",
        /// Time that may be saved up for a burst
        cpu_burst: Option<u64> = "--cpu-burst MICROSECONDS",
        /// 1: run only when nobody else wants to
        cpu_idle: Option<i64> = "--cpu-idle N",
        /// Realtime: time in each period
        cpu_rt_runtime: Option<i64> = "--cpu-rt-runtime MICROSECONDS",
        /// Realtime: length of a period
        cpu_rt_period: Option<u64> = "--cpu-rt-period MICROSECONDS",
        /// CPUs, such as 0-3,7
        cpuset_cpus: Option<String> = "--cpuset-cpus LIST",
        /// Memory nodes
        cpuset_mems: Option<String> = "--cpuset-mems LIST",
        /// Most processes and threads; -1 for any number
        pids_limit: Option<i64> = "--pids-limit N",
        /// Disk weight among others, 10 to 1000
        blkio_weight: Option<u16> = "--blkio-weight N",
        /// Intel RDT: share of the L3 cache
        l3_cache_schema: Option<String> = "--l3-cache-schema SCHEMA",
        /// Intel RDT: share of the memory's bandwidth
        mem_bw_schema: Option<String> = "--mem-bw-schema SCHEMA",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "update",
    group: Group::Change,
    about: "Change the limits of a container while it runs",
    words: "ID",
    details: "
Bytes are a plain number, or one with k, m, g or t behind it. What is not named stays as it
is. The JSON is `linux.resources` of config.json.

Examples:
  sudo myrt update --memory 512m --pids-limit 100 web
  echo '{\"cpu\":{\"shares\":512}}' | sudo myrt update -r - web",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let mut resources = args.resources.as_deref().map(read).transpose()?.unwrap_or_default();
    let rdt = rdt(&args);
    merge(&mut resources, args);
    container::update(&store(global)?, &id(&parsed)?, &resources, rdt.as_ref())?;
    Ok(0)
}

fn read(file: &Path) -> Result<Resources> {
    if file.as_os_str() != OsStr::new("-") {
        return plan::parse_resources(&load::read_file(file)?, &file.display().to_string());
    }
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context(|| "read resources from stdin")?;
    plan::parse_resources(&text, "stdin")
}

/// Puts the flags over what the file says.
fn merge(resources: &mut Resources, args: Args) {
    let bytes = |size: Option<Size>| size.map(|Size(bytes)| bytes);
    let memory = &mut resources.memory;
    put(memory, bytes(args.memory), |memory: &mut Memory| &mut memory.limit);
    put(memory, bytes(args.memory_reservation), |memory| &mut memory.reservation);
    put(memory, bytes(args.memory_swap), |memory| &mut memory.swap);
    let cpu = &mut resources.cpu;
    put(cpu, args.cpu_share, |cpu: &mut Cpu| &mut cpu.shares);
    put(cpu, args.cpu_quota, |cpu| &mut cpu.quota);
    put(cpu, args.cpu_period, |cpu| &mut cpu.period);
    put(cpu, args.cpu_burst, |cpu| &mut cpu.burst);
    put(cpu, args.cpu_idle, |cpu| &mut cpu.idle);
    put(cpu, args.cpu_rt_runtime, |cpu| &mut cpu.realtime_runtime);
    put(cpu, args.cpu_rt_period, |cpu| &mut cpu.realtime_period);
    put(cpu, args.cpuset_cpus, |cpu| &mut cpu.cpus);
    put(cpu, args.cpuset_mems, |cpu| &mut cpu.mems);
    put(&mut resources.pids, args.pids_limit, |pids: &mut Pids| &mut pids.limit);
    put(&mut resources.block_io, args.blkio_weight, |block: &mut BlockIo| &mut block.weight);
}

/// Sets one field of a group that may not be there yet; a flag that was not given changes nothing.
fn put<G: Default, T>(group: &mut Option<G>, value: Option<T>, field: impl FnOnce(&mut G) -> &mut Option<T>) {
    if value.is_some() {
        *field(group.get_or_insert_default()) = value;
    }
}

fn rdt(args: &Args) -> Option<IntelRdt> {
    let rdt = IntelRdt {
        l3_cache_schema: args.l3_cache_schema.clone(),
        mem_bw_schema: args.mem_bw_schema.clone(),
        ..IntelRdt::default()
    };
    (rdt != IntelRdt::default()).then_some(rdt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_over_the_file_and_nothing_else_changes() {
        let mut resources: Resources =
            serde_json::from_str(r#"{"memory":{"limit":1,"swap":2},"pids":{"limit":3}}"#).unwrap();
        let args = Args { memory: Some(Size(10)), cpu_quota: Some(-1), ..Args::default() };
        assert!(rdt(&args).is_none());
        merge(&mut resources, args);
        let json = serde_json::to_value(&resources).unwrap();
        let wanted = serde_json::json!({"memory":{"limit":10,"swap":2},"pids":{"limit":3},"cpu":{"quota":-1}});
        assert_eq!(json, wanted);
    }

    #[test]
    fn rdt_needs_a_flag_of_its_own() {
        let args = Args { l3_cache_schema: Some("L3:0=f".to_owned()), ..Args::default() };
        assert_eq!(rdt(&args).unwrap().l3_cache_schema.as_deref(), Some("L3:0=f"));
    }
}
