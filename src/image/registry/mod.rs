//! Images in a registry, by the distribution specification 1.1, which is Docker's Registry HTTP API V2 as well.
//!
//! `{reference, credentials} → client → {auth, trust, url, failure} → blob`. The caller's logins are looked up first, as the
//! caller ([`Door::find`]); requests are made later, perhaps in a user namespace ([`open`]). A registry is hostile like any
//! other source: its documents are capped, and all that it sends is held against a digest while it streams.

mod auth;
mod blob;
mod challenge;
mod client;
mod credentials;
mod failure;
mod reference;
mod trust;
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;

use blob::Blob;
use client::{Client, Wanted};
use credentials::Credentials;
pub use reference::Reference;
pub use reference::typed;

use super::digest::Digest;
use super::document::{self, LARGEST};
use super::files::{Files, Opened};
use super::platform::Platform;
use super::source;
use super::spec::Descriptor;
use crate::bail;
use crate::error::Result;

/// What is understood of the documents that a name may stand for.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// In which a registry says what it believes the digest of a document to be.
const DIGEST: &str = "docker-content-digest";

/// What flags say of the way to a registry.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `--creds`
    pub creds: Option<String>,
    /// `--authfile`
    pub authfile: Option<PathBuf>,
    /// `--cert-dir`
    pub cert_dir: Option<PathBuf>,
    /// `--tls-verify=false`
    pub unverified: bool,
    /// `--plain-http`
    pub plain_http: bool,
}

/// An image in a registry, and how to get there.
#[derive(Clone, Debug)]
pub struct Door {
    reference: Reference,
    credentials: Option<Credentials>,
    cert_dir: Option<PathBuf>,
    verify: bool,
    plain_http: bool,
}

impl Door {
    /// Looks up who the caller is to that registry, as the caller.
    ///
    /// # Errors
    /// Where a file of logins is missing or broken.
    pub fn find(reference: Reference, access: &Access) -> Result<Self> {
        let credentials = match &access.creds {
            Some(typed) => Some(Credentials::typed(typed)?),
            None => credentials::find(&reference, access.authfile.as_deref())?,
        };
        Ok(Self {
            reference,
            credentials,
            cert_dir: access.cert_dir.clone(),
            verify: !access.unverified,
            plain_http: access.plain_http,
        })
    }
}

/// Finds an image and reads its documents; the layers' names are names in the files.
///
/// # Errors
/// Where it is not there, is not shown to this caller, or a document is broken.
pub fn open(door: &Door, platform: &Platform) -> Result<source::Opened> {
    let client = Client::new(door)?;
    let (start, content) = first(&client)?;
    let fetch = |wanted: &Descriptor| {
        if wanted.digest == start.digest {
            return Ok(content.clone());
        }
        fetch(&client, wanted)
    };
    let mut image = document::resolve(&start, platform, fetch).map_err(|error| error.context(client.reference()))?;
    let mut layers = BTreeMap::new();
    for layer in &mut image.layers {
        let Some(digest) = &layer.digest else { continue };
        layer.name = format!("{}@{digest}", client.reference());
        layers.insert(layer.name.clone(), (digest.clone(), layer.size.unwrap_or(0)));
    }
    Ok(source::Opened { image, files: Box::new(Remote { client, layers }) })
}

/// The document that the image's name stands for.
fn first(client: &Client) -> Result<(Descriptor, Vec<u8>)> {
    let wanted = client.reference().wanted();
    let path = format!("manifests/{wanted}");
    let url = client.url(&path);
    let answer = client.document(&Wanted { path, accept: Some(MANIFESTS), from: 0 }, LARGEST)?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    // A document says itself what it is; a registry that serves all as plain JSON says nothing.
    let media_type = header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let known = media_type.contains("manifest") || media_type.contains("index");
    let media_type = if known { media_type.to_owned() } else { String::new() };
    let announced = header(DIGEST).map(Digest::parse).transpose().map_err(|error| error.context(&url))?;
    let content = answer.body();
    for digest in client.reference().digest.iter().chain(&announced) {
        check(content, digest).map_err(|error| error.context(&url))?;
    }
    let digest = client.reference().digest.clone().or(announced).unwrap_or_else(|| Digest::of(content));
    let size = content.len() as u64;
    Ok((Descriptor { media_type, digest, size, annotations: BTreeMap::new(), platform: None }, answer.into_body()))
}

/// A document that another one names.
fn fetch(client: &Client, wanted: &Descriptor) -> Result<Vec<u8>> {
    if wanted.size > LARGEST {
        bail!("{}: a document of {} bytes (at most {LARGEST})", wanted.digest, wanted.size);
    }
    let media_type = &wanted.media_type;
    let is_manifest = media_type.contains("manifest") || media_type.contains("image.index");
    let folder = if is_manifest { "manifests" } else { "blobs" };
    let path = format!("{folder}/{}", wanted.digest);
    let url = client.url(&path);
    let answer = client.document(&Wanted { path, accept: is_manifest.then_some(MANIFESTS), from: 0 }, LARGEST)?;
    let content = answer.into_body();
    if content.len() as u64 != wanted.size {
        bail!("{url}: {} bytes where {} are announced", content.len(), wanted.size);
    }
    check(&content, &wanted.digest).map_err(|error| error.context(&url))?;
    Ok(content)
}

fn check(content: &[u8], wanted: &Digest) -> Result<()> {
    let mut hasher = wanted.hasher();
    hasher.update(content);
    let found = hasher.finish();
    if found != *wanted {
        return Err(crate::error::Error::new(format!("its digest is {found} and not {wanted}")).hint(
            "the registry, or somebody on the way to it, gives another document than its name says: do not use it",
        ));
    }
    Ok(())
}

/// The layers of an image in a registry.
struct Remote {
    client: Client,
    /// By the names that the image calls them by.
    layers: BTreeMap<String, (Digest, u64)>,
}

impl Files for Remote {
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>> {
        let Some((digest, size)) = self.layers.get(name) else { return Ok(None) };
        let blob = Blob::open(&self.client, format!("blobs/{digest}"), *size)?;
        Ok(Some((*size, Box::new(blob))))
    }

    fn place(&self) -> String {
        self.client.reference().to_string()
    }
}
