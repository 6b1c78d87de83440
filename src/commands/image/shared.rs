//! What several commands of `myrt image` take.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cli::values::{Size, Value};
use crate::error::{Context, Error, Result};
use crate::image::limits::Limits;
use crate::image::platform::Platform;
use crate::image::progress::Show;
use crate::image::registry::Access;
use crate::image::source::Source;
use crate::image::store::Store;
use crate::image::{Maps, rootless};

/// The folder's name, as far as it can name a machine.
pub fn hostname(folder: &Path) -> String {
    let folder: PathBuf = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "container".to_owned() } else { name.to_owned() }
}

/// Whose network the container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with nothing but the loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
}

crate::choices! { Network { "none" => Self::None, "host" => Self::Host } }

/// `--tls-verify`, as skopeo has it: a switch that is on where nobody says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verify(Option<bool>);

impl Value for Verify {
    const TAKES_VALUE: bool = false;

    fn set(&mut self, text: &OsStr) -> Result<(), String> {
        let mut value = false;
        value.set(text)?;
        self.0 = Some(value);
        Ok(())
    }
}

impl Verify {
    /// Whether the caller has switched it off.
    pub fn is_off(self) -> bool {
        self.0 == Some(false)
    }
}

crate::args! {
    /// Flags of the commands that take an image from its source.
    pub struct FromSource {
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
    }
}

impl FromSource {
    /// The source of this name, as the flags say that it is reached; progress is shown unless the caller wants quiet.
    pub fn source(&self, name: &OsStr, quiet: bool) -> Result<Source> {
        let access = Access {
            creds: self.creds.clone(),
            authfile: self.authfile.clone(),
            cert_dir: self.cert_dir.clone(),
            unverified: self.tls_verify.is_off(),
            plain_http: self.plain_http,
        };
        Source::parse(name)?.reached(&access, Show::unless(quiet))
    }

    /// The platform that is asked for, or this machine's.
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// The caps that are asked for, or the usual ones.
    pub fn limits(&self) -> Result<Limits> {
        let mut limits = Limits::default();
        if let Some(Size(size)) = self.max_size {
            limits.bytes = u64::try_from(size).map_err(|_| Error::new("--max-size: not below 0"))?;
        }
        limits.entries = self.max_entries.unwrap_or(limits.entries);
        Ok(limits)
    }
}

/// Does something with the store, with the rights that its files need. Gives the exit code.
pub fn with_store(path: Option<&Path>, maps: &Maps, work: impl FnOnce(&Store) -> Result<()>) -> Result<u8> {
    // Looked for before: in the user namespace everybody is root.
    let path = match path {
        Some(path) => std::path::absolute(path).context(|| format!("--store {path:?}"))?,
        None => Store::default_path()?,
    };
    rootless::inside(maps, || work(&Store::open(&path)?))
}

/// So many layers, in words.
pub fn layers(count: usize) -> String {
    if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") }
}

/// A word that names an image.
pub fn name(word: Option<&OsString>) -> Result<&str> {
    let word = word.ok_or_else(|| Error::new("the image's name is missing"))?;
    word.to_str().ok_or_else(|| Error::new(format!("{word:?} is not an image's name: not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_called_like_the_folder() {
        for (folder, name) in [("/x/web", "web"), ("my web_1/", "myweb1"), ("--", "container"), ("/", "container")] {
            assert_eq!(hostname(Path::new(folder)), name);
        }
    }
}
