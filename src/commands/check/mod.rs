//! `myrt check`: what this host can do for containers, and what to do about what it cannot.
//!
//! Only looks: nothing is changed, no container is made. The probes stand beside: [`kernel`], [`users`], [`host`].

use serde::Serialize;

use super::output;
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::error::Result;

mod host;
mod kernel;
mod users;

crate::args! {
    /// Flags of `check`.
    pub struct Args {
        /// text (default) or json
        format: Option<Format> = "--format -f FORMAT",
    }
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table and a list of remedies.
    Text,
    /// One object.
    Json,
}

crate::choices! { Format { "text" => Self::Text, "json" => Self::Json } }

/// The row.
pub const COMMAND: Command = Command {
    name: "check",
    group: Group::Host,
    about: "Show what this host can do, and the remedy for each shortfall",
    words: "",
    details: "
Ask as the user who will run containers: much depends on who asks. The exit code is 1 only
where containers cannot run at all.

Examples:
  myrt check
  sudo myrt check --format json | jq '.checks[] | select(.status != \"ok\")'",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

/// How much of a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// All of it.
    Ok,
    /// It is not there, and nobody needs it who does not ask for it.
    Absent,
    /// Containers run, but some of what they ask for is refused or done without.
    Short,
    /// Containers cannot run at all.
    Fatal,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "-",
            Self::Short => "short",
            Self::Fatal => "FATAL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    name: String,
    status: Status,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn new(name: &str, status: Status, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status, found: found.into(), remedy: None }
    }

    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found)
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    runs: bool,
    checks: Vec<Finding>,
}

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let as_root = rustix::process::geteuid().is_root();
    let mut checks = kernel::look();
    checks.extend(users::look(as_root));
    checks.extend(host::look(as_root));
    let runs = checks.iter().all(|finding| finding.status != Status::Fatal);
    match args.format.unwrap_or(Format::Text) {
        Format::Json => output::json_indented(&Answer { runs, checks })?,
        Format::Text => output::print(&text(&checks))?,
    }
    Ok(u8::from(!runs))
}

/// The table, then what to do.
fn text(checks: &[Finding]) -> String {
    let rows: Vec<[String; 3]> = checks
        .iter()
        .map(|finding| [finding.name.clone(), finding.status.word().to_owned(), finding.found.clone()])
        .collect();
    let mut text = output::table(["CHECK", "STATUS", "FOUND"], &rows);
    let remedies: Vec<&Finding> = checks.iter().filter(|finding| finding.remedy.is_some()).collect();
    if !remedies.is_empty() {
        text.push_str("\nTo do, where you need it:\n");
    }
    for finding in remedies {
        text.push_str(&format!("  {}: {}\n", finding.name, finding.remedy.as_deref().unwrap_or_default()));
    }
    text
}

/// The first line of a small file of the kernel, without its line end; none where there is no such file.
fn line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_follow_the_table() {
        let checks =
            [Finding::ok("kernel", "6.1.0"), Finding::new("subuid", Status::Short, "no range").remedy("add a line")];
        let expected = "CHECK    STATUS   FOUND\nkernel   ok       6.1.0\nsubuid   short    no range\n\n\
            To do, where you need it:\n  subuid: add a line\n";
        assert_eq!(text(&checks), expected);
        assert!(!text(&checks[..1]).contains("To do"));
    }

    #[test]
    fn this_host_is_looked_at() {
        let checks: Vec<Finding> =
            kernel::look().into_iter().chain(users::look(true)).chain(host::look(true)).collect();
        assert!(checks.len() > 10);
        for finding in &checks {
            let expected = match finding.status {
                Status::Ok => finding.remedy.is_none(),
                Status::Absent => true,
                Status::Short | Status::Fatal => finding.remedy.is_some(),
            };
            assert!(expected, "{finding:?}");
        }
    }
}
