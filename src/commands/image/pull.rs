//! `myrt image pull`: an image comes into the store.

use std::path::PathBuf;

use super::shared::{Verify, limits, with_store};
use crate::cli::values::Size;
use crate::cli::{Args as _, Command, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::{Error, Result};
use crate::image::Maps;
use crate::image::platform::Platform;
use crate::image::progress::Show;
use crate::image::registry::Access;
use crate::image::source::Source;
use crate::log;

crate::args! {
    /// Flags of `image pull`.
    pub struct Args {
        /// What to call it (default: what its source calls it)
        name: Option<String> = "--name NAME",
        /// Take the image for this platform, such as linux/arm64 (default: this machine's)
        platform: Option<Platform> = "--platform OS/ARCH",
        /// The file with logins to registries (default: where podman and docker keep them)
        authfile: Option<PathBuf> = "--authfile FILE",
        /// Who to be to the registry, whatever files say; others see it in the list of processes
        creds: Option<String> = "--creds USER[:PASSWORD]",
        /// The folder with the registry's CA (*.crt) and what to show it (*.cert, *.key); default: its
        /// name in /etc/docker/certs.d, /etc/containers/certs.d, ~/.config/containers/certs.d
        cert_dir: Option<PathBuf> = "--cert-dir DIR",
        /// Believe registries only by certificates that this host knows (default); with =false any
        /// certificate will do, and plain http
        tls_verify: Verify = "--tls-verify",
        /// Speak to the registry by http
        plain_http: bool = "--plain-http",
        /// Refuse images that unpack to more (default: 64g)
        max_size: Option<Size> = "--max-size BYTES",
        /// Refuse images with more files (default: 4000000)
        max_entries: Option<u64> = "--max-entries N",
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
SOURCE is what `myrt image unpack` takes. Each layer is unpacked once, whichever images have it; what
was whole when a pull was interrupted is not unpacked again.

Example:
  sudo myrt image pull docker://debian:12 && sudo myrt image bundle debian:12 box && sudo myrt run box",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let source = Source::parse(parsed.words.first().map(|word| &**word).unwrap_or_default())?;
    let access = Access {
        creds: args.creds,
        authfile: args.authfile,
        cert_dir: args.cert_dir,
        unverified: args.tls_verify.is_off(),
        plain_http: args.plain_http,
    };
    let source = source.reached(&access, Show::unless(args.quiet))?;
    let name = args.name.or_else(|| source.default_name());
    let name =
        name.ok_or_else(|| Error::new("what comes by standard input has no name").hint("give it one by --name"))?;
    let limits = limits(args.max_size, args.max_entries)?;
    let platform = args.platform.unwrap_or_else(Platform::host);
    let maps = Maps::of_caller();
    with_store(args.store.as_deref(), &maps, |store| {
        let pulled = store.pull(&source, &name, &platform, limits, !maps.is_single())?;
        pulled.left_out.iter().for_each(log::warn);
        match args.format.unwrap_or_default() {
            _ if args.quiet => Ok(()),
            Format::Json => output::json(&pulled.record),
            Format::Table => {
                let (all, new) = (pulled.record.layers.len(), pulled.unpacked);
                output::print(&format!("{name}: {all} layers, {new} of them new\n"))
            }
        }
    })
}
