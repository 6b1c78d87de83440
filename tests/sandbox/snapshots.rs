//! `snapshot` and `clone`: a box's state once more, whole, whatever is killed.

use std::os::unix::fs::MetadataExt as _;

use crate::commits::all_sorts;
use crate::kills::{at_every_moment, killed_at};
use crate::place::Place;
use crate::util::{TestCommand, Value};

/// What a folder of the host looks like from inside a box, by the same program.
fn inside(place: &Place, name: &str) -> String {
    let store = place.store().to_str().unwrap().to_owned();
    let by =
        [crate::util::runtime(), "sandbox".into(), "run".into(), "--store".into(), store, "--name".into(), name.into()];
    place.content_by(|command| command.by(by))
}

fn labels(place: &Place) -> Vec<String> {
    let list: Value = place.sandbox("snapshot", ["b", "--list", "--format", "json"]).run().json();
    list.as_array().unwrap().iter().map(|each| each["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_snapshot_brings_all_of_it_back() {
    let place = Place::new();
    all_sorts(&place);
    let (host, before) = (place.content(), inside(&place, "b"));
    let changes = place.changes();
    place.sandbox("snapshot", ["b", "first"]).run().ok().stdout("first");
    place.script("rm -rf d new sparse; echo other >>a; echo back >gone; mkdir full; touch late").run().ok();
    let second = inside(&place, "b");
    let made_up = place.sandbox("snapshot", ["b"]).run().ok().out().trim().to_owned();
    assert_eq!(made_up.len(), "20261128-143201".len(), "{made_up}");
    assert_eq!(labels(&place), ["first", &made_up]);
    place.sandbox("snapshot", ["b", "--restore", "first"]).run().ok();
    assert_eq!(place.changes(), changes);
    assert_eq!(inside(&place, "b"), before);
    // It can be brought back as often as one likes, and the one that came later as well.
    place.script("rm -rf d").run().ok();
    place.sandbox("snapshot", ["b", "--restore", &made_up]).run().ok();
    assert_eq!(inside(&place, "b"), second);
    place.sandbox("snapshot", ["b", "--restore", "first"]).run().ok();
    assert_eq!(inside(&place, "b"), before);
    assert_eq!(place.content(), host);
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), before);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), host);
}

#[test]
fn snapshots_are_listed_and_removed() {
    let place = Place::new();
    place.script("head -c 300000 /dev/zero >zeros").run().ok();
    place.sandbox("snapshot", ["b", "--list"]).run().ok().stdout("LABEL   CREATED   SIZE");
    place.sandbox("snapshot", ["b", "one"]).run().ok();
    let one: Value = place.sandbox("snapshot", ["b", "two", "--format", "json"]).run().json();
    assert_eq!(one["label"], "two");
    let list: Value = place.sandbox("snapshot", ["b", "--list", "--format", "json"]).run().json();
    assert!(list[0]["bytes"].as_u64().unwrap() >= 300_000 && list[1]["created"].as_str().is_some(), "{list}");
    place.sandbox("snapshot", ["b", "one"]).run().fails().err_has("has a snapshot one already");
    for wrong in [&["b", "../x"][..], &["b", ".x"], &["b", "x", "--list"], &["b", "--list", "--remove", "one"]] {
        place.sandbox("snapshot", wrong).run().fails();
    }
    for flag in ["--restore", "--remove"] {
        place.sandbox("snapshot", ["b", flag, "three"]).run().fails().err_has("has no snapshot three");
    }
    place.sandbox("snapshot", ["b", "--remove", "one"]).run().ok();
    assert_eq!(labels(&place), ["two"]);
    place.sandbox("snapshot", ["b", "--remove", "two"]).run().ok();
    assert!(!place.store().join("b/snapshots").exists());
    let mut running = place.script("echo ready; cat").spawn_on(std::process::Stdio::piped());
    running.until_stdout("ready");
    place.sandbox("snapshot", ["b", "three"]).run().fails().err_has("in use");
}

#[test]
fn a_clone_is_a_box_of_its_own() {
    let place = Place::new();
    all_sorts(&place);
    place.script("mknod -m 600 null c 1 3 2>/dev/null || true").run().ok();
    let before = inside(&place, "b");
    place.sandbox("clone", ["b", "other"]).run().ok();
    assert_eq!(inside(&place, "other"), before);
    // Overlays write in place: neither sees what the other does, behind a hard link neither.
    place
        .sandbox("run", ["--name", "other", "sh", "-c", "echo more >>new/er/est/f; echo more >>sparse; rm d/copy"])
        .run()
        .ok();
    assert_eq!(inside(&place, "b"), before);
    let theirs = inside(&place, "other");
    place.script("echo mine >>new/linked; touch -d @7 sparse").run().ok();
    assert_eq!(inside(&place, "other"), theirs);
    let sparse = place.store().join("other/layers/0/upper").join(place.path("sparse").trim_start_matches('/'));
    let sparse = std::fs::metadata(sparse).unwrap();
    assert!(sparse.blocks() * 512 < sparse.len(), "{sparse:?}");
    place.sandbox("clone", ["b", "other"]).run().fails().err_has("there is a box other already");
    place.sandbox("clone", ["nobody", "x"]).run().fails().err_has("there is no box nobody");
    place.sandbox("discard", ["b"]).run().ok();
    assert_eq!(inside(&place, "other"), theirs);
    place.sandbox("commit", ["other"]).run().ok();
    assert_eq!(place.content(), theirs);
}

