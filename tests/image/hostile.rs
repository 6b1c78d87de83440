//! Layers that want to leave their root filesystem, bombs, and documents that lie: each is refused or confined, and what is
//! refused leaves nothing behind.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar, digest, packed};

/// A folder outside of the bundle, with a file in it that hostile layers are after.
fn victim(place: &Place) -> String {
    let folder = place.path("oci/victim");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "precious").unwrap();
    folder.to_str().unwrap().to_owned()
}

/// Nothing has happened to it.
#[track_caller]
fn unharmed(victim: &str) {
    let names: Vec<_> = fs::read_dir(victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(format!("{victim}/file")).unwrap(), "precious");
}

/// Unpacks these layers, which must be refused for this reason.
#[track_caller]
pub fn refused(name: &str, why: &str, layers: impl FnOnce(&str) -> Vec<Tar>) {
    let place = Place::new(name);
    let victim = victim(&place);
    Layout::of(&place, &layers(&victim));
    place.unpack().fails().err_has(why);
    unharmed(&victim);
    place.is_clean();
}

/// Unpacks these layers, which is allowed; nothing happens outside. Gives the place to look at.
#[track_caller]
fn confined(name: &str, layers: impl FnOnce(&str) -> Vec<Tar>) -> (Place, String) {
    let place = Place::new(name);
    let victim = victim(&place);
    Layout::of(&place, &layers(&victim));
    place.unpack().ok();
    unharmed(&victim);
    (place, victim)
}

#[test]
fn an_absolute_name_is_below_the_root() {
    let (place, victim) = confined("absolute", |victim| vec![Tar::default().file(format!("{victim}/file"), "evil")]);
    assert_eq!(fs::read_to_string(place.unpacked(victim.trim_start_matches('/')).join("file")).unwrap(), "evil");
}

#[test]
fn a_name_that_goes_up_is_refused() {
    for path in ["../oci/victim/file", "a/../../oci/victim/file", "..", "a/..", "/../x"] {
        refused("up", "has .. in it", |_| vec![Tar::default().file(path, "evil")]);
        refused("up-folder", "has .. in it", |_| vec![Tar::default().folder(path)]);
    }
    refused("up-pax", "has .. in it", |_| {
        vec![Tar::default().pax(&[("path", b"../oci/victim/file")]).file("harmless", "evil")]
    });
    refused("up-gnu", "has .. in it", |_| {
        vec![
            Tar::default().entry(&Header::new("././@LongLink", b'L'), b"../oci/victim/file\0").file("harmless", "evil"),
        ]
    });
}

