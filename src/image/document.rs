//! From an image's reference to its layers: indexes, manifests and configurations, each checked before it is believed.

use super::digest::Digest;
use super::platform::Platform;
use super::spec::{Config, Descriptor, Index, Manifest};
use crate::bail;
use crate::error::{Error, Result};

/// No honest document is larger; registries take no larger ones either.
pub const LARGEST: u64 = 4 << 20;
/// An index may list an index, and no more than so many deep.
const DEPTH: usize = 4;

/// An image for one platform, wherever its layers are.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its manifest, where it has one.
    pub manifest: Option<Digest>,
    /// Its configuration.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where the source has it: for a layout or a registry, the digest as text; for an archive, a name in it.
    pub name: String,
    /// The digest of the packed layer, where it is known.
    pub digest: Option<Digest>,
    /// Its bytes, where they are known.
    pub size: Option<u64>,
    /// The digest of what it unpacks to, where it is known.
    pub diff_id: Option<Digest>,
}

/// What an index or manifest says it is, from its own fields and from who refers to it.
enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// Follows a descriptor down to an image; `fetch` gives the content of a descriptor, already checked.
///
/// # Errors
/// Where a document is missing, broken, or of a kind that is not known; where no platform fits.
pub fn resolve(
    start: &Descriptor,
    platform: &Platform,
    mut fetch: impl FnMut(&Descriptor) -> Result<Vec<u8>>,
) -> Result<Image> {
    let mut current = start.clone();
    for _ in 0..DEPTH {
        match read(&fetch(&current)?, &current)? {
            Document::Manifest(manifest) => {
                let config = fetch(&manifest.config)?;
                return image(current.digest, &manifest, &config, platform);
            }
            Document::Index(index) => {
                let chosen = platform.choose(&index.manifests).cloned();
                current = chosen.ok_or_else(|| no_platform(&index, platform))?;
            }
        }
    }
    bail!("{}: indexes within indexes, more than {DEPTH} deep", start.digest)
}

fn no_platform(index: &Index, platform: &Platform) -> Error {
    let there = index.manifests.iter().filter_map(|found| found.platform.as_ref()).map(Platform::to_string);
    let mut there: Vec<String> = there.filter(|platform| !platform.starts_with("unknown/")).collect();
    there.dedup();
    Error::new(format!("the image is not there for {platform}"))
        .hint(format!("it is there for {}: choose one by --platform", there.join(", ")))
}

fn read(content: &[u8], descriptor: &Descriptor) -> Result<Document> {
    let broken = |error: serde_json::Error| Error::new(format!("{}: not a manifest: {error}", descriptor.digest));
    let value: serde_json::Value = serde_json::from_slice(content).map_err(broken)?;
    // Whoever signs or scans a document must not see another one than whoever unpacks it (CVE-2021-41190).
    if value.get("manifests").is_some() && (value.get("layers").is_some() || value.get("config").is_some()) {
        bail!("{}: it claims to be an index and a manifest at once", descriptor.digest);
    }
    if value.get("schemaVersion").and_then(serde_json::Value::as_u64) == Some(1) {
        return Err(Error::new(format!("{}: a manifest of Docker's schema 1", descriptor.digest))
            .hint("skopeo copy --format oci makes an image of today out of it"));
    }
    let said = value.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or(&descriptor.media_type);
    let is_index = value.get("manifests").is_some();
    let says_index = said.contains("image.index") || said.contains("manifest.list");
    if says_index != is_index && !said.is_empty() {
        bail!("{}: it is not what its media type says, {said}", descriptor.digest);
    }
    // From the text once more: the value has forgotten keys that stand there twice, of which readers differ in what they take.
    if is_index {
        return serde_json::from_slice(content).map(Document::Index).map_err(broken);
    }
    serde_json::from_slice(content).map(Document::Manifest).map_err(broken)
}

fn image(digest: Digest, manifest: &Manifest, config: &[u8], platform: &Platform) -> Result<Image> {
    let media_type = &manifest.config.media_type;
    let is_image =
        media_type.contains("image.config") || media_type.contains("container.image") || media_type.is_empty();
    if !is_image {
        bail!("{digest}: not a container image, but {media_type}");
    }
    let config: Config = read_config(config)?;
    check_platform(&config, platform)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        bail!(
            "{digest}: {} layers, and {} of them in the configuration (rootfs.diff_ids)",
            manifest.layers.len(),
            config.rootfs.diff_ids.len()
        );
    }
    let layer = |(layer, diff_id): (&Descriptor, &Digest)| {
        let media_type = &layer.media_type;
        let known = media_type.contains(".tar") && !media_type.contains("encrypted");
        if !known && !media_type.is_empty() {
            bail!("{}: a layer of the media type {media_type}, which is no archive", layer.digest);
        }
        Ok(Layer {
            name: layer.digest.to_string(),
            digest: Some(layer.digest.clone()),
            size: Some(layer.size),
            diff_id: Some(diff_id.clone()),
        })
    };
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Image { manifest: Some(digest), config, layers })
}

/// Reads a configuration.
///
/// # Errors
/// Where it is none.
pub fn read_config(content: &[u8]) -> Result<Config> {
    serde_json::from_slice(content).map_err(|error| Error::new(format!("the image's configuration: {error}")))
}