#[test]
fn a_copy_keeps_what_overlayfs_has_noted() {
    let place = Place::new();
    TestCommand::shell("mkdir -p d/sub; echo 1 >d/one; echo 2 >d/sub/two", [""]).cwd(place.host()).run().ok();
    // Opaque, with whiteouts in it, and a copy that only its note tells from a new file.
    place.script("rm -r d; mkdir d; echo new >d/new; rm d/new; chmod 600 /etc/hostname").run().ok();
    let raw = |name: &str| {
        let program = "import os, sys
for folder, folders, files in sorted(os.walk(b'.')):
    for name in [folder] + [os.path.join(folder, name) for name in sorted(folders + files)]:
        s = os.lstat(name)
        print(name, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev, s.st_nlink, s.st_mtime_ns, os.path.isdir(name) or s.st_atime_ns,
              [(x, os.getxattr(name, x, follow_symlinks=False)) for x in sorted(os.listxattr(name, follow_symlinks=False))])";
        let upper = place.store().join(name).join("layers/0/upper");
        TestCommand::new(["/usr/bin/python3", "-c", program]).cwd(upper).run().ok().out()
    };
    place.sandbox("snapshot", ["b", "s"]).run().ok();
    let before = raw("b");
    assert!(before.contains("trusted.overlay.opaque") && before.contains("trusted.overlay.origin"), "{before}");
    place.sandbox("clone", ["b", "c"]).run().ok();
    assert_eq!(raw("c"), before);
    place.sandbox("snapshot", ["b", "--restore", "s"]).run().ok();
    assert_eq!(raw("b"), before);
}

/// The calls by which a copy changes something.
const CALLS: [&str; 9] =
    ["copy_file_range", "fchownat", "linkat", "mkdirat", "mknodat", "openat", "rename", "renameat2", "unlinkat"];

#[test]
fn a_killed_clone_or_snapshot_is_not_there() {
    let place = Place::new();
    all_sorts(&place);
    let before = inside(&place, "b");
    let mut attempt = |call: &str, number| {
        let at = format!("killed at {call} {number}");
        let killed = killed_at(&place, call, number, "clone", &["b", "other"]).exit_code() != 0;
        let there = place.sandbox("list", ["-q"]).run().ok().out();
        assert!(there == "b\n" || there == "b\nother\n", "{at}: {there}");
        if there == "b\nother\n" {
            assert_eq!(inside(&place, "other"), before, "{at}");
            place.sandbox("discard", ["other"]).run().ok();
        }
        let snapshot = killed_at(&place, call, number, "snapshot", &["b", "s"]).exit_code() != 0;
        if labels(&place) == ["s"] {
            place.script("rm -rf d").run().ok();
            place.sandbox("snapshot", ["b", "--restore", "s"]).run().ok();
            place.sandbox("snapshot", ["b", "--remove", "s"]).run().ok();
        }
        assert_eq!(labels(&place), [""; 0], "{at}");
        assert_eq!(inside(&place, "b"), before, "{at}");
        killed || snapshot
    };
    let moments: u32 = CALLS.iter().map(|call| at_every_moment(call, &mut attempt)).sum();
    assert!(moments > 30, "only {moments} moments");
    // Nothing of all that stays.
    place.sandbox("prune", ["--force"]).run().ok();
    place.sandbox("discard", ["b"]).run().ok();
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
}

#[test]
fn a_killed_restore_has_done_all_or_nothing() {
    let place = Place::new();
    all_sorts(&place);
    let old = inside(&place, "b");
    place.sandbox("snapshot", ["b", "old"]).run().ok();
    place.script("rm -rf d new; echo new >a; echo back >gone").run().ok();
    let new = inside(&place, "b");
    place.sandbox("snapshot", ["b", "new"]).run().ok();
    let mut attempt = |call: &str, number| {
        let at = format!("killed at {call} {number}");
        place.sandbox("snapshot", ["b", "--restore", "new"]).run().ok();
        let killed = killed_at(&place, call, number, "snapshot", &["b", "--restore", "old"]).exit_code() != 0;
        // Whatever comes next finishes it, or it had not begun.
        let changes = place.changes();
        let now = inside(&place, "b");
        assert!(if killed { now == old || now == new } else { now == old }, "{at}: {now}");
        assert_eq!(place.changes(), changes, "{at}");
        killed
    };
    let moments: u32 = CALLS.iter().map(|call| at_every_moment(call, &mut attempt)).sum();
    assert!(moments > 30, "only {moments} moments");
}
