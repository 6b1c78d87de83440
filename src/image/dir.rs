//! skopeo's `dir:`: a manifest, and the blobs beside it, named by the digits of their digests. A folder that is not of this
//! form is a root filesystem (`rootfs.rs`).

use std::path::Path;

use super::digest::Digest;
use super::document::{self, Image, LARGEST};
use super::files::Files;
use super::platform::Platform;
use super::spec::Descriptor;
use crate::error::Result;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";

/// Whether a folder is of this form.
pub fn is_one(folder: &Path) -> bool {
    [MANIFEST, "version"].iter().all(|name| folder.join(name).is_file())
}

/// The image in the folder.
///
/// # Errors
/// Where a document is missing or broken.
pub fn image(files: &dyn Files, platform: &Platform) -> Result<Image> {
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
