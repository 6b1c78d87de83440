//! `myrt image`: the row that the engine's program shows, and the rows of the program that it becomes, `myrt-image`.
//!
//! The second program is found beside the first; it gets the same command line and understands it from the start.

mod bundle;
mod list;
mod prune;
mod pull;
mod remove;
mod run;
mod shared;
mod tag;
mod unpack;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::cli::{Command, Group};
use crate::error::{Error, Result};
use crate::sys::entry;

/// The second program's name.
const PROGRAM: &str = "myrt-image";

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
  docker save debian | sudo myrt image run - bash
  sudo myrt image unpack oci:debian:12 box && sudo myrt run box",
    flags: &[],
    run: |_, _| Err(become_image_program()),
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

/// Executes the second program with this one's command line. Comes back only with the reason why not.
fn become_image_program() -> Error {
    match find() {
        Ok((path, file)) => Error::call(format!("execute {path:?}"), entry::exec_again(&file)),
        Err(error) => error,
    }
}

/// Looks beside this program's file. When that was executed through a mount of its own (`sys::entry`), the kernel does not
/// know its path any more, and the name that it was called by has to do.
fn find() -> Result<(PathBuf, OwnedFd)> {
    let by_kernel = std::fs::read_link("/proc/self/exe").ok();
    let by_name = called_as().and_then(|path| path.canonicalize().ok());
    let beside = |path: PathBuf| path.with_file_name(PROGRAM);
    let places: Vec<PathBuf> = by_kernel.into_iter().chain(by_name).map(beside).collect();
    for path in &places {
        if let Ok(file) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            return Ok((path.clone(), file));
        }
    }
    Err(Error::new(format!("there is no {PROGRAM} beside this program (looked for {places:?})"))
        .hint(format!("install {PROGRAM} where myrt is: it is built along with it")))
}

/// The path of this program as its caller named it: with a slash as it is, otherwise by PATH.
fn called_as() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read("/proc/self/cmdline").ok()?;
    let name = PathBuf::from(std::ffi::OsStr::from_bytes(line.split(|byte| *byte == 0).next()?));
    if name.components().count() > 1 || name.is_absolute() {
        return Some(name);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

/// What the second program does first: files get the modes that they are made with.
///
/// # Errors
/// Where a command fails.
pub fn run(words: Vec<std::ffi::OsString>) -> Result<u8> {
    use crate::cli::{self, Request};
    let (global, words) = cli::global(words.into_iter().skip(1))?;
    crate::log::configure(global.log_settings())?;
    rustix::process::umask(Mode::empty());
    let words = words.into_iter().skip_while(|word| word == "image").collect::<Vec<_>>();
    if words.is_empty() && !global.version {
        return super::output::print(&cli::command_help(&COMMAND)).map(|()| 0);
    }
    match cli::command(ALL, &global, words)? {
        Request::Print(text) => super::output::print(&text).map(|()| 0),
        Request::Run(command, parsed) => (command.run)(&global, parsed),
    }
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
