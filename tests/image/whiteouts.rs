//! What upper layers hide: of the layers below, never of their own, in whatever order an archive says it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::make::{Header, Layout, Place, Tar};

/// Everything below the root filesystem, sorted.
fn tree(place: &Place) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![place.unpacked("")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(place.unpacked("")).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                pending.push(path);
            }
        }
    }
    names.sort();
    names
}

fn lower() -> Tar {
    Tar::default()
        .folder("a")
        .file("a/one", "1")
        .file("a/two", "2")
        .folder("a/sub")
        .file("a/sub/old", "3")
        .file("b", "4")
}

#[test]
fn a_mark_hides_a_file_or_a_whole_folder() {
    let place = Place::new("hide");
    Layout::of(&place, &[lower(), Tar::default().file("a/.wh.one", "").file("./.wh.b", "").file("a/.wh.sub", "")]);
    assert_eq!(tree(&place), ["a", "a/two"]);
}

#[test]
fn an_opaque_folder_hides_all_below_and_nothing_of_its_own_in_any_order() {
    let entries = [("a/.wh..wh..opq", ""), ("a/new", "5"), ("a/sub/newer", "6")];
    for (name, order) in
        [("opaque-1", [0, 1, 2]), ("opaque-2", [1, 2, 0]), ("opaque-3", [1, 0, 2]), ("opaque-4", [2, 0, 1])]
    {
        let place = Place::new(name);
        let upper =
            order.iter().fold(Tar::default().folder("a"), |tar, index| tar.file(entries[*index].0, entries[*index].1));
        Layout::of(&place, &[lower(), upper]);
        assert_eq!(tree(&place), ["a", "a/new", "a/sub", "a/sub/newer", "b"]);
    }
}

#[test]
fn a_mark_and_a_new_file_of_the_same_name() {
    for (name, first) in [("same-1", true), ("same-2", false)] {
        let place = Place::new(name);
        let upper = if first {
            Tar::default().file(".wh.a", "").folder("a").file("a/one", "new")
        } else {
            Tar::default().folder("a").file("a/one", "new").file(".wh.a", "")
        };
        Layout::of(&place, &[lower(), upper]);
        assert_eq!(tree(&place), ["a", "a/one", "b"]);
        assert_eq!(fs::read_to_string(place.unpacked("a/one")).unwrap(), "new");
    }
}

#[test]
fn the_root_can_be_opaque() {
    let place = Place::new("root");
    Layout::of(&place, &[lower(), Tar::default().file("c", "").file(".wh..wh..opq", "")]);
    assert_eq!(tree(&place), ["c"]);
}

#[test]
fn marks_of_what_is_not_there_and_of_aufs_mean_nothing() {
    let place = Place::new("nothing");
    let upper = Tar::default()
        .file(".wh.none", "")
        .file("no/such/.wh.folder", "")
        .file("b/.wh.x", "")
        .file("none/.wh..wh..opq", "")
        .file(".wh..wh.aufs", "x")
        .folder(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "x");
    Layout::of(&place, &[lower(), upper]);
    assert_eq!(tree(&place), ["a", "a/one", "a/sub", "a/sub/old", "a/two", "b"]);
}

#[test]
fn the_lowest_layer_has_nothing_to_hide() {
    let place = Place::new("lowest");
    Layout::of(&place, &[lower().file(".wh.b", "").file("a/.wh..wh..opq", "")]);
    assert_eq!(tree(&place), ["a", "a/one", "a/sub", "a/sub/old", "a/two", "b"]);
}

#[test]
fn kinds_replace_each_other() {
    let place = Place::new("replace");
    let lower = lower().symlink("link", "a").file("plain", "x").folder("full").file("full/x", "");
    let upper = Tar::default()
        .file("a", "a file now")
        .folder("b")
        .file("b/in", "x")
        .folder("link")
        .file("link/in", "x")
        .symlink("plain", "b")
        .link("full", "b/in");
    Layout::of(&place, &[lower, upper]);
    assert_eq!(tree(&place), ["a", "b", "b/in", "full", "link", "link/in", "plain"]);
    assert_eq!(fs::read_to_string(place.unpacked("a")).unwrap(), "a file now");
    assert!(place.unpacked("link").symlink_metadata().unwrap().is_dir());
    assert_eq!(fs::metadata(place.unpacked("full")).unwrap().nlink(), 2);
}

#[test]
fn hard_links_reach_into_lower_layers() {
    let place = Place::new("across");
    Layout::of(&place, &[lower(), Tar::default().link("again", "a/one").file("a/.wh.two", "").link("c/d", "/b")]);
    let inode = |name: &str| fs::metadata(place.unpacked(name)).unwrap().ino();
    assert_eq!(inode("again"), inode("a/one"));
    assert_eq!(inode("c/d"), inode("b"));
}

#[test]
fn folders_keep_their_time_and_take_a_new_mode() {
    let place = Place::new("times");
    let lower = Tar::default()
        .entry(&Header { mtime: 1000, ..Header::new("kept", b'5') }, b"")
        .file("kept/x", "")
        .symlink("way", "kept")
        .entry(&Header { mtime: 1000, ..Header::new("changed", b'5') }, b"")
        .pax(&[("SCHILY.xattr.user.old", b"1")])
        .entry(&Header { mtime: 1000, ..Header::new("attributes", b'5') }, b"");
    let upper = Tar::default()
        .file("kept/y", "")
        .file("kept/.wh.x", "")
        .entry(&Header { mtime: 2000, mode: 0o700, uid: 5, ..Header::new("changed", b'5') }, b"")
        .entry(&Header { mtime: 3000, ..Header::new("attributes", b'5') }, b"")
        // Used under another name first, and changed before.
        .file("way/z", "");
    Layout::of(&place, &[lower, upper]);
    let meta = |name: &str| fs::metadata(place.unpacked(name)).unwrap();
    assert_eq!(meta("kept").mtime(), 1000);
    assert_eq!((meta("changed").mtime(), meta("changed").mode() & 0o7777, meta("changed").uid()), (2000, 0o700, 5));
    assert!(rustix::fs::getxattr(place.unpacked("attributes"), "user.old", &mut [0_u8; 8][..]).is_err());
}

#[test]
fn entries_go_through_links_of_lower_layers_inside() {
    let place = Place::new("through");
    let lower = Tar::default().folder("usr").folder("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr");
    Layout::of(&place, &[lower, Tar::default().file("lib/x", "1").file("abs/lib/y", "2").file("lib/.wh.none", "")]);
    assert_eq!(tree(&place), ["abs", "lib", "usr", "usr/lib", "usr/lib/x", "usr/lib/y"]);
}
