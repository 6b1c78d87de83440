//! `myrt image bundle`: a bundle over layers of the store.

use std::path::{Path, PathBuf};

use super::shared::{Network, hostname, name, with_store};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::has_single_tree;
use crate::error::{Error, Result};
use crate::image::{Maps, Wishes};

crate::args! {
    /// Flags of `image bundle`.
    pub struct Args {
        /// Give the program a terminal
        tty: bool = "--tty -t",
        /// The container's network: none (default, a loopback interface alone) or host
        network: Option<Network> = "--network NAME",
        /// Where the store is (default: /var/lib/myrt/images; as an ordinary user
        /// $XDG_DATA_HOME/myrt/images)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image bundle",
    group: Group::Image,
    about: "Make a bundle over the layers of an image in the store",
    words: "NAME BUNDLE",
    details: "
Nothing is copied: config.json has an overlay of the store's layers as its first mount, which any
runtime makes at the container's start. What the container writes lies in the bundle. A bundle is
removed like any folder; its layers stay as long as it is there.

Example:
  sudo myrt image bundle debian:12 box && sudo myrt run box",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let image = name(parsed.words.first())?;
    let folder = Path::new(parsed.words.get(1).ok_or_else(|| Error::new("BUNDLE is missing"))?);
    let wishes = Wishes {
        command: Vec::new(),
        terminal: args.tty,
        hostname: hostname(folder),
        cgroup_v2: has_single_tree(),
        host_network: args.network == Some(Network::Host),
        maps: Maps::of_caller(),
    };
    with_store(args.store.as_deref(), &wishes.maps, |store| store.bundle(image, folder, &wishes))
}
