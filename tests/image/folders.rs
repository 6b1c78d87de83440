//! `dir:` with a plain root filesystem: copied as it is, and nothing of the host with it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType};

use crate::make::Place;
use crate::unpack::run;
use crate::util::listing::listing;
use crate::util::{TestCommand, Value, assets};

/// A root filesystem with busybox and everything that a file can be.
fn root(place: &Place) -> PathBuf {
    let root = place.path("root");
    assets::busybox_rootfs(&root);
    let script = r#"
        cd "$1"
        mkdir -p d/sub shut long/$(printf 'n%.0s' $(seq 1 200))
        echo one >d/one && ln d/one hard && ln d/one d/sub/hard
        ln -s ../outside dangling && ln -s /etc absolute
        mkfifo fifo && mknod null c 1 3 && mknod block b 7 300
        truncate -s 64M hole && printf end | dd of=islands bs=1 seek=32M status=none && printf begin | dd of=islands conv=notrunc status=none
        truncate -s 40M islands
        : >empty
        chown 70000:3000000000 d/one && chmod 6755 d/one && chmod 1777 d && chmod 700 .
        setfattr -n user.note -v 'a b' d/one && setfattr -n trusted.own -v x absolute -h && setfattr -n user.folder -v '' d
        setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 bin/busybox
        setfacl -m u:1000:r empty && setfacl -d -m g:50:rwx d/sub
        touch -d '1969-12-31 12:00:00.25 UTC' old && touch -d '2021-02-03 04:05:06.123456789 UTC' d shut .
        ln -s x 'odd
name' && touch "$(printf '\377')" 'a=b c'"#;
    TestCommand::shell(script, [root.display()]).run().ok();
    root
}

#[test]
fn everything_is_copied_as_it_is() {
    let place = Place::new("folder");
    let root = root(&place);
    let before = listing(&root);
    place.image(["unpack", "--quiet", "dir:root", "box"]).run().ok().stdout("");
    let copied = place.path("box/rootfs");
    assert_eq!(listing(&copied), before);
    assert_eq!(listing(&root), before);
    let meta = |name: &str| fs::symlink_metadata(copied.join(name)).unwrap();
    assert_eq!((meta("hard").ino(), meta("d/one").nlink()), (meta("d/sub/hard").ino(), 3));
    assert_ne!(meta("hard").ino(), fs::metadata(root.join("hard")).unwrap().ino());
    for (name, most) in [("hole", 0), ("islands", 64)] {
        assert!(meta(name).blocks() <= most, "{name} has {} blocks", meta(name).blocks());
    }
    assert_eq!(meta(".").mode() & 0o7777, 0o700);
    // And once more, from the copy, into a store: the same folder is the same layer.
    let store = place.text("store");
    let pull = |source: &str| place.image(["pull", "--store", &store, "--name", "x", source]).run().ok().out();
    assert_eq!(pull("dir:root"), "x: 1 layer, 1 of them new\n");
    assert_eq!(pull("dir:box/rootfs"), "x: 1 layer, 0 of them new\n");
    assert_eq!(listing(&place.path("store/d/0")), before);
}

#[test]
fn its_bundle_runs_a_shell() {
    let place = Place::new("folder-run");
    root(&place);
    place.image(["unpack", "--quiet", "dir:root", "box"]).run().ok();
    let config: Value = serde_json::from_slice(&fs::read(place.path("box/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/bin/sh"]));
    run(&place).stdin("echo $((6 * 7)); ls -d /d\n").run().ok().stdout("42\n/d");
    let state = place.text("state");
    let one_go = TestCommand::new([&crate::util::runtime(), "--root", &state, "image", "run"]).cwd(&place.0);
    one_go.args(["dir:root", "cat", "/d/one"]).run().ok().stdout("one");
}

#[test]
fn nothing_of_the_host_comes_along() {
    let place = Place::new("folder-host");
    fs::create_dir_all(place.path("root/mounted/own")).unwrap();
    fs::create_dir(place.path("secret")).unwrap();
    fs::write(place.path("secret/file"), "secret").unwrap();
    symlink("../secret", place.path("root/way")).unwrap();
    rustix::fs::mknodat(CWD, place.path("root/socket"), FileType::Socket, 0o600.into(), 0).unwrap();
    // The mount is in a namespace of its own, and gone with it.
    let script = "mount --bind secret root/mounted && exec \"$@\"";
    let unpack = place.image(["unpack", "--quiet", "dir:root", "box"]);
    let output = unpack.by(["unshare", "--mount", "/bin/sh", "-ec", script, "sh"]).run();
    output.ok().err_has("1 sockets").err_has("1 folders are empty");
    assert_eq!(fs::read_dir(place.path("box/rootfs/mounted")).unwrap().count(), 0);
    assert!(fs::symlink_metadata(place.path("box/rootfs/way")).unwrap().is_symlink());
    assert!(!place.path("box/rootfs/socket").exists());
}

#[test]
fn what_cannot_be_a_root_is_refused() {
    let place = Place::new("folder-refused");
    let refused = |source: &str, bundle: &str, why: &str| {
        place.image(["unpack", source, bundle]).run().fails().err_has(why);
        assert!(!place.path(bundle).exists());
    };
    fs::create_dir_all(place.path("empty")).unwrap();
    refused("dir:empty", "box", "nothing in it");
    refused("dir:none", "box", "no such file");
    fs::create_dir_all(place.path("oci")).unwrap();
    fs::write(place.path("oci/oci-layout"), "{}").unwrap();
    fs::write(place.path("oci/index.json"), "{}").unwrap();
    refused("dir:oci", "box", "oci:oci");
    fs::create_dir_all(place.path("root/deep/er")).unwrap();
    refused("dir:root", "root/box", "copied into itself");
    refused("dir:root", "root/deep/er/box", "copied into itself");
    let store = place.text("root/store");
    place.image(["pull", "--store", &store, "dir:root"]).run().fails().err_has("copied into itself");
    // A name that would hide another one in a layer.
    fs::write(place.path("root/deep/.wh.x"), "").unwrap();
    refused("dir:root", "box", ".wh.");
    fs::remove_file(place.path("root/deep/.wh.x")).unwrap();
    place.image(["unpack", "--max-entries", "2", "dir:root", "box"]).run().fails().err_has("--max-entries");
    fs::write(place.path("root/large"), vec![b'x'; 2 << 20]).unwrap();
    refused_by_size(&place);
}

fn refused_by_size(place: &Place) {
    place.image(["unpack", "--max-size", "1m", "dir:root", "box"]).run().fails().err_has("--max-size");
    assert!(!place.path("box").exists());
}
