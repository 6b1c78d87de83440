//! A bundle over the store shows what unpacking the image into one folder gives: what layers leave unsaid is that of the layers
//! below, also where overlayfs would take it from the uppermost one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::util::TestCommand;
use crate::util::listing::same;

/// A mount of the test's own.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Makes an image of these layers, and a bundle over the store of it.
#[track_caller]
fn bundle(place: &Place, layers: &[Tar]) -> crate::util::command::Output {
    let mut layout = Layout::new(&place.path("oci"));
    let layers: Vec<_> = layers.iter().map(|layer| (layer.done(), Pack::Plain)).collect();
    layout.image("latest", &json!({ "Cmd": ["true"] }), &layers);
    let store = place.text("store");
    place.image(["pull", "--quiet", "--store", &store, "oci:oci"]).run().ok();
    place.image(["bundle", "--store", &store, "oci", "over"]).run()
}

/// The same, mounted as its config.json says; then compares it with the image unpacked into one folder.
#[track_caller]
fn compare(name: &str, layers: &[Tar]) -> Place {
    let place = Place::new(name);
    bundle(&place, layers).ok();
    let config: serde_json::Value = serde_json::from_slice(&fs::read(place.path("over/config.json")).unwrap()).unwrap();
    let options: Vec<_> =
        config["mounts"][0]["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect();
    let mounted = Mounted(place.path("over/rootfs"));
    TestCommand::new(["mount", "-t", "overlay", "-o", &options.join(","), "overlay"])
        .arg(mounted.0.display())
        .run()
        .ok();
    // A merged folder has one link alone: a copy does not show it.
    TestCommand::new(["cp", "-a", "over/rootfs", "merged"]).cwd(&place.0).run().ok();
    drop(mounted);
    place.unpack().ok();
    same(&place.path("merged"), &place.path("box/rootfs"));
    place
}

/// A folder with everything that it can have.
fn dressed(path: &str, time: u64) -> Tar {
    let header = Header { mode: 0o2751, uid: 5, gid: 6, mtime: time, ..Header::new(path, b'5') };
    Tar::default().pax(&[("SCHILY.xattr.user.note", path.as_bytes())]).entry(&header, b"")
}

fn lower() -> Tar {
    let folders = ["a", "a/b", "a/b/c", "a/other", "e"];
    let tar = folders
        .iter()
        .zip(1..)
        .fold(Tar::default(), |tar, (path, time)| Tar([tar.0, dressed(path, time * 1_000_000).0].concat()));
    tar.file("a/b/c/one", "1").file("a/b/two", "2").file("e/three", "3").symlink("link", "a/b").file("plain", "x")
}

#[test]
fn folders_that_a_layer_does_not_name_are_those_of_the_layers_below() {
    let marks = Tar::default().file("a/b/c/.wh.one", "").file("e/.wh.three", "");
    compare("marks", &[lower(), marks.clone()]);
    let files = Tar::default().file("a/b/new", "4").file("e/new", "5");
    compare("files", &[lower(), files.clone()]);
    compare("both", &[lower(), marks.clone(), files.clone()]);
    compare("again", &[lower(), files.clone(), marks, Tar::default().file("a/b/c/newer", "6")]);
    // In the middle somebody names one of them.
    compare("named", &[lower(), files.clone(), dressed("a/b", 7_000_000), Tar::default().file("a/b/.wh.two", "")]);
    // Named after it was used; and a folder that no layer has named.
    let late = Tar([Tar::default().file("a/b/late", "7").0, dressed("a/b", 8_000_000).0].concat());
    compare("late", &[lower(), late, files]);
    let place = compare("opaque", &[lower(), Tar::default().file("a/b/.wh..wh..opq", "").file("a/b/own", "8")]);
    assert_eq!(fs::metadata(place.path("merged/a/b")).unwrap().mode() & 0o7777, 0o2751);
}

#[test]
fn what_is_hidden_hands_nothing_down() {
    let gone = Tar::default().file("a/.wh.b", "");
    compare("gone", &[lower(), dressed("a", 5_000_000), gone, Tar::default().folder("a/b").file("a/b/x", "")]);
    // Nobody has named this one since: it is root's like any other.
    let place = Place::new("gone-unnamed");
    bundle(&place, &[lower(), Tar::default().file("a/.wh.b", ""), Tar::default().file("a/b/new/x", "")]).ok();
    let folder = fs::metadata(place.path("over/upper/a/b")).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o755, 0));
    compare("replaced", &[lower(), Tar::default().file("e", "a file now"), Tar::default().folder("e").file("e/x", "")]);
    let opaque = Tar([dressed("a", 9_000_000).0, Tar::default().file("a/.wh..wh..opq", "").0].concat());
    compare("above", &[lower(), opaque, Tar::default().folder("a/b").folder("a/b/c").file("a/b/c/x", "")]);
}

#[test]
fn the_root_is_that_of_the_layer_that_names_it() {
    let root = Header { mode: 0o751, uid: 7, gid: 8, mtime: 4_000_000, ..Header::new("./", b'5') };
    let named = Tar([Tar::default().entry(&root, b"").0, lower().0].concat());
    let place = compare("root-named", &[named.clone(), Tar::default().file("top", "")]);
    for folder in ["merged", "box/rootfs"] {
        assert_eq!(fs::metadata(place.path(folder)).unwrap().mtime(), 4_000_000, "{folder}");
    }
    compare("root-unnamed", &[lower(), Tar::default().file("top", "")]);
    let ten = (0..10).fold(Tar::default(), |tar, index| tar.file(format!("f{index}"), ""));
    compare("root-opaque", &[named.clone(), ten.file(".wh..wh..opq", ""), Tar::default().file("top", "")]);
    compare("root-first", &[named.file("a/.wh..wh..opq", "").file(".wh.plain", ""), Tar::default().file("top", "")]);
}

#[test]
fn marks_of_what_is_not_there_make_no_folders() {
    let marks = Tar::default().file("no/such/.wh.folder", "").file("a/none/.wh..wh..opq", "").file("a/b/no/.wh.x", "");
    let place = compare("no-folders", &[lower(), marks.clone()]);
    assert!(!place.path("merged/no").exists());
    compare("no-folders-twice", &[lower().file("lowest/.wh.x", ""), marks.clone(), marks.clone()]);
    // Another layer has them.
    let folders = Tar::default().folder("no").folder("no/such").file("no/such/file", "");
    compare("some-folders", &[lower(), marks.clone(), folders.clone()]);
    compare("some-before", &[lower(), folders, marks]);
}

/// Where one layer writes through a link of another one, overlayfs would show a folder in the link's place: /lib, say, without
/// what is in it.
#[test]
fn what_leads_through_a_link_of_another_layer_is_refused() {
    for upper in [Tar::default().file("link/new", ""), Tar::default().file("link/.wh.two", "")] {
        let place = Place::new("through-link");
        bundle(&place, &[lower(), upper]).fails().err_has("link").err_has("image unpack");
        assert!(!place.path("over").exists());
        place.unpack().ok();
    }
    // One that is replaced by name is none any more.
    compare("no-link", &[lower(), Tar::default().folder("link"), Tar::default().file("link/new", "")]);
}
