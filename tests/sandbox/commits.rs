//! `commit` and `undo`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use crate::place::Place;
use crate::util::{TestCommand, Value};

/// One script for each kind of file, which makes it as `x`.
const KINDS: [&str; 7] = [
    "echo content >x-too; ln x-too x",
    "echo content >x",
    "ln -s /nowhere x",
    "mkdir x",
    "mkdir -p x/y/z; echo deep >x/y/z/file; ln x/y/z/file x/other-name",
    "mkfifo -m 620 x",
    "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"x\")'",
];

/// What a folder of the host looks like from inside the box, by the same program.
fn inside(place: &Place) -> String {
    place.content_by(|command| place.wrap(command))
}

#[test]
fn every_kind_of_file_replaces_every_other_and_comes_back() {
    // A box can make no device, but replace one.
    for old in KINDS.into_iter().chain(["mknod -m 640 x c 1 3", "mknod x b 7 99"]) {
        for new in KINDS {
            let place = Place::new();
            TestCommand::shell(old, [""]).cwd(place.host()).run().ok();
            let before = place.content();
            place.script(&format!("rm -rf x; {new}")).run().ok();
            let wanted = inside(&place);
            place.sandbox("commit", ["b"]).run().ok();
            assert_eq!(place.content(), wanted, "{old} → {new}");
            place.sandbox("diff", ["b"]).run().ok().stdout("nothing changed");
            place.sandbox("undo", ["b"]).run().ok();
            assert_eq!(place.content(), before, "back from {new} to {old}");
            assert_eq!(inside(&place), wanted, "the box after the undo, {old} → {new}");
        }
    }
}

/// A host with all sorts of files.
pub const HOST: &str =
    "mkdir -p d/e full/of/files; for i in 1 2 3; do echo $i >full/of/files/$i; done; echo a >a; echo b >d/b; ln a a-too
                echo gone >gone; ln -s a link; printf x >'odd
name'; echo same >same; mkdir times; touch -d @100 times/f times a; chown 5:6 d/b; chmod 4711 same
                mkdir folder; echo in >folder/in; echo file >file; echo z >zz";

/// All sorts of changes of it.
pub const BOX: &str = "echo more >>a; rm gone; rm -r full; mkdir -p new/er/est; echo f >new/er/est/f; ln new/er/est/f new/linked
                  chmod 700 d; chown 7:8 same; ln -sfn elsewhere link; truncate -s 5M sparse; printf end >>sparse
                  rm 'odd
name'; echo y >'other
name'; rm -r folder; echo precious >folder; rm file zz; mkdir file; echo n >file/new
                  touch -d @200 times/f; mkfifo d/pipe; echo s >suid; chmod 6755 suid; cp -p suid d/copy
                  /usr/bin/python3 -c 'import os; os.setxattr(\"same\", \"user.note\", b\"1\"); os.setxattr(\"d\", \"user.note\", b\"2\")'";

/// Makes such a host and a box with such changes.
pub fn all_sorts(place: &Place) {
    TestCommand::shell(HOST, [""]).cwd(place.host()).run().ok();
    place.script(BOX).run().ok();
}

#[test]
fn everything_comes_over_and_goes_back() {
    let place = Place::new();
    all_sorts(&place);
    let before = place.content();
    let wanted = inside(&place);
    place.sandbox("commit", ["b"]).run().ok().out_has(" taken over");
    assert_eq!(place.content(), wanted);
    let sparse = std::fs::metadata(place.host().join("sparse")).unwrap();
    assert!(sparse.blocks() * 512 < sparse.len(), "{sparse:?}");
    place.sandbox("undo", ["b"]).run().ok().out_has(" taken back");
    assert_eq!(place.content(), before);
    // And once more, from the box that got its changes back.
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
    place.sandbox("undo", ["b"]).run().ok();
    place.sandbox("undo", ["b"]).run().fails().err_has("no commit to undo");
}

#[test]
fn a_pattern_takes_a_part_with_the_folders_it_lies_in() {
    let place = Place::new();
    place.script("mkdir -p new/sub; echo 1 >new/sub/a.conf; echo 2 >new/sub/b.txt; echo 3 >c.conf").run().ok();
    let pattern = place.path("new/*/*.conf");
    place.sandbox("commit", ["b", &pattern]).run().ok().stdout("3 taken over");
    assert!(place.host().join("new/sub/a.conf").exists() && !place.host().join("new/sub/b.txt").exists());
    assert_eq!(place.changes(), ["c.conf: added", "new/sub/b.txt: added"]);
    // A relative one means the caller's folder.
    place.sandbox("commit", ["b", "c.conf"]).run().ok();
    place.sandbox("commit", ["b", "nowhere"]).run().fails().err_has("names no change");
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.changes(), ["c.conf: added", "new/sub/b.txt: added"]);
}

