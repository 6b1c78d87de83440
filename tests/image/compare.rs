//! The same image unpacked by umoci: the same tree, byte for byte and attribute for attribute.

use std::path::Path;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::util::TestCommand;

/// A line for each file with everything that can be told of it, extended attributes included. The root itself has no entry in
/// many images, so that its time is that of unpacking.
pub fn listing(folder: &Path) -> Vec<String> {
    let script = "cd \"$1\" && stat -c '%a %u %g' . && find . -mindepth 1 -printf '%P %y %#m %U %G %T@ %n %l ' \\( -type d -printf '\\n' -o -printf '%s\\n' \\) | sort
                  find . \\( -type b -o -type c \\) -exec stat -c '%n %t %T' {} + | sort
                  find . -type f -exec sha256sum {} + | sort
                  python3 -c \"$2\" | sort";
    let attributes = "import os
for folder, folders, files in os.walk('.'):
    for path in [folder] + [os.path.join(folder, name) for name in files]:
        for name in os.listxattr(path, follow_symlinks=False):
            print(path, name, os.getxattr(path, name, follow_symlinks=False))";
    TestCommand::new(["bash", "-c", script, "sh"]).arg(folder.display()).arg(attributes).run().ok().lines()
}

/// Unpacks the tag with both, and compares.
#[track_caller]
fn compare(place: &Place, tag: &str) {
    let source = format!("oci:oci:{tag}");
    place.image(["unpack", "--quiet", &source, "ours"]).run().ok();
    TestCommand::new(["umoci", "unpack", "--image", &source[4..], "theirs"]).cwd(&place.0).run().ok();
    let (ours, theirs) = (listing(&place.path("ours/rootfs")), listing(&place.path("theirs/rootfs")));
    assert!(ours.len() >= 10, "{ours:?}");
    for (line, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "line {line}");
    }
    assert_eq!(ours.len(), theirs.len());
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
    let run = [crate::util::runtime(), "--root".to_owned(), place.text("state"), "image".to_owned(), "run".to_owned()];
    TestCommand::new(run).arg("oci:oci:made").cwd(&place.0).run().ok().stdout("hello\n/srv/app\n1000\n7");
}
