//! Docker's daemon.json: what a person wrote stays, byte for byte; what cannot be parsed is left alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::{DAEMON_JSON, Root, assert_same_but, refused};
use crate::util::{TestCommand, Value, json};

/// Files as people have them: each keeps its bytes, with one piece put in, and gets them back.
const WRITTEN: &[(&str, &str)] = &[
    ("two blanks", "{\n  \"debug\": true,\n  \"zz-unknown\": {\"b\": 1, \"a\": [1.50, 1e3, \"\\u00fc\"]}\n}\n"),
    ("tabs", "{\n\t\"log-driver\": \"local\",\n\t\"log-opts\": {\n\t\t\"max-size\": \"10m\"\n\t}\n}\n"),
    ("trailing white space", "{ \"debug\" : false }  \n\n\t\n"),
    ("no line end", "{\"debug\":true,\"hosts\":[\"unix:///run/d.sock\"]}"),
    ("carriage returns", "{\r\n    \"debug\": true\r\n}\r\n"),
    ("braces in strings", "{\n    \"labels\": [\"a={\\\"}\", \"}}\", \"\\\\\"]\n}\n"),
    (
        "other runtimes",
        "{\n    \"runtimes\": {\n        \"kata\": {\"path\": \"/k\"}\n    },\n    \"debug\": true\n}\n",
    ),
    ("runtimes on a line", "{\"runtimes\": {\"kata\": {\"path\": \"/k\", \"runtimeArgs\": []}}}\n"),
];

fn parsed(root: &Root) -> Value {
    serde_json::from_str(&root.read(DAEMON_JSON)).unwrap()
}

#[test]
fn what_people_wrote_stays_byte_for_byte() {
    for (case, text) in WRITTEN {
        let root = Root::with(DAEMON_JSON, text);
        let before = root.tree();
        root.install(&["--docker"]).ok().err_has("systemctl reload docker");
        let now = root.read(DAEMON_JSON);
        // The old text is the new one without one piece: a common beginning and a common end make up all of it.
        let same = |pair: &(char, char)| pair.0 == pair.1;
        let begin = text.chars().zip(now.chars()).take_while(same).count();
        let end = text.chars().rev().zip(now.chars().rev()).take_while(same).count();
        assert!(begin + end >= text.chars().count(), "{case}: more than one piece was put in: {now}");
        let mut expected: Value = serde_json::from_str(text).unwrap();
        expected["runtimes"]["myrt"] = json!({"path": "/usr/local/bin/myrt"});
        assert_eq!(parsed(&root), expected, "{case}");
        root.install(&["--docker"]).ok().err_has("already");
        assert_eq!(root.read(DAEMON_JSON), now, "{case}: the second run");
        root.run(&["--uninstall"]).ok();
        assert_same_but(&before, &root, &["var", "var/lib", "usr", "usr/local"]);
    }
}

#[test]
fn a_file_that_says_nothing_gets_its_nothing_back() {
    for text in ["", "\n \n", "{}", "{ }\n", "{\n}\n"] {
        let root = Root::with(DAEMON_JSON, text);
        root.install(&["--docker"]).ok();
        assert_eq!(parsed(&root), json!({"runtimes": {"myrt": {"path": "/usr/local/bin/myrt"}}}), "{text:?}");
        root.run(&["--uninstall", "--docker"]).ok();
        assert_eq!(root.read(DAEMON_JSON), text);
    }
}

#[test]
fn json_that_cannot_be_parsed_is_named_and_left() {
    for (text, place) in [
        ("{ \"debug\": true,}\n", "daemon.json:1:1"), // at the comma or behind it, by Python's version
        ("{\n  \"debug\": true\n  \"a\": 1\n}\n", "daemon.json:3:3: "),
        ("{\"debug\": tru}\n", "daemon.json:1:11: "),
        ("{\"a\": \"x\n\"}\n", "daemon.json:1:9: "),
        ("{\"a\": 1} // a comment\n", "daemon.json:1:10: "),
        ("{\"NaN\":1,\n \"b\": NaN}\n", "daemon.json:2:7: "),
        ("{\"a\": 1", "daemon.json:1:8: "),
        ("\u{feff}{}\n", "daemon.json:1:1: "),
        ("[\"debug\"]\n", "daemon.json:1:1: an object is expected"),
        ("{\"debug\": true,\n \"runtimes\": [\"myrt\"]}\n", "daemon.json:2:14: 'runtimes' should be an object"),
        ("{\"runtimes\": {},\n \"runtimes\": {}}\n", "daemon.json:2:2: 'runtimes' stands here for the second time"),
    ] {
        // The other engines are not touched either, nor is a binary installed.
        refused(&Root::with(DAEMON_JSON, text), &["--docker", "--podman", "--crio"], &[place]);
    }
    let root = Root::with(DAEMON_JSON, "");
    fs::write(root.path.join(DAEMON_JSON), b"{\n\"a\": \"\xff\"}\n").unwrap();
    refused(&root, &["--docker"], &["daemon.json:2:7: ", "0xff"]);
}

#[test]
fn a_file_that_was_broken_since_is_left_by_the_uninstall() {
    let root = Root::new();
    root.install(&["--docker"]).ok();
    let text = root.read(DAEMON_JSON).replace("}\n", ",\n");
    root.write(DAEMON_JSON, &text);
    let before = root.tree();
    root.run(&["--uninstall"]).fails().err_has("daemon.json:");
    super::assert_same(&before, &root.tree());
}

