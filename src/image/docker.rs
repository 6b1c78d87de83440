//! `docker save`'s archive: manifest.json lists the images with the files of their layers, which have no digests of their
//! own but what they unpack to.

use serde::Deserialize;

use super::document::{Image, LARGEST, Layer, check_platform, read_config};
use super::files::Files;
use super::platform::Platform;
use super::spec::or_default;
use crate::bail;
use crate::error::{Error, Result};

/// One image of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

/// Where the list is.
pub const MANIFEST: &str = "manifest.json";

/// Finds an image by its name; without one there must be a single image.
///
/// # Errors
/// Where it is not there, or a document is broken.
pub fn image(files: &dyn Files, name: Option<&str>, platform: &Platform) -> Result<Image> {
    if files.open(MANIFEST)?.is_none() {
        bail!("{}: not an archive of docker save: there is no {MANIFEST} in it", files.place());
    }
    let content = files.document(MANIFEST, LARGEST, None)?;
    let entries: Vec<Entry> = serde_json::from_slice(&content)
        .map_err(|error| Error::new(format!("{}: {MANIFEST}: {error}", files.place())))?;
    let entry = choose(&entries, name).map_err(|error| error.context(files.place()))?;
    let config = read_config(&files.document(&entry.config, LARGEST, None)?)?;
    check_platform(&config, platform)?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != entry.layers.len() {
        bail!(
            "{}: {} layers, and {} of them in the configuration (rootfs.diff_ids)",
            files.place(),
            entry.layers.len(),
            diff_ids.len()
        );
    }
    let layer = |(name, diff_id): (&String, &_)| Layer {
        name: name.clone(),
        digest: None,
        size: None,
        diff_id: Some(Clone::clone(diff_id)),
    };
    let layers = entry.layers.iter().zip(diff_ids).map(layer).collect();
    Ok(Image { manifest: None, config, layers })
}

fn choose<'a>(entries: &'a [Entry], name: Option<&str>) -> Result<&'a Entry> {
    let all = || entries.iter().flat_map(|entry| &entry.repo_tags).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (entries, name) {
        ([one], None) => Ok(one),
        ([], _) => bail!("there is no image in it"),
        (several, None) => Err(Error::new(format!("there are {} images in it", several.len()))
            .hint(format!("name one of them behind a colon: {}", all()))),
        (several, Some(name)) => {
            let wanted = whole(name);
            let found = several.iter().find(|entry| entry.repo_tags.iter().any(|tag| whole(tag) == wanted));
            found.ok_or_else(|| {
                Error::new(format!("there is no image {name}")).hint(format!("there are these: {}", all()))
            })
        }
    }
}

/// A name as Docker means it: with its registry, its folder and its tag.
fn whole(name: &str) -> String {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    let is_registry = |part: &str| part.contains('.') || part.contains(':') || part == "localhost";
    let path = match path.split_once('/') {
        None => format!("docker.io/library/{path}"),
        Some((first, rest)) if first == "docker.io" && !rest.contains('/') => format!("docker.io/library/{rest}"),
        Some((first, _)) if is_registry(first) => path.to_owned(),
        Some(_) => format!("docker.io/{path}"),
    };
    format!("{path}:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_dockers() {
        for name in ["debian", "debian:latest", "library/debian", "docker.io/debian", "docker.io/library/debian:latest"]
        {
            assert_eq!(whole(name), "docker.io/library/debian:latest");
        }
        assert_eq!(whole("me/app:1"), "docker.io/me/app:1");
        assert_eq!(whole("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(whole("registry.example/a/b"), "registry.example/a/b:latest");
    }
}
