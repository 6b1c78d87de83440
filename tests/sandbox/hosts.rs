//! A host that changes below a box: during a run, between runs, before a commit.

use std::os::unix::fs::MetadataExt as _;

use crate::place::Place;
use crate::util::{TestCommand, runtime};

fn on_host(place: &Place, script: &str) {
    TestCommand::shell(script, [""]).cwd(place.host()).run().ok();
}

/// The host has changed: the commit says so, writes all of it when told to, and the undo brings back what the host had.
/// Folders have the later one of two times.
fn without_times_of_folders(content: &str) -> String {
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>() {
        mut words if words.get(1).is_some_and(|mode| mode.starts_with("0o4")) => {
            words.remove(5);
            words.join(" ")
        }
        words => words.join(" "),
    };
    content.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn conflicts_until_told(place: &Place, conflict: &str) {
    let content = || without_times_of_folders(&place.content());
    let (before, wanted) = (content(), without_times_of_folders(&place.content_by(|command| place.wrap(command))));
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path(conflict));
    assert_eq!(content(), before);
    place.sandbox("commit", ["--ours", "b"]).run().ok();
    assert_eq!(content(), wanted);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(content(), before);
    place.sandbox("commit", ["--ours", "b"]).run().ok();
    assert_eq!(content(), wanted);
}

#[test]
fn a_folder_that_went_from_the_host() {
    let place = Place::new();
    on_host(&place, "mkdir -p d/sub; echo old >d/file; echo old >d/other");
    place.script("echo box >d/file; echo box >d/sub/new").run().ok();
    on_host(&place, "rm -r d");
    // What the box changed is there, what it only saw is gone.
    place.script("cat d/file d/sub/new; ls d").run().ok().stdout("box\nbox\nfile\nsub");
    assert_eq!(place.changes(), ["d: added", "d/file: added", "d/sub: added", "d/sub/new: added"]);
    conflicts_until_told(&place, "d/file");
}

#[test]
fn a_folder_that_became_a_file_and_a_file_that_became_a_folder() {
    let place = Place::new();
    on_host(&place, "mkdir d; echo old >d/file; echo old >f");
    place.script("echo box >d/file; echo box >f").run().ok();
    on_host(&place, "rm -r d f; echo file >d; mkdir f; echo inner >f/inner");
    place.script("cat d/file f").run().ok().stdout("box\nbox");
    assert_eq!(place.changes(), ["d: type-changed", "d/file: added", "f: type-changed"]);
    conflicts_until_told(&place, "f");
}

#[test]
fn an_upgrade_of_the_host_shows_through_where_the_box_changed_nothing() {
    let place = Place::new();
    on_host(&place, "mkdir lib; for i in 1 2 3 4; do echo one >lib/$i; done; echo one >conf; ln -s lib current");
    place.script("echo box >lib/2; rm lib/3; echo box >lib/own").run().ok();
    on_host(
        &place,
        "mkdir next; for i in 1 2 4 5; do echo two >next/$i; done; cp lib/3 next/; rm -r lib; mv next lib
         echo two >conf.new; mv conf.new conf; ln -sfn next current",
    );
    place.script("cat lib/* conf; readlink current").run().ok().stdout("two\nbox\ntwo\ntwo\nbox\ntwo\nnext");
    conflicts_until_told(&place, "lib/2");
    assert!(!place.host().join("lib/3").exists());
}

#[test]
fn what_the_host_did_as_well_is_no_change() {
    let place = Place::new();
    on_host(&place, "mkdir d; echo gone >gone; echo gone >d/gone; touch -d @1000 same");
    place.script("rm -r gone d; echo new >made; touch -d @2000 made same").run().ok();
    on_host(&place, "rm -r gone d; echo new >made; touch -d @2000 made same");
    assert_eq!(place.changes(), Vec::<String>::new());
}

