//! Bytes as the documents of an image, in each form that a source has: parts, divided by two bytes of 255, behind a byte that
//! says which form.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use serde_json::Value;

use super::world::World;
use crate::error::Result;
use crate::image::archive::Archive;
use crate::image::convert::{Wishes, convert};
use crate::image::document::{self, Image};
use crate::image::files::Files;
use crate::image::platform::Platform;
use crate::image::spec::{Config, Descriptor};
use crate::image::{docker, layout};
use crate::plan::Plan;
use crate::sys::beneath::Beneath;

/// Between two parts.
pub(super) const BORDER: [u8; 2] = [0xff, 0xff];

/// Reads the documents; says whether they are those of an image. Panics where something must not happen.
pub fn documents(world: &World, input: &[u8]) -> bool {
    let Some((form, bytes)) = input.split_first() else { return false };
    let platform = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    match form % 3 {
        0 => resolved(&parts(bytes), &platform).is_ok_and(|image| sound(&image)),
        1 => in_archive(bytes, &platform).is_ok_and(|image| sound(&image)),
        _ => converted(world, &parts(bytes)).is_ok(),
    }
}

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BORDER.len()).position(|window| window == BORDER) {
        parts.push(&rest[..at]);
        rest = &rest[at + BORDER.len()..];
    }
    parts.push(rest);
    parts
}

/// From a descriptor, the first part, down to an image. The others are found by the first digit of a digest: that content and
/// digest agree is another's business, and would stop every mutation.
fn resolved(parts: &[&[u8]], platform: &Platform) -> Result<Image> {
    let start: Descriptor =
        serde_json::from_slice(parts[0]).map_err(|error| crate::error::Error::new(error.to_string()))?;
    document::resolve(&start, platform, |wanted| {
        let index = usize::from_str_radix(&wanted.digest.hex()[..1], 16).unwrap_or(0);
        Ok(parts.get(index).map(|part| part.to_vec()).unwrap_or_default())
    })
}

/// An archive of either kind, from its index to the content of its layers.
fn in_archive(bytes: &[u8], platform: &Platform) -> Result<Image> {
    let archive = Archive::of(memory(bytes), "fuzz", 1 << 20)?;
    let image = match archive.open("oci-layout")? {
        Some(_) => layout::image(&archive, None, platform)?,
        None => docker::image(&archive, None, platform)?,
    };
    for layer in &image.layers {
        let (_, input) = archive.need(&layer.name)?;
        let length = input.take(2 << 20).read_to_end(&mut Vec::new()).unwrap_or(0);
        assert!(length <= bytes.len().max(1 << 20), "a layer is longer than its archive");
    }
    Ok(image)
}

fn memory(bytes: &[u8]) -> fs::File {
    let fd: OwnedFd = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC)
        .unwrap_or_else(|errno| panic!("memfd_create: {errno}"));
    let mut file = fs::File::from(fd);
    file.write_all(bytes).and_then(|()| std::io::Seek::rewind(&mut file)).unwrap_or_else(|error| panic!("{error}"));
    file
}

/// What is believed of an image.
fn sound(image: &Image) -> bool {
    for digest in image.layers.iter().filter_map(|layer| layer.digest.as_ref()) {
        assert!(!digest.hex().contains(['/', '.']), "{digest}");
    }
    for diff_id in image.layers.iter().filter_map(|layer| layer.diff_id.as_ref()) {
        assert!(diff_id.hex().bytes().all(|byte| byte.is_ascii_hexdigit()), "{diff_id}");
    }
    image.layers.len() <= 1 << 16
}

/// A configuration and the files in which its user is looked up, as config.json: what is written can be run, or is refused for
/// what the image says.
fn converted(world: &World, parts: &[&[u8]]) -> Result<()> {
    let root = world.root();
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(root.join("rootfs/etc"))?;
        fs::write(root.join("rootfs/etc/passwd"), parts.get(1).copied().unwrap_or_default())?;
        fs::write(root.join("rootfs/etc/group"), parts.get(2).copied().unwrap_or_default())
    };
    write().unwrap_or_else(|error| panic!("{error}"));
    let made = document::read_config(parts[0]).and_then(|config: Config| {
        let spec = convert(&config, &Beneath::open(&root.join("rootfs"))?, &Wishes::default())?;
        let text = serde_json::to_string(&spec).unwrap_or_else(|error| panic!("{error}"));
        let again: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let annotations = again["annotations"].as_object().map_or(0, |all| {
            all.keys().filter(|key| key.starts_with("run.oci.") || key.starts_with("org.systemd.")).count()
        });
        assert_eq!(annotations, 0, "the image gives orders to the runtime");
        Plan::new(spec, &root).map(drop)
    });
    world.settle();
    made
}
