//! `myrt image remove`: names leave the store.

use std::path::PathBuf;

use super::shared::{name, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::error::Result;
use crate::image::Maps;

crate::args! {
    /// Flags of `image remove`.
    pub struct Args {
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image remove",
    group: Group::Image,
    about: "Forget images in the store",
    words: "NAME...",
    details: "
Layers stay until `myrt image prune`; those that a bundle uses stay as long as it is there.",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    with_store(args.store.as_deref(), &Maps::of_caller(), |store| {
        parsed.words.iter().try_for_each(|word| store.remove(name(Some(word))?))
    })
}
