//! Images of a test's own making: archives written byte by byte, so that they can be hostile, in an OCI layout.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::util::command::{Output, TestCommand};
use crate::util::runtime;

/// A folder of the test's own, removed at the end.
pub struct Place(pub PathBuf);

impl Place {
    /// A new one; `name` tells whose it is.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/myrt-image-{name}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path in it, as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `myrt image` with these words, in this folder.
    pub fn image<S: ToString>(&self, words: impl IntoIterator<Item = S>) -> TestCommand {
        TestCommand::new([runtime(), "image".to_owned()]).args(words).cwd(&self.0)
    }

    /// Unpacks the layout `oci` into the bundle `box`.
    #[track_caller]
    pub fn unpack(&self) -> Output {
        self.image(["unpack", "--quiet", "oci:oci", "box"]).run()
    }

    /// Unpacks, and gives the path of a file in the bundle.
    #[track_caller]
    pub fn unpacked(&self, name: &str) -> PathBuf {
        if !self.path("box").exists() {
            self.unpack().ok();
        }
        self.path("box/rootfs").join(name)
    }

    /// Asserts that nothing is in the folder but the layout: a refused image leaves nothing.
    #[track_caller]
    pub fn is_clean(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "oci");
        assert!(names.is_empty(), "left behind: {names:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `sha256:…` of a content.
pub fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

/// One entry of it: what a header holds.
#[derive(Clone)]
pub struct Header {
    pub path: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
}

impl Header {
    /// A header for this path and type: mode 0755 for folders, 0644 for the rest, a fixed time.
    pub fn new(path: impl AsRef<[u8]>, kind: u8) -> Self {
        Self {
            path: path.as_ref().to_vec(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 1_700_000_000,
            link: Vec::new(),
            device: (0, 0),
        }
    }

    /// As a block.
    pub fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, &self.path[..self.path.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        sum(&mut block);
        block
    }
}

/// Writes the checksum of a header.
pub fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    /// A header and its data, filled to a whole block.
    #[must_use]
    pub fn entry(mut self, header: &Header, data: &[u8]) -> Self {
        let header = Header { size: if data.is_empty() { header.size } else { data.len() as u64 }, ..header.clone() };
        self.0.extend(header.block());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(&Header::new(path, b'0'), content.as_ref())
    }

    /// A folder.
    #[must_use]
    pub fn folder(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(&Header::new(path, b'5'), b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(&Header { link: target.as_ref().to_vec(), ..Header::new(path, b'2') }, b"")
    }

    /// A hard link.
    #[must_use]
    pub fn link(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(&Header { link: target.as_ref().to_vec(), ..Header::new(path, b'1') }, b"")
    }

    /// Pax records for the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let length = (1..10).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
            content.extend(format!("{} {key}=", length.unwrap()).as_bytes());
            content.extend(*value);
            content.push(b'\n');
        }
        self.entry(&Header::new("PaxHeaders/x", b'x'), &content)
    }

    /// What is in it, with the two empty blocks at its end.
    pub fn done(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }
}

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    Plain,
    Gzip,
    Zstd,
}

/// Packs a content.
pub fn packed(content: &[u8], pack: Pack) -> Vec<u8> {
    match pack {
        Pack::Plain => content.to_vec(),
        Pack::Zstd => zstd::encode_all(content, 1).unwrap(),
        Pack::Gzip => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(content).unwrap();
            packer.finish().unwrap()
        }
    }
}

/// An image in an OCI layout.
pub struct Layout {
    folder: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// An empty layout.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layout = Self { folder: folder.to_owned(), manifests: Vec::new() };
        layout.write();
        layout
    }

    /// An image of these layers, packed with gzip, with the tag `latest`.
    pub fn of(place: &Place, layers: &[Tar]) -> Self {
        let mut layout = Self::new(&place.path("oci"));
        let layers: Vec<_> = layers.iter().map(|layer| (layer.done(), Pack::Gzip)).collect();
        layout.image("latest", &json!({ "Cmd": ["true"] }), &layers);
        layout
    }

    /// Adds a blob; gives its descriptor.
    pub fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = digest(content);
        fs::write(self.path(&digest), content).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    /// Where a blob is.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }

    /// Adds an image: what `config.config` holds, and the layers' archives. Gives its descriptor.
    pub fn image(&mut self, tag: &str, config: &Value, layers: &[(Vec<u8>, Pack)]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(archive, _)| digest(archive)).collect();
        let config = json!({
            "os": "linux", "architecture": architecture(), "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let layers: Vec<_> = layers
            .iter()
            .map(|(archive, pack)| {
                // What the media type says must not matter.
                self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &packed(archive, *pack))
            })
            .collect();
        self.manifest(tag, &config, &layers)
    }

    /// Adds a manifest with this configuration and these descriptors of layers.
    pub fn manifest(&mut self, tag: &str, config: &Value, layers: &[Value]) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers,
        });
        let mut entry = self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.add(entry)
    }

    /// Adds a descriptor to index.json.
    pub fn add(&mut self, entry: Value) -> Value {
        self.manifests.push(entry.clone());
        self.write();
        entry
    }

    /// Adds an index with the tag `all`: one image for this machine with a file `native`, and one for another, `foreign`.
    pub fn platforms(&mut self) {
        let mut entries = Vec::new();
        for (arch, name) in [(architecture(), "native"), ("mips", "foreign")] {
            let layer = self.blob("application/vnd.oci.image.layer.v1.tar", &Tar::default().file(name, name).done());
            let config = json!({ "os": "linux", "architecture": arch,
                                 "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] } });
            let mut entry = self.manifest(name, &config, &[layer]);
            entry["platform"] = json!({ "os": "linux", "architecture": arch });
            entries.push(entry);
        }
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        let mut entry = self.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "all" });
        self.add(entry);
    }

    fn write(&self) {
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests });
        fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
    }
}

/// The machine's architecture, in Go's name.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