#[test]
fn a_folder_that_one_run_changes_and_the_next_removes_is_no_conflict() {
    for (first, second, late) in [
        ("chmod 700 d", "rm -r d", false),
        ("rm -r d", "mkdir d; echo new >d/new", false),
        ("chmod 700 d", "rm -r d", true),
        ("rm -r d", "mkdir d; echo new >d/new", true),
    ] {
        let place = Place::new();
        TestCommand::shell("mkdir -p d/e; echo 1 >d/e/one", [""]).cwd(place.host()).run().ok();
        place.script(first).run().ok();
        if late && first.starts_with("rm") {
            std::fs::write(place.host().join("d/late"), "the first did not see it").unwrap();
        }
        place.script(second).run().ok();
        if late && second.starts_with("rm") {
            std::fs::write(place.host().join("d/late"), "neither saw it").unwrap();
        }
        let commit = place.sandbox("commit", ["b"]).run();
        if late {
            commit.code(3).err_has("host/d");
        } else {
            commit.ok();
            assert!(!place.host().join("d/e").exists(), "{first}, {second}");
            assert_eq!(place.host().join("d/new").exists(), second.contains("new"), "{first}, {second}");
        }
    }
}

#[test]
fn a_dry_run_tells_what_a_commit_would_do_and_writes_nothing() {
    let place = Place::new();
    let path = |name: &str| place.host().join(name).display().to_string();
    let odd = OsStr::from_bytes(b"odd\xff");
    for name in ["one", "other"] {
        std::fs::write(place.host().join(name), "old").unwrap();
    }
    place.script("echo new >one; rm other; mkdir d; echo x >d/f; echo x >\"$(printf 'odd\\377')\"").run().ok();
    let before = place.picture();
    let commit = |words: &[&str]| place.sandbox("commit", [&["b"], words].concat());
    let paths = |names: &[&str]| names.iter().map(|name| format!("\n  {}", path(name))).collect::<String>();
    let changes = [("A", "d"), ("A", "d/f"), ("A", "odd\\xff"), ("M", "one"), ("D", "other")];
    let all: String = changes.iter().map(|(letter, name)| format!("\n  {letter} {}", path(name))).collect();
    commit(&["--dry-run"]).run().ok().stdout(&format!("5 would be taken over:{all}"));
    commit(&["-n", "one"]).run().ok().stdout(&format!("1 would be taken over:\n  M {}", path("one")));
    let told = commit(&["-n", "other", "--format", "json"]).run().ok().json();
    assert_eq!(told["paths"][0]["change"], "deleted");
    let told = commit(&["--dry-run", "--format", "json", "odd*"]).run().ok().json();
    let hex: String = place.host().join(odd).as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&told["outcome"], &told["count"]), (&"possible".into(), &1.into()));
    assert_eq!((&told["paths"][0]["pathHex"], &told["box"]), (&hex.into(), &"b".into()));
    assert_eq!(place.picture(), before);

    // What stands in the way is told as by a commit.
    std::fs::write(place.host().join("one"), "of the host").unwrap();
    let before = place.picture();
    commit(&["--dry-run"]).run().code(3).err_has(&path("one"));
    let told = commit(&["--dry-run", "--format", "json"]).run();
    let told: Value = serde_json::from_str(&told.code(3).out()).unwrap();
    assert_eq!((&told["outcome"], &told["conflicts"][0]["path"]), (&"conflicts".into(), &path("one").into()));
    let ours = commit(&["--dry-run", "--theirs"]).run();
    ours.ok().out_has("4 would be taken over:").out_has(&format!("1 left as the host has them:{}", paths(&["one"])));
    commit(&["--dry-run", "--theirs", "one"]).run().ok().out_has("nothing would be taken over\n1 left");
    assert_eq!(place.picture(), before);

    let before = place.content();
    let told = commit(&["--theirs", "--format", "json"]).run().ok().json();
    assert_eq!((&told["outcome"], &told["count"]), (&"done".into(), &4.into()));
    assert_eq!((&told["left"][0]["path"], told.get("paths")), (&path("one").into(), None));
    assert!(!place.host().join("other").exists());
    let told = place.sandbox("undo", ["b", "--format", "json"]).run().ok().json();
    assert_eq!((&told["outcome"], &told["count"]), (&"done".into(), &4.into()));
    assert_eq!(place.content(), before);
}

