//! The store: layers once, images by name, bundles over them, and others at the same time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::unpack::{busybox, run};
use crate::util::command::Output;
use crate::util::{TestCommand, runtime};

/// `myrt image` with the store of the test.
fn image<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> TestCommand {
    let words: Vec<&str> = words.into_iter().collect();
    let store = place.text("store");
    place.image([&[words[0], "--store", &store], &words[1..]].concat())
}

#[track_caller]
fn done<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> Output {
    let output = image(place, words).run();
    output.ok();
    output
}

/// The folders of layers in the store.
fn layers(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("store/d")).unwrap().map(|entry| entry.unwrap().path());
    entries.collect()
}

/// Two images that share their lowest layer; the upper one of `one` hides and replaces.
fn two_images(place: &Place) {
    let mut layout = Layout::new(&place.path("oci"));
    let base = busybox(place);
    let lower = Tar::default().folder("d").file("d/gone", "").file("d/kept", "kept").folder("o").file("o/hidden", "");
    let lower = lower.folder("new").file("new/old", "");
    let upper = Tar::default()
        .folder("d")
        .file("d/.wh.gone", "")
        .folder("o")
        .file("o/seen", "")
        .file("o/.wh..wh..opq", "")
        .file("new/own", "")
        .file(".wh.new", "")
        .entry(&Header { mode: 0o777, ..Header::new("root", b'5') }, b"")
        .entry(&Header { device: (0, 0), ..Header::new("d/kept", b'3') }, b"");
    let command = |script: &str| json!({ "Cmd": ["sh", "-c", script], "User": "guest" });
    let layers = [(base.clone(), Pack::Gzip), (lower.done(), Pack::Zstd), (upper.done(), Pack::Gzip)];
    layout.image("one", &command("id -u; ls /d /o /new; echo x >/root/written"), &layers);
    layout.image("two", &command("ls /d"), &[(base, Pack::Zstd), (lower.done(), Pack::Zstd)]);
}

const ONE: &str = "1000\n/d:\nkept\n\n/new:\nown\n\n/o:\nseen";