#[test]
fn a_link_that_leads_outside_is_followed_inside() {
    let (place, victim) = confined("outside", |victim| {
        vec![Tar::default().symlink("way", victim).file("way/file", "evil").folder("way/sub")]
    });
    let inside = place.unpacked(victim.trim_start_matches('/'));
    assert_eq!(fs::read_to_string(inside.join("file")).unwrap(), "evil");
    confined("outside-relative", |_| {
        vec![Tar::default().folder("d").symlink("d/way", "../../../oci/victim").file("d/way/file", "evil")]
    });
    confined("outside-other-layer", |victim| {
        vec![Tar::default().symlink("way", victim), Tar::default().file("way/file", "evil").file("way/.wh.file", "")]
    });
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_written_through() {
    let (place, victim) =
        confined("through", |victim| vec![Tar::default().symlink("x", format!("{victim}/file")).file("x", "evil")]);
    assert_eq!(fs::read_to_string(place.unpacked("x")).unwrap(), "evil");
    drop((place, victim));
    confined("through-mode", |victim| {
        let folder = Header { mode: 0o777, uid: 5, ..Header::new("x", b'5') };
        vec![Tar::default().symlink("x", victim), Tar::default().entry(&folder, b"")]
    });
}

#[test]
fn a_folder_that_becomes_a_link_between_two_entries() {
    confined("swap", |victim| {
        vec![
            Tar::default()
                .folder("d")
                .file("d/one", "1")
                .symlink("d", victim)
                .file("d/file", "evil")
                .link("h", "d/file"),
            Tar::default().file("d/.wh.file", ""),
        ]
    });
    // The same in another order: the folder comes back.
    confined("swap-back", |victim| vec![Tar::default().symlink("d", victim).folder("d").file("d/file", "evil")]);
}

#[test]
fn hard_links_do_not_reach_outside() {
    refused("hard-up", "has .. in it", |_| vec![Tar::default().link("x", "../oci/victim/file")]);
    refused("hard-absolute", "no such file", |victim| vec![Tar::default().link("x", format!("{victim}/file"))]);
    refused("hard-through", "no such file", |victim| {
        vec![Tar::default().symlink("way", victim).link("x", "way/file").file("x", "evil")]
    });
    refused("hard-self", "to itself", |_| vec![Tar::default().file("x", "1").link("x", "./x")]);
    refused("hard-none", "no such file", |_| vec![Tar::default().link("x", "none")]);
    refused("hard-folder", "operation not permitted", |_| vec![Tar::default().folder("d").link("x", "d")]);
    // A link to a symbolic link is that link, not what it leads to.
    let (place, _) = confined("hard-symlink", |victim| {
        vec![Tar::default().symlink("s", format!("{victim}/file")).link("x", "s").file("x", "evil")]
    });
    assert!(place.unpacked("x").symlink_metadata().unwrap().is_file());
}

#[test]
fn marks_do_not_delete_outside() {
    refused("mark-up", "hides no name", |_| vec![Tar::default(), Tar::default().file(".wh...", "")]);
    refused("mark-dot", "hides no name", |_| vec![Tar::default(), Tar::default().file("a/.wh..", "")]);
    refused("mark-empty", "hides no name", |_| vec![Tar::default(), Tar::default().file(".wh.", "")]);
    refused("mark-path", "has .. in it", |_| vec![Tar::default(), Tar::default().file("../oci/victim/.wh.file", "")]);
    confined("mark-link", |victim| {
        vec![
            Tar::default().symlink("way", victim).symlink("file", format!("{victim}/file")),
            Tar::default().file("way/.wh.file", "").file(".wh.file", "").file("way/.wh..wh..opq", ""),
        ]
    });
    // A folder with a link in it is removed, not what the link leads to.
    confined("mark-folder", |victim| {
        vec![Tar::default().folder("d").symlink("d/way", victim), Tar::default().file(".wh.d", "")]
    });
}

#[test]
fn the_root_stays_a_folder() {
    refused("root-file", "not a folder", |_| vec![Tar::default().file("./", "x").file(".", "x")]);
    refused("root-link", "not a folder", |victim| vec![Tar::default().symlink("/", victim)]);
}

#[test]
fn names_and_fields_that_make_no_sense() {
    refused("pax-zero", "zero byte", |_| vec![Tar::default().pax(&[("path", b"a\0b")]).file("x", "")]);
    refused("link-zero", "zero byte", |_| vec![Tar::default().pax(&[("linkpath", b"a\0b")]).symlink("x", "y")]);
    refused("no-target", "without a target", |_| vec![Tar::default().symlink("x", "")]);
    refused("long", "file name too long", |_| vec![Tar::default().pax(&[("path", &[b'x'; 300])]).file("x", "")]);
    refused("below-file", "not a directory", |_| vec![Tar::default().file("f", "x").file("f/x", "evil")]);
    refused("type", "unknown type", |_| vec![Tar::default().entry(&Header::new("x", b'Z'), b"")]);
    refused("no-id", "no user or group id", |_| vec![Tar::default().pax(&[("uid", b"4294967295")]).file("x", "")]);
    refused("pax-broken", "broken pax", |_| {
        vec![Tar::default().entry(&Header::new("x", b'x'), b"99 path=x\n").file("x", "")]
    });
    refused("pax-only", "more than", |_| vec![(0..20).fold(Tar::default(), |tar, _| tar.pax(&[("path", b"x")]))]);
    refused("pax-large", "extension header of", |_| {
        vec![Tar::default().entry(&Header { size: 1 << 30, ..Header::new("x", b'x') }, b"")]
    });
    refused("checksum", "checksum", |_| {
        let mut tar = Tar::default().file("x", "y");
        tar.0[0] ^= 1;
        vec![tar]
    });
    refused("cut", "ends", |_| vec![Tar::default().entry(&Header { size: 1 << 20, ..Header::new("x", b'0') }, b"")]);
    refused("no-tar", "not a tar archive", |_| vec![Tar(vec![b'x'; 1024])]);
}

#[test]
fn bombs_are_stopped_by_size_and_by_count() {
    let place = Place::new("bomb");
    let mut layout = Layout::new(&place.path("oci"));
    let zeros = Tar::default().file("zeros", vec![0; 64 << 20]);
    layout.image("zeros", &json!({}), &[(zeros.done(), Pack::Zstd)]);
    let many = (0..2000).fold(Tar::default(), |tar, index| tar.folder(format!("d{index}")));
    layout.image("many", &json!({}), &[(many.done(), Pack::Gzip)]);
    // A hole of 1 TiB is free to make and not to copy.
    let sparse =
        Tar::default().pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"1099511627776")]).file("sparse", "x");
    layout.image("sparse", &json!({}), &[(sparse.done(), Pack::Plain)]);
    for (flags, tag, why) in [
        ("--max-size=32m", "zeros", "--max-size"),
        ("--max-entries=1999", "many", "--max-entries"),
        ("--max-size=1g", "sparse", "--max-size"),
    ] {
        place.image(["unpack", flags, &format!("oci:oci:{tag}"), "box"]).run().fails().err_has(why);
        place.is_clean();
    }
    place.image(["unpack", "--max-entries=2000", "oci:oci:many", "box"]).run().ok();
}