#[test]
fn what_the_host_changed_since_is_a_conflict() {
    let place = Place::new();
    let host = place.host();
    std::fs::create_dir(host.join("d")).unwrap();
    for name in ["both", "box-only", "removed", "d/file"] {
        std::fs::write(host.join(name), "old").unwrap();
    }
    place.script("echo box >both; echo box >box-only; echo box >removed; echo box >made; rm -r d").run().ok();
    std::fs::write(host.join("both"), "host").unwrap();
    std::fs::write(host.join("made"), "host").unwrap();
    std::fs::remove_file(host.join("removed")).unwrap();
    std::fs::write(host.join("d/late"), "host").unwrap();
    let before = place.picture();
    let refused = place.sandbox("commit", ["b"]).run();
    refused.code(3).err_has("nothing was written");
    for name in ["both", "made", "removed", "d"] {
        refused.err_has(&format!("  {}\n", place.path(name)));
    }
    assert!(!refused.err().contains("box-only"));
    assert_eq!(place.picture(), before);
    place.sandbox("commit", ["--theirs", "b"]).run().ok().out_has("1 taken over\n4 left as the host has them");
    let read = |name: &str| std::fs::read_to_string(host.join(name)).unwrap();
    assert_eq!((read("both"), read("box-only"), read("made")), ("host".into(), "box\n".into(), "host".into()));
    assert!(host.join("d/late").exists());
    place.sandbox("commit", ["--ours", "b"]).run().ok();
    assert_eq!((read("both"), read("removed"), read("made")), ("box\n".into(), "box\n".into(), "box\n".into()));
    assert!(!host.join("d").exists());
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!((read("both"), read("made"), read("d/late")), ("host".into(), "host".into(), "host".into()));
}

#[test]
fn what_the_host_changes_during_the_run_is_a_conflict() {
    let place = Place::new();
    std::fs::write(place.host().join("file"), "old").unwrap();
    place.script_beside("echo box >file", || std::fs::write(place.host().join("file"), "host").unwrap());
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("file"));
}

#[test]
fn a_folder_in_which_both_were_busy_is_no_conflict() {
    let place = Place::new();
    let host = place.host();
    std::fs::create_dir(host.join("d")).unwrap();
    let script = ": >d/short-lived; rm d/short-lived; echo box >file";
    place.script_beside(script, || std::fs::write(host.join("d/late"), "host").unwrap());
    // Somebody on the host gives the folder an earlier time back, as an archiver does.
    TestCommand::new(["touch", "-d", "@1000000000", &place.path("d")]).run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    let read = |name: &str| std::fs::read_to_string(host.join(name)).unwrap();
    assert_eq!((read("file"), read("d/late")), ("box\n".into(), "host".into()));
}

#[test]
fn a_box_that_saw_the_hosts_change_has_no_conflict() {
    let place = Place::new();
    std::fs::write(place.host().join("file"), "old").unwrap();
    place.script("echo 1 >first").run().ok();
    std::fs::write(place.host().join("file"), "newer").unwrap();
    place.script("cat file; echo box >>file").run().ok().stdout("newer");
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.host().join("file")).unwrap(), "newerbox\n");
}

#[test]
fn an_undo_does_not_lose_what_came_after_the_commit() {
    let place = Place::new();
    std::fs::write(place.host().join("file"), "old").unwrap();
    place.script("echo box >file").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    std::fs::write(place.host().join("file"), "later").unwrap();
    place.sandbox("undo", ["b"]).run().code(3).err_has(&place.path("file"));
    assert_eq!(std::fs::read_to_string(place.host().join("file")).unwrap(), "later");
    place.sandbox("undo", ["--force", "b"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.host().join("file")).unwrap(), "old");
}

#[test]
fn a_commit_that_meets_a_full_disk_is_taken_back() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let mounts = "mkdir a; mount -t tmpfs -o size=1M t a; echo one >a/one; echo two >a/two";
    let script = "echo changed >a/one; rm a/two; mkdir a/d; head -c 3M /dev/zero >a/d/large";
    let runtime = crate::util::runtime();
    let after = format!(
        "find a -type f | sort | xargs sha256sum >before
         {runtime} sandbox commit --store {store} b && exit 9
         find a -type f | sort | xargs sha256sum >after; cmp before after; test ! -e a/d; ls -A a | wc -l
         {runtime} sandbox diff --store {store} b | grep -c large"
    );
    let around = format!("{mounts}\n\"$@\" || exit $?\n{after}");
    let out = place.script(script).by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run();
    out.ok().stdout("2\n1").err_has("the commit was taken back").err_has("no space left on device");
}

#[test]
fn the_changes_of_another_filesystem_are_copied_there_and_back() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let runtime = crate::util::runtime();
    let mounts = "mkdir a; mount -t tmpfs t a; echo one >a/one; echo two >a/two; chmod 640 a/two; ln a/two a/three";
    let script = "echo changed >a/one; rm a/two; mkdir a/d; echo x >a/d/x";
    let after = format!(
        "{runtime} sandbox commit --store {store} b; cat a/one a/d/x; ls a | tr '\\n' ' '
         {runtime} sandbox undo --store {store} b; cat a/one a/two; stat -c %a a/two; ls a | tr '\\n' ' '"
    );
    let around = format!("{mounts}\n\"$@\" || exit $?\n{after}");
    let out = place.script(script).by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run();
    out.ok().stdout("4 taken over\nchanged\nx\nd one three 4 taken back\none\ntwo\n640\none three two");
}

