//! `myrt create`: a container up to the moment before its program starts.

use super::bundle::bundle_args;
use super::{id, store};
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container;
use crate::error::Result;

bundle_args! {
    /// Flags of `create`.
    pub struct Args {}
}

/// The row.
pub const COMMAND: Command = Command {
    name: "create",
    group: Group::LifeCycle,
    about: "Make a container, ready for `start`",
    words: "ID",
    details: "
Everything but the program is there when it returns: namespaces, mounts, cgroup. Where
config.json asks for a terminal, --console-socket says who holds it.

Example:
  sudo myrt create --bundle rootfs-examples/hello web && sudo myrt start web",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let bundle = args.bundle.clone().unwrap_or_else(|| ".".into());
    container::create(&store(global)?, &id(&parsed)?, &args.options(global, bundle))?;
    Ok(0)
}
