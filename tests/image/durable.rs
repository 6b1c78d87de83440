//! What is said to be there survives a power cut, and a kill between any two steps: strace makes a call fail, kills at it, or
//! writes down the order.

use std::fs;
use std::path::Path;

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

/// Kills a command at each call of these kinds that it makes: the first, the second, and so on until it makes no more. Gives how
/// often it was killed.
fn kill_at_each(place: &Place, words: &[&str], mut look: impl FnMut(&str, bool)) -> usize {
    let mut kills = 0;
    for call in ["mkdirat", "rename", "renameat", "symlink", "fsync", "syncfs", "unlinkat", "fchown"] {
        // Of the calls for each file some are as good as all.
        let step = if call == "fchown" { 9 } else { 1 };
        for number in (1..200).step_by(step) {
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

#[test]
fn a_pull_killed_between_any_two_steps_leaves_nothing_half_visible() {
    let place = Place::new("pull-steps");
    image(&place);
    let store = place.text("store");
    let kills = kill_at_each(&place, &["pull", "--quiet", "--store", &store, "oci:oci"], |moment, killed| {
        let listed = place.image(["list", "--quiet", "--store", &store]).run().ok().out();
        let links: Vec<_> =
            fs::read_dir(place.path("store/layers")).unwrap().map(|link| link.unwrap().path()).collect();
        for link in &links {
            let folder = fs::read_dir(link).unwrap().next().unwrap().unwrap().path();
            assert!(is_whole(&folder), "{moment}: {folder:?}");
        }
        assert!(killed || listed == "oci\n", "{moment}");
        assert!(listed.is_empty() || links.len() == 3, "{moment}: an image without its layers");
        // What is left is in nobody's way, and goes.
        let _ = place.image(["remove", "--store", &store, "oci"]).run();
        place.image(["prune", "--store", &store]).run().ok();
        for folder in ["layers", "partial", "d", "images"] {
            let left: Vec<_> = fs::read_dir(place.path("store").join(folder)).unwrap().collect();
            assert!(left.is_empty(), "{moment}: {folder}: {left:?}");
        }
        fs::remove_dir_all(place.path("store")).unwrap();
    });
    assert!(kills > 25, "{kills}");
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
