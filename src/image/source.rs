//! Where an image comes from, as skopeo names it: `oci:DIR[:TAG]` and its kin.

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::document::Image;
use super::files::{Files, Folder};
use super::layout;
use super::platform::Platform;
use crate::error::{Error, Result};

/// A source as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI layout in a folder, and a tag in it.
    Layout(PathBuf, Option<String>),
}

/// What each transport is called, and what follows the colon.
const TRANSPORTS: [(&str, &str); 1] = [("oci", "DIR[:TAG]")];

/// An image whose documents were read and checked, with the files that its layers are in.
pub struct Opened {
    /// The image.
    pub image: Image,
    /// Its layers' names are names in here.
    pub files: Box<dyn Files>,
}

impl Source {
    /// Reads what was typed.
    ///
    /// # Errors
    /// An unknown transport, with those that are known.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':');
        let (transport, rest) = colon.map_or((&b""[..], bytes), |colon| (&bytes[..colon], &bytes[colon + 1..]));
        match transport {
            b"oci" if !rest.is_empty() => {
                let (path, tag) = path_and_name(rest)?;
                Ok(Self::Layout(path, tag))
            }
            _ => Err(Error::new(format!("{}: not an image's source", text.display())).hint(forms())),
        }
    }

    /// Finds the image and reads its documents.
    ///
    /// # Errors
    /// Where there is no such image, or its documents are broken.
    pub fn open(&self, platform: &Platform) -> Result<Opened> {
        match self {
            Self::Layout(folder, tag) => {
                let files = Folder::open(folder)?;
                let image = layout::image(&files, tag.as_deref(), platform)?;
                Ok(Opened { image, files: Box::new(files) })
            }
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Layout(path, tag) => ("oci", path, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// All forms of a source, for a hint.
fn forms() -> String {
    let forms: Vec<String> = TRANSPORTS.iter().map(|(name, rest)| format!("{name}:{rest}")).collect();
    format!("it is one of {}", forms.join(", "))
}

/// Splits at the first colon, as skopeo does: no path in a source has one.
fn path_and_name(text: &[u8]) -> Result<(PathBuf, Option<String>)> {
    let mut halves = text.splitn(2, |byte| *byte == b':');
    let path = PathBuf::from(OsStr::from_bytes(halves.next().unwrap_or_default()));
    let name = halves
        .next()
        .map(|name| String::from_utf8(name.to_vec()).map_err(|_| Error::new("an image's name is not UTF-8")));
    Ok((path, name.transpose()?.filter(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_skopeo_has_them() {
        let parse = |text: &str| Source::parse(OsStr::new(text));
        for text in ["oci:/images/debian", "oci:debian:12", "oci:debian:registry.example/debian:12"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("oci:a:b:c").unwrap(), Source::Layout("a".into(), Some("b:c".into())));
        for text in ["debian", "oci:", "oci", ":x", "ostree:x"] {
            assert!(parse(text).unwrap_err().remedy().unwrap().contains("oci:DIR"), "{text}");
        }
    }
}
