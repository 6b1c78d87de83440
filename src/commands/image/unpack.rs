//! `myrt image unpack`: an image becomes a bundle.

use std::path::Path;

use super::shared::{Network, hostname, limits};
use crate::cli::values::Size;
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, has_single_tree, output};
use crate::error::{Error, Result};
use crate::image::platform::Platform;
use crate::image::source::Source;
use crate::image::{Maps, Wishes, bundle, rootless};
use crate::log;

crate::args! {
    /// Flags of `image unpack`.
    pub struct Args {
        /// Take the image for this platform, such as linux/arm64 (default: this machine's)
        platform: Option<Platform> = "--platform OS/ARCH",
        /// Give the program a terminal
        tty: bool = "--tty -t",
        /// The container's network: none (default, a loopback interface alone) or host
        network: Option<Network> = "--network NAME",
        /// Refuse images that unpack to more (default: 64g)
        max_size: Option<Size> = "--max-size BYTES",
        /// Refuse images with more files (default: 4000000)
        max_entries: Option<u64> = "--max-entries N",
        /// How to say what was made: table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Say nothing but warnings and errors
        quiet: bool = "--quiet -q",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image unpack",
    group: Group::Image,
    about: "Unpack an image into a bundle",
    words: "SOURCE BUNDLE",
    details: "
SOURCE is where the image is:
  oci:DIR[:TAG]                a folder with an OCI image layout
  oci-archive:FILE[:TAG]       the same in an archive
  docker-archive:FILE[:NAME]   what `docker save` writes
  dir:DIR                      what `skopeo copy … dir:DIR` writes
  -                            an archive of either kind on standard input

BUNDLE is made, or has neither rootfs nor config.json in it. An image that does not say what to
run gets a shell. As an ordinary user the container gets a user namespace, with the ids that
/etc/subuid and /etc/subgid grant.

Examples:
  sudo myrt image unpack oci:debian:12 box && sudo myrt run box
  myrt image unpack --tty oci:debian:12 box && myrt run box",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let [source, folder] = &parsed.words[..] else {
        return Err(Error::new("image unpack: SOURCE and BUNDLE are expected"));
    };
    let (source, folder) = (Source::parse(source)?, Path::new(folder));
    let limits = limits(args.max_size, args.max_entries)?;
    let wishes = Wishes {
        command: Vec::new(),
        terminal: args.tty,
        hostname: hostname(folder),
        cgroup_v2: has_single_tree(),
        host_network: args.network == Some(Network::Host),
        maps: Maps::of_caller(),
    };
    let platform = args.platform.unwrap_or_else(Platform::host);
    rootless::inside(&wishes.maps, || {
        let made = bundle::unpack(&source, &platform, folder, limits, &wishes)?;
        for sentence in &made.left_out {
            log::warn(sentence);
        }
        match args.format.unwrap_or_default() {
            _ if args.quiet => Ok(()),
            Format::Json => output::json(&made),
            Format::Table => {
                let megabytes = made.bytes.div_ceil(1 << 20);
                output::print(&format!("{}: {} files, {megabytes} MiB\n", made.bundle.display(), made.entries))
            }
        }
    })
}
