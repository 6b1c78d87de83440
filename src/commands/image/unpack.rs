//! `myrt image unpack`: an image becomes a bundle.

use std::path::Path;

use super::shared::{FromSource, Network, hostname};
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, has_single_tree, output};
use crate::error::{Error, Result};
use crate::image::{Maps, Wishes, bundle, rootless};
use crate::log;

crate::args! {
    /// Flags of `image unpack`.
    pub struct Args with image: FromSource {
        /// Give the program a terminal
        tty: bool = "--tty -t",
        /// The container's network: none (default, a loopback interface alone) or host
        network: Option<Network> = "--network NAME",
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
  dir:DIR                      what `skopeo copy … dir:DIR` writes, or a root filesystem as it is
  docker://HOST/NAME[:TAG]     in a registry; without a HOST Docker's, and its short names
  -                            an archive of either kind on standard input

Who has logged in to a registry by podman or docker is known to it here as well. Plain http is for
registries on this machine, unless --plain-http or --tls-verify=false says otherwise. HTTPS_PROXY
and NO_PROXY are heeded; names of hosts are looked up in /etc/hosts and by DNS, in no other way.

BUNDLE is made, or has neither rootfs nor config.json in it. An image that does not say what to
run gets a shell. As an ordinary user the container gets a user namespace, with the ids that
/etc/subuid and /etc/subgid grant.

Examples:
  sudo myrt image unpack oci:debian:12 box && sudo myrt run box
  myrt image unpack --tty docker://debian:12 box && myrt run box",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let [source, folder] = &parsed.words[..] else {
        return Err(Error::new("image unpack: SOURCE and BUNDLE are expected"));
    };
    let source = args.image.source(source, args.quiet)?;
    let folder = Path::new(folder);
    let limits = args.image.limits()?;
    let wishes = Wishes {
        command: Vec::new(),
        terminal: args.tty,
        hostname: hostname(folder),
        cgroup_v2: has_single_tree(),
        host_network: args.network == Some(Network::Host),
        maps: Maps::of_caller(),
    };
    let platform = args.image.platform();
    rootless::inside(&wishes.maps, || {
        let made = bundle::unpack(&source, &platform, folder, limits, &wishes, bundle::Lasting::Files)?;
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
