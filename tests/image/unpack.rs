//! Every kind of file and attribute arrives, and the bundle runs as it is.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::util::runtime;
use crate::util::{TestCommand, assets};

/// A layer with busybox in it.
pub fn busybox(place: &Place) -> Vec<u8> {
    let rootfs = place.path("busybox");
    assets::busybox_rootfs(&rootfs);
    let tar = place.text("busybox.tar");
    TestCommand::new(["tar", "-C", rootfs.to_str().unwrap(), "--numeric-owner", "-cf", &tar, "."]).run().ok();
    let content = fs::read(&tar).unwrap();
    fs::remove_file(tar).unwrap();
    fs::remove_dir_all(rootfs).unwrap();
    content
}

/// Runs the bundle `box`.
pub fn run(place: &Place) -> TestCommand {
    TestCommand::new([runtime(), "--root".to_owned(), place.text("state"), "run".to_owned()]).arg(place.text("box"))
}

#[test]
fn a_bundle_runs_as_it_is() {
    let place = Place::new("runs");
    let mut layout = Layout::new(&place.path("oci"));
    let config = json!({
        "User": "guest", "Env": ["A=1", "PATH=/bin"], "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/tmp",
        "Cmd": ["id -u; id -G; pwd; echo $A $HOME; cat /data/seed; echo x >/data/new && hostname"],
        "Volumes": { "/data": {} }, "Labels": { "own": "label" },
    });
    let volume = Tar::default()
        .entry(&Header { mode: 0o777, ..Header::new("data", b'5') }, b"")
        .file("data/seed", "seed\n")
        .entry(&Header { mode: 0o1777, ..Header::new("tmp", b'5') }, b"");
    layout.image("latest", &config, &[(busybox(&place), Pack::Gzip), (volume.done(), Pack::Zstd)]);
    place.unpack().ok().stdout("");
    run(&place).run().ok().stdout("1000\n1000 2000\n/tmp\n1 /home/guest\nseed\nbox");
    // The volume was memory.
    assert!(!place.path("box/rootfs/data/new").exists());
    let config: serde_json::Value = serde_json::from_slice(&fs::read(place.path("box/config.json")).unwrap()).unwrap();
    assert_eq!(config["annotations"]["own"], "label");
    assert_eq!(config["annotations"]["org.opencontainers.image.os"], "linux");
}

#[test]
fn the_profile_lets_services_live_and_keeps_holes_shut() {
    let place = Place::new("profile");
    let mut layout = Layout::new(&place.path("oci"));
    let script = "unshare -U true 2>&1; mount -t tmpfs x /mnt 2>&1; hostname other 2>&1; \
                  (sleep 0; echo child) & wait; ps | grep -c ps; cat /proc/self/status | grep Seccomp:";
    layout.image("latest", &json!({ "Cmd": ["sh", "-c", script] }), &[(busybox(&place), Pack::Gzip)]);
    place.unpack().ok();
    let output = run(&place).run();
    output.ok().out_has("unshare(0x10000000): Operation not permitted").out_has("child");
    let said = output.out();
    assert_eq!(said.matches("not permitted").count() + said.matches("permission denied").count(), 3, "{said}");
    assert!(said.ends_with("Seccomp:\t2\n"), "{said}");
}

#[test]
fn every_kind_of_file_arrives() {
    let place = Place::new("kinds");
    let tar = Tar::default()
        .folder("d")
        .entry(&Header { mode: 0o6755, uid: 7, gid: 8, ..Header::new("d/f", b'0') }, b"content")
        .file("d/empty", "")
        .symlink("d/s", "../../dangling")
        .link("hard", "d/f")
        .link("hard-to-link", "d/s")
        .entry(&Header { mode: 0o622, device: (5, 1), ..Header::new("char", b'3') }, b"")
        .entry(&Header { mode: 0o660, device: (7, 300), ..Header::new("block", b'4') }, b"")
        .entry(&Header { mode: 0o600, uid: 9, ..Header::new("fifo", b'6') }, b"")
        .entry(&Header { mode: 0o1777, mtime: 86_400, ..Header::new("sticky", b'5') }, b"")
        .file("sticky/file", "x")
        .file("no/parent/named", "x");
    Layout::of(&place, &[tar]);
    place.unpack().ok();
    let meta = |name: &str| fs::symlink_metadata(place.unpacked(name)).unwrap();
    let file = meta("d/f");
    assert_eq!(
        (file.mode() & 0o7777, file.uid(), file.gid(), file.mtime(), file.nlink()),
        (0o6755, 7, 8, 1_700_000_000, 2)
    );
    assert_eq!(fs::read(place.unpacked("hard")).unwrap(), b"content");
    assert_eq!(meta("hard").ino(), file.ino());
    assert_eq!(meta("hard-to-link").ino(), meta("d/s").ino());
    assert_eq!(fs::read_link(place.unpacked("d/s")).unwrap().to_str(), Some("../../dangling"));
    assert_eq!(meta("d/s").mtime(), 1_700_000_000);
    assert_eq!(meta("d/empty").len(), 0);
    let device = |name: &str| (meta(name).rdev(), meta(name).mode() & 0o7777);
    assert!(meta("char").file_type().is_char_device() && meta("block").file_type().is_block_device());
    assert_eq!(device("char"), (rustix::fs::makedev(5, 1), 0o622));
    assert_eq!(device("block"), (rustix::fs::makedev(7, 300), 0o660));
    assert!(meta("fifo").file_type().is_fifo() && meta("fifo").uid() == 9);
    // What is put into a folder does not change its time.
    assert_eq!((meta("sticky").mtime(), meta("sticky").mode() & 0o7777), (86_400, 0o1777));
    assert_eq!((meta("no").mode() & 0o7777, meta("no/parent/named").len()), (0o755, 1));
}