#[test]
fn blobs_are_what_their_digests_say() {
    let place = Place::new("digests");
    let mut layout = Layout::new(&place.path("oci"));
    let tar = Tar::default().file("f", vec![b'x'; 100_000]);
    let image = layout.image("latest", &json!({}), &[(tar.done(), Pack::Plain)]);
    let layer = layout.path(&digest(&tar.done()));
    let attempt = |why: &str| {
        place.unpack().fails().err_has(why);
        place.is_clean();
    };
    let mut content = fs::read(&layer).unwrap();
    content[600] ^= 1;
    fs::write(&layer, &content).unwrap();
    attempt("digest is");
    fs::write(&layer, &content[..content.len() - 512]).unwrap();
    attempt("are announced");
    fs::write(&layer, [content.clone(), vec![0]].concat()).unwrap();
    attempt("announced");
    fs::remove_file(&layer).unwrap();
    attempt("there is no blobs/sha256/");
    // A fifo does not make it wait, a device does not feed it for ever.
    rustix::fs::mknodat(rustix::fs::CWD, &layer, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    attempt("not a regular file");
    fs::remove_file(&layer).unwrap();
    symlink("/dev/zero", &layer).unwrap();
    attempt("not a regular file");
    let manifest = layout.path(image["digest"].as_str().unwrap());
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("schemaVersion", "schemaversion")).unwrap();
    attempt("digest is");
}

#[test]
fn a_layer_is_what_the_configuration_says() {
    let place = Place::new("diff-ids");
    let mut layout = Layout::new(&place.path("oci"));
    let tar = Tar::default().file("f", "x").done();
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &packed(&tar, Pack::Gzip));
    let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(b"another")] } });
    layout.manifest("latest", &config, std::slice::from_ref(&layer));
    place.unpack().fails().err_has("unpacks to sha256:");
    place.is_clean();
    // A broken gzip stream: its own checksum.
    let mut broken = packed(&tar, Pack::Gzip);
    let end = broken.len() - 8;
    broken[end] ^= 1;
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &broken);
    let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] } });
    layout.manifest("broken", &config, &[layer]);
    place.image(["unpack", "oci:oci:broken", "box"]).run().fails();
    place.is_clean();
}