#[test]
fn another_runtime_of_that_name_is_not_replaced() {
    let root = Root::with(DAEMON_JSON, r#"{"runtimes": {"myrt": {"path": "/opt/mine"}}}"#);
    refused(&root, &["--docker"], &["another runtime myrt", "/opt/mine"]);
    // The very same one, written by a person, is left by the uninstall as well.
    let text = r#"{"runtimes": {"myrt": {"path": "/usr/local/bin/myrt"}}}"#;
    root.write(DAEMON_JSON, text);
    root.install(&["--docker", "--default"]).ok();
    assert_eq!(parsed(&root)["default-runtime"], "myrt");
    root.run(&["--uninstall", "--docker"]).ok().err_has("is left");
    assert_eq!(root.read(DAEMON_JSON), text);
}

#[test]
fn the_default_from_before_comes_back() {
    let root = Root::with(DAEMON_JSON, "{\n  \"default-runtime\": \"crun\", \"debug\": true\n}\n");
    root.install(&["--docker", "--default"]).ok();
    assert_eq!(parsed(&root)["default-runtime"], "myrt");
    root.install(&["--docker"]).ok();
    assert_eq!(parsed(&root)["default-runtime"], "crun", "without --default it is no longer the default");
    root.install(&["--docker", "--default"]).ok();
    // Others write into the file: theirs stays, ours goes.
    root.write(DAEMON_JSON, &root.read(DAEMON_JSON).replace("{\n  \"def", "{\n  \"mtu\": 1400,\n  \"def"));
    root.run(&["--uninstall", "--docker"]).ok();
    assert_eq!(root.read(DAEMON_JSON), "{\n  \"mtu\": 1400,\n  \"default-runtime\": \"crun\", \"debug\": true\n}\n");
}

#[test]
fn what_others_changed_since_stays() {
    let root = Root::new();
    root.install(&["--docker", "--default"]).ok();
    let mut now = parsed(&root);
    now["runtimes"]["kata"] = json!({"path": "/k"});
    now["default-runtime"] = json!("kata");
    now["debug"] = json!(true);
    root.write(DAEMON_JSON, &now.to_string());
    root.run(&["--uninstall", "--docker"]).ok();
    let left = json!({"runtimes": {"kata": {"path": "/k"}}, "default-runtime": "kata", "debug": true});
    assert_eq!(parsed(&root), left);

    // A runtime of ours that somebody changed is theirs now; the script says that it is left.
    let root = Root::new();
    root.install(&["--docker"]).ok();
    let changed = json!({"runtimes": {"myrt": {"path": "/usr/local/bin/myrt", "runtimeArgs": ["--debug"]}}});
    root.write(DAEMON_JSON, &changed.to_string());
    root.run(&["--uninstall", "--docker"]).ok().err_has("is left");
    assert_eq!(parsed(&root), changed);

    // A file that somebody removed is not made again.
    let root = Root::new();
    root.install(&["--docker"]).ok();
    fs::remove_file(root.path.join(DAEMON_JSON)).unwrap();
    root.run(&["--uninstall", "--docker"]).ok();
    assert!(!root.path.join("etc/docker").exists());
}

#[test]
fn a_link_stays_a_link_and_its_file_keeps_owner_and_mode() {
    let root = Root::with("srv/settings/docker.json", "{\"debug\": true}\n");
    let file = root.path.join("srv/settings/docker.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(1234), Some(4321)).unwrap();
    setxattr(&file, "user.note", b"kept", XattrFlags::empty()).unwrap();
    fs::create_dir_all(root.path.join("etc/docker")).unwrap();
    symlink("../../srv/settings/docker.json", root.path.join(DAEMON_JSON)).unwrap();
    let before = root.tree();
    root.install(&["--docker"]).ok();
    let now = &root.tree()["srv/settings/docker.json"];
    assert!(now.starts_with("100640 1234 ") && now.contains("myrt"), "{now}");
    assert_eq!(root.tree()[DAEMON_JSON], before[DAEMON_JSON]);
    let mut note = [0; 4];
    assert_eq!((getxattr(&file, "user.note", &mut note).unwrap(), &note), (4, b"kept"));
    root.run(&["--uninstall"]).ok();
    assert_same_but(&before, &root, &["var", "var/lib", "usr", "usr/local"]);
}

#[test]
fn links_that_lead_astray_are_refused() {
    let root = Root::new();
    fs::create_dir_all(root.path.join("etc/docker")).unwrap();
    for (target, words) in [
        ("/nowhere/daemon.json", "leads out of"),
        ("../../missing/daemon.json", "there is no folder"),
        ("daemon.json", "in a circle"),
    ] {
        symlink(target, root.path.join(DAEMON_JSON)).unwrap();
        refused(&root, &["--docker"], &[words]);
        fs::remove_file(root.path.join(DAEMON_JSON)).unwrap();
    }
    fs::create_dir(root.path.join(DAEMON_JSON)).unwrap();
    refused(&root, &["--docker"], &["daemon.json"]);
    fs::remove_dir(root.path.join(DAEMON_JSON)).unwrap();
    TestCommand::new(["mkfifo"]).arg(root.path.join(DAEMON_JSON).display()).run().ok();
    root.install(&["--docker"]).fails().err_has("not a regular file");
}
