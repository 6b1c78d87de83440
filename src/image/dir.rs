//! skopeo's `dir:`: a manifest, and the blobs beside it, named by the digits of their digests.

use super::digest::Digest;
use super::document::{self, Image, LARGEST};
use super::files::Files;
use super::platform::Platform;
use super::spec::Descriptor;
use crate::error::{Error, Result};

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";

/// The image in the folder.
///
/// # Errors
/// Where there is none, or a document is broken.
pub fn image(files: &dyn Files, platform: &Platform) -> Result<Image> {
    if files.open(MANIFEST)?.is_none() || files.open("version")?.is_none() {
        return Err(Error::new(format!("{}: there is no {MANIFEST} and version in it", files.place()))
            .hint("dir: is a folder that `skopeo copy … dir:DIR` has made"));
    }
    let content = files.document(MANIFEST, LARGEST, None)?;
    let start = Descriptor {
        media_type: String::new(),
        digest: Digest::of(&content),
        size: content.len() as u64,
        annotations: Default::default(),
        platform: None,
    };
    let fetch = |wanted: &Descriptor| {
        if wanted.digest == start.digest {
            return Ok(content.clone());
        }
        // A manifest that an index lists has a name of its own.
        let blob = wanted.digest.hex();
        let manifest = format!("{blob}.{MANIFEST}");
        let name = if files.open(&manifest)?.is_some() { &manifest } else { blob };
        files.document(name, LARGEST, Some(&wanted.digest))
    };
    let mut image = document::resolve(&start, platform, fetch).map_err(|error| error.context(files.place()))?;
    for layer in &mut image.layers {
        layer.name = layer.digest.as_ref().map(|digest| digest.hex().to_owned()).unwrap_or_default();
    }
    Ok(image)
}
