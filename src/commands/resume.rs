//! `myrt resume`: a paused container runs on.

use super::{id, store};
use crate::cli::{Command, Group};
use crate::container;

/// The row.
pub const COMMAND: Command = Command {
    name: "resume",
    group: Group::Change,
    about: "Let a paused container run on",
    words: "ID",
    details: "",
    flags: &[],
    run: |global, parsed| container::resume(&store(global)?, &id(&parsed)?).map(|()| 0),
};
