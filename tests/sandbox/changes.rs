//! `diff`: each kind of change, and nothing else.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::place::Place;

/// One script for each kind of file, which makes it as `x`.
const KINDS: [(&str, &str); 8] = [
    ("file", "echo content >x"),
    ("hard link", "echo content >other; ln other x"),
    ("empty", ": >x"),
    ("link", "ln -s /nowhere x"),
    ("folder", "mkdir x"),
    ("full", "mkdir -p x/y/z; echo deep >x/y/z/file"),
    ("fifo", "mkfifo x"),
    ("socket", "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"x\")'"),
];

/// What a box can make none of, but replace.
const DEVICES: [(&str, &str); 2] = [("char device", "mknod x c 1 3"), ("block device", "mknod x b 7 99")];

#[test]
fn every_kind_of_file_replaces_every_other() {
    for (old, make_old) in KINDS.into_iter().chain(DEVICES) {
        let place = Place::new();
        crate::util::TestCommand::shell(make_old, [""]).cwd(place.host()).run().ok();
        let before = place.picture();
        for (new, make_new) in KINDS {
            place.script(&format!("rm -rf x; {make_new}")).run().ok();
            assert_eq!(place.picture(), before, "{old} → {new}");
            let changes = place.changes();
            let kind = |name: &'static str| match name {
                "empty" => "file",
                "full" => "folder",
                "hard link" => "file",
                other => other,
            };
            let own = |change: &String| change.starts_with("x: ");
            match (kind(old) == kind(new), changes.iter().find(|change| own(change))) {
                (false, Some(change)) => assert_eq!(change, "x: type-changed", "{old} → {new}"),
                (true, change) => {
                    assert!(
                        change.is_none_or(|change| change.starts_with("x: modified")),
                        "{old} → {new}: {changes:?}"
                    );
                }
                (false, None) => panic!("{old} → {new}: {changes:?}"),
            }
            let inner = changes.iter().filter(|change| change.starts_with("x/")).cloned().collect::<Vec<_>>();
            match (old, new) {
                ("full", "folder") => assert_eq!(inner, ["x/y: deleted"], "{old} → {new}"),
                ("full", "full") => {
                    assert!(inner.iter().all(|change| change.contains(": modified times")), "{inner:?}")
                }
                (_, "full") => assert_eq!(inner, ["x/y: added", "x/y/z: added", "x/y/z/file: added"], "{old} → {new}"),
                _ => assert!(inner.is_empty(), "{old} → {new}: {inner:?}"),
            }
            place.sandbox("discard", ["b"]).run().ok();
        }
    }
}

#[test]
fn each_aspect_is_told() {
    let place = Place::new();
    let host = place.host();
    for name in ["content", "same-size", "mode", "owner", "times", "xattr", "acl", "back", "untouched", "hidden-times"]
    {
        std::fs::write(host.join(name), "12345").unwrap();
    }
    std::fs::create_dir(host.join("folder")).unwrap();
    let before = place.picture();
    place
        .script(
            "echo more >>content; printf 54321 >same-size; chmod 600 mode; chown 12:34 owner; touch -d @5 times
             /usr/bin/python3 -c 'import os; os.setxattr(\"xattr\", \"user.note\", b\"x\")'
             chmod 700 folder; cat untouched
             touch -r hidden-times /var/tmp/reference; printf abcde >hidden-times; touch -r /var/tmp/reference hidden-times
             chmod 600 back; chmod 644 back",
        )
        .run()
        .ok();
    assert_eq!(place.picture(), before);
    assert_eq!(
        place.changes(),
        [
            "content: modified content,times",
            "folder: modified mode",
            "hidden-times: modified content",
            "mode: modified mode",
            "owner: modified owner",
            "same-size: modified content,times",
            "times: modified times",
            "xattr: modified xattr",
        ]
    );
    let json = place.sandbox("diff", ["--format", "json", "b"]).run().json();
    let owner = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["path"] == place.path("owner"))
        .unwrap()
        .clone();
    assert_eq!(
        (&owner["after"]["uid"], &owner["after"]["gid"], &owner["before"]["uid"]),
        (&12.into(), &34.into(), &0.into())
    );
    assert_eq!(owner["before"]["kind"], "file");
    assert_eq!(std::fs::metadata(host.join("mode")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::metadata(host.join("owner")).unwrap().uid(), 0);
}

#[test]
fn a_folder_made_anew_hides_what_was_in_it() {
    let place = Place::new();
    let host = place.host();
    std::fs::create_dir_all(host.join("d/sub")).unwrap();
    for name in ["d/kept", "d/lost", "d/sub/deep"] {
        std::fs::write(host.join(name), name).unwrap();
    }
    place.script("rm -r d; mkdir d; printf d/kept >d/kept; touch -r /etc/passwd d/kept; mkdir d/sub").run().ok();
    assert_eq!(place.changes(), ["d/kept: modified times", "d/lost: deleted", "d/sub/deep: deleted"]);
}

#[test]
fn names_may_hold_any_byte() {
    let place = Place::new();
    place
        .python(
            r"
for name in [b'new\nline', b'not\xffutf8', b'\x1b[31mred', b'back\\slash', '\u00fcml\u00e4ut'.encode(), b'-rf', b' ']:
    open(name, 'w').close()
",
        )
        .run()
        .ok();
    let text = place.sandbox("diff", ["b"]).run().ok().out();
    for name in ["new\\x0aline", "not\\xffutf8", "\\x1b[31mred", "back\\x5cslash", "ümläut", "-rf", "/host/ "] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(text.contains("7 added") && !text.contains('\x1b'), "{text}");
    let json = place.sandbox("diff", ["--format", "json", "b"]).run().json();
    let hex: Vec<&str> =
        json["changes"].as_array().unwrap().iter().filter_map(|change| change["pathHex"].as_str()).collect();
    assert_eq!(hex.len(), 1);
    assert!(hex[0].ends_with("6e6f74ff75746638"), "{hex:?}");
    assert_eq!(json["summary"]["added"], 7);
}

#[test]
fn a_program_cannot_forge_what_diff_reads() {
    let place = Place::new();
    std::fs::create_dir(place.host().join("d")).unwrap();
    std::fs::write(place.host().join("d/file"), "x").unwrap();
    // A whiteout is a device 0:0, and an opaque folder has an attribute: neither can be made inside.
    place
        .python(
            r"
import os, stat
for attempt in (lambda: os.mknod('hole', stat.S_IFCHR | 0o600, 0),
                lambda: os.setxattr('d', 'trusted.overlay.opaque', b'y'),
                lambda: os.setxattr('d', 'trusted.overlay.redirect', b'/etc'),
                lambda: os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))):
    try:
        attempt()
    except OSError:
        pass
    else:
        print('it worked')
os.setxattr('d', 'user.overlay.opaque', b'y')
",
        )
        .run()
        .ok()
        .out_lacks("it worked");
    assert_eq!(place.changes(), ["d: modified xattr"]);
}
