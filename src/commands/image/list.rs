//! `myrt image list` and `image inspect`: what is in the store.

use std::path::PathBuf;

use super::shared::{name, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::Result;
use crate::image::Maps;
use crate::image::store::Record;

crate::args! {
    /// Flags of `image list`.
    pub struct Args {
        /// How: table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Print names only
        quiet: bool = "--quiet -q",
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

crate::args! {
    /// Flags of `image inspect`.
    pub struct Inspect {
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image list",
    group: Group::Image,
    about: "List the images in the store",
    words: "",
    details: "",
    flags: Args::FLAGS,
    run: |_, parsed| list(&parsed),
};

/// The row of `inspect`.
pub const INSPECT: Command = Command {
    name: "image inspect",
    group: Group::Image,
    about: "Print all that is known of an image in the store",
    words: "NAME",
    details: "",
    flags: Inspect::FLAGS,
    run: |_, parsed| inspect(&parsed),
};

fn list(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    with_store(args.store.as_deref(), &Maps::of_caller(), |store| {
        let images = store.images()?;
        if args.quiet {
            return output::print(&images.iter().map(|image| image.name.clone() + "\n").collect::<String>());
        }
        if args.format == Some(Format::Json) {
            return output::json(&images);
        }
        let row = |image: Record| {
            let digest = image.manifest.map_or(String::new(), |digest| digest.hex().chars().take(12).collect());
            [image.name, digest, image.layers.len().to_string(), image.pulled]
        };
        let rows: Vec<_> = images.into_iter().map(row).collect();
        output::print(&output::table(["NAME", "DIGEST", "LAYERS", "PULLED"], &rows))
    })
}

fn inspect(parsed: &Parsed) -> Result<u8> {
    let args: Inspect = parsed.args()?;
    let name = name(parsed.words.first())?;
    with_store(args.store.as_deref(), &Maps::of_caller(), |store| output::json_indented(&store.image(name)?))
}
