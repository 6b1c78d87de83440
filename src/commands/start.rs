//! `myrt start`: the program of a created container starts.

use super::{id, store};
use crate::cli::{Command, Group};
use crate::container;

/// The row.
pub const COMMAND: Command = Command {
    name: "start",
    group: Group::LifeCycle,
    about: "Start the program of a created container",
    words: "ID",
    details: "",
    flags: &[],
    run: |global, parsed| container::start(&store(global)?, &id(&parsed)?).map(|()| 0),
};
