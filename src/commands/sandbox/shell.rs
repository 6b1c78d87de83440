//! `myrt sandbox shell`: the caller's shell in a box.

use super::run::{Args, args, start};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::error::Result;

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox shell",
    group: Group::Sandbox,
    about: "Run a shell in a box",
    words: "[ARGUMENT...]",
    details: "
The same as `myrt sandbox run $SHELL`, or /bin/sh where SHELL is not set. What follows the flags are
the shell's own arguments.

Examples:
  myrt sandbox shell --name try
  myrt sandbox shell --name try -- -c 'make install'",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let shell = shell.unwrap_or_else(|| "/bin/sh".into());
    start(global, args(&parsed)?, [vec![shell], parsed.words].concat())
}
