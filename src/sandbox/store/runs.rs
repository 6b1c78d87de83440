//! The runs of a box: a file with a line for each that begins, and one more when it is over.
//!
//! A start writes its own line and reads no other one. A line that was cut short, by a full disk or a power cut, is no run's:
//! each begins with a newline of its own. When the file has grown long, the next run to begin keeps the last ones alone.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::held::{Box, read_text, write};
use crate::error::{Context, Error, Result};
use crate::sandbox::report::Report;

/// The file in a box's folder.
const FILE: &str = "runs";
/// How many runs are kept at least, unless their lines are long.
const KEPT: usize = 50;
/// How many bytes the file may have before the first runs are forgotten, and how many are left then, about.
const MOST: u64 = 64 << 10;
const LEFT: usize = 32 << 10;

/// One run of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

/// The runs of a box, the last one last.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Those that are remembered.
    pub last: Vec<Run>,
    /// How many came before these.
    pub forgotten: usize,
}

/// The first line of a file that was made short.
#[derive(Serialize, Deserialize)]
struct Forgotten {
    forgotten: usize,
}

impl Runs {
    /// Reads them from a box's folder, which is at `path`.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(super) fn read(folder: &OwnedFd, path: &Path) -> Result<Self> {
        Ok(read_text(folder, FILE, path)?.map(|text| Self::of(&text)).unwrap_or_default())
    }

    fn of(text: &[u8]) -> Self {
        let mut runs = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(run) = serde_json::from_slice::<Run>(line) {
                runs.add(run);
            } else if let Ok(Forgotten { forgotten }) = serde_json::from_slice(line) {
                runs.forgotten = forgotten;
            }
        }
        runs
    }

    /// Adds one that has begun, or the end of the last one.
    fn add(&mut self, run: Run) {
        match self.last.last_mut() {
            Some(last) if run.ended.is_some() && last.ended.is_none() => *last = run,
            _ => self.last.push(run),
        }
    }

    /// The text without the first runs.
    fn shortened(mut self) -> Result<Vec<u8>> {
        let lines = self.last.iter().map(line).collect::<Result<Vec<_>>>()?;
        let mut bytes = 0;
        let fits = |line: &&Vec<u8>| {
            bytes += line.len();
            bytes <= LEFT
        };
        let kept = lines.iter().rev().take(KEPT).take_while(fits).count();
        self.forgotten += lines.len() - kept;
        let first = line(&Forgotten { forgotten: self.forgotten })?;
        Ok([first].into_iter().chain(lines.into_iter().skip(self.last.len() - kept)).flatten().collect())
    }
}

impl Box {
    /// Notes that a run has begun.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn begin_run(&self, run: &Run) -> Result<()> {
        if self.add_line(run)? > MOST {
            self.write_next_text(FILE, &Runs::read(&self.fd, &self.path)?.shortened()?)?;
            self.put_next(FILE)?;
        }
        Ok(())
    }

    /// Notes that it is over.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn end_run(&self, run: &Run) -> Result<()> {
        self.add_line(run).map(drop)
    }

    /// Gives how long the file was before.
    fn add_line(&self, run: &Run) -> Result<u64> {
        let what = || format!("write {:?}", self.path.join(FILE));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, FILE, flags, Mode::from(0o600)).context(what)?;
        let size = rustix::fs::fstat(&file).context(what)?.st_size as u64;
        write(&file, &line(run)?).context(what)?;
        Ok(size)
    }
}

fn line(content: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, content).map_err(|error| Error::new(format!("note a run: {error}")))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: usize, ended: bool) -> Run {
        let (ended, exit_code) = if ended { (Some("later".to_owned()), Some(0)) } else { (None, None) };
        Run { command: vec![number.to_string()], started: "now".to_owned(), ended, exit_code, report: None }
    }

    fn text(runs: &[Run]) -> Vec<u8> {
        runs.iter().flat_map(|run| line(run).unwrap()).collect()
    }

    #[test]
    fn the_end_of_a_run_is_part_of_it_and_one_that_was_killed_has_none() {
        let text = text(&[run(1, false), run(1, true), run(2, false), run(3, false), run(3, true)]);
        let runs = Runs::of(&text).last;
        let seen: Vec<_> = runs.iter().map(|run| (run.command[0].as_str(), run.ended.is_some())).collect();
        assert_eq!(seen, [("1", true), ("2", false), ("3", true)]);
    }

    #[test]
    fn a_line_that_was_cut_short_takes_no_other_along() {
        let mut text = text(&[run(1, true), run(2, true)]);
        text.truncate(text.len() - 3);
        text.extend(line(&run(3, false)).unwrap());
        let runs = Runs::of(&text).last;
        let seen: Vec<_> = runs.iter().map(|run| run.command[0].as_str()).collect();
        assert_eq!(seen, ["1", "3"]);
    }

    #[test]
    fn the_first_of_many_runs_are_counted_alone() {
        let all: Vec<Run> = (0..KEPT + 7).map(|number| run(number, true)).collect();
        let short = Runs::of(&Runs::of(&text(&all)).shortened().unwrap());
        assert_eq!((short.forgotten, short.last.len(), &*short.last[0].command[0]), (7, KEPT, "7"));
        let again = Runs { last: all, forgotten: short.forgotten }.shortened().unwrap();
        assert_eq!(Runs::of(&again).forgotten, 14);
        // However long one is, the file does not stay as long as it was.
        let long = Run { command: vec!["x".repeat(LEFT)], ..run(0, true) };
        let runs = Runs { last: vec![long, run(1, true)], forgotten: 0 };
        assert_eq!(Runs::of(&runs.shortened().unwrap()).last.len(), 1);
    }
}
