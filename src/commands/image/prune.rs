//! `myrt image prune`: layers that nothing uses leave the store.

use std::path::PathBuf;

use super::shared::{layers, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::image::Maps;

crate::args! {
    /// Flags of `image prune`.
    pub struct Args {
        /// How to say what was removed: table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image prune",
    group: Group::Image,
    about: "Remove layers that nothing uses any more",
    words: "",
    details: "
A layer is used by the images in the store and by the bundles that `myrt image bundle` has made, as
long as their config.json is there. It waits until no pull is under way.",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    with_store(args.store.as_deref(), &Maps::of_caller(), |store| {
        let pruned = store.prune()?;
        match args.format.unwrap_or_default() {
            Format::Json => output::json(&pruned),
            Format::Table => output::print(&format!("{} removed\n", layers(pruned.layers))),
        }
    })
}
