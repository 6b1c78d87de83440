//! `myrt sandbox list`: every box of the store.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::store;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::log;
use crate::sandbox::{Listed, text};

crate::args! {
    /// Flags of `sandbox list`.
    pub struct Args {
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Names alone, one a line
        quiet: bool = "--quiet -q",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox list",
    group: Group::Sandbox,
    about: "List the boxes",
    words: "",
    details: "
A box is running, or in use by another command; stopped; interrupted, where a commit of it was
killed, which `myrt sandbox commit --resume` finishes and --rollback takes back; or broken.

Of a box that is run again and again the last fifty runs are told one by one.

Example:
  sudo myrt sandbox list --format json",
    flags: Args::FLAGS,
    run,
};

/// A box, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    status: &'static str,
    created: String,
    unnamed: bool,
    runs: Vec<crate::sandbox::BoxRun>,
    /// How many came before these.
    earlier_runs: usize,
}

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let all = store(args.store)?.list()?;
    if args.quiet {
        let names: String = all.iter().map(|listed| format!("{}\n", listed.name)).collect();
        output::print(&names)?;
        return Ok(0);
    }
    let rows: Vec<Row> = all.into_iter().map(row).collect();
    match args.format.unwrap_or_default() {
        Format::Json => output::json(&rows)?,
        Format::Table => output::print(&table(&rows))?,
    }
    Ok(0)
}

fn row(listed: Listed) -> Row {
    let Listed { name, busy, interrupted, record } = listed;
    let name = name.to_string();
    match record {
        Ok((record, runs)) => Row {
            name,
            status: match (busy, interrupted) {
                (true, _) => "running",
                (false, true) => "interrupted",
                (false, false) => "stopped",
            },
            created: record.created,
            unnamed: record.unnamed,
            runs: runs.last,
            earlier_runs: runs.forgotten,
        },
        Err(error) => {
            log::warn(format_args!("{name}: {error}"));
            Row { name, status: "broken", created: String::new(), unnamed: false, runs: Vec::new(), earlier_runs: 0 }
        }
    }
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let last = row.runs.last().map(|run| run.command.join(" ")).unwrap_or_default();
        // One line each, whatever was typed.
        let last = text::shown(Path::new(&last)).chars().take(60).collect();
        let runs = row.earlier_runs + row.runs.len();
        [row.name.clone(), row.status.to_owned(), row.created.clone(), runs.to_string(), last]
    };
    output::table(["NAME", "STATUS", "CREATED", "RUNS", "LAST PROGRAM"], &rows.iter().map(cells).collect::<Vec<_>>())
}
