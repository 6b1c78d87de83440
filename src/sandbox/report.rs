//! What is told of a run when it is over: what was not kept apart, and what the program tried in vain.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::Network;
use super::text;

/// A run's report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The network that it had: none, private or host.
    pub network: String,
    /// What is not as it was asked, or could not be kept apart, each a sentence.
    pub notes: Vec<String>,
    /// How many of its processes the kernel killed since `--memory` was used up.
    #[serde(default)]
    pub killed_for_memory: u64,
    /// Paths that were the host's own, as asked.
    pub written_through: Vec<String>,
    /// Sockets of the host that it could connect to, as asked.
    pub sockets: Vec<String>,
    /// Whether somebody watched what it tried.
    pub watched: bool,
    /// What it tried that the box forbids.
    pub denied: Vec<Denied>,
    /// How many attempts more there were, beyond what is remembered one by one.
    pub denied_more: u64,
}

/// What a program tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The system call.
    pub call: String,
    /// Its path, where it has one that could be read.
    pub argument: Option<String>,
    /// The name of the process.
    pub program: String,
    /// How often.
    pub count: u64,
}

/// How many attempts are shown to people.
const SHOWN: usize = 8;

impl Report {
    /// What is known before a run: what its caller asked for.
    pub(super) fn new(network: Network, written_through: &[PathBuf], sockets: &[PathBuf]) -> Self {
        let shown = |paths: &[PathBuf]| paths.iter().map(|path| text::shown(path)).collect();
        Self {
            network: network.name().to_owned(),
            written_through: shown(written_through),
            sockets: shown(sockets),
            ..Self::default()
        }
    }

    /// A few lines for people; empty where there is nothing to say. `list`: the command that tells all of it.
    pub fn lines(&self, list: &str) -> String {
        let mut lines: String = self.notes.iter().map(|note| format!("myrt: warning: {note}\n")).collect();
        let cells = |denied: &Denied| (denied.call.clone(), denied.argument.clone().unwrap_or_default());
        let rows: Vec<_> = self.denied.iter().take(SHOWN).map(|denied| (cells(denied), denied)).collect();
        let width = |cell: fn(&(String, String)) -> &String| {
            rows.iter().map(|(cells, _)| cell(cells).chars().count()).max().unwrap_or(0)
        };
        let (first, second) = (width(|cells| &cells.0), width(|cells| &cells.1));
        for ((call, argument), denied) in &rows {
            let times = if denied.count > 1 { format!(", {} times", denied.count) } else { String::new() };
            let gap = if second > 0 { "  " } else { "" };
            let line = format!("myrt: denied: {call:first$}{gap}{argument:second$}  by {}{times}\n", denied.program);
            lines.push_str(&line);
        }
        let more = self.denied.len().saturating_sub(SHOWN) as u64 + self.denied_more;
        if more > 0 {
            lines.push_str(&format!("myrt: denied: {more} more: `{list}` has them\n"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(call: &str, argument: Option<&str>, count: u64) -> Denied {
        Denied { call: call.into(), argument: argument.map(str::to_owned), program: "sh".into(), count }
    }

    #[test]
    fn a_few_lines_say_it() {
        let mut report = Report::new(Network::None, &[], &[]);
        assert_eq!(report.lines("myrt list"), "");
        report.notes.push("the network is the host's".into());
        report.denied = vec![denied("mount", Some("/mnt"), 2), denied("reboot", None, 1)];
        assert_eq!(
            report.lines("myrt list"),
            "myrt: warning: the network is the host's\nmyrt: denied: mount   /mnt  by sh, 2 times\nmyrt: denied: reboot        by sh\n"
        );
        report.denied = vec![denied("mount", None, 1); 11];
        report.denied_more = 4;
        assert_eq!(report.lines("myrt list").lines().count(), 10);
        assert!(report.lines("myrt list").ends_with("7 more: `myrt list` has them\n"));
    }
}
