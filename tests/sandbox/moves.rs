//! Commits that give the layer's own files to the host, and take them back, instead of copies.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::commits::all_sorts;
use crate::place::Place;
use crate::util::{TestCommand, until};

/// Where the box `b` has a file of the host's folder.
fn in_the_box(place: &Place, name: &str) -> PathBuf {
    let layers = place.store().join("b/layers");
    let inside = |layer: PathBuf| {
        place.host().ancestors().find_map(|mount| {
            let below = place.host().strip_prefix(mount).unwrap().join(name);
            let file = layer.join("upper").join(below);
            file.symlink_metadata().is_ok().then_some(file)
        })
    };
    let mut all = std::fs::read_dir(layers).unwrap().map(|entry| entry.unwrap().path());
    all.find_map(inside).unwrap_or_else(|| panic!("the box has no {name}"))
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

fn on_host(place: &Place, script: &str) -> String {
    TestCommand::shell(script, [""]).cwd(place.host()).run().ok().out()
}

/// What overlayfs has noted on a file; `None`: nothing.
fn note(path: &Path) -> Option<String> {
    let look = "import os, sys; print(os.getxattr(sys.argv[1], 'trusted.overlay.origin').hex())";
    let out = TestCommand::new(["/usr/bin/python3", "-c", look]).arg(path.display()).run();
    (out.exit_code() == 0).then(|| out.out())
}

#[test]
fn the_host_gets_the_boxs_file_and_both_come_back() {
    let place = Place::new();
    on_host(&place, "echo old >replaced; chmod 640 replaced; touch -d @100 replaced");
    place.script("echo new >replaced; echo new >added; chmod 4755 added").run().ok();
    place.sandbox("snapshot", ["b", "s"]).run().ok();
    let (replaced, added) = (place.host().join("replaced"), place.host().join("added"));
    let (own, own_added) = (in_the_box(&place, "replaced"), in_the_box(&place, "added"));
    let inodes = (inode(&replaced), inode(&own), inode(&own_added));
    let noted = note(&own);
    let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
    place.sandbox("commit", ["b"]).run().ok().stdout("2 taken over");
    assert_eq!((inode(&replaced), inode(&added)), (inodes.1, inodes.2));
    // Nothing of a snapshot's, and no note, on the host.
    assert_eq!((replaced.metadata().unwrap().nlink(), note(&replaced)), (1, None));
    assert_eq!(place.content(), wanted);
    place.sandbox("diff", ["b"]).run().ok().stdout("nothing changed");
    place.sandbox("undo", ["b"]).run().ok().stdout("2 taken back");
    assert_eq!((place.content(), inode(&replaced)), (before, inodes.0));
    assert_eq!(note(&own), noted);
    assert_eq!(place.content_by(|command| place.wrap(command)), wanted);
    place.sandbox("diff", ["b"]).run().ok().out_has("1 added, 1 modified");
}

#[test]
fn a_store_of_another_mount_has_its_files_copied() {
    let place = Place::apart();
    on_host(&place, "echo old >replaced");
    place.script("echo new >replaced; echo new >added").run().ok();
    let (own, own_added) = (inode(&in_the_box(&place, "replaced")), inode(&in_the_box(&place, "added")));
    place.sandbox("commit", ["b"]).run().ok();
    let (replaced, added) = (inode(&place.host().join("replaced")), inode(&place.host().join("added")));
    assert!(replaced != own && added != own_added);
}

#[test]
fn a_part_and_files_of_several_names_are_copied() {
    let place = Place::new();
    place.script("echo new >one; echo new >other; echo new >two; ln two names").run().ok();
    let files = ["one", "two"].map(|name| inode(&in_the_box(&place, name)));
    place.sandbox("commit", ["b", "one"]).run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    for (name, own) in ["one", "two"].iter().zip(files) {
        assert_ne!(inode(&place.host().join(name)), own, "{name}");
    }
    assert_eq!(inode(&place.host().join("two")), inode(&place.host().join("names")));
}

/// What a box has passed on, by a socket, leads to no file of the host's.
#[test]
fn a_file_that_somebody_has_open_is_copied() {
    let place = Place::new();
    place.script("echo new >file; echo new >closed").run().ok();
    let (own, closed) = (in_the_box(&place, "file"), inode(&in_the_box(&place, "closed")));
    let held = std::fs::File::options().append(true).open(&own).unwrap();
    place.sandbox("commit", ["b"]).run().ok();
    assert_ne!(inode(&place.host().join("file")), held.metadata().unwrap().ino());
    assert_eq!(inode(&place.host().join("closed")), closed);
}

/// A box writes to its files in place.
#[test]
fn what_comes_back_is_shared_with_nobody_on_the_host() {
    let place = Place::new();
    let host = place.host();
    place.script("echo new >file; echo new >other").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    std::fs::hard_link(host.join("file"), place.top().join("kept")).unwrap();
    let open = std::fs::File::open(host.join("other")).unwrap();
    place.sandbox("undo", ["--force", "b"]).run().ok();
    place.script("echo box >>file; echo box >>other").run().ok();
    assert_eq!(std::fs::read_to_string(place.top().join("kept")).unwrap(), "new\n");
    assert_eq!(std::io::read_to_string(open).unwrap(), "new\n");
}

#[test]
fn a_forced_undo_gives_the_box_what_the_host_made_of_its_files() {
    let place = Place::new();
    on_host(&place, "for i in written replaced removed; do echo old $i >$i; done");
    let before = place.content();
    let names = "written replaced removed new-written new-replaced new-removed";
    place.script(&format!("for i in {names}; do echo box >$i; done")).run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    on_host(
        &place,
        "for i in written replaced; do
             for j in $i new-$i; do case $i in written) echo later >>$j;; *) echo later >x; mv x $j;; esac; done
         done; rm removed new-removed",
    );
    place.sandbox("undo", ["b"]).run().code(3).err_has("new-removed");
    let forced = place.sandbox("undo", ["--force", "b"]).run();
    forced.ok().err_has(&place.path("new-removed")).err_has(&place.path("replaced"));
    let times =
        |content: &str| content.lines().filter(|line| !line.starts_with("b'.'")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(times(&place.content()), times(&before));
    place
        .script("cat written replaced removed new-written new-replaced")
        .run()
        .ok()
        .stdout("box\nlater\nlater\nold removed\nbox\nlater\nlater");
    // A folder is nobody's file.
    place.sandbox("commit", ["b"]).run().ok();
    on_host(&place, "rm written; mkdir written");
    place.sandbox("undo", ["--force", "b"]).run().fails();
    on_host(&place, "rmdir written");
    place.sandbox("commit", ["--rollback", "b"]).run().ok();
    assert_eq!(times(&place.content()), times(&before));
}

