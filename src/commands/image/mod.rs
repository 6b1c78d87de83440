//! `myrt image`: the row that the engine's program shows, and the rows of the program that it becomes, `myrt-image`.

mod bundle;
mod list;
mod prune;
mod pull;
mod remove;
mod run;
mod shared;
mod tag;
mod unpack;

use rustix::fs::Mode;

use super::beside;
use crate::cli::{Command, Group};
use crate::error::Result;

/// The row.
pub const COMMAND: Command = Command {
    name: "image",
    group: Group::Image,
    about: "Make bundles out of images",
    words: "COMMAND [ARGUMENT...]",
    details: "
Commands:
  image unpack    Unpack an image into a bundle
  image run       Unpack an image, run it, and take the bundle away
  image pull      Keep an image in the store, its layers unpacked
  image bundle    Make a bundle over the layers of an image in the store
  image list      List the images in the store
  image inspect   Print all that is known of an image in the store
  image tag       Give an image in the store one more name
  image remove    Forget images in the store
  image prune     Remove layers that nothing uses any more

`myrt image COMMAND --help` tells more.

Examples:
  sudo myrt image run docker://debian bash
  sudo myrt image unpack oci:debian:12 box && sudo myrt run box",
    flags: &[],
    run: |_, _| Err(beside::become_program("myrt-image")),
};

/// The commands of `myrt-image`.
pub static ALL: &[Command] = &[
    unpack::COMMAND,
    run::COMMAND,
    pull::COMMAND,
    bundle::COMMAND,
    list::COMMAND,
    list::INSPECT,
    tag::COMMAND,
    remove::COMMAND,
    prune::COMMAND,
];

/// What the second program does first: files get the modes that they are made with.
///
/// # Errors
/// Where a command fails.
pub fn run(words: Vec<std::ffi::OsString>) -> Result<u8> {
    rustix::process::umask(Mode::empty());
    beside::main(&COMMAND, ALL, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_command() {
        for command in ALL {
            let name = format!("  {} ", command.name);
            let line = COMMAND.details.lines().find(|line| line.starts_with(&name)).unwrap();
            assert!(line.ends_with(command.about), "{line}");
        }
    }
}