#[test]
fn flags_that_contradict_are_refused() {
    let place = Place::new();
    place.script("echo >f").run().ok();
    place.sandbox("commit", ["--ours", "--theirs", "b"]).run().fails().err_has("contradict");
    place.sandbox("commit", ["--resume", "--rollback", "b"]).run().fails().err_has("contradict");
    place.sandbox("commit", ["--resume", "b", "f"]).run().fails().err_has("no pattern");
    place.sandbox("commit", ["--resume", "b"]).run().ok().stdout("nothing to do");
    place.sandbox("undo", ["b"]).run().fails().err_has("no commit to undo");
}

#[test]
fn folders_that_others_write_to_do_not_go_back_in_time() {
    let place = Place::new();
    let on_host = |script: &str| TestCommand::shell(script, [""]).cwd(place.host()).run().ok().out();
    on_host("mkdir -p p/q; echo old >p/q/file; touch -d @1000 p/q p");
    place.script("echo box >p/q/file; echo new >p/q/new").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    // Nothing was written right into it.
    assert_eq!(on_host("stat -c %Y p").trim(), "1000");
    let other = on_host("echo other >p/other; echo other >p/q/other; stat -c %y p");
    let wanted = on_host("stat -c %y p/q");
    place.sandbox("run", ["--name", "c", "sh", "-c", "echo box >p/q/third"]).run().ok();
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(on_host("cat p/q/file; ls p/q"), "old\nfile\nother\n");
    assert_eq!(on_host("stat -c %y p"), other);
    assert!(on_host("stat -c %y p/q") >= wanted);
    // What another box has seen in the meantime is no change of its own.
    place.sandbox("diff", ["c"]).run().ok().stdout(&format!("A {}  4 B\n1 added", place.path("p/q/third")));
    // Where nobody else wrote, the time comes back.
    on_host("touch -d @2000 p/q");
    place.sandbox("commit", ["c"]).run().ok();
    place.sandbox("undo", ["c"]).run().ok();
    assert_eq!(on_host("stat -c %Y p/q").trim(), "2000");
}

#[test]
fn a_new_folder_has_its_mode_where_the_one_around_has_a_default_list() {
    let place = Place::new();
    // Of a folder's list: version 2; then owner, group and others with read and write, read, and nothing.
    let list = "import os, struct
entries = [(1, 6), (4, 4), (32, 0)]
os.setxattr('.', 'system.posix_acl_default', struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, rights, 0xffffffff) for tag, rights in entries))";
    TestCommand::new(["/usr/bin/python3", "-c", list]).cwd(place.host()).run().ok();
    let inside_box = "import os
for name in ('d', 'd/e'):
    os.mkdir(name)
    for attribute in ('system.posix_acl_default', 'system.posix_acl_access'):
        try: os.removexattr(name, attribute)
        except OSError: pass
    os.chmod(name, 0o755)
open('d/file', 'w').close()";
    place.python(inside_box).run().ok();
    let (before, wanted) = (place.content(), inside(&place));
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), before);
}

#[test]
fn further_names_of_a_device_come_over() {
    let place = Place::new();
    TestCommand::shell("mknod dev c 1 3", [""]).cwd(place.host()).run().ok();
    place.script("ln dev too; mkdir d; ln dev d/three").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    let inode = |name: &str| std::fs::metadata(place.host().join(name)).unwrap().ino();
    assert_eq!([inode("too"), inode("d/three")], [inode("dev"); 2]);
}

#[test]
fn names_of_one_file_come_over_one_after_the_other() {
    let place = Place::new();
    TestCommand::shell("echo one >a; ln a b; mkdir gone; ln a gone/c", [""]).cwd(place.host()).run().ok();
    let before = place.content();
    place.script("echo x >>a; echo y >>b; rm -r gone").run().ok();
    let wanted = inside(&place);
    let commit = |path: &str| place.sandbox("commit", ["b", &place.path(path)]).run();
    commit("a").ok();
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), before);
    commit("a").ok();
    commit("gone").ok();
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
    // What the host has changed in between is a conflict as before.
    let place = Place::new();
    TestCommand::shell("echo one >a; ln a b; echo c >c", [""]).cwd(place.host()).run().ok();
    place.script("echo x >>a; echo y >>b; echo z >>c").run().ok();
    std::fs::write(place.host().join("c"), "host").unwrap();
    place.sandbox("commit", ["b", &place.path("a")]).run().ok();
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("c"));
}
