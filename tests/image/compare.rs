//! The same image unpacked by umoci: the same tree, byte for byte and attribute for attribute.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::util::command::Output;
use crate::util::listing::same;
use crate::util::{TestCommand, runtime};

/// Unpacks the tag with both, and compares.
#[track_caller]
fn compare(place: &Place, tag: &str) {
    let source = format!("oci:oci:{tag}");
    place.image(["unpack", "--quiet", &source, "ours"]).run().ok();
    TestCommand::new(["umoci", "unpack", "--image", &source[4..], "theirs"]).cwd(&place.0).run().ok();
    same(&place.path("ours/rootfs"), &place.path("theirs/rootfs"));
}

/// `myrt image run` with these words: an image becomes a container by one command.
fn runs(place: &Place, words: &[&str]) -> Output {
    let run = [&runtime(), "--root", &place.text("state"), "image", "run"];
    TestCommand::new(run).args(words.iter()).cwd(&place.0).run()
}

#[test]
fn images_made_here() {
    let place = Place::new("compare");
    let mut layout = Layout::new(&place.path("oci"));
    let root = Header { mtime: 1_600_000_000, ..Header::new("./", b'5') };
    let lower = Tar::default()
        .entry(&root, b"")
        .folder("a")
        .entry(&Header { mode: 0o4755, uid: 3, gid: 4, ..Header::new("a/one", b'0') }, b"1")
        .file("a/two", "2")
        .folder("a/sub")
        .file("a/sub/old", "3")
        .link("a/hard", "a/two")
        .symlink("link", "a")
        .pax(&[("SCHILY.xattr.user.note", b"value"), ("mtime", b"1700000000.25")])
        .file("noted", "x")
        .entry(&Header { mode: 0o600, device: (1, 3), ..Header::new("null", b'3') }, b"")
        .entry(&Header::new("fifo", b'6'), b"");
    let upper = Tar::default()
        .entry(&root, b"")
        .folder("a")
        .file("a/.wh.two", "")
        .folder("a/sub")
        .file("a/sub/new", "5")
        .file("a/sub/.wh..wh..opq", "")
        .file("link/through", "x")
        .folder("fifo")
        .file("fifo/inside", "x");
    let empty = Tar::default();
    let layers = [(lower.done(), Pack::Gzip), (upper.done(), Pack::Gzip), (empty.done(), Pack::Gzip)];
    layout.image("latest", &json!({}), &layers);
    compare(&place, "latest");
}

#[test]
fn an_image_made_by_umoci() {
    let place = Place::new("umoci");
    let script = r#"
        cd "$1"
        umoci init --layout oci
        umoci new --image oci:x
        umoci unpack --image oci:x work
        mkdir -p work/rootfs/usr/bin work/rootfs/etc work/rootfs/var/log
        cp /bin/busybox work/rootfs/usr/bin/
        ln work/rootfs/usr/bin/busybox work/rootfs/usr/bin/sh
        ln -s usr/bin work/rootfs/bin
        cp -a /etc/passwd /etc/group /etc/shadow work/rootfs/etc/
        umoci repack --refresh-bundle --image oci:x work
        rm -r work/rootfs/var/log work/rootfs/etc/shadow
        mkdir work/rootfs/etc/shadow
        touch work/rootfs/etc/shadow/file
        chmod 700 work/rootfs/usr
        python3 -c 'import os; os.setxattr("work/rootfs/etc/passwd", "user.x", b"y")'
        umoci repack --image oci:x work
        umoci config --image oci:x --config.cmd sh"#;
    TestCommand::shell(script, [place.0.display()]).run().ok();
    compare(&place, "x");
    runs(&place, &["oci:oci:x", "sh", "-c", "echo umoci; stat -c %a /usr"]).ok().stdout("umoci\n700");
}

/// A real distribution's files: setgid folders, programs with capabilities, links of all kinds, the devices of /dev.
#[test]
fn a_debian_made_by_mmdebstrap() {
    let place = Place::new("debian");
    let archive = place.text("debian.tar");
    // Downloads have no deadline of the tests'.
    let mut made = Command::new("mmdebstrap");
    made.args(["--quiet", "--variant=essential", "--format=tar", "bookworm", &archive]);
    assert!(made.status().unwrap().success());
    let mut layout = Layout::new(&place.path("oci"));
    layout.image(
        "debian",
        &json!({ "Cmd": ["cat", "/etc/debian_version"] }),
        &[(fs::read(&archive).unwrap(), Pack::Gzip)],
    );
    compare(&place, "debian");
    let script = "mkdir tar && tar -C tar --numeric-owner --xattrs --xattrs-include='*' -xpf debian.tar";
    TestCommand::shell(script, [""]).cwd(&place.0).run().ok();
    same(&place.path("ours/rootfs"), &place.path("tar"));
    // And as the folder that it is now.
    place.image(["unpack", "--quiet", "dir:tar", "again"]).run().ok();
    same(&place.path("again/rootfs"), &place.path("tar"));
    assert!(runs(&place, &["oci:oci:debian"]).ok().out().starts_with("12"));
    runs(&place, &["dir:tar", "/bin/sh", "-c", "grep -c VERSION_CODENAME=bookworm /etc/os-release"]).ok().stdout("1");
}

#[test]
fn an_image_built_by_buildah() {
    let place = Place::new("buildah");
    let script = r#"
        cd "$1"
        mkdir context
        cp /bin/busybox context/busybox
        cat >context/Dockerfile <<'END'
FROM scratch
COPY busybox /bin/busybox
COPY --chown=7:8 Dockerfile /srv/app/
ADD busybox /bin/sh
USER 1000:1000
WORKDIR /srv/app
ENV GREETING=hello
VOLUME /data
EXPOSE 80
CMD ["/bin/sh", "-c", "echo $GREETING; pwd; busybox id -u; busybox stat -c %u Dockerfile"]
END
        buildah="buildah --root $1/storage --runroot $1/run --storage-driver vfs"
        $buildah bud --quiet --layers --tag made context
        $buildah push --quiet made oci:oci:made"#;
    TestCommand::shell(script, [place.0.display()]).run().ok();
    compare(&place, "made");
    runs(&place, &["oci:oci:made"]).ok().stdout("hello\n/srv/app\n1000\n7");
}
