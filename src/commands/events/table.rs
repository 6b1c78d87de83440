//! Statistics as a person reads them: one line a report, below titles that come again.

use std::time::Instant;

use crate::cgroup::Stats;
use crate::net::Interface;

/// After how many lines the titles are said again.
const PAGE: usize = 20;

const TITLES: [&str; 10] =
    ["CPU", "CPU TIME", "MEMORY", "PEAK", "LIMIT", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT"];

/// A table that grows.
#[derive(Default)]
pub struct Table {
    lines: usize,
    /// When the last line was made, and the processor time used until then.
    last: Option<(Instant, u64)>,
}

impl Table {
    /// The next line.
    pub fn line(&mut self, stats: &Stats, interfaces: &[Interface], now: Instant) -> String {
        let used = stats.cpu.usage.total;
        let share = self.last.replace((now, used)).map(|(before, used_before)| {
            let passed = now.duration_since(before).as_nanos().max(1) as f64;
            format!("{:.1}%", used.saturating_sub(used_before) as f64 * 100.0 / passed)
        });
        let memory = &stats.memory.usage;
        let disk = |op: &str| {
            let entries = stats.blkio.io_service_bytes.iter();
            entries.filter(|entry| entry.op.eq_ignore_ascii_case(op)).map(|entry| entry.value).sum()
        };
        // What goes through the loopback never leaves the container.
        let network =
            |count: fn(&Interface) -> u64| interfaces.iter().filter(|card| card.name != "lo").map(count).sum();
        let cells = [
            share.unwrap_or_else(|| "-".to_owned()),
            format!("{:.2}s", used as f64 / 1e9),
            bytes(memory.usage),
            if memory.max == 0 { "-".to_owned() } else { bytes(memory.max) },
            // Without a limit, v1 says the largest number of pages and v2 the largest number.
            if memory.limit == 0 || memory.limit > 1 << 60 { "-".to_owned() } else { bytes(memory.limit) },
            stats.pids.current.to_string(),
            bytes(disk("read")),
            bytes(disk("write")),
            bytes(network(|card| card.rx_bytes)),
            bytes(network(|card| card.tx_bytes)),
        ];
        let titles = if self.lines.is_multiple_of(PAGE) { row(&TITLES.map(str::to_owned)) } else { String::new() };
        self.lines += 1;
        titles + &row(&cells)
    }
}

fn row(cells: &[String]) -> String {
    cells.iter().map(|cell| format!("{cell:>9}")).collect::<Vec<_>>().join(" ") + "\n"
}

/// Four digits at most, in the largest unit that leaves one before the point.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if count < 1024 {
        return count.to_string();
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bytes_are_short() {
        let cases =
            [(0, "0"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (1 << 20, "1.0M"), ((1 << 20) - 1, "1.0M")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "16.0E");
    }

    #[test]
    fn a_line_tells_the_share_since_the_one_before() {
        let mut table = Table::default();
        let start = Instant::now();
        let mut stats = Stats::default();
        stats.memory.usage.usage = 3 << 20;
        stats.memory.usage.limit = u64::MAX;
        let card = |name: &str| Interface { name: name.to_owned(), rx_bytes: 1024, ..Interface::default() };
        let interfaces = [card("lo"), card("eth0")];
        let first = table.line(&stats, &interfaces, start);
        let cells: Vec<&str> = first.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["-", "0.00s", "3.0M", "-", "-", "0", "0", "0", "1.0K", "0"]);
        assert!(first.starts_with("      CPU  CPU TIME"));
        stats.cpu.usage.total = 500_000_000;
        let second = table.line(&stats, &interfaces, start + Duration::from_secs(1));
        assert!(second.trim_start().starts_with("50.0%     0.50s"), "{second}");
        assert_eq!(second.lines().count(), 1);
    }
}
