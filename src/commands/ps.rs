//! `myrt ps`: the processes of a container.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command as Program;
use std::time::Duration;

use rustix::time::ClockId;

use super::{Format, id, output, store};
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container;
use crate::error::{Context, Error, Result};

/// Clock ticks a second in /proc: the same for every program, whatever the kernel counts with (proc_pid_stat(5)).
const TICKS: u64 = 100;

crate::args! {
    /// Flags of `ps`.
    pub struct Args {
        /// table (default) or json, an array of process ids
        format: Option<Format> = "--format -f FORMAT",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "ps",
    group: Group::Look,
    about: "Show the processes of a container",
    words: "ID [PS-OPTION...]",
    details: "
With options of ps(1) the table is ps's own, less the processes of others; it must have a
PID column.

Examples:
  sudo myrt ps web
  sudo myrt ps web -eo pid,rss,args",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let mut pids = container::load(&store(global)?, &id(&parsed)?)?.cgroup().pids()?;
    pids.sort_unstable();
    let options = &parsed.words[1..];
    if args.format == Some(Format::Json) {
        output::json(&pids)?;
        return Ok(0);
    }
    if options.is_empty() {
        let rows: Vec<_> = pids.iter().filter_map(|pid| Row::read(*pid)).map(Row::cells).collect();
        output::print(&output::table(["UID", "PID", "PPID", "ELAPSED", "TIME", "CMD"], &rows))?;
        return Ok(0);
    }
    let found = Program::new("ps")
        .args(options)
        .output()
        .context(|| "run ps")
        .map_err(|error| error.hint("install it (procps), or leave the options of ps out"))?;
    if !found.status.success() {
        bail!("ps: {}", String::from_utf8_lossy(&found.stderr).trim_end());
    }
    output::print(&filter(&String::from_utf8_lossy(&found.stdout), &pids.into_iter().collect())?)?;
    Ok(0)
}

/// Keeps the title and the lines of these processes.
fn filter(table: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let mut lines = table.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::new("ps: no PID column in its output"))?;
    let ours = lines.filter(|line| {
        let pid = line.split_whitespace().nth(column).and_then(|cell| cell.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    });
    Ok(std::iter::once(title).chain(ours).flat_map(|line| [line, "\n"]).collect())
}

/// One line of our own table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    uid: String,
    pid: i32,
    parent: String,
    elapsed: Duration,
    time: Duration,
    command: String,
}

impl Row {
    /// Reads it from /proc; nothing where the process has ended in the meantime.
    fn read(pid: i32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| std::fs::read(folder.join(name)).ok();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let since_boot = rustix::time::clock_gettime(ClockId::Boottime).tv_sec.unsigned_abs();
        Self::parse(pid, &text(&read("stat")?), &text(&read("status")?), &text(&read("cmdline")?), since_boot)
    }

    /// `stat` has the name in parentheses as its second field, and that may hold any character.
    fn parse(pid: i32, stat: &str, status: &str, arguments: &str, since_boot: u64) -> Option<Self> {
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        // Numbered as in proc_pid_stat(5), where the state is field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        let ticks = |number| field(number)?.parse::<u64>().ok();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
        let words: Vec<&str> = arguments.split('\0').filter(|word| !word.is_empty()).collect();
        Some(Self {
            uid: uid.to_owned(),
            pid,
            parent: field(4)?.to_owned(),
            elapsed: Duration::from_secs(since_boot.saturating_sub(ticks(22)? / TICKS)),
            time: Duration::from_secs((ticks(14)? + ticks(15)?) / TICKS),
            command: if words.is_empty() { format!("[{name}]") } else { words.join(" ") },
        })
    }

    fn cells(self) -> [String; 6] {
        // A control character in an argument would play tricks with the terminal of whoever looks.
        let command = self.command.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
        [self.uid, self.pid.to_string(), self.parent, clock(self.elapsed), clock(self.time), command]
    }
}

/// `[days-]hours:minutes:seconds`, as ps has it.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let days = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{seconds:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ps_is_filtered_by_its_own_column() {
        let table = "UID PID CMD\nroot 1 init 7\nroot 7 sleep 1\n";
        assert_eq!(filter(table, &[7].into()).unwrap(), "UID PID CMD\nroot 7 sleep 1\n");
        assert!(filter("USER COMMAND\n", &[7].into()).is_err());
    }

    #[test]
    fn a_row_is_read_whatever_the_name_holds() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 1000 0 0";
        let row = Row::parse(7, stat, "Name:\ta\nUid:\t1000\t0\t0\t0\n", "sh\0-c\0a b\0", 100).unwrap();
        assert_eq!(row.cells(), ["1000", "7", "3", "00:01:30", "00:00:02", "sh -c a b"]);
        let row = Row::parse(7, stat, "Uid:\t0\t0\t0\t0\n", "", 10).unwrap();
        assert_eq!(row.cells(), ["0", "7", "3", "00:00:00", "00:00:02", "[a) b (c]"]);
    }

    #[test]
    fn this_process_has_a_row() {
        let row = Row::read(std::process::id().cast_signed()).unwrap();
        assert_eq!(row.uid, rustix::process::getuid().as_raw().to_string());
        assert_eq!(clock(Duration::from_secs(90_061)), "1-01:01:01");
    }
}
