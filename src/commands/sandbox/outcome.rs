//! How a commit or an undo ended, for people and for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::diff::lossless;
use crate::commands::{Format, output};
use crate::error::{Error, Result};
use crate::sandbox::changes::Kind;
use crate::sandbox::commit::Outcome;
use crate::sandbox::{expect, text};

/// The exit code of a commit or an undo that wrote nothing, because of conflicts.
const CONFLICTS: u8 = 3;
/// Grows by one when a program that reads the older form would misunderstand.
const SCHEMA: u32 = 1;

/// The words for one of the two.
pub(super) struct Deed {
    /// What has happened to the paths.
    pub(super) done: &'static str,
    /// What is said of conflicts, before they are listed.
    pub(super) conflicts: &'static str,
    /// What to do about them.
    pub(super) remedy: &'static str,
}

/// Says how it ended; gives the exit code.
pub(super) fn tell(name: &str, outcome: &Outcome, deed: &Deed, format: Format) -> Result<u8> {
    if format == Format::Json {
        let code = if matches!(outcome, Outcome::Conflicts(_)) { CONFLICTS } else { 0 };
        return output::json(&Document::of(name, outcome)).map(|()| code);
    }
    let text = match outcome {
        Outcome::Nothing => "nothing to do\n".to_owned(),
        Outcome::Done { count, left } => format!("{count} {}\n{}", deed.done, to_the_host(left)),
        Outcome::Possible { paths, left } => {
            let count = if paths.is_empty() { "nothing".to_owned() } else { paths.len().to_string() };
            let colon = if paths.is_empty() { "" } else { ":" };
            let line = |(path, kind): &(PathBuf, Kind)| format!("  {} {}\n", expect::letter(*kind), text::shown(path));
            let lines: String = paths.iter().map(line).collect();
            format!("{count} would be {}{colon}\n{lines}{}", deed.done, to_the_host(left))
        }
        Outcome::Conflicts(paths) => {
            let error = Error::new(format!("{}:\n{}nothing was written", deed.conflicts, lines(paths)));
            return Err(error.exit_with(CONFLICTS).hint(deed.remedy));
        }
    };
    output::print(&text).map(|()| 0)
}

/// Paths, one a line, as `diff` writes them.
pub(super) fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("  {}\n", text::shown(path))).collect()
}

fn to_the_host(left: &[PathBuf]) -> String {
    match left.len() {
        0 => String::new(),
        more => format!("{more} left as the host has them:\n{}", lines(left)),
    }
}

/// docs/diff.md describes it.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(rename = "box")]
    name: &'a str,
    outcome: &'static str,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<Named>>,
    left: Vec<Named>,
    conflicts: Vec<Named>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    /// What would happen to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Kind>,
}

impl Named {
    fn of(path: impl AsRef<Path>) -> Self {
        let (path, path_hex) = lossless(path.as_ref());
        Self { path, path_hex, change: None }
    }

    fn with(path: &Path, change: Kind) -> Self {
        Self { change: Some(change), ..Self::of(path) }
    }
}

impl<'a> Document<'a> {
    fn of(name: &'a str, outcome: &Outcome) -> Self {
        let named = |paths: &[PathBuf]| paths.iter().map(Named::of).collect::<Vec<_>>();
        let plain = |outcome| Self {
            schema: SCHEMA,
            name,
            outcome,
            count: 0,
            paths: None,
            left: Vec::new(),
            conflicts: Vec::new(),
        };
        match outcome {
            Outcome::Nothing => plain("nothing"),
            Outcome::Conflicts(paths) => Self { conflicts: named(paths), ..plain("conflicts") },
            Outcome::Done { count, left } => Self { count: *count, left: named(left), ..plain("done") },
            Outcome::Possible { paths, left } => {
                let all = paths.iter().map(|(path, kind)| Named::with(path, *kind)).collect();
                Self { count: paths.len(), paths: Some(all), left: named(left), ..plain("possible") }
            }
        }
    }
}
