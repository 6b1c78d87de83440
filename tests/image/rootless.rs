//! As an ordinary user: with the one own id, and with a range of subordinate ids.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::unpack::busybox;
use crate::util::command::copy_executable;
use crate::util::user::Ordinary;
use crate::util::{TestCommand, runtime};

/// A place that belongs to an ordinary user, with copies of both programs in it.
fn place_of(name: &str, user: &Ordinary) -> Place {
    let place = Place::new(name);
    let programs = Path::new(&runtime()).parent().unwrap().to_owned();
    fs::create_dir(place.path("bin")).unwrap();
    for program in ["myrt", "myrt-image"] {
        copy_executable(&programs.join(program), &place.path("bin").join(program));
    }
    std::os::unix::fs::chown(&place.0, Some(user.uid), Some(user.gid)).unwrap();
    place
}

/// `myrt` as that user; without the helpers no range of ids can be used.
fn myrt(place: &Place, user: &Ordinary, range: bool) -> TestCommand {
    let command = TestCommand::new([place.text("bin/myrt"), "--root".to_owned(), place.text("state")]).cwd(&place.0);
    if range {
        return command.by(user.prefix.clone());
    }
    // An empty folder over the helpers' own, and a mount namespace to put it in.
    let hide = "mount -t tmpfs none /usr/sbin && for helper in newuidmap newgidmap; do \
                mount --bind /dev/null /usr/bin/$helper; done && exec \"$@\"";
    command.by(user.prefix.clone()).by(["unshare", "--mount", "/bin/sh", "-ec", hide, "sh"])
}

/// An image with several owners, a device and a folder that its owner may not write to.
fn image(place: &Place, script: &str, user: &str) {
    let mut layout = Layout::new(&place.path("oci"));
    let lower = Tar::default()
        .entry(&Header { uid: 33, gid: 34, mode: 0o640, ..Header::new("web", b'0') }, b"x")
        .entry(&Header { mode: 0o500, ..Header::new("shut", b'5') }, b"")
        .file("shut/one", "1")
        .entry(&Header { mode: 0, ..Header::new("shut/none", b'5') }, b"")
        .entry(&Header { device: (1, 3), ..Header::new("null", b'3') }, b"");
    let upper = Tar::default().file("shut/two", "2").file("shut/.wh.one", "").file("shut/none/inside", "x");
    let layers = [(busybox(place), Pack::Gzip), (lower.done(), Pack::Gzip), (upper.done(), Pack::Gzip)];
    layout.image("latest", &json!({ "Cmd": ["sh", "-c", script], "User": user, "Volumes": { "/vol": {} } }), &layers);
}

#[test]
fn with_a_range_owners_are_kept() {
    let user = Ordinary::get();
    let place = place_of("range", &user);
    image(&place, "id -u; stat -c '%u %g %a' /web; ls /shut; stat -c %u /bin", "");
    let output = myrt(&place, &user, true).args(["image", "unpack", "--quiet", "oci:oci", "box"]).run();
    output.ok().err_has("1 devices").err_has("/null");
    let range = user.range.unwrap();
    let meta = fs::metadata(place.path("box/rootfs/web")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (range + 32, range + 33));
    assert_eq!(fs::metadata(place.path("box/rootfs/bin")).unwrap().uid(), user.uid);
    let runs = myrt(&place, &user, true).args(["run", "box"]).run();
    runs.ok().stdout("0\n33 34 640\nnone\ntwo\n0");
}

#[test]
fn with_one_id_everything_is_the_callers() {
    let user = Ordinary::get();
    let place = place_of("single", &user);
    image(&place, "id -u; stat -c '%u %g %a' /web; ls /shut; stat -c %u /bin; echo x >/vol/x && cat /vol/x", "guest");
    myrt(&place, &user, false).args(["image", "unpack", "--quiet", "oci:oci", "box"]).run().ok();
    assert_eq!(fs::metadata(place.path("box/rootfs/web")).unwrap().uid(), user.uid);
    let runs = myrt(&place, &user, false).args(["run", "box"]).run();
    // Who the image wants to be is the caller, to whom everything belongs.
    runs.ok().stdout("1000\n1000 1000 640\nnone\ntwo\n1000\nx");
}

#[test]
fn a_refused_image_leaves_nothing() {
    let user = Ordinary::get();
    let place = place_of("refused", &user);
    let tar = Tar::default().entry(&Header { uid: 40, mode: 0, ..Header::new("d", b'5') }, b"").file("../x", "");
    Layout::of(&place, &[tar]);
    let output = myrt(&place, &user, true).args(["image", "unpack", "oci:oci", "box"]).run();
    output.fails().err_has("has .. in it");
    assert_eq!(output.err().matches("myrt:").count(), 1, "{output}");
    fs::remove_dir_all(place.path("bin")).unwrap();
    place.is_clean();
}

#[test]
fn a_store_of_ones_own() {
    let user = Ordinary::get();
    for (name, range, web) in [("store-range", true, "33 34 640"), ("store-single", false, "0 0 640")] {
        let place = place_of(name, &user);
        image(&place, "id -u; stat -c '%u %g %a' /web; ls /shut; echo x >/new; cat /new", "");
        let myrt = |words: &[&str]| {
            myrt(&place, &user, range).env("XDG_DATA_HOME", place.text("data")).args(words.iter()).run()
        };
        myrt(&["image", "pull", "--quiet", "oci:oci"]).ok();
        myrt(&["image", "bundle", "oci", "box"]).ok();
        myrt(&["run", "box"]).ok().stdout(&format!("0\n{web}\nnone\ntwo\nx"));
        myrt(&["image", "remove", "oci"]).ok();
        myrt(&["image", "prune"]).ok().stdout("0 layers removed");
        fs::remove_file(place.path("box/config.json")).unwrap();
        myrt(&["image", "prune"]).ok().stdout("3 layers removed");
        assert!(place.path("data/myrt/images").exists());
        assert_eq!(fs::read_dir(place.path("data/myrt/images/d")).unwrap().count(), 0);
    }
}
