//! `myrt state`: what a container is and does, as the specification has it.

use super::{id, output, store};
use crate::cli::{Command, Global, Group, Parsed};
use crate::container;
use crate::error::Result;

/// The row.
pub const COMMAND: Command = Command {
    name: "state",
    group: Group::Look,
    about: "Print a container's state as JSON",
    words: "ID",
    details: "
`status` is creating, created, running, paused or stopped; `pid` is 0 once it is stopped.",
    flags: &[],
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    output::json_indented(&container::load(&store(global)?, &id(&parsed)?)?.report())?;
    Ok(0)
}
