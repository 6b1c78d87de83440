//! Archives and streams at the edges of their formats: sizes, maps and times that no file has, what stands behind an end.

use std::fs;

use serde_json::json;

use crate::hostile::refused;
use crate::make::{Header, Layout, Pack, Place, Tar, digest, packed, sum};

#[test]
fn sizes_and_maps_that_make_no_sense() {
    let sized = |size: [u8; 12]| {
        let mut block = Header::new("x", b'0').block();
        block[124..136].copy_from_slice(&size);
        sum(&mut block);
        vec![Tar(block.to_vec())]
    };
    refused("size-negative", "negative size", |_| sized([0xff; 12]));
    refused("size-huge", "too large", |_| sized([0xbf; 12]));
    let mut largest = [0; 12];
    (largest[0], largest[4]) = (0x80, 0x7f);
    refused("size-largest", "--max-size", |_| sized(largest));
    refused("size-pax", "--max-size", |_| vec![Tar::default().pax(&[("size", b"9223372036854775807")]).file("x", "")]);
    refused("size-pax-huge", "a size of", |_| {
        vec![Tar::default().pax(&[("size", b"9223372036854775808")]).file("x", "")]
    });
    for (name, map) in [
        ("overlap", "0,5,4,4"),
        ("backwards", "8,1,0,8"),
        ("beyond", "95,9"),
        ("wraps", "18446744073709551615,9"),
        ("odd", "0,9,20"),
        ("less", "0,3"),
    ] {
        refused(name, "sparse map", |_| {
            let records = [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", b"100")];
            vec![Tar::default().pax(&records).file("x", "123456789")]
        });
    }
    refused("sparse-many", "sparse map of", |_| {
        let records = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")];
        vec![Tar::default().pax(&records).file("x", format!("{:0<512}", "18446744073709551615\n"))]
    });
    refused("symlink-long", "file name too long", |_| {
        vec![Tar::default().pax(&[("linkpath", &[b'x'; 5000])]).symlink("x", "y")]
    });
}

/// A size in a pax record is the size, whatever the header says; times reach as far as a number does.
#[test]
fn records_go_before_headers_and_times_reach_far() {
    let place = Place::new("records");
    let long = Header { size: 0, ..Header::new("long", b'0') };
    let data = Header::new("data", b'0').block();
    let mut tar = Tar::default().pax(&[("size", b"512")]).entry(&long, b"");
    // What another reader would take for an entry.
    tar.0.extend(data);
    let times = [("-9223372036854775807.5", i64::MIN), ("9223372036854775807", i64::MAX), ("-1.25", -2)];
    let tar =
        times.iter().fold(tar, |tar, (time, _)| tar.pax(&[("mtime", time.as_bytes())]).file(format!("t{time}"), ""));
    let mut far = Header::new("base-256", b'0').block();
    far[136..148].copy_from_slice(&[0xff; 12]);
    sum(&mut far);
    Layout::of(&place, &[Tar([tar.0, far.to_vec()].concat())]);
    assert_eq!(fs::metadata(place.unpacked("long")).unwrap().len(), 512);
    assert!(!place.unpacked("data").exists());
    let time = |name: &str| std::os::unix::fs::MetadataExt::mtime(&fs::metadata(place.unpacked(name)).unwrap());
    assert_eq!((time("base-256"), time("t-1.25")), (-1, -2));
}

/// An archive ends at its two empty blocks, and what stands behind counts for the digest alone; a stream has any number of
/// members or frames, those that are to be skipped included.
#[test]
fn what_stands_behind_an_end() {
    let place = Place::new("behind");
    let (one, two) = (Tar::default().file("one", "1").done(), Tar::default().file("two", "2").done());
    let mut layout = Layout::new(&place.path("oci"));
    let whole = [one, two].concat();
    let halves = whole.split_at(700);
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let gzip = [packed(halves.0, Pack::Gzip), packed(halves.1, Pack::Gzip)].concat();
    let zstd =
        [&skipped[..], &packed(halves.0, Pack::Zstd), &skipped, &packed(halves.1, Pack::Zstd), &skipped].concat();
    for (tag, blob) in [("gzip", gzip), ("zstd", zstd)] {
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &blob);
        let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(&whole)] } });
        layout.manifest(tag, &config, &[layer]);
        place.image(["unpack", "--quiet", &format!("oci:oci:{tag}"), tag]).run().ok();
        let names: Vec<_> =
            fs::read_dir(place.path(tag).join("rootfs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["one"], "{tag}");
    }
}

/// A frame may ask for a window of 2 GiB, which a few bytes make it fill.
#[test]
fn a_window_larger_than_zstds_own_is_refused() {
    let place = Place::new("window");
    let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packer.long_distance_matching(true).unwrap();
    packer.window_log(30).unwrap();
    std::io::Write::write_all(&mut packer, &Tar::default().file("x", "y").done()).unwrap();
    let mut layout = Layout::new(&place.path("oci"));
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar+zstd", &packer.finish().unwrap());
    let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(b"")] } });
    layout.manifest("latest", &config, &[layer]);
    place.unpack().fails().err_has("memory");
    place.is_clean();
}
