//! `myrt pause`: every process of a container is frozen.

use super::{id, store};
use crate::cli::{Command, Group};
use crate::container;

/// The row.
pub const COMMAND: Command = Command {
    name: "pause",
    group: Group::Change,
    about: "Freeze every process of a container",
    words: "ID",
    details: "",
    flags: &[],
    run: |global, parsed| container::pause(&store(global)?, &id(&parsed)?).map(|()| 0),
};
