//! `myrt image pull`: an image comes into the store.

use std::path::PathBuf;

use super::shared::{FromSource, layers, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::{Error, Result};
use crate::image::Maps;
use crate::log;

crate::args! {
    /// Flags of `image pull`.
    pub struct Args with image: FromSource {
        /// What to call it (default: what its source calls it)
        name: Option<String> = "--name NAME",
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
        /// How to say what was done: table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Say nothing but warnings and errors
        quiet: bool = "--quiet -q",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image pull",
    group: Group::Image,
    about: "Keep an image in the store, its layers unpacked",
    words: "SOURCE",
    details: "
SOURCE is what `myrt image unpack` takes. Each layer is unpacked once, whichever images have it;
what was whole when a pull was interrupted is not unpacked again.

Example:
  sudo myrt image pull docker://debian:12
  sudo myrt image bundle debian:12 box && sudo myrt run box",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let source = parsed.words.first().map(|word| &**word).unwrap_or_default();
    let source = args.image.source(source, args.quiet)?;
    let name = args.name.or_else(|| source.default_name());
    let name =
        name.ok_or_else(|| Error::new("what comes by standard input has no name").hint("give it one by --name"))?;
    let limits = args.image.limits()?;
    let platform = args.image.platform();
    let maps = Maps::of_caller();
    with_store(args.store.as_deref(), &maps, |store| {
        let pulled = store.pull(&source, &name, &platform, limits, !maps.is_single())?;
        pulled.left_out.iter().for_each(log::warn);
        match args.format.unwrap_or_default() {
            _ if args.quiet => Ok(()),
            Format::Json => output::json(&pulled.record),
            Format::Table => {
                let (all, new) = (pulled.record.layers.len(), pulled.unpacked);
                output::print(&format!("{name}: {}, {new} of them new\n", layers(all)))
            }
        }
    })
}
