//! Archives that other programs write, in all their dialects: names of any length, large numbers, sparse files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::json;

use crate::make::{Layout, Pack, Place};
use crate::util::TestCommand;

/// Unpacks an archive as an image's only layer, into a bundle of this name; gives its root filesystem.
fn unpack(place: &Place, archive: &Path, bundle: &str) -> std::path::PathBuf {
    let mut layout = Layout::new(&place.path(&format!("{bundle}.oci")));
    layout.image("latest", &json!({}), &[(fs::read(archive).unwrap(), Pack::Zstd)]);
    place.image(["unpack", "--quiet", &format!("oci:{bundle}.oci"), bundle]).run().ok();
    place.path(bundle).join("rootfs")
}

/// A line for each file: what it is, in a form that can be compared.
fn listing(folder: &Path) -> Vec<String> {
    let script = "cd \"$1\" && find . -printf '%P %y %#m %U %G %T@ %s %l\\n' | sort && find . -type f -exec sha256sum {} + | sort";
    TestCommand::shell(script, [folder.display()]).run().ok().lines()
}

/// A folder with names and attributes that the dialects treat differently.
fn source(place: &Place) -> std::path::PathBuf {
    let folder = place.path("source");
    let long = "long/".repeat(30);
    fs::create_dir_all(folder.join(&long)).unwrap();
    let script = r#"
        cd "$1"
        echo 1 >short
        echo 2 >"$2/file"
        echo 3 >"$(printf 'n%.0s' $(seq 1 180))"
        ln -s "$(printf 't%.0s' $(seq 1 200))" link
        ln "$2/file" hard
        echo 4 >'ünïcödé and spaces'
        mkfifo fifo
        mknod char c 1 3
        chown 70000:3000000000 short
        chmod 4711 short
        touch -d '1969-12-31 12:00:00 UTC' old
        touch -d '2200-01-01 00:00:00 UTC' new
        find . -newermt 2020-01-01 ! -newermt 2100-01-01 -exec touch -h -d '2021-02-03 04:05:06 UTC' {} +"#;
    TestCommand::shell(script, [folder.to_str().unwrap(), &long]).run().ok();
    folder
}

#[test]
fn gnu_tar_in_its_dialects() {
    let place = Place::new("gnu-tar");
    let folder = source(&place);
    let wanted = listing(&folder);
    for format in ["gnu", "pax"] {
        let archive = place.path(&format!("{format}.tar"));
        let arguments =
            ["tar", "-C", folder.to_str().unwrap(), "--numeric-owner", &format!("--format={format}"), "-cf"];
        TestCommand::new(arguments).arg(archive.display()).arg(".").run().ok();
        let listed = listing(&unpack(&place, &archive, format));
        assert_eq!(listed, wanted, "{format}");
    }
}

#[test]
fn python_in_its_dialects() {
    let place = Place::new("python");
    let folder = source(&place);
    let wanted = listing(&folder);
    for (name, format) in [("gnu", "tarfile.GNU_FORMAT"), ("pax", "tarfile.PAX_FORMAT")] {
        let archive = place.path(&format!("{name}.tar"));
        let script = format!(
            "import sys, tarfile\nwith tarfile.open(sys.argv[1], 'w', format={format}) as tar: tar.add(sys.argv[2], '.')"
        );
        TestCommand::new(["python3", "-c", &script]).arg(archive.display()).arg(folder.display()).run().ok();
        assert_eq!(listing(&unpack(&place, &archive, name)), wanted, "{name}");
    }
}

#[test]
fn old_dialects_of_short_names() {
    let place = Place::new("old");
    let folder = place.path("source");
    let prefix = "p".repeat(90);
    fs::create_dir_all(folder.join(&prefix)).unwrap();
    fs::create_dir_all(folder.join("d/e")).unwrap();
    fs::write(folder.join("d/e/f"), "content").unwrap();
    fs::write(folder.join(&prefix).join("n".repeat(99)), "content").unwrap();
    TestCommand::shell("cd \"$1\" && find . -exec touch -d '2021-02-03 04:05:06 UTC' {} +", [folder.display()])
        .run()
        .ok();
    for (format, members) in [("ustar", "."), ("v7", "d")] {
        let archive = place.path(&format!("{format}.tar"));
        let arguments = ["tar", "-C", folder.to_str().unwrap(), &format!("--format={format}"), "-cf"];
        TestCommand::new(arguments).arg(archive.display()).arg(members).run().ok();
        let unpacked = unpack(&place, &archive, format);
        assert_eq!(listing(&unpacked.join("d")), listing(&folder.join("d")), "{format}");
        assert_eq!(unpacked.join(&prefix).exists(), members == ".");
    }
}

#[test]
fn sparse_files_stay_sparse() {
    let place = Place::new("sparse");
    let folder = place.path("source");
    fs::create_dir(&folder).unwrap();
    let script = r#"
        cd "$1"
        truncate -s 64M hole
        printf end | dd of=end bs=1 seek=64M status=none
        dd if=/dev/urandom of=islands bs=64k count=1 status=none
        for at in $(seq 1 40); do dd if=/dev/urandom of=islands bs=4k seek=$((at * 100)) count=1 conv=notrunc status=none; done
        truncate -s +1M islands
        printf full >full
        find . -exec touch -d '2021-02-03 04:05:06 UTC' {} +"#;
    TestCommand::shell(script, [folder.display()]).run().ok();
    let wanted = listing(&folder);
    let formats = ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"];
    for (index, format) in formats.into_iter().enumerate() {
        let name = format!("sparse-{index}");
        let archive = place.path(&format!("{name}.tar"));
        let arguments = ["tar", "-C", folder.to_str().unwrap(), "--sparse", format, "-cf"];
        TestCommand::new(arguments).arg(archive.display()).arg(".").run().ok();
        // Otherwise there is nothing to see here.
        assert!(fs::metadata(&archive).unwrap().len() < 1 << 20);
        let unpacked = unpack(&place, &archive, &name);
        assert_eq!(listing(&unpacked), wanted, "{format}");
        for file in ["hole", "end", "islands"] {
            let meta = fs::metadata(unpacked.join(file)).unwrap();
            assert!(meta.blocks() * 512 < meta.len() / 2, "{format}: {file} has {} blocks", meta.blocks());
        }
    }
}