/// An image that names no platform is taken at its word; one for another architecture would fail at its first program.
///
/// # Errors
/// Where the image is for another one.
pub fn check_platform(config: &Config, platform: &Platform) -> Result<()> {
    let fits = |said: &str, wanted: &str| said.is_empty() || said == wanted;
    if fits(&config.os, &platform.os) && fits(&config.architecture, &platform.architecture) {
        return Ok(());
    }
    Err(Error::new(format!("the image is for {}/{}, not for {platform}", config.os, config.architecture))
        .hint(format!("if that is meant: --platform {}/{}", config.os, config.architecture)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A folder of documents, by digest.
    #[derive(Default)]
    struct Blobs(Vec<(Digest, Vec<u8>)>);

    impl Blobs {
        fn add(&mut self, media_type: &str, document: &Value) -> Value {
            let content = document.to_string().into_bytes();
            let digest = Digest::of(&content);
            let entry = json!({ "mediaType": media_type, "digest": digest, "size": content.len() });
            self.0.push((digest, content));
            entry
        }
        fn image(&self, start: &Value) -> Result<Image> {
            let start = serde_json::from_value(start.clone()).unwrap();
            resolve(&start, &"linux/amd64".parse().unwrap(), |wanted| {
                let found = self.0.iter().find(|(digest, _)| *digest == wanted.digest);
                found.map(|(_, content)| content.clone()).ok_or_else(|| Error::new("not there"))
            })
        }
    }

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn manifest(blobs: &mut Blobs, config: &Value, layer: &str) -> Value {
        let config = blobs.add(CONFIG, config);
        let layer = json!({ "mediaType": layer, "digest": Digest::of(b"layer"), "size": 5 });
        json!({ "schemaVersion": 2, "config": config, "layers": [layer] })
    }

    fn config() -> Value {
        json!({ "os": "linux", "architecture": "amd64", "config": null,
                "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"x")] } })
    }

    #[test]
    fn an_index_leads_to_the_image_for_the_platform() {
        let mut blobs = Blobs::default();
        let document = manifest(&mut blobs, &config(), LAYER);
        let mut entry = blobs.add(MANIFEST, &document);
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        let other = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"arm"), "size": 1,
                            "platform": { "os": "linux", "architecture": "arm64" } });
        let index = blobs.add(INDEX, &json!({ "schemaVersion": 2, "manifests": [other, entry] }));
        let image = blobs.image(&index).unwrap();
        assert_eq!(image.layers[0].digest, Some(Digest::of(b"layer")));
        assert_eq!(image.layers[0].diff_id, Some(Digest::of(b"x")));
        let index = blobs.add(INDEX, &json!({ "schemaVersion": 2, "manifests": [other] }));
        let error = blobs.image(&index).unwrap_err();
        assert!(error.remedy().unwrap().contains("linux/arm64"), "{error}");
    }

    #[test]
    fn documents_that_lie_are_refused() {
        let mut blobs = Blobs::default();
        let honest = manifest(&mut blobs, &config(), LAYER);
        let refused = |blobs: &mut Blobs, media_type: &str, document: &Value, why: &str| {
            let entry = blobs.add(media_type, document);
            let error = blobs.image(&entry).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        let mut both = honest.clone();
        both["manifests"] = json!([]);
        refused(&mut blobs, MANIFEST, &both, "at once");
        refused(&mut blobs, INDEX, &honest, "media type");
        refused(&mut blobs, MANIFEST, &json!({ "schemaVersion": 1, "fsLayers": [] }), "schema 1");
        refused(&mut blobs, MANIFEST, &json!([]), "not a manifest");
        let mut fewer = config();
        fewer["rootfs"]["diff_ids"] = json!([]);
        let document = manifest(&mut blobs, &fewer, LAYER);
        refused(&mut blobs, MANIFEST, &document, "diff_ids");
        let document = manifest(&mut blobs, &config(), "application/vnd.oci.image.layer.v1.tar+encrypted");
        refused(&mut blobs, MANIFEST, &document, "no archive");
        let mut foreign = config();
        foreign["architecture"] = "arm64".into();
        let document = manifest(&mut blobs, &foreign, LAYER);
        refused(&mut blobs, MANIFEST, &document, "for linux/arm64");
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        let mut blobs = Blobs::default();
        let honest = manifest(&mut blobs, &config(), LAYER).to_string();
        let twice = honest.replacen('{', r#"{"layers":[],"#, 1).into_bytes();
        let digest = Digest::of(&twice);
        blobs.0.push((digest.clone(), twice));
        let error = blobs.image(&json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 })).unwrap_err();
        assert!(error.to_string().contains("duplicate field"), "{error}");
    }

    #[test]
    fn indexes_within_indexes_end() {
        let mut blobs = Blobs::default();
        let document = manifest(&mut blobs, &config(), LAYER);
        let mut entry = blobs.add(MANIFEST, &document);
        for _ in 0..DEPTH {
            assert!(blobs.image(&entry).is_ok());
            entry = blobs.add(INDEX, &json!({ "schemaVersion": 2, "manifests": [entry] }));
        }
        assert!(blobs.image(&entry).unwrap_err().to_string().contains("deep"));
    }
}
