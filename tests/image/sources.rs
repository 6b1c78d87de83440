//! The forms of a source, tags, platforms.

use std::fs;

use serde_json::json;

use crate::make::{Layout, Pack, Place, Tar, architecture, digest};
use crate::util::{TestCommand, Value};

fn file(name: &str) -> (Vec<u8>, Pack) {
    (Tar::default().file(name, "x").done(), Pack::Gzip)
}

#[test]
fn a_tag_names_one_of_several() {
    let place = Place::new("tags");
    let mut layout = Layout::new(&place.path("oci"));
    layout.image("one", &json!({}), &[file("one")]);
    layout.image("two", &json!({}), &[file("two")]);
    place.image(["unpack", "oci:oci:two", "box"]).run().ok();
    assert!(place.path("box/rootfs/two").exists() && !place.path("box/rootfs/one").exists());
    place.image(["unpack", "oci:oci", "x"]).run().fails().err_has("2 images").err_has("one, two");
    place.image(["unpack", "oci:oci:three", "x"]).run().fails().err_has("three").err_has("one, two");
    place.image(["unpack", "oci:none", "x"]).run().fails().err_has("\"none\"");
    place.image(["unpack", "one", "x"]).run().fails().err_has("oci:DIR");
    fs::write(place.path("oci/oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    place.image(["unpack", "oci:oci:one", "x"]).run().fails().err_has("2.0.0");
    assert!(!place.path("x").exists());
}

#[test]
fn an_index_is_for_several_platforms() {
    let place = Place::new("platforms");
    Layout::new(&place.path("oci")).platforms();
    place.image(["unpack", "oci:oci:all", "box"]).run().ok();
    assert!(place.path("box/rootfs/native").exists());
    place.image(["unpack", "--platform", "linux/mips", "oci:oci:all", "other"]).run().ok();
    assert!(place.path("other/rootfs/foreign").exists());
    let none = place.image(["unpack", "--platform", "linux/s390x", "oci:oci:all", "x"]).run();
    none.fails().err_has("linux/s390x").err_has("linux/mips");
    place.image(["unpack", "oci:oci:foreign", "x"]).run().fails().err_has("--platform linux/mips");
    place.image(["unpack", "--platform", "linux", "oci:oci:all", "x"]).run().fails().err_has("OS/ARCHITECTURE");
}

/// A layout with two images, and skopeo's copies of the first in every form.
fn copies(name: &str) -> Place {
    let place = Place::new(name);
    let mut layout = Layout::new(&place.path("oci"));
    let upper = Tar::default().file("upper", "2").file(".wh.gone", "").done();
    let lower = Tar::default().file("lower", "1").file("gone", "").done();
    layout.image("one", &json!({ "Cmd": ["one"] }), &[(lower, Pack::Gzip), (upper, Pack::Gzip)]);
    layout.image("two", &json!({ "Cmd": ["two"] }), &[file("two")]);
    for to in ["oci-archive:one.tar:tag", "docker-archive:docker.tar:me/one:1", "dir:folder"] {
        TestCommand::new(["skopeo", "copy", "--quiet", "oci:oci:one", to]).cwd(&place.0).run().ok();
    }
    place
}

/// Unpacks a source into `box` and looks whether it is the first image.
#[track_caller]
fn is_the_first(place: &Place, command: &TestCommand) {
    command.run().ok();
    for (file, there) in [("lower", true), ("upper", true), ("gone", false)] {
        assert_eq!(place.path("box/rootfs").join(file).exists(), there, "{file}");
    }
    let config: Value = serde_json::from_slice(&fs::read(place.path("box/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["one"]));
    fs::remove_dir_all(place.path("box")).unwrap();
}

#[test]
fn every_form_is_the_same_image() {
    let place = copies("forms");
    let sources = [
        "oci:oci:one",
        "oci-archive:one.tar",
        "oci-archive:one.tar:tag",
        "docker-archive:docker.tar",
        "docker-archive:docker.tar:me/one:1",
        "docker-archive:docker.tar:docker.io/me/one:1",
        "dir:folder",
    ];
    for source in sources {
        is_the_first(&place, &place.image(["unpack", "--quiet", source, "box"]));
    }
    let refused = |source: &str, why: &str| {
        place.image(["unpack", source, "box"]).run().fails().err_has(why);
        assert!(!place.path("box").exists());
    };
    refused("oci-archive:docker.tar", "oci-layout");
    refused("docker-archive:one.tar", "manifest.json");
    refused("docker-archive:docker.tar:me/two:1", "me/one:1");
    refused("oci-archive:one.tar:none", "tag");
    refused("dir:oci", "no root filesystem");
    refused("oci:one.tar", "oci-archive:");
    refused("one.tar", "oci-archive:one.tar");
    refused("oci", "oci:DIR");
    refused("./oci:one", "oci:./oci:one names it");
    refused("folder", "dir:folder names");
    refused("app:1", "docker://app:1");
    fs::write(place.path("folder/version"), "Directory Transport Version: 1.1\n").unwrap();
    let manifest = fs::read_to_string(place.path("folder/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    fs::write(place.path("folder").join(layer), "another").unwrap();
    refused("dir:folder", "are announced");
}

#[test]
fn an_archive_comes_by_standard_input_in_every_way() {
    let place = copies("stdin");
    for archive in ["one.tar", "docker.tar"] {
        let unpack = place.image(["unpack", "--quiet", "-", "box"]);
        let content = fs::read(place.path(archive)).unwrap();
        // A file that can be read anywhere, then a pipe, then a packed one.
        is_the_first(&place, &unpack.clone().stdin(&content));
        let by = |script: &str| unpack.clone().by(["/bin/sh", "-c", script, "sh", archive]);
        is_the_first(&place, &by("archive=$1; shift; cat $archive | \"$@\""));
        is_the_first(&place, &by("archive=$1; shift; gzip -c $archive | \"$@\""));
        is_the_first(&place, &unpack.clone().stdin(zstd::encode_all(&content[..], 1).unwrap()));
    }
    let bomb = zstd::encode_all(&vec![0; 8 << 20][..], 1).unwrap();
    let output = place.image(["unpack", "--max-size", "1m", "-", "box"]).stdin(&bomb).run();
    output.fails().err_has("--max-size");
    place.image(["unpack", "-", "box"]).stdin("no archive").run().fails().err_has("standard input");
}

/// `docker save` of older versions: a folder for each layer, and links between them for those that are the same.
#[test]
fn layers_that_an_archive_shares_by_links() {
    let place = Place::new("links");
    let layer = Tar::default().file("shared", "x").done();
    let config = json!({ "os": "linux", "architecture": architecture(), "config": { "Cmd": ["x"] },
                         "rootfs": { "type": "layers", "diff_ids": [digest(&layer), digest(&layer)] } });
    let manifest = |layers: &[&str]| json!([{ "Config": "c.json", "RepoTags": null, "Layers": layers }]).to_string();
    let archive = |layers: &[&str]| {
        Tar::default()
            .folder("a")
            .file("a/layer.tar", &layer)
            .symlink("b/layer.tar", "../a/layer.tar")
            .link("c/layer.tar", "b/layer.tar")
            .symlink("loop", "loop")
            .symlink("out", "../../../../etc/passwd")
            .file("c.json", config.to_string())
            .file("manifest.json", manifest(layers))
            .done()
    };
    let unpack = |layers: &[&str]| place.image(["unpack", "-", "box"]).stdin(archive(layers)).run();
    unpack(&["b/layer.tar", "c/layer.tar"]).ok();
    assert!(place.path("box/rootfs/shared").exists());
    fs::remove_dir_all(place.path("box")).unwrap();
    // Names lead to what is in the archive, and nowhere else.
    unpack(&["a/layer.tar", "loop"]).fails().err_has("link to a link");
    unpack(&["a/layer.tar", "out"]).fails().err_has("there is no out");
    unpack(&["a/layer.tar", "/etc/passwd"]).fails().err_has("there is no /etc/passwd");
    unpack(&["a/layer.tar"]).fails().err_has("diff_ids");
    unpack(&["a/layer.tar", "c.json"]).fails().err_has("the archive ends early");
    assert!(!place.path("box").exists());
}