#[test]
fn what_the_host_puts_there_at_the_last_moment_stays() {
    for (host, name) in [("echo old >file", "file"), ("true", "file")] {
        let place = Place::new();
        on_host(&place, host);
        place.script("echo box >file; echo box >another").run().ok();
        let words =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:delay_enter=2000000"];
        let running = place.sandbox("commit", ["b"]).by(words).spawn();
        let journal = place.store().join("b/commit/journal.json");
        until("the journal", || journal.exists().then_some(()));
        on_host(&place, "echo host >next; mv next file");
        let late = inode(&place.host().join(name));
        running.wait().fails().err_has("the commit was taken back");
        assert_eq!(inode(&place.host().join(name)), late, "{host}");
        assert!(!place.host().join("another").exists());
        place.script("cat file another").run().ok().stdout("box\nbox");
        place.sandbox("commit", ["b"]).run().code(3).err_has(&place.path(name));
        place.sandbox("commit", ["--ours", "b"]).run().ok();
        assert_eq!(on_host(&place, "cat file another"), "box\nbox\n");
    }
}

/// Folders of other keys or quotas exchange no files: the first of these is moved, the second is not.
#[test]
fn where_the_filesystem_moves_no_file_all_is_copied() {
    let place = Place::new();
    on_host(&place, "echo old >file; echo old >second");
    place.script("echo new >file; echo new >second; echo new >third").run().ok();
    let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
    let inject = "inject=renameat2:error=EXDEV:when=2";
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", inject];
    let own = inode(&in_the_box(&place, "file"));
    place.sandbox("commit", ["b"]).by(words).run().ok().stdout("3 taken over");
    assert_eq!(place.content(), wanted);
    assert_ne!(inode(&place.host().join("file")), own);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), before);
    assert_eq!(place.content_by(|command| place.wrap(command)), wanted);
}

#[test]
fn a_moved_file_survives_a_commit_of_all_sorts_twice() {
    let place = Place::new();
    all_sorts(&place);
    let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
    for _ in 0..2 {
        let own = inode(&in_the_box(&place, "suid"));
        place.sandbox("commit", ["b"]).run().ok();
        assert_eq!((place.content().as_str(), inode(&place.host().join("suid"))), (wanted.as_str(), own));
        place.sandbox("undo", ["b"]).run().ok();
        assert_eq!(place.content(), before);
    }
}
