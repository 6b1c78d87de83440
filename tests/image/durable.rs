//! What is said to be there survives a power cut, and a kill between any two steps: strace makes a call fail, kills at it, or
//! writes down the order.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::make::{Layout, Pack, Place, Tar};
use crate::util::TestCommand;

/// Files that tell by their content whether they are whole.
const CONTENT: [u8; 3000] = [b'x'; 3000];

/// An image of three layers with twenty files each.
fn image(place: &Place) {
    let mut layout = Layout::new(&place.path("oci"));
    let layers: Vec<_> = (0..3)
        .map(|layer| {
            let files = (0..20).fold(Tar::default(), |tar, file| tar.file(format!("d{layer}/f{file}"), CONTENT));
            (files.done(), Pack::Gzip)
        })
        .collect();
    layout.image("latest", &json!({ "Cmd": ["true"] }), &layers);
}

/// `myrt image WORDS…` under strace, which follows all threads and processes.
fn traced(place: &Place, strace: &[&str], words: &[&str]) -> TestCommand {
    place.image(words).by([&["strace", "-f", "-qq", "-o", &place.text("trace")], strace].concat())
}

/// The calls that make a name, and those that reach the disk, in their order.
fn calls(place: &Place, words: &[&str]) -> Vec<String> {
    traced(place, &["-e", "trace=/^(rename|symlink|link|fsync|fdatasync|syncfs)"], words).run().ok();
    let trace = fs::read_to_string(place.path("trace")).unwrap();
    let call = |line: &str| line.split_once(' ').map(|(_, call)| call.trim().to_owned());
    trace.lines().filter_map(call).filter(|call| !call.starts_with("<...")).collect()
}

/// Asserts that calls with these beginnings, or something in them, come in this order.
#[track_caller]
fn in_order(calls: &[String], wanted: &[&str]) {
    let mut rest = calls.iter();
    for part in wanted {
        assert!(rest.any(|call| call.contains(part)), "no {part} where it is due: {calls:#?}");
    }
}

#[test]
fn contents_reach_the_disk_before_their_names_and_names_before_the_end() {
    let place = Place::new("durable");
    image(&place);
    let unpack = calls(&place, &["unpack", "--quiet", "oci:oci", "box"]);
    in_order(&unpack, &["syncfs(", "\"rootfs\"", "\"config.json\"", "fsync(", "fsync("]);
    let store = place.text("store");
    let pull = calls(&place, &["pull", "--quiet", "--store", &store, "oci:oci"]);
    assert_eq!(pull.iter().filter(|call| call.starts_with("syncfs(")).count(), 3);
    in_order(&pull, &["syncfs(", "/d/", "fsync(", "symlink", "fsync(", "fsync(", "/images/", "fsync("]);
    let bundle = calls(&place, &["bundle", "--store", &store, "oci", "over"]);
    in_order(
        &bundle,
        &["fsync(", "/bundles/", "fsync(", "fsync(", "\"rootfs\"", "\"config.json\"", "fsync(", "fsync("],
    );
    assert!(!bundle.iter().any(|call| call.starts_with("syncfs(")), "a bundle over the store waits for nothing else");
}

#[test]
fn a_disk_that_fails_is_told_and_nothing_is_there() {
    let place = Place::new("disk");
    image(&place);
    let fail = ["-e", "inject=syncfs:error=EIO"];
    let store = place.text("store");
    traced(&place, &fail, &["unpack", "oci:oci", "box"]).run().fails().err_has("to the disk");
    assert!(!place.path("box").exists());
    traced(&place, &fail, &["pull", "--store", &store, "oci:oci"]).run().fails().err_has("to the disk");
    place.image(["list", "--quiet", "--store", &store]).run().ok().stdout("");
    for folder in ["layers", "partial", "d"] {
        assert_eq!(fs::read_dir(place.path("store").join(folder)).unwrap().count(), 0, "{folder}");
    }
}

/// Calls that change what is on the disk or mounted, and how many of them are taken for one: of the calls for each file some
/// are as good as all.
const CHANGES: [(&str, usize); 14] = [
    ("mkdirat", 1),
    ("rename", 1),
    ("renameat", 1),
    ("symlink", 1),
    ("fsync", 1),
    ("syncfs", 1),
    ("unlinkat", 1),
    ("unlink", 1),
    ("mount", 1),
    ("umount2", 1),
    ("flock", 1),
    ("fchown", 9),
    ("write", 9),
    ("openat", 19),
];

