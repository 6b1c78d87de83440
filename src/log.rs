//! What happens is told here: records in runc's two formats when a caller names a log file, lines for people otherwise.
//!
//! Owns where a record goes and how it looks. An error is recorded once, by `main`. The file is opened for each record:
//! a descriptor that stayed open could be taken for one that the caller hands on (`--preserve-fds`).

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::time;

/// How much a record matters, the gravest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The command failed.
    Error,
    /// Something asked for was not done, or not wholly.
    Warning,
    /// What was done.
    #[default]
    Info,
    /// How it was done.
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How a record in a log file looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=… msg="…"`
    #[default]
    Text,
    /// One object a line with `level`, `msg` and `time`.
    Json,
}

/// Where records go.
#[derive(Debug, Default)]
pub struct Settings {
    /// The log file; without one, records become lines on stderr.
    pub file: Option<PathBuf>,
    /// How records in the file look.
    pub format: Format,
    /// Records that matter less are dropped.
    pub level: Level,
}

/// Takes the records of a process that has no log of its own.
pub type Relay = Box<dyn FnMut(Level, &str) + Send>;

struct Log {
    settings: Settings,
    relay: Option<Relay>,
    /// Warnings that are not told yet.
    held: Option<Vec<String>>,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    settings: Settings { file: None, format: Format::Text, level: Level::Info },
    relay: None,
    held: None,
});

/// Says where records go from now on. A relative file name is taken from the working folder of this moment.
///
/// # Errors
/// Where the file cannot be opened: better said now than when something is to be recorded.
pub fn configure(mut settings: Settings) -> Result<()> {
    if let Some(file) = &mut settings.file {
        *file = std::path::absolute(&*file).context(|| format!("--log {file:?}"))?;
        open(file)?;
    }
    lock().settings = settings;
    Ok(())
}

/// From now on this process hands its records to `relay`. A container's init does so before it leaves the host's mount
/// namespace: the name of the log file means nothing in the container, or something that the container chose.
pub fn relay_to(relay: Relay) {
    lock().relay = Some(relay);
}

/// From now on warnings are held back, for [`release`].
pub fn hold() {
    lock().held = Some(Vec::new());
}

/// Gives the warnings that were held back; the next ones are told at once again.
pub fn release() -> Vec<String> {
    lock().held.take().unwrap_or_default()
}

/// Records a shortcoming that does not stop the command.
pub fn warn(text: impl Display) {
    record(Level::Warning, || text.to_string());
}

/// Records how something is done; `text` is only built when somebody asked for it.
pub fn debug<D: Display>(text: impl FnOnce() -> D) {
    record(Level::Debug, || text().to_string());
}

/// Shows a person what is going on: no record, and in no log file.
pub fn show(text: &str) {
    to_stderr(text);
}

/// Hands on a record of another process of ours.
pub fn relayed(level: Level, text: &str) {
    record(level, || text.to_owned());
}

/// Tells of the failure of the whole command: one record in the log file, if there is one, and a line for people, with
/// the remedy in a second one. For `main` alone.
pub fn failure(error: &Error) {
    let mut lines = format!("myrt: {error}\n");
    let mut text = error.to_string();
    if let Some(remedy) = error.remedy() {
        lines.push_str(&format!("hint: {remedy}\n"));
        // Whoever reads the file shows its `msg` to a person and knows no other key.
        text.push_str(&format!(" ({remedy})"));
    }
    to_stderr(&lines);
    let log = lock();
    if log.settings.file.is_some() {
        log.write(Level::Error, &text);
    }
}

fn lock() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(level: Level, text: impl FnOnce() -> String) {
    let mut log = lock();
    if level > log.settings.level {
        return;
    }
    let text = text();
    match &mut log.relay {
        Some(relay) => relay(level, &text),
        None => match &mut log.held {
            Some(held) if level == Level::Warning => held.push(text),
            _ => log.write(level, &text),
        },
    }
}

impl Log {
    fn write(&self, level: Level, text: &str) {
        let Some(file) = &self.settings.file else {
            return to_stderr(&format!("myrt: {}: {text}\n", level.name()));
        };
        if let Err(error) = append(file, &line(self.settings.format, level, text, &time::now_seconds())) {
            to_stderr(&format!("myrt: {error}\n"));
        }
    }
}

/// One record with its newline. JSON's quoting serves both formats: every reader of `%q` understands it.
fn line(format: Format, level: Level, text: &str, time: &str) -> String {
    let (level, text) = (level.name(), serde_json::Value::from(text));
    match format {
        Format::Text => format!("time=\"{time}\" level={level} msg={text}\n"),
        Format::Json => format!("{{\"level\":\"{level}\",\"msg\":{text},\"time\":\"{time}\"}}\n"),
    }
}

/// Appends with one write, so that records of two processes never mix.
fn append(file: &Path, line: &str) -> Result<()> {
    rustix::io::write(open(file)?, line.as_bytes()).context(|| format!("write the log {file:?}"))?;
    Ok(())
}

fn open(file: &Path) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(file, flags, Mode::from(0o644)).context(|| format!("open the log {file:?}"))
}

/// A closed stderr is nobody's failure.
fn to_stderr(lines: &str) {
    let _ = rustix::io::write(rustix::stdio::stderr(), lines.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_look_as_callers_parse_them() {
        let time = "2026-11-22T10:43:57Z";
        assert_eq!(
            line(Format::Text, Level::Error, "open \"/x\": no", time),
            "time=\"2026-11-22T10:43:57Z\" level=error msg=\"open \\\"/x\\\": no\"\n"
        );
        let json = line(Format::Json, Level::Warning, "two\nlines \u{1b}", time);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["level"], "warning");
        assert_eq!(value["msg"], "two\nlines \u{1b}");
        assert_eq!(value["time"], time);
        assert_eq!(json.matches('\n').count(), 1);
    }

    #[test]
    fn grave_records_come_first() {
        assert!(Level::Error < Level::Warning && Level::Info < Level::Debug);
    }

    #[test]
    fn a_log_file_grows() {
        let file = std::env::temp_dir().join(format!("myrt-log-{}", std::process::id()));
        append(&file, "one\n").unwrap();
        append(&file, "two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\n");
        std::fs::remove_file(&file).unwrap();
    }
}
