//! Hostile layers in the store, where the kernel's overlayfs reads what they left: attributes and devices that are its own
//! marks, paths that are its options, more layers than it takes.

use std::fs;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::unpack::{busybox, run};
use crate::util::command::Output;

/// Pulls the layout `oci` into a store of this name, and makes the bundle `box` over it.
fn bundle(place: &Place, store: &str) -> Output {
    place.image(["pull", "--quiet", "--store", store, "oci:oci"]).run().ok();
    place.image(["bundle", "--store", store, "oci", "box"]).run()
}

#[test]
fn attributes_of_overlayfs_mean_nothing() {
    let place = Place::new("overlay-attributes");
    let names = ["redirect", "opaque", "metacopy", "whiteout", "origin", "impure", "nlink", "overlay.opaque", "uuid"];
    let records: Vec<_> = ["trusted", "user"]
        .iter()
        .flat_map(|kind| names.iter().map(move |name| format!("SCHILY.xattr.{kind}.overlay.{name}")))
        .collect();
    let hostile = |value: &'static [u8]| {
        let records: Vec<_> = records.iter().map(|name| (name.as_str(), value)).collect();
        Tar::default().pax(&records)
    };
    let lower = Tar::default().folder("d").file("d/below", "").folder("secret").file("secret/file", "");
    let upper = [
        hostile(b"/secret").folder("d").0,
        hostile(b"y").folder("e").0,
        hostile(b"").file("empty", "").0,
        hostile(b"/secret/file").file("f", "own").0,
    ];
    let script = "ls -a /d /e; cat /f /empty";
    let mut layout = Layout::new(&place.path("oci"));
    let layers = [busybox(&place), lower.done(), Tar(upper.concat()).done()].map(|layer| (layer, Pack::Gzip));
    layout.image("latest", &json!({ "Cmd": ["sh", "-c", script] }), &layers);
    bundle(&place, &place.text("store")).ok();
    run(&place).run().ok().stdout("/d:\n.\n..\nbelow\n\n/e:\n.\n..\nown");
    for layer in fs::read_dir(place.path("store/d")).unwrap() {
        for name in ["d", "e", "empty", "f"] {
            let mut found = [0; 1024];
            let Ok(length) = rustix::fs::llistxattr(layer.as_ref().unwrap().path().join(name), &mut found[..]) else {
                continue;
            };
            assert_eq!(String::from_utf8_lossy(&found[..length]), "", "{name}");
        }
    }
}

#[test]
fn devices_that_are_the_kernels_marks_hide_nothing() {
    let place = Place::new("overlay-devices");
    let mark = |path: &str| Header { device: (0, 0), ..Header::new(path, b'3') };
    let lower = Tar::default().folder("d").file("d/kept", "kept").file("top", "top");
    let upper = Tar::default().entry(&mark("d/kept"), b"").entry(&mark("top"), b"").file("d/.wh.none", "");
    let mut layout = Layout::new(&place.path("oci"));
    let layers = [busybox(&place), lower.done(), upper.done()].map(|layer| (layer, Pack::Plain));
    layout.image("latest", &json!({ "Cmd": ["cat", "/d/kept", "/top"] }), &layers);
    bundle(&place, &place.text("store")).ok();
    run(&place).run().ok().stdout("kepttop");
    // A second name for one is a link to what is not there.
    let place = Place::new("overlay-device-link");
    Layout::of(&place, &[Tar::default().entry(&mark("mark"), b"").link("again", "mark")]);
    place.image(["pull", "--store", "store", "oci:oci"]).run().fails().err_has("no such file");
}

#[test]
fn paths_that_are_no_option_of_a_mount_are_refused() {
    let place = Place::new("overlay-paths");
    Layout::of(&place, &[busybox_alone(&place)]);
    for (index, name) in ["a,b", "a:b", "a\\b", "a,upperdir=/etc"].into_iter().enumerate() {
        bundle(&place, &format!("store{index}{name}")).fails().err_has("takes no path");
        assert!(!place.path("box").exists(), "{name}");
        place.image(["bundle", "--store", &format!("store{index}{name}"), "oci", name]).run().fails();
        assert!(!place.path(name).exists(), "{name}");
    }
    // Others are as good as any.
    bundle(&place, "line\nbreak and \"quotes\"").ok();
    run(&place).run().ok();
}

fn busybox_alone(place: &Place) -> Tar {
    let archive = busybox(place);
    Tar(archive[..archive.len() - 1024].to_vec())
}

#[test]
fn as_many_layers_as_a_mount_takes() {
    let place = Place::new("overlay-many");
    let mut layout = Layout::new(&place.path("oci"));
    let base = (busybox(&place), Pack::Plain);
    for count in [66, 600] {
        let layers = (0..count).map(|layer| (Tar::default().file(format!("f{layer}"), "").done(), Pack::Plain));
        let layers: Vec<_> = std::iter::once(base.clone()).chain(layers).collect();
        layout.image(&format!("{count}"), &json!({ "Cmd": ["sh", "-c", "ls / | grep -c ^f"] }), &layers);
    }
    let store = place.text("s");
    place.image(["pull", "--quiet", "--store", &store, "oci:oci:66"]).run().ok();
    place.image(["bundle", "--store", &store, "oci:66", "box"]).run().ok();
    run(&place).run().ok().stdout("66");
    place.image(["pull", "--quiet", "--store", &store, "oci:oci:600"]).run().ok();
    place.image(["bundle", "--store", &store, "oci:600", "other"]).run().fails().err_has("image unpack");
    assert!(!place.path("other").exists());
    place.image(["unpack", "--quiet", "oci:oci:600", "flat"]).run().ok();
    assert!(place.path("flat/rootfs/f599").exists());
}

/// What is remembered of them would fill the memory.
#[test]
fn more_folders_without_an_entry_than_are_remembered_are_refused() {
    let place = Place::new("overlay-implied");
    let long = format!("{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}/{0}", "l".repeat(250));
    let many = (0..2000)
        .fold(Tar::default(), |tar, index| tar.pax(&[("path", format!("{long}/{index}/f").as_bytes())]).file("x", ""));
    Layout::of(&place, &[many]);
    place.image(["pull", "--store", "store", "oci:oci"]).run().fails().err_has("image unpack");
    assert_eq!(fs::read_dir(place.path("store/partial")).unwrap().count(), 0);
    place.unpack().ok();
}