#[test]
fn a_deep_tree_is_taken_away_as_well() {
    let place = Place::new("deep");
    let deep = "d/".repeat(1900);
    let lower = Tar::default().pax(&[("path", deep.as_bytes())]).folder("x");
    Layout::of(&place, &[lower, Tar::default().file(".wh.d", "").file("left", "")]);
    place.unpack().ok();
    assert!(!place.unpacked("d").exists() && place.unpacked("left").exists());
}

/// A tree deeper than a path can be long: each half of it is reached through a link.
fn deeper_than_a_path() -> Tar {
    let half = "d/".repeat(1900);
    Tar::default()
        .pax(&[("path", half.as_bytes())])
        .folder("x")
        .pax(&[("linkpath", half.as_bytes())])
        .symlink("s", "x")
        .pax(&[("path", format!("s/{half}").as_bytes())])
        .folder("x")
}

#[test]
fn a_tree_deeper_than_a_path_is_taken_away_as_well() {
    refused("deeper", "has .. in it", |_| vec![deeper_than_a_path().file("../x", "")]);
    let place = Place::new("deeper-hidden");
    Layout::of(&place, &[deeper_than_a_path(), Tar::default().file(".wh.d", "").file("left", "")]);
    place.unpack().ok();
    assert!(!place.unpacked("d").exists() && place.unpacked("left").exists());
}

#[test]
fn folders_that_no_entry_names_are_counted() {
    let place = Place::new("implied");
    let deep = "a/".repeat(150) + "f";
    Layout::of(&place, &[Tar::default().pax(&[("path", deep.as_bytes())]).file("x", "x")]);
    place.image(["unpack", "--max-entries=150", "oci:oci", "box"]).run().fails().err_has("--max-entries");
    place.is_clean();
    place.image(["unpack", "--max-entries=151", "oci:oci", "box"]).run().ok();
}

#[test]
fn more_attributes_than_a_file_can_have_are_refused() {
    let keys: Vec<String> = (0..9000).map(|index| format!("SCHILY.xattr.user.{index:05}")).collect();
    let records: Vec<_> = keys.iter().map(|key| (key.as_str(), &b"x"[..])).collect();
    refused("many-xattrs", "attributes", |_| vec![Tar::default().pax(&records).file("x", "")]);
}

/// What is remembered of a layer must not grow with it: here 50 MB of names, and a file larger than all
/// the memory that there is.
#[test]
fn memory_stays_the_same_whatever_a_layer_has() {
    let place = Place::new("memory");
    let mut layout = Layout::new(&place.path("oci"));
    let long = format!("{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}/", "l".repeat(250));
    let folders = (0..20_000_u64).fold(Tar::default().pax(&[("path", long.as_bytes())]).folder("x"), |tar, index| {
        let header = Header { mtime: 1_000_000 + index, ..Header::new("x", b'5') };
        tar.pax(&[("path", format!("{long}{index}").as_bytes())]).entry(&header, b"")
    });
    let folders = folders.file("zeros", vec![0; 60 << 20]);
    let again = Tar::default().pax(&[("path", format!("{long}7/in").as_bytes())]).file("x", "x");
    layout.image("latest", &json!({}), &[(folders.done(), Pack::Zstd), (again.done(), Pack::Gzip)]);
    drop(folders);
    let data = format!("--data={}", 48 << 20);
    place.image(["unpack", "--quiet", "oci:oci", "box"]).by(["prlimit", &data]).run().ok();
    for index in [0, 7, 19_999] {
        let folder = fs::metadata(place.unpacked(&long).join(index.to_string())).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&folder), 1_000_000 + index);
    }
}
