//! Good inputs to begin with: every kind of entry, every notation, every document.

use std::io::Write as _;

use serde_json::json;

use super::documents::BORDER;
use super::layer::{ALONE, input};
use crate::image::digest::Digest;
use crate::image::tar::{Entry, Kind, Piece, header, padding};

/// The inputs of a target, each with a name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = if target == "layer" { layers() } else { documents() };
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn entry(path: &str, kind: Kind) -> Entry {
    let path = path.as_bytes().to_vec();
    Entry {
        path,
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (1_700_000_000, 5),
        size: 0,
        xattrs: Vec::new(),
        pieces: None,
    }
}

fn file(path: &str, size: u64) -> Entry {
    Entry { size, mode: 0o4644, ..entry(path, Kind::File) }
}

/// An archive; a file's content is the letter x.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let (header, data) = header(entry);
        bytes.extend(header);
        bytes.resize(bytes.len() + data as usize, b'x');
        bytes.resize(bytes.len() + padding(data) as usize, 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn kinds() -> Vec<u8> {
    let list =
        [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255];
    let xattrs = vec![
        (b"user.note".to_vec(), b"value".to_vec()),
        (b"system.posix_acl_default".to_vec(), list.to_vec()),
        (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
    ];
    archive(&[
        entry(".", Kind::Folder),
        Entry { xattrs, mode: 0o2775, ..entry("a", Kind::Folder) },
        file("a/one", 700),
        entry("a/sub", Kind::Folder),
        file("a/sub/two", 3),
        file("implied/folders/file", 1),
        entry("hard", Kind::Link(b"a/one".to_vec())),
        entry("way", Kind::Symlink(b"a/sub".to_vec())),
        entry("out", Kind::Symlink(b"../outside".to_vec())),
        entry("out-file", Kind::Symlink(b"/outside/file".to_vec())),
        entry("dangling", Kind::Symlink(b"not/there".to_vec())),
        entry("fifo", Kind::Fifo),
        entry("null", Kind::Char(1, 3)),
        entry("disk", Kind::Block(7, 0)),
    ])
}

fn upper() -> Vec<u8> {
    archive(&[
        file("a/.wh.one", 0),
        file("a/sub/.wh..wh..opq", 0),
        file("a/sub/new", 2),
        file("way/through", 2),
        file("out/file", 4),
        file("out/.wh.link", 0),
        file("out-file", 4),
        file("dangling/new", 4),
        entry("fifo", Kind::Folder),
        entry("again", Kind::Link(b"implied/folders/file".to_vec())),
        file(".wh.implied", 0),
    ])
}

fn sparse() -> Vec<u8> {
    let pieces = vec![Piece { offset: 4096, length: 100 }, Piece { offset: 90_000, length: 512 }];
    let sparse = Entry { pieces: Some(pieces), ..file("sparse", 100_000) };
    let mut bytes = archive(&[sparse, file("after", 10)]);
    // GNU tar's own notation as well: a table in the header, one more block of it, then the data.
    bytes.truncate(bytes.len() - 1024);
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "old-sparse");
    put(100, "0000644\u{0}0000000\u{0}0000000\u{0}00000000004\u{0}00000000000\u{0}");
    put(156, "S");
    put(257, "ustar  ");
    put(386, "00000000000\u{0}00000000002\u{0}");
    put(482, "\u{1}");
    put(483, "00000010000\u{0}");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bytes.extend(block);
    let mut more = [0; 512];
    more[..24].copy_from_slice(b"00000001000\x0000000000002\x00");
    bytes.extend(more);
    bytes.extend([b'x'; 4]);
    bytes.resize(bytes.len() + 508 + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).unwrap_or_else(|error| panic!("{error}"))
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap_or_else(|error| panic!("{error}"))
}

fn layers() -> Vec<(&'static str, Vec<u8>)> {
    let (lower, upper) = (kinds(), upper());
    let halves = [gzip(&lower[..1024]), gzip(&lower[1024..])].concat();
    let frames = [zstd(&lower[..512]), zstd(&lower[512..])].concat();
    vec![
        ("flat", input(0, &lower, &upper)),
        ("threads", input(4, &lower, &upper)),
        ("sparse", input(0, &sparse(), &archive(&[file("sparse", 4), file(".wh.old-sparse", 0)]))),
        ("gzip", input(4, &[], &halves)),
        ("zstd", input(4, &[], &frames)),
        // Hard links across layers are not for a layer alone.
        ("alone", input(ALONE, &lower, &archive(&[file("a/.wh.one", 0), file("a/.wh..wh..opq", 0), file("b/new", 9)]))),
    ]
}

fn joined(form: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[form][..], &parts.join(&BORDER[..])].concat()
}

fn documents() -> Vec<(&'static str, Vec<u8>)> {
    // The first digit of a digest says which part is meant.
    let digest = |part: usize| format!("sha256:{part:x}{}", &Digest::of(b"").hex()[1..]);
    let of = |kind: &str, part: usize| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(part), "size": 5 });
    let layer = of("layer.v1.tar+gzip", 9);
    let config = json!({
        "os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z", "variant": "v1", "author": "x",
        "config": {
            "User": "web:logs", "Env": ["A=1", "PATH=/bin"], "Entrypoint": ["/entry"], "Cmd": ["serve"], "WorkingDir": "srv",
            "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {} }, "StopSignal": "SIGQUIT",
            "Labels": { "own": "1", "run.oci.keep_original_groups": "1" },
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(9)] },
    });
    let platform = json!({ "os": "linux", "architecture": "amd64", "variant": "v1" });
    let manifest = json!({ "schemaVersion": 2, "config": of("config.v1+json", 3), "layers": [layer] });
    let mut listed = of("manifest.v1+json", 2);
    listed["platform"] = platform;
    let index = json!({ "schemaVersion": 2, "manifests": [of("manifest.v1+json", 8), listed] });
    let text = |value: &serde_json::Value| value.to_string().into_bytes();
    let resolved = [text(&of("index.v1+json", 1)), text(&index), text(&manifest), text(&config)];
    let resolved: Vec<&[u8]> = resolved.iter().map(Vec::as_slice).collect();
    let passwd = b"root:x:0:0::/root:\nweb:x:33:34::/srv:\nbroken\n";
    let group = b"root:x:0:\nweb:x:34:\nlogs:x:40:web,x\n";
    let mut members = Vec::new();
    for (path, content) in [
        ("manifest.json", json!([{ "Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l/layer.tar"] }]).to_string()),
        ("c.json", config.to_string()),
        ("l/layer.tar", "content".to_owned()),
    ] {
        members.extend(header(&file(path, content.len() as u64)).0);
        members.extend(content.as_bytes());
        members.resize(members.len() + padding(content.len() as u64) as usize, 0);
    }
    members.extend(archive(&[entry("l/link", Kind::Symlink(b"layer.tar".to_vec()))]));
    vec![
        ("resolved", joined(0, &resolved)),
        ("archive", [&[1][..], &members].concat()),
        ("archive-gzip", [&[1][..], &gzip(&members)].concat()),
        ("converted", joined(2, &[&text(&config), passwd, group])),
    ]
}