/// Kills a command at each call of these kinds that it makes: the first, the second, and so on until it makes no more. Gives how
/// often it was killed.
fn kill_at_each(place: &Place, words: &[&str], mut look: impl FnMut(&str, bool)) -> usize {
    let mut kills = 0;
    for (call, step) in CHANGES {
        for number in (1..400).step_by(step) {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let output = traced(place, &["-e", &inject], words).run();
            let killed = output.exit_code() == 128 + 9 || output.exit_code() == -9;
            if !killed {
                output.ok();
            }
            look(&format!("{call} {number}"), killed);
            kills += usize::from(killed);
            if !killed {
                break;
            }
        }
    }
    kills
}

fn is_whole(folder: &Path) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.filter(|content| content[..] == CONTENT).count() == 20
}

/// What is in these folders of a store.
fn left(store: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let names = folders.iter().flat_map(|folder| fs::read_dir(store.join(folder)).unwrap());
    names.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_pull_killed_between_any_two_steps_leaves_nothing_half_visible() {
    let place = Place::new("pull-steps");
    image(&place);
    let (store, copy) = (place.text("store"), place.text("copy"));
    let on = |store: &str, words: &[&str]| {
        place.image([&words[..1], &["--store", store], &words[1..]].concat()).run().ok().out()
    };
    // Each layer that has its name is whole, and so is each image.
    let listed = |store: &str, moment: &str| {
        let listed = on(store, &["list", "--quiet"]);
        let layers = left(Path::new(store), &["layers"]);
        for layer in &layers {
            let folder = fs::read_dir(layer).unwrap().next().unwrap().unwrap().path();
            assert!(is_whole(&folder), "{moment}: {folder:?}");
        }
        assert!(listed.is_empty() || listed == "oci\n" && layers.len() == 3, "{moment}: {listed} of {layers:?}");
        !listed.is_empty()
    };
    let kills = kill_at_each(&place, &["pull", "--quiet", "--store", &store, "oci:oci"], |moment, killed| {
        let has_it = listed(&store, moment);
        assert!(killed || has_it, "{moment}");
        TestCommand::new(["cp", "-a", &store, &copy]).run().ok();
        // What is left is in the next pull's way no more than in that of prune.
        on(&store, &["pull", "--quiet", "oci:oci"]);
        assert!(listed(&store, moment), "{moment}");
        if has_it {
            on(&copy, &["remove", "oci"]);
        }
        on(&copy, &["prune"]);
        let left = left(Path::new(&copy), &["layers", "partial", "d", "images", "locks"]);
        assert!(left.is_empty(), "{moment}: {left:?}");
        for folder in [&store, &copy] {
            fs::remove_dir_all(folder).unwrap();
        }
    });
    assert!(kills > 40, "{kills}");
}

#[test]
fn a_bundle_over_the_store_killed_between_any_two_steps_is_none() {
    let place = Place::new("bundle-steps");
    image(&place);
    let store = place.text("store");
    place.image(["pull", "--quiet", "--store", &store, "oci:oci"]).run().ok();
    let words = ["bundle", "--store", &store, "oci", "box"];
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(place.path("box")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let kills = kill_at_each(&place, &words, |moment, killed| {
        if !place.path("box/config.json").exists() {
            assert!(killed, "{moment}");
            place.image(words).run().ok();
        }
        assert_eq!(names(), ["config.json", "rootfs", "upper", "work"], "{moment}");
        // One record that it uses layers, as long as it is there; the rest of another one goes as well.
        let records = left(Path::new(&store), &["bundles"]);
        assert_eq!(records.iter().filter(|path| path.extension().is_none()).count(), 1, "{moment}: {records:?}");
        fs::remove_dir_all(place.path("box")).unwrap();
        place.image(["prune", "--store", &store]).run().ok();
        assert_eq!(left(Path::new(&store), &["bundles"]).len(), 0, "{moment}");
    });
    assert!(kills > 20, "{kills}");
}

#[test]
fn an_unpack_killed_between_any_two_steps_is_no_bundle() {
    let place = Place::new("unpack-steps");
    image(&place);
    let words = ["unpack", "--quiet", "oci:oci", "box"];
    let kills = kill_at_each(&place, &words, |moment, killed| {
        let is_bundle = place.path("box/config.json").exists();
        if is_bundle {
            assert!((0..3).all(|layer| is_whole(&place.path(&format!("box/rootfs/d{layer}")))), "{moment}");
        } else {
            assert!(killed, "{moment}");
            place.image(words).run().ok();
        }
        let mut names: Vec<_> =
            fs::read_dir(place.path("box")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["config.json", "rootfs"], "{moment}");
        fs::remove_dir_all(place.path("box")).unwrap();
    });
    assert!(kills > 10, "{kills}");
}
