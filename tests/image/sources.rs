//! The forms of a source, tags, platforms.

use std::fs;

use serde_json::json;

use crate::make::{Layout, Pack, Place, Tar, architecture};

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
    let mut layout = Layout::new(&place.path("oci"));
    let mut entries = Vec::new();
    for (arch, name) in [(architecture(), "native"), ("mips", "foreign")] {
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &file(name).0);
        let config = json!({ "os": "linux", "architecture": arch,
                             "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] } });
        let mut entry = layout.manifest(name, &config, &[layer]);
        entry["platform"] = json!({ "os": "linux", "architecture": arch });
        entries.push(entry);
    }
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    let mut entry = layout.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "all" });
    layout.add(entry);
    place.image(["unpack", "oci:oci:all", "box"]).run().ok();
    assert!(place.path("box/rootfs/native").exists());
    place.image(["unpack", "--platform", "linux/mips", "oci:oci:all", "other"]).run().ok();
    assert!(place.path("other/rootfs/foreign").exists());
    let none = place.image(["unpack", "--platform", "linux/s390x", "oci:oci:all", "x"]).run();
    none.fails().err_has("linux/s390x").err_has("linux/mips");
    place.image(["unpack", "oci:oci:foreign", "x"]).run().fails().err_has("--platform linux/mips");
    place.image(["unpack", "--platform", "linux", "oci:oci:all", "x"]).run().fails().err_has("OS/ARCHITECTURE");
}
