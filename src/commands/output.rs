//! Everything that a command prints goes through here: text and tables for people, JSON for programs.
//!
//! Errors and warnings are `log`'s.

use rustix::io::Errno;
use serde::Serialize;

use crate::error::{Context, Error, Result};

/// Writes to stdout. A reader that went away (`myrt list | head -1`) has seen enough: no failure.
///
/// # Errors
/// Any other failure of write(2), such as a full disk behind a redirection.
pub fn print(text: &str) -> Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Ok(()),
            Err(errno) => return Err(errno).context(|| "write to stdout").map_err(of_stdout),
        }
    }
    Ok(())
}

/// Standard output that is full is the caller's affair, and no place of ours.
pub fn of_stdout(error: Error) -> Error {
    match error.errno() {
        Some(Errno::NOSPC) => error.hint("what standard output leads to is full"),
        _ => error,
    }
}

/// Writes to stderr what a person should know and no program reads. Nobody there is no failure.
pub fn note(text: &str) {
    let mut rest = text.as_bytes();
    while let Ok(written @ 1..) = rustix::io::write(rustix::stdio::stderr(), rest) {
        rest = &rest[written..];
    }
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`print()`].
pub fn json(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string(value).map_err(unserialisable)? + "\n"))
}

/// Prints a value as JSON that a person can read as well.
///
/// # Errors
/// As [`print()`].
pub fn json_indented(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value).map_err(unserialisable)? + "\n"))
}

fn unserialisable(error: serde_json::Error) -> Error {
    Error::new(format!("write JSON: {error}"))
}

/// Lines up rows below their titles, three spaces between columns. The last column ends where its text ends.
pub fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&titles.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "22".to_owned()]];
        assert_eq!(table(["ID", "PID"], &rows), "ID       PID\na        1\nlonger   22\n");
        assert_eq!(table(["ID", "PID"], &[]), "ID   PID\n");
    }
}