#[test]
fn the_host_changes_while_the_program_runs() {
    let place = Place::new();
    on_host(&place, "mkdir d; echo old >d/mine; echo old >d/hosts; echo old >d/goes");
    let script = "echo box >d/mine; echo ready; read line; echo box >>d/hosts; cat d/hosts; ls d; echo late >d/late";
    let (reader, writer) = std::io::pipe().unwrap();
    let mut running = place.sandbox("run", ["--name", "b", "sh", "-c", script]).spawn_on(reader.into());
    running.until_stdout("ready");
    // A time of its own: both may write within one tick of the clock.
    on_host(&place, "echo newer >d/hosts; touch -d @1000000000 d/hosts; rm d/goes; echo new >d/comes");
    drop(writer);
    running.wait().ok().stdout("ready\nnewer\nbox\ncomes\nhosts\nmine");
    assert_eq!(place.changes(), ["d/hosts: modified content,times", "d/late: added", "d/mine: modified content,times"]);
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("d/hosts"));
    let content = std::fs::read_to_string(place.host().join("d/hosts")).unwrap();
    assert_eq!(content, "newer\n");
}

#[test]
fn a_filesystem_that_is_mounted_no_more_keeps_its_changes() {
    let place = Place::new();
    on_host(&place, "mkdir a; echo below >a/f");
    let store = place.store().display().to_string();
    let script = format!(
        "exec </dev/null
         sandbox() {{ verb=$1; shift; {} sandbox \"$verb\" --store {store} \"$@\"; }}
         mount -t tmpfs t a; echo one >a/f
         sandbox run --name b sh -c 'echo box >a/f; echo box >beside'
         mount --move a /mnt 2>/dev/null || mount --bind a /mnt; umount a 2>/dev/null || true
         sandbox diff b; sandbox commit b; cat a/f beside
         sandbox run --name b cat a/f; sandbox commit b
         mount --bind /mnt a; sandbox run --name b cat a/f
         sandbox diff b; sandbox commit b; cat a/f",
        runtime()
    );
    let out = TestCommand::new(["unshare", "-m", "sh", "-ec", &script]).cwd(place.host()).run();
    let (path, beside) = (place.path("a/f"), place.path("beside"));
    let expected = format!(
        "A {beside}  4 B\\n1 added\\n1 taken over\\nbelow\\nbox\\nbelow\\nnothing to do\\nbox\\nM {path}  content, times\\n1 modified\\n1 taken over\\nbox"
    );
    out.ok().stdout(&expected.replace("\\n", "\n")).err_has("is not mounted there now");
    assert_eq!(std::fs::read_to_string(place.host().join("a/f")).unwrap(), "below\n");
}

#[test]
fn a_mount_over_what_the_box_changed_keeps_the_host_as_it_is() {
    let place = Place::new();
    on_host(&place, "mkdir a; echo below >a/f");
    place.script("echo box >a/f").run().ok();
    let store = place.store().display().to_string();
    let script = format!(
        "mount -t tmpfs t a; echo over >a/f; {} sandbox commit --store {store} b; echo $?; cat a/f; umount a; cat a/f",
        runtime()
    );
    let out = TestCommand::new(["unshare", "-m", "sh", "-c", &script]).cwd(place.host()).run();
    out.ok().stdout("3\nover\nbelow");
}

#[test]
fn what_is_open_when_the_run_ends_and_what_has_no_name_any_more() {
    let place = Place::new();
    std::fs::write(place.host().join("old"), "old").unwrap();
    place
        .python(
            r"
import os
gone = open('gone', 'w'); gone.write('x' * 100000); gone.flush(); os.unlink('gone')
old = open('old', 'r+'); os.unlink('old'); old.write('written after'); old.flush()
if os.fork() == 0:
    os.setsid()
    kept = open('kept', 'w'); kept.write('flushed'); kept.flush(); kept.write('not flushed')
    open('ready', 'w').close()
    import time; time.sleep(1000)
while not os.path.exists('ready'): pass
",
        )
        .run()
        .ok();
    assert_eq!(place.changes(), ["kept: added", "old: deleted", "ready: added"]);
    place.script("cat kept").run().ok().stdout("flushed");
    assert_eq!(std::fs::read_to_string(place.host().join("old")).unwrap(), "old");
}

#[test]
fn who_has_a_file_of_the_host_open_goes_on_with_the_old_one() {
    use std::io::Read as _;
    let place = Place::new();
    for name in ["replaced", "removed"] {
        std::fs::write(place.host().join(name), "old").unwrap();
    }
    let mut open = ["replaced", "removed"].map(|name| std::fs::File::open(place.host().join(name)).unwrap());
    place.script("echo new >replaced; rm removed").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    for file in &mut open {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
    }
    place.sandbox("undo", ["b"]).run().ok();
    let number = |file: &std::fs::File| file.metadata().unwrap().ino();
    assert_eq!(number(&open[1]), std::fs::metadata(place.host().join("removed")).unwrap().ino());
}

#[test]
fn files_and_folders_are_renamed_within_a_mount_and_across() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let host = "mkdir a d; mount -t tmpfs t a; mkdir a/sub; echo f >a/sub/f; ln a/sub/f a/sub/g; echo 1 >d/one; ln -s one d/link; echo x >x; echo y >y";
    let change =
        "mv x x2; mv y d/; mv d e; mv e/one a/; mv a/sub moved; mv a/one e/back; mkdir n; mv n/ n2; mv n2 a/n3";
    let look = r#"/usr/bin/python3 -c "$LOOK" false"#;
    let script = format!(
        "exec </dev/null
         sandbox() {{ verb=$1; shift; {} sandbox \"$verb\" --store {store} \"$@\"; }}
         {host}
         {look} >/tmp/.before-$$
         sandbox run --name b sh -ec '{change}'
         sandbox run --name b sh -c '{look}' >/tmp/.inside-$$
         {look} | cmp - /tmp/.before-$$
         sandbox commit b; {look} | cmp - /tmp/.inside-$$
         sandbox undo b; {look} | cmp - /tmp/.before-$$; rm /tmp/.before-$$ /tmp/.inside-$$; find a moved 2>&1 | sort",
        runtime()
    );
    let out =
        TestCommand::new(["unshare", "-m", "sh", "-ec", &script]).env("LOOK", crate::place::LOOK).cwd(place.host());
    let out = out.run();
    out.ok().out_has("taken back\na\na/sub\na/sub/f\na/sub/g\nfind: ");
}

#[test]
fn a_new_name_of_a_file_of_the_host_is_one_there_as_well() {
    let place = Place::new();
    on_host(&place, "echo a >a; echo b >b; echo c >c; mkdir d; touch -d @100 a b c");
    place.script("ln a a2; ln b d/b2; ln b b3; echo more >>b; ln c c2; rm c; ln -f a2 a4").run().ok();
    let before = place.content();
    let wanted = place.content_by(|command| place.wrap(command));
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), before);
}

#[test]
fn another_disk_of_the_same_kind_is_not_given_the_changes() {
    let place = Place::new();
    let store = place.store().display().to_string();
    // Two disks that look alike, and a copy of the first one, which is the same as far as anybody can tell.
    let script = format!(
        "exec </dev/null
         sandbox() {{ verb=$1; shift; {} sandbox \"$verb\" --store {store} \"$@\"; }}
         mount -t tmpfs t .; cd \"$PWD\"; mkdir a
         for i in one two; do truncate -s 8M $i; mkfs.ext4 -q -O ^has_journal $i; mount -o loop $i a; echo $i >a/f; umount a; done
         cp one copy
         on() {{ disk=$1; shift; mount -o loop $disk a; code=0; \"$@\" || code=$?; umount a; return $code; }}
         on one sandbox run --name b sh -c 'cat a/f'
         on two sandbox run --name b sh -c 'cat a/f; echo box >a/f'
         on one sandbox run --name b cat a/f || echo $?
         on one sandbox diff b; on one sandbox commit b; on one cat a/f
         on two sandbox run --name b cat a/f
         cp two copy; on copy sandbox diff b; on copy sandbox commit b; on copy cat a/f",
        runtime()
    );
    let out = TestCommand::new(["unshare", "-m", "sh", "-ec", &script]).cwd(place.host()).run();
    let path = place.path("a/f");
    let wanted = format!(
        "one\ntwo\n125\nnothing changed\nnothing to do\none\nbox\nM {path}  content, times\n1 modified\n1 taken over\nbox"
    );
    out.ok().stdout(&wanted).err_has("but now another ext4 is mounted there").err_has("is not mounted there now");
}

#[test]
fn a_folder_that_the_host_gives_another_mode_is_no_change_of_the_box() {
    for place in [Some(Place::new()), Place::ordinary()].into_iter().flatten() {
        on_host(&place, "mkdir -m 755 d; chown --reference . d");
        place.script("echo x >d/f").run().ok();
        on_host(&place, "chmod 700 d");
        assert_eq!(place.changes(), ["d/f: added"]);
        place.script("echo y >d/g").run().ok();
        assert_eq!(place.changes(), ["d/f: added", "d/g: added"]);
        place.sandbox("commit", ["b"]).run().ok();
        TestCommand::shell("stat -c %a d; cat d/f d/g", [""]).cwd(place.host()).run().ok().stdout("700\nx\ny");
        place.sandbox("undo", ["b"]).run().ok();
        TestCommand::shell("stat -c %a d; ls d", [""]).cwd(place.host()).run().ok().stdout("700");
        assert_eq!(place.changes(), ["d/f: added", "d/g: added"]);
    }
}

#[test]
fn a_folder_whose_mode_both_change_is_a_conflict() {
    // The box after the host, which it could not see, and both during one run.
    let place = Place::new();
    on_host(&place, "mkdir -m 755 d");
    place.script("echo x >d/f").run().ok();
    on_host(&place, "chmod 700 d");
    place.script("chmod 750 d").run().ok();
    assert_eq!(place.changes(), ["d: modified mode", "d/f: added"]);
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("d"));

    let place = Place::new();
    on_host(&place, "mkdir -m 755 d");
    place.script_beside("echo x >d/f", || on_host(&place, "chmod 700 d"));
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("d"));
    TestCommand::new(["stat", "-c", "%a", &place.path("d")]).run().ok().stdout("700");
}

#[test]
fn the_root_of_a_mount_that_the_host_gives_another_mode_is_no_change() {
    let place = Place::new();
    let diff = place.words("diff", ["b"]).join(" ");
    let around = format!(
        "mkdir m; mount -t tmpfs -o mode=755 t m; mkfifo go; \"$@\" <go >started & exec 3>go
         until test -s started; do sleep 0.01; done; chmod 700 m; echo >&3; wait $!; {diff}"
    );
    let script = "echo x >new; echo started; read line";
    let out = place.script(script).by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run();
    out.ok().stdout(&format!("A {}  2 B\n1 added", place.path("new")));
}

#[test]
fn folders_of_an_ordinary_user_that_go_are_no_change() {
    let Some(place) = Place::ordinary() else { return };
    // Each has a layer of its own in the folder of somebody else around them.
    let folder = |name: &str, mode: &str| {
        let path = std::env::temp_dir().join(format!("myrt-gone-{}-{name}", std::process::id())).display().to_string();
        on_host(&place, &format!("mkdir -m {mode} {path}; chown --reference . {path}"));
        path
    };
    let one = folder("one", "700");
    place.script("echo x >file").run().ok();
    on_host(&place, &format!("rmdir {one}"));
    assert_eq!(place.changes(), ["file: added"]);
    let two = folder("two", "755");
    place.script(&format!("test -w {two}")).run().ok();
    on_host(&place, &format!("rmdir {two}"));
    place.sandbox("diff", ["b"]).run().ok().out_lacks("myrt-gone").out_has("1 added");
    place.sandbox("commit", ["b"]).run().ok();
}

#[test]
fn what_the_host_puts_into_a_folder_that_was_new_in_the_box_is_a_conflict() {
    for runs_again in [false, true] {
        let place = Place::new();
        place.script("mkdir -p f/g; echo box >f/g/a; echo box >f/b").run().ok();
        on_host(&place, "mkdir -p f/g; echo host >f/g/a");
        if runs_again {
            place.script("cat f/g/a; echo more >f/c").run().ok().stdout("box");
        }
        let commit = place.sandbox("commit", ["b"]).run();
        commit.code(3).err_has(&place.path("f/g/a"));
        assert!(!commit.err().contains(&place.path("f/b")), "{commit}");
        assert_eq!(std::fs::read_to_string(place.host().join("f/g/a")).unwrap(), "host\n");
    }
}

#[test]
fn what_the_box_moves_or_links_is_no_file_that_the_host_has_removed() {
    for script in [
        "mkdir new; mv s new/",
        "mkdir new; ln s new/b",
        "mkdir new; ln -s s new/l; mv new/l new/m",
        "mv d/a d/b",
        "ln d/a d/b",
        "rm f; mkdir f; mv s f/",
    ] {
        let place = Place::new();
        on_host(&place, "mkdir d; echo one >s; echo two >d/a; echo file >f");
        // Somebody is busy right beside it.
        place.script_beside(script, || on_host(&place, "echo x >d/other"));
        place.sandbox("commit", ["b"]).run().ok();
    }
    // And one that it has removed.
    let place = Place::new();
    on_host(&place, "mkdir d; echo two >d/a");
    place.script_beside("echo more >>d/a", || on_host(&place, "rm d/a"));
    place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path("d/a"));
}
