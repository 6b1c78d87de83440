//! `myrt kill`: a signal for a container's first process, or for all of them.

use std::ffi::OsString;

use super::{id, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed, signal};
use crate::container;
use crate::error::{Error, Result};
use crate::sys::signal::from_number;

crate::args! {
    /// Flags of `kill`.
    pub struct Args {
        /// Signal every process of the container
        all: bool = "--all -a",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "kill",
    group: Group::LifeCycle,
    about: "Send a signal to a container's first process",
    words: "ID [SIGNAL]",
    details: "
SIGNAL is a name with or without SIG (TERM, SIGTERM, RTMIN+3) or a number; TERM when absent.
0 sends nothing and tells by the exit code whether there is a process to send to.

Example:
  sudo myrt kill web KILL",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let word = parsed.words.get(1).map_or("TERM".as_ref(), OsString::as_os_str);
    let number = signal::parse(word).map_err(|why| Error::new(format!("kill: unknown signal {word:?}: {why}")))?;
    // None for 0 alone.
    container::kill(&store(global)?, &id(&parsed)?, from_number(number), args.all)?;
    Ok(0)
}
