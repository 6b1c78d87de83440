//! `myrt list`: every container below --root.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Format, output, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container::{self, Report, Status};
use crate::error::Result;
use crate::log;
use crate::plan::ContainerId;

crate::args! {
    /// Flags of `list`.
    pub struct Args {
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Ids alone, one a line
        quiet: bool = "--quiet -q",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "list",
    group: Group::Look,
    about: "List the containers",
    words: "",
    details: "
Example:
  sudo myrt --root /run/other list --format json",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let store = store(global)?;
    let all = container::list(&store)?;
    if args.quiet {
        let ids: String = all.iter().map(|(id, _)| format!("{id}\n")).collect();
        output::print(&ids)?;
        return Ok(0);
    }
    let mut reports = Vec::with_capacity(all.len());
    for (id, report) in all {
        match report {
            Ok(report) => reports.push(report),
            // It has gone since its name was read.
            Err(_) if !store.root().join(id.as_str()).exists() => {}
            Err(error) => {
                log::warn(format_args!("{id}: {error}"));
                reports.push(broken(&id));
            }
        }
    }
    match args.format.unwrap_or_default() {
        Format::Json => output::json(&reports)?,
        Format::Table => output::print(&table(&reports))?,
    }
    Ok(0)
}

/// What cannot be read any more can still be deleted, so it is shown: as stopped, which is the state that allows it.
fn broken(id: &ContainerId) -> Report {
    Report {
        oci_version: String::new(),
        id: id.to_string(),
        pid: 0,
        status: Status::Stopped,
        bundle: PathBuf::new(),
        rootfs: PathBuf::new(),
        created: String::new(),
        annotations: BTreeMap::new(),
        owner: String::new(),
    }
}

fn table(reports: &[Report]) -> String {
    let rows: Vec<_> = reports.iter().map(row).collect();
    output::table(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], &rows)
}

fn row(report: &Report) -> [String; 6] {
    let (pid, bundle) = (report.pid.to_string(), report.bundle.display().to_string());
    [report.id.clone(), pid, report.status.name().into(), bundle, report.created.clone(), report.owner.clone()]
}
