//! `myrt events`: what a container uses, again and again, and when it runs out of memory.

mod table;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Format, id, output, store};
use crate::bail;
use crate::cgroup::{Cgroup, Oom, OomEvents, Stats};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container::{self, Container};
use crate::error::{Context, Error, Result};
use crate::sys::procfs::ProcFs;
use crate::{log, net};

crate::args! {
    /// Flags of `events`.
    pub struct Args {
        /// Tell once and return
        stats: bool = "--stats",
        /// Time between two reports (default: 5s)
        interval: Option<Duration> = "--interval TIME",
        /// json (default), or table: one readable line each time
        format: Option<Format> = "--format -f FORMAT",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "events",
    group: Group::Look,
    about: "Watch what a container uses: processor, memory, disk, network",
    words: "ID",
    details: "
It ends with the container. JSON has one object a line: of type `stats` at each interval, in
nanoseconds and bytes, and of type `oom` whenever the kernel killed for want of memory.

Examples:
  sudo myrt events --format table --interval 1s web
  sudo myrt events --stats web | jq .data.memory.usage",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let interval = args.interval.unwrap_or(Duration::from_secs(5));
    if interval.is_zero() {
        bail!("events: --interval must be more than nothing");
    }
    let watch = Watch::open(&container::load(&store(global)?, &id(&parsed)?)?)?;
    let table = args.format == Some(Format::Table);
    let mut printer = if table { Printer::Table(table::Table::default()) } else { Printer::Json };
    if args.stats {
        printer.stats(&watch)?;
        return Ok(0);
    }
    if table {
        // A person wants to see something at once; programs expect the first report after one interval.
        printer.stats(&watch)?;
    }
    watch.follow(interval, &mut printer)
}

/// What is watched.
struct Watch {
    id: String,
    pid: i32,
    pidfd: OwnedFd,
    cgroup: Cgroup,
    rdt: Option<String>,
}

impl Watch {
    fn open(container: &Container) -> Result<Self> {
        let stopped = || Error::new(format!("events: container not running: {}", container.id()));
        let pid = container.init_pid().ok_or_else(stopped)?;
        let pidfd =
            Pid::from_raw(pid).ok_or(Errno::SRCH).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = pidfd.map_err(|_| stopped())?;
        // Asked again: the number may have passed to another process before it was opened.
        if container.init_pid() != Some(pid) {
            return Err(stopped());
        }
        let rdt = container.rdt_group().map(|group| group.schemata()).transpose()?;
        Ok(Self { id: container.id().to_owned(), pid, pidfd, cgroup: container.cgroup(), rdt })
    }

    /// Reports at each interval and at each lack of memory, until the container's first process has ended.
    fn follow(&self, interval: Duration, printer: &mut Printer) -> Result<u8> {
        let mut oom =
            self.cgroup.oom_events().inspect_err(|error| log::debug(|| format!("no oom events: {error}"))).ok();
        let mut next = Instant::now() + interval;
        loop {
            match self.wait(oom.as_ref(), next)? {
                Woken::Ended => return Ok(0),
                Woken::Interval => {
                    next += interval;
                    if let Err(error) = printer.stats(self) {
                        // It may have ended while its files were read.
                        return if self.has_ended() { Ok(0) } else { Err(error) };
                    }
                }
                Woken::Oom => match oom.as_mut().map_or(Ok(Oom::Gone), OomEvents::read)? {
                    Oom::Nothing => {}
                    Oom::Happened(times) => printer.oom(self, times)?,
                    Oom::Gone => oom = None,
                },
            }
        }
    }

    fn wait(&self, oom: Option<&OomEvents>, until: Instant) -> Result<Woken> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left =
                Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            let mut wanted = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            wanted.extend(oom.map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN)));
            match poll(&mut wanted, Some(&left)) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for events"),
                Ok(0) => return Ok(Woken::Interval),
                // The kill that ends the container is news as well, and the last: it is told before the end.
                Ok(_) if wanted.get(1).is_some_and(|fd| !fd.revents().is_empty()) => return Ok(Woken::Oom),
                Ok(_) => return Ok(Woken::Ended),
            }
        }
    }

    fn has_ended(&self) -> bool {
        let mut wanted = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
    }

    /// The interfaces of a network namespace of its own; those of the host are not the container's.
    fn interfaces(&self) -> Vec<net::Interface> {
        let namespace = |process: &str| {
            let stat = rustix::fs::stat(format!("/proc/{process}/ns/net")).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        match (namespace(&self.pid.to_string()), namespace("self")) {
            (Some(theirs), Some(ours)) if theirs != ours => {}
            _ => return Vec::new(),
        }
        ProcFs::open().and_then(|proc| net::statistics(&proc, self.pid)).unwrap_or_default()
    }
}

/// Why a wait is over.
enum Woken {
    Interval,
    Oom,
    Ended,
}

/// How reports are printed.
enum Printer {
    Json,
    Table(table::Table),
}

/// One line of JSON.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl Printer {
    fn stats(&mut self, watch: &Watch) -> Result<()> {
        let (stats, interfaces) = (watch.cgroup.stats()?, watch.interfaces());
        match self {
            Self::Json => {
                let data = Some(data(watch, &stats, &interfaces)?);
                output::json(&Event { r#type: "stats", id: &watch.id, data })
            }
            Self::Table(table) => output::print(&table.line(&stats, &interfaces, Instant::now())),
        }
    }

    fn oom(&mut self, watch: &Watch, times: u64) -> Result<()> {
        let event = Event { r#type: "oom", id: &watch.id, data: None };
        match self {
            Self::Json => (0..times).try_for_each(|_| output::json(&event)),
            Self::Table(_) => output::print(&format!("out of memory: processes killed: {times}\n")),
        }
    }
}

/// The cgroup's statistics with what other rooms know.
fn data(watch: &Watch, stats: &Stats, interfaces: &[net::Interface]) -> Result<Value> {
    let unserialisable = |error| Error::new(format!("write JSON: {error}"));
    let mut data = serde_json::to_value(stats).map_err(unserialisable)?;
    data["network_interfaces"] = serde_json::to_value(interfaces).map_err(unserialisable)?;
    if let Some(schemata) = &watch.rdt {
        let line =
            |kind| schemata.lines().map(str::trim).find(|line: &&str| line.starts_with(kind)).unwrap_or_default();
        data["intel_rdt"] = json!({ "l3_cache_schema": line("L3:"), "mem_bw_schema": line("MB:") });
    }
    Ok(data)
}
