//! What is remembered of a box, in a file of its folder.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::held::read_file;
use crate::bail;
use crate::error::Result;
use crate::sandbox::changes::xattrs::Notes;
use crate::sandbox::report::Report;
use crate::sandbox::{rights, text};

/// Its name.
pub(in crate::sandbox) const RECORD: &str = "box.json";
/// The version of that file.
const VERSION: u32 = 1;
/// How many runs are remembered: each start reads and writes them all.
const MOST_RUNS: usize = 50;

/// What is remembered of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether nobody gave it its name.
    pub unnamed: bool,
    /// One for each filesystem that it ever saw writable.
    pub(in crate::sandbox) layers: Vec<Layer>,
    /// Where overlayfs keeps its notes in them.
    #[serde(default)]
    pub(in crate::sandbox) notes: Notes,
    /// When the run began whose changes have not been noted yet ([`crate::sandbox::base`]).
    #[serde(default)]
    pub(in crate::sandbox) unsettled: Option<(i64, u32)>,
    /// Its runs, the last one last.
    pub runs: Vec<Run>,
    /// How many runs before these are remembered no more.
    #[serde(default)]
    pub forgotten: usize,
}

/// The changes of one filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Layer {
    /// Where it is mounted on the host.
    #[serde(with = "text::as_text")]
    pub(in crate::sandbox) path: PathBuf,
    /// The part of the filesystem that is mounted there.
    #[serde(with = "text::as_text")]
    pub(in crate::sandbox) root: PathBuf,
    /// The filesystem's type.
    pub(in crate::sandbox) kind: String,
    /// Which one of its type it is, where that can be told across a reboot.
    #[serde(default)]
    pub(in crate::sandbox) identity: Option<String>,
}

/// One run of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments.
    pub command: Vec<String>,
    /// RFC 3339.
    pub started: String,
    /// Absent while it runs, and for one that was killed.
    pub ended: Option<String>,
    /// The program's exit code, likewise.
    pub exit_code: Option<u8>,
    /// What was told at its end, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

impl Record {
    /// The layer in which a path lies.
    pub(in crate::sandbox) fn layer_of(&self, path: &Path) -> Option<usize> {
        let around = self.layers.iter().enumerate().filter(|(_, layer)| path.starts_with(&layer.path));
        around.max_by_key(|(_, layer)| layer.path.as_os_str().len()).map(|(place, _)| place)
    }

    /// Notes one more run.
    pub(in crate::sandbox) fn add(&mut self, run: Run) {
        self.runs.push(run);
        let too_many = self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.drain(..too_many);
        self.forgotten += too_many;
    }

    /// Of a box that nothing was done with.
    pub(in crate::sandbox) fn new(unnamed: bool) -> Self {
        Self {
            version: VERSION,
            created: crate::time::now_seconds(),
            unnamed,
            layers: Vec::new(),
            notes: if rights::are_of_the_host() { Notes::Trusted } else { Notes::User },
            unsettled: None,
            runs: Vec::new(),
            forgotten: 0,
        }
    }
}

/// Reads it from a box's folder, which is at `path`.
///
/// # Errors
/// Where it cannot be read, or another version of myrt wrote it.
pub(super) fn read_record(fd: &OwnedFd, path: &Path) -> Result<Option<Record>> {
    let record: Option<Record> = read_file(fd, RECORD, path)?;
    if let Some(version) = record.as_ref().map(|record| record.version).filter(|version| *version != VERSION) {
        bail!("{path:?} was written by another version of myrt ({version} instead of {VERSION})");
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_runs_are_counted_alone() {
        let mut record = Record::new(false);
        for number in 0..MOST_RUNS + 2 {
            let command = vec![number.to_string()];
            record.add(Run { command, started: String::new(), ended: None, exit_code: None, report: None });
        }
        assert_eq!((record.forgotten, record.runs.len(), &*record.runs[0].command[0]), (2, MOST_RUNS, "2"));
    }
}
