//! `myrt image tag`: one more name for an image in the store.

use std::path::PathBuf;

use super::shared::{name, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::error::Result;
use crate::image::Maps;

crate::args! {
    /// Flags of `image tag`.
    pub struct Args {
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image tag",
    group: Group::Image,
    about: "Give an image in the store one more name",
    words: "NAME NEW",
    details: "
An image that is called NEW already loses that name.",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let (old, new) = (name(parsed.words.first())?, name(parsed.words.get(1))?);
    with_store(args.store.as_deref(), &Maps::of_caller(), |store| store.tag(old, new))
}
