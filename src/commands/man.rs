//! `myrt man`: a manual page for the program and one for each command.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::{Command, Group, Parsed, clap_command};
use crate::error::{Context, Result};

/// The row.
pub const COMMAND: Command = Command {
    name: "man",
    group: Group::Host,
    about: "Write the manual pages into a folder",
    words: "DIR",
    details: "
Example:
  sudo myrt man /usr/local/share/man/man1",
    flags: &[],
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let folder = Path::new(parsed.words.first().map_or("".as_ref(), OsString::as_os_str));
    std::fs::create_dir_all(folder).context(|| format!("make {folder:?}"))?;
    clap_mangen::generate_to(clap_command(super::ALL), folder)
        .context(|| format!("write manual pages to {folder:?}"))?;
    Ok(0)
}