#[test]
fn a_bundle_over_the_store_runs_and_shares_its_layers() {
    let place = Place::new("store");
    two_images(&place);
    done(&place, ["pull", "oci:oci:one"]).stdout("oci:one: 3 layers, 3 of them new");
    done(&place, ["pull", "--name", "second", "oci:oci:two"]).stdout("second: 2 layers, 0 of them new");
    assert_eq!(layers(&place).len(), 3);
    done(&place, ["bundle", "oci:one", "box"]);
    run(&place).run().ok().stdout(ONE);
    assert_eq!(fs::read_to_string(place.path("box/upper/root/written")).unwrap(), "x\n");
    // Another runtime makes the same of it.
    fs::remove_file(place.path("box/upper/root/written")).unwrap();
    let config = fs::read_to_string(place.path("box/config.json")).unwrap();
    fs::write(place.path("box/config.json"), config.replace(r#""ociVersion": "1.3.0""#, r#""ociVersion": "1.0.2""#))
        .unwrap();
    let runc = TestCommand::new(["runc", "--root"]).arg(place.text("runc")).args(["run", "--bundle"]);
    runc.arg(place.text("box")).arg(format!("myrt-image-{}", std::process::id())).run().ok().stdout(ONE);
    assert_eq!(fs::read_to_string(place.path("box/upper/root/written")).unwrap(), "x\n");
    done(&place, ["bundle", "second", "other"]);
    let other =
        TestCommand::new([runtime(), "--root".to_owned(), place.text("state"), "run".to_owned(), place.text("other")]);
    other.run().ok().stdout("gone\nkept");
}

#[test]
fn names_come_and_go() {
    let place = Place::new("names");
    two_images(&place);
    done(&place, ["pull", "--quiet", "oci:oci:one"]).stdout("");
    done(&place, ["tag", "oci:one", "other/name:1"]);
    done(&place, ["list", "--quiet"]).stdout("oci:one\nother/name:1");
    done(&place, ["list"]).out_has("NAME").out_has("other/name:1   ");
    let list = done(&place, ["list", "--format", "json"]).json();
    assert_eq!(list[0]["layers"].as_array().unwrap().len(), 3);
    let inspected = done(&place, ["inspect", "other/name:1"]).json();
    assert_eq!(
        (&inspected["source"], &inspected["config"]["config"]["User"]),
        (&json!("oci:oci:one"), &json!("guest"))
    );
    done(&place, ["remove", "oci:one"]);
    for words in
        [&["inspect", "oci:one"][..], &["remove", "oci:one"], &["tag", "oci:one", "x"], &["bundle", "oci:one", "x"]]
    {
        image(&place, words.iter().copied()).run().fails().err_has("no image").err_has("myrt image list");
    }
    image(&place, ["tag", "other/name:1", "a b"]).run().fails().err_has("not a name");
    image(&place, ["pull", "-"]).run().fails().err_has("--name");
    image(&place, ["pull", "oci:oci:none"]).run().fails().err_has("none");
    assert!(!place.path("x").exists());
}

#[test]
fn prune_removes_what_neither_an_image_nor_a_bundle_uses() {
    let place = Place::new("prune");
    two_images(&place);
    done(&place, ["pull", "oci:oci:one"]);
    done(&place, ["pull", "oci:oci:two"]);
    done(&place, ["bundle", "oci:one", "box"]);
    done(&place, ["prune"]).stdout("0 layers removed");
    done(&place, ["remove", "oci:one", "oci:two"]);
    done(&place, ["prune"]).stdout("0 layers removed");
    assert_eq!(layers(&place).len(), 3);
    fs::remove_dir_all(place.path("box")).unwrap();
    done(&place, ["pull", "oci:oci:two"]);
    done(&place, ["prune", "--format", "json"]).stdout(r#"{"layers":1,"leftovers":0,"bundles":1}"#);
    assert_eq!(layers(&place).len(), 2);
    done(&place, ["pull", "oci:oci:one"]).out_has("1 of them new");
}

#[test]
fn a_refused_image_is_not_in_the_store() {
    let place = Place::new("store-refused");
    let mut layout = Layout::new(&place.path("oci"));
    let good = (Tar::default().file("good", "").done(), Pack::Gzip);
    layout.image("bad", &json!({}), &[good.clone(), (Tar::default().file("../x", "").done(), Pack::Gzip)]);
    layout.image("link", &json!({}), &[good.clone(), (Tar::default().link("x", "good").done(), Pack::Gzip)]);
    layout.image("none", &json!({}), &[]);
    image(&place, ["pull", "oci:oci:bad"]).run().fails().err_has("has .. in it");
    image(&place, ["pull", "oci:oci:link"]).run().fails().err_has("image unpack");
    image(&place, ["pull", "oci:oci:none"]).run().fails().err_has("no layers");
    image(&place, ["pull", "--max-entries", "0", "oci:oci:bad"]).run().fails();
    done(&place, ["list", "--quiet"]).stdout("");
    assert_eq!(fs::read_dir(place.path("store/partial")).unwrap().count(), 0);
    assert!(!place.path("x").exists() && !place.path("store/x").exists());
}

#[test]
fn pulls_at_the_same_time_do_the_work_once() {
    let place = Place::new("parallel");
    two_images(&place);
    let running: Vec<_> = (0..6).map(|_| image(&place, ["pull", "oci:oci:one"]).spawn()).collect();
    let unpacked = running.into_iter().map(|running| {
        let said = running.wait().ok().out();
        said.split(' ').nth(3).unwrap().parse::<usize>().unwrap()
    });
    assert_eq!(unpacked.sum::<usize>(), 3);
    assert_eq!(layers(&place).len(), 3);
}

#[test]
fn the_store_is_its_owners_alone() {
    let place = Place::new("mode");
    two_images(&place);
    done(&place, ["pull", "--quiet", "oci:oci:two"]);
    assert_eq!(fs::metadata(place.path("store")).unwrap().mode() & 0o777, 0o700);
    let hidden = "a:b";
    image(&place, ["bundle", "oci:two", hidden]).run().fails().err_has("colon");
    assert!(!place.path(hidden).exists());
    done(&place, ["bundle", "oci:two", "box"]);
    image(&place, ["bundle", "oci:two", "box"]).run().fails().err_has("already");
}
