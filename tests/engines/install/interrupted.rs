//! An installation that is cut short: by a kill at any of its system calls, by a filesystem that cannot be written.

use super::{DAEMON_JSON, Root, assert_same, refused, script};
use crate::util::TestCommand;

const OWN: &str = "{\n  \"debug\": true\n}\n";

/// `configure.py` under strace, which kills it as it enters the call.
fn killed_at(root: &Root, call: &str, turn: u32, verb: &[&str]) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={turn}");
    let traced =
        TestCommand::new(["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
    let destdir = root.path.display().to_string();
    let output = traced
        .args(["python3", "-B", &script("install/configure.py")])
        .args(verb)
        .args(["docker", "--destdir", &destdir])
        .run();
    if output.exit_code() != 137 {
        output.ok();
    }
    output.exit_code() == 137
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let binary = "/usr/local/bin/myrt";
    let whole = Root::with(DAEMON_JSON, OWN);
    assert!(!killed_at(&whole, "rename", 1000, &["add", binary]));
    let new = whole.read(DAEMON_JSON);
    let mut kills = 0;
    for call in ["mkdir", "unlink", "write", "fchmod", "fsync", "rename"] {
        for turn in 1..=4 {
            let root = Root::with(DAEMON_JSON, OWN);
            let before = root.tree();
            if !killed_at(&root, call, turn, &["add", binary]) {
                break;
            }
            kills += 1;
            let now = root.read(DAEMON_JSON);
            assert!(now == OWN || now == new, "killed at {call} {turn}: {now}");
            // Going on works, and so does going back, from here and from half of the way back.
            assert!(!killed_at(&root, call, 1000, &["add", binary]));
            assert_eq!(root.read(DAEMON_JSON), new, "after a kill at {call} {turn}");
            kills += u32::from(killed_at(&root, call, turn, &["remove"]));
            let now = root.read(DAEMON_JSON);
            assert!(now == OWN || now == new, "killed at {call} {turn} of the way back: {now}");
            root.run(&["--uninstall"]).ok();
            super::assert_same_but(&before, &root, &["var", "var/lib"]);
        }
    }
    assert!(kills >= 12, "only {kills} kills happened");
}

#[test]
fn a_kill_before_the_first_write_is_undone_as_well() {
    let root = Root::with(DAEMON_JSON, OWN);
    let before = root.tree();
    // The second rename is that of daemon.json: its record lies there, and a file beside it.
    assert!(killed_at(&root, "rename", 2, &["add", "/usr/local/bin/myrt"]));
    assert!(root.path.join("etc/docker/.daemon.json.myrt-new").exists(), "{:?}", root.tree().keys());
    root.run(&["--uninstall"]).ok();
    super::assert_same_but(&before, &root, &["var", "var/lib"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let root = Root::with(DAEMON_JSON, OWN);
    let before = root.tree();
    let read_only = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; shift; exec \"$@\"";
    let output = root
        .command(&["--docker", "--binary", env!("CARGO_BIN_EXE_myrt")])
        .by(["unshare", "--mount", "--propagation", "private", "sh", "-ec", read_only, "sh"]
            .map(str::to_owned)
            .into_iter()
            .chain([root.path.join("etc/docker").display().to_string()]))
        .run();
    output.fails().err_has("daemon.json: cannot be replaced").err_has("read-only").err_has("as it was");
    assert_eq!(root.read(DAEMON_JSON), OWN);
    root.run(&["--uninstall"]).ok();
    super::assert_same_but(&before, &root, &["var", "var/lib", "usr", "usr/local"]);

    // A file that is a mount point of its own cannot be renamed over.
    let on_file = "mount --bind \"$1\" \"$1\"; shift; exec \"$@\"";
    let output = root
        .command(&["--docker", "--binary", env!("CARGO_BIN_EXE_myrt")])
        .by(["unshare", "--mount", "--propagation", "private", "sh", "-ec", on_file, "sh"]
            .map(str::to_owned)
            .into_iter()
            .chain([root.path.join(DAEMON_JSON).display().to_string()]))
        .run();
    output.fails().err_has("something is mounted on it");
    assert_eq!(root.read(DAEMON_JSON), OWN);
}

#[test]
fn a_damaged_record_is_named() {
    let root = Root::with(DAEMON_JSON, OWN);
    root.install(&["--docker"]).ok();
    root.write("var/lib/myrt-install/docker.json", "{\"before\"");
    refused(&root, &["--docker"], &["docker.json: this is no record"]);
    let before = root.tree();
    root.run(&["--uninstall"]).fails().err_has("this is no record");
    assert_same(&before, &root.tree());
}
