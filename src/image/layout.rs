//! The OCI image layout: `oci-layout`, `index.json`, and the blobs by digest.

use serde::Deserialize;

use super::digest::Digest;
use super::document::{self, Image, LARGEST};
use super::files::Files;
use super::platform::Platform;
use super::spec::{Descriptor, Index, REF_NAME};
use crate::bail;
use crate::error::{Error, Result};

/// The content of `oci-layout`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Finds an image by its tag; without one there must be a single image, or one of them is for the platform.
///
/// # Errors
/// Where it is not there, or a document is broken.
pub fn image(files: &dyn Files, tag: Option<&str>, platform: &Platform) -> Result<Image> {
    check_version(files)?;
    let content = files.document("index.json", LARGEST, None)?;
    let index: Index = parse(files, "index.json", &content)?;
    let start = choose(&index, tag, platform).map_err(|error| error.context(files.place()))?;
    let fetch = |wanted: &Descriptor| {
        if wanted.size > LARGEST {
            bail!("{}: a document of {} bytes (at most {LARGEST})", wanted.digest, wanted.size);
        }
        let content = files.document(&path(&wanted.digest), LARGEST, Some(&wanted.digest))?;
        if content.len() as u64 != wanted.size {
            bail!("{}: {} bytes where {} are announced", wanted.digest, content.len(), wanted.size);
        }
        Ok(content)
    };
    let mut image = document::resolve(start, platform, fetch).map_err(|error| error.context(files.place()))?;
    for layer in &mut image.layers {
        layer.name = layer.digest.as_ref().map(path).unwrap_or_default();
    }
    Ok(image)
}

/// Where a layout has a blob.
pub fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn check_version(files: &dyn Files) -> Result<()> {
    if files.open("oci-layout")?.is_none() {
        return Err(Error::new(format!("{}: not an OCI layout: there is no oci-layout in it", files.place())));
    }
    let content = files.document("oci-layout", LARGEST, None)?;
    let version: Version = parse(files, "oci-layout", &content)?;
    if !version.image_layout_version.starts_with("1.") {
        bail!("{}: a layout of version {}, and 1.x is known", files.place(), version.image_layout_version);
    }
    Ok(())
}

fn parse<T: for<'a> Deserialize<'a>>(files: &dyn Files, name: &str, content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| Error::new(format!("{}: {name}: {error}", files.place())))
}

fn choose<'a>(index: &'a Index, tag: Option<&str>, platform: &Platform) -> Result<&'a Descriptor> {
    let tag_of = |entry: &'a Descriptor| entry.annotations.get(REF_NAME).map(String::as_str);
    let found: Vec<_> =
        index.manifests.iter().filter(|entry| tag.is_none_or(|tag| tag_of(entry) == Some(tag))).collect();
    let hint = || {
        let tags: Vec<_> = index.manifests.iter().filter_map(tag_of).collect();
        format!("there are these tags: {}", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") })
    };
    match (&found[..], tag) {
        ([one], _) => Ok(one),
        ([], Some(tag)) => Err(Error::new(format!("there is no image with the tag {tag}")).hint(hint())),
        ([], None) => bail!("there is no image in it"),
        // Several of one tag are one image for several platforms.
        (several, Some(_)) => platform.choose(several.iter().copied()).ok_or_else(|| {
            Error::new(format!("none of the images with this tag is for {platform}")).hint("choose by --platform")
        }),
        (several, None) if several.iter().all(|entry| tag_of(entry).is_none()) => platform
            .choose(several.iter().copied())
            .ok_or_else(|| Error::new(format!("none of the images is for {platform}")).hint("choose by --platform")),
        (several, None) => Err(Error::new(format!("there are {} images in it", several.len()))
            .hint(format!("name one by its tag, behind a colon; {}", hint()))),
    }
}