#[test]
fn times_have_nanoseconds_and_attributes_arrive() {
    let place = Place::new("xattrs");
    // CAP_NET_RAW, permitted and effective (VFS_CAP_REVISION_2).
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let user = |name: &[u8]| [b"user.".as_slice(), name].concat();
    let tar = Tar::default()
        .pax(&[("mtime", b"1700000001.123456789"), ("SCHILY.xattr.security.capability", capability)])
        .entry(&Header { mode: 0o755, uid: 3, ..Header::new("ping", b'0') }, b"x")
        .pax(&[
            ("SCHILY.xattr.user.note", b"a\0b"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
            ("mtime", b"-1.5"),
        ])
        .folder("dir")
        .file("dir/inside", "x");
    Layout::of(&place, &[tar]);
    place.unpack().ok();
    let xattr = |name: &str, attribute: &[u8]| {
        let mut value = vec![0; 100];
        let length = rustix::fs::getxattr(place.unpacked(name), attribute, value.as_mut_slice())?;
        value.truncate(length);
        Ok::<_, rustix::io::Errno>(value)
    };
    assert_eq!(xattr("ping", b"security.capability").unwrap(), capability);
    assert_eq!(xattr("dir", &user(b"note")).unwrap(), b"a\0b");
    assert!(xattr("dir", b"trusted.overlay.opaque").is_err() && xattr("dir", b"user.overlay.redirect").is_err());
    let meta = |name: &str| fs::symlink_metadata(place.unpacked(name)).unwrap();
    assert_eq!((meta("ping").mtime(), meta("ping").mtime_nsec()), (1_700_000_001, 123_456_789));
    assert_eq!((meta("dir").mtime(), meta("dir").mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn an_existing_bundle_stays_as_it_is() {
    let place = Place::new("existing");
    Layout::of(&place, &[Tar::default().file("f", "x")]);
    place.unpack().ok();
    fs::write(place.unpacked("mine"), "x").unwrap();
    place.unpack().fails().err_has("already").err_has("hint:");
    fs::remove_file(place.path("box/config.json")).unwrap();
    place.unpack().fails().err_has("rootfs");
    assert!(place.unpacked("mine").exists());
    // What was killed half-way is cleared away.
    fs::rename(place.path("box/rootfs"), place.path("box/.rootfs.partial")).unwrap();
    place.unpack().ok();
    assert!(!place.unpacked("mine").exists() && place.unpacked("f").exists());
}

#[test]
fn what_was_made_is_said() {
    let place = Place::new("said");
    let mut layout = Layout::new(&place.path("oci"));
    let image = layout.image("one", &json!({}), &[(Tar::default().file("f", "x").folder("d").done(), Pack::Plain)]);
    let made = place.image(["unpack", "--format", "json", "oci:oci:one", "box"]).run().json();
    assert_eq!((&made["bundle"], &made["manifest"]), (&json!("box"), &image["digest"]));
    assert_eq!((&made["layers"], &made["entries"], &made["bytes"]), (&json!(1), &json!(2), &json!(2560)));
    place.image(["unpack", "oci:oci", "other"]).run().ok().stdout("other: 2 files, 1 MiB");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("other/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(fs::metadata(place.path("other")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn the_network_and_the_terminal_are_a_matter_of_flags() {
    let place = Place::new("flags");
    let mut layout = Layout::new(&place.path("oci"));
    let command = json!({ "Cmd": ["sh", "-c", "ls /sys/class/net; test -s /etc/hosts && echo hosts"] });
    layout.image("latest", &command, &[(busybox(&place), Pack::Gzip)]);
    place.image(["unpack", "--quiet", "--network", "host", "--tty", "oci:oci", "box"]).run().ok();
    let config: serde_json::Value = serde_json::from_slice(&fs::read(place.path("box/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    let mut interfaces: Vec<_> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    interfaces.sort();
    let output = run(&place).run();
    let lines: Vec<_> = output.ok().out().replace('\r', "").split_whitespace().map(str::to_owned).collect();
    assert_eq!(lines, [interfaces, vec!["hosts".to_owned()]].concat());
}
