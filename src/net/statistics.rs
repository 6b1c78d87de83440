//! Counters of the interfaces in a container's network namespace, for `events`.

use serde::Serialize;

use crate::error::{Context, Result};
use crate::sys::procfs::ProcFs;

/// The counters of one interface since it was made, with the keys that callers know.
#[allow(missing_docs, reason = "the names say it: bytes, packets, errors and dropped packets each way")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Reads the counters of all interfaces in the network namespace of a process, without entering it: one file of the
/// host's procfs shows them (proc_pid_net(5)).
///
/// # Errors
/// ESRCH or ENOENT where the process has gone.
pub fn statistics(proc: &ProcFs, pid: i32) -> Result<Vec<Interface>> {
    let text = proc.read(format!("{pid}/net/dev")).context(|| format!("read /proc/{pid}/net/dev"))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Two lines of headings, then `NAME: ` with eight counters received and eight sent.
fn parse(text: &str) -> Vec<Interface> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            counters[..]
        else {
            return None;
        };
        let name = name.trim().to_owned();
        let interface = Interface {
            name,
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        Some(interface)
    };
    text.lines().skip(2).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_counters() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n\
            \x20   lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0:99 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\nbroken: 1\n";
        let interfaces = parse(text);
        assert_eq!(interfaces.len(), 2);
        let lo = &interfaces[0];
        assert_eq!((&*lo.name, lo.rx_bytes, lo.rx_dropped, lo.tx_bytes, lo.tx_dropped), ("lo", 1, 4, 9, 12));
        assert_eq!(interfaces[1].rx_bytes, 99);
        assert!(serde_json::to_string(lo).unwrap().contains("\"RxBytes\":1"));
    }

    #[test]
    fn the_kernels_own_is_understood() {
        let own = statistics(&ProcFs::open().unwrap(), std::process::id() as i32).unwrap();
        assert!(own.iter().any(|interface| interface.name == "lo"));
    }
}
