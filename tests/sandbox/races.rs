//! What somebody on the host does while root commits into a folder of theirs: no right and no file of root's is won by it.
//!
//! strace makes the commit wait in the middle of one kind of system call, long enough for the other side to act; each test
//! sees to it that it did.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::place::Place;
use crate::util::command::Running;
use crate::util::{TestCommand, until};

/// The owner of the folder.
const MALLORY: u32 = 12345;

/// A folder of theirs on the host.
fn theirs(place: &Place) -> PathBuf {
    let folder = place.host().join("theirs");
    std::fs::create_dir(&folder).unwrap();
    chown(&folder, Some(MALLORY), Some(MALLORY)).unwrap();
    folder
}

/// A commit that waits at each call of a kind, before it or after it.
fn slow(place: &Place, call: &str, when: &str) -> Running {
    slowly(place, "commit", call, when)
}

/// Likewise, another command.
fn slowly(place: &Place, command: &str, call: &str, when: &str) -> Running {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{when}=2000000"));
    place.sandbox(command, ["b"]).by(["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).spawn()
}

/// A folder of root's on the host.
fn roots_own(place: &Place, name: &str) -> PathBuf {
    let folder = place.host().join(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// Puts a program of theirs where a file of root's is.
fn exchange(path: &Path) {
    let next = path.with_extension("next");
    evil(&next);
    std::fs::rename(&next, path).unwrap();
}

/// That nothing of theirs is in a folder of root's.
#[track_caller]
fn assert_roots_own(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().uid(), 0, "{path:?} is theirs: {:?}", std::fs::read(&path));
    }
}

/// A program of theirs.
fn evil(path: &Path) {
    std::fs::write(path, "evil").unwrap();
    chown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// That their program has not become root's, wherever it is now.
#[track_caller]
fn assert_harmless(folder: &Path) {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read(&path).is_ok_and(|content| content == b"evil") {
            let found = path.metadata().unwrap();
            assert_eq!((found.uid(), found.mode() & 0o7777), (MALLORY, 0o755), "{path:?}");
            seen += 1;
        }
    }
    assert!(seen > 0, "nobody exchanged anything");
}

#[test]
fn a_file_that_is_exchanged_while_it_is_written_gets_nothing() {
    let place = Place::apart();
    let folder = theirs(&place);
    place.script("head -c 100000 /dev/zero >theirs/tool; chmod 4755 theirs/tool").run().ok();
    // Copying a file of this size begins with an attempt to share blocks.
    let running = slow(&place, "ioctl", "delay_enter");
    let next = until("the file that is being written", || {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".myrt-commit"))
    });
    std::fs::rename(&next, folder.join("stolen")).unwrap();
    evil(&next);
    // Under the other name it goes when the commit is taken back.
    std::fs::hard_link(&next, folder.join("kept")).unwrap();
    running.wait().fails().err_has("the commit was taken back");
    assert_harmless(&folder);
}

#[test]
fn a_file_that_is_exchanged_before_its_mode_is_set_gets_nothing() {
    let place = Place::new();
    let folder = theirs(&place);
    std::fs::write(folder.join("tool"), "root's own").unwrap();
    place.script("chmod 4755 theirs/tool").run().ok();
    let running = slow(&place, "syncfs", "delay_enter");
    let journal = place.store().join("b/commit/journal.json");
    until("the journal", || journal.exists().then_some(()));
    std::fs::rename(folder.join("tool"), folder.join("moved")).unwrap();
    evil(&folder.join("tool"));
    running.wait().fails().err_has("the commit was taken back").err_has("another file");
    assert_harmless(&folder);
    assert_eq!(folder.join("moved").metadata().unwrap().mode() & 0o7777, 0o644);
}

#[test]
fn a_folder_that_is_exchanged_once_it_is_made_keeps_its_mode() {
    let place = Place::new();
    let folder = theirs(&place);
    let private = folder.join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(private.join("secret"), "of root").unwrap();
    place.script("mkdir -m 777 theirs/new").run().ok();
    let running = slow(&place, "mkdirat", "delay_exit");
    until("the new folder", || folder.join("new").exists().then_some(()));
    std::fs::rename(folder.join("new"), folder.join("stolen")).unwrap();
    std::fs::rename(&private, folder.join("new")).unwrap();
    running.wait();
    let found = folder.join("new").metadata().unwrap();
    assert!(folder.join("new/secret").exists());
    assert_eq!(found.mode() & 0o7777, 0o700);
}

#[test]
fn a_file_that_is_exchanged_before_it_gets_another_name_gets_none() {
    // A new file of the box, and one that the host has already.
    for first in ["echo good >theirs/x", "true"] {
        let place = Place::apart();
        let (theirs, own) = (theirs(&place), roots_own(&place, "usrbin"));
        std::fs::write(theirs.join("x"), "the host's").unwrap();
        // The other file is written after the first one, and before that gets its names.
        place.script(&format!("{first}; ln theirs/x usrbin/tool; echo other >theirs/y")).run().ok();
        let running = slow(&place, "fchmod", "delay_enter");
        until("the other file", || {
            let mut entries = std::fs::read_dir(&theirs).unwrap().map(|entry| entry.unwrap());
            let other = entries.find(|entry| entry.file_name().to_str().unwrap().starts_with(".myrt-commit"))?;
            std::fs::read(other.path()).is_ok_and(|content| content == b"other\n").then_some(())
        });
        exchange(&theirs.join("x"));
        running.wait().fails().err_has("the commit was taken back").err_has("another file");
        assert_roots_own(&own);
        assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    }
}

#[test]
fn a_killed_commit_gives_no_name_to_what_was_exchanged_meanwhile() {
    let place = Place::apart();
    let (theirs, own) = (theirs(&place), roots_own(&place, "usrbin"));
    std::fs::write(theirs.join("x"), "the host's").unwrap();
    place.script("ln theirs/x usrbin/tool; echo good >theirs/y; ln theirs/y usrbin/other").run().ok();
    assert_ne!(crate::kills::killed_at(&place, "linkat", 1, "commit", &["b"]).exit_code(), 0);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    for name in ["x", "y"] {
        exchange(&theirs.join(name));
    }
    place.sandbox("commit", ["--resume", "b"]).run().fails().err_has("another file");
    assert_roots_own(&own);
}

#[test]
fn a_killed_commit_gives_names_to_what_it_puts_there_again() {
    let place = Place::apart();
    let (theirs, own) = (theirs(&place), roots_own(&place, "usrbin"));
    place.script("echo good >theirs/y; ln theirs/y usrbin/a; ln theirs/y usrbin/b").run().ok();
    assert_ne!(crate::kills::killed_at(&place, "linkat", 2, "commit", &["b"]).exit_code(), 0);
    exchange(&theirs.join("y"));
    place.sandbox("commit", ["--resume", "b"]).run().ok();
    assert_roots_own(&own);
    let inode = |path: &Path| path.metadata().unwrap().ino();
    assert_eq!(inode(&own.join("a")), inode(&own.join("b")));
    assert_eq!(inode(&own.join("a")), inode(&theirs.join("y")));
    assert_eq!(std::fs::read(own.join("a")).unwrap(), b"good\n");
}

/// A file with a name in their folder and one in root's own, `usrbin/tool`, both of which the box has removed; with the two
/// folders. Store and host are not on one filesystem.
fn file_of_both_that_goes() -> (Place, PathBuf, PathBuf) {
    let place = Place::apart();
    let (theirs, own) = (theirs(&place), roots_own(&place, "usrbin"));
    std::fs::write(theirs.join("x"), "root's").unwrap();
    std::fs::hard_link(theirs.join("x"), own.join("tool")).unwrap();
    place.script("rm theirs/x usrbin/tool").run().ok();
    (place, theirs, own)
}

#[test]
fn a_file_that_is_exchanged_during_an_undo_gets_no_further_name() {
    let (place, theirs, own) = file_of_both_that_goes();
    place.sandbox("commit", ["b"]).run().ok();
    // Files of another filesystem come back as copies: the first name, then the others.
    let running = slowly(&place, "undo", "linkat", "delay_enter");
    until("the first name", || theirs.join("x").exists().then_some(()));
    exchange(&theirs.join("x"));
    running.wait().ok();
    assert_roots_own(&own);
    assert_eq!(std::fs::read(own.join("tool")).unwrap(), b"root's");
}

#[test]
fn what_is_exchanged_while_it_is_kept_does_not_come_back_elsewhere() {
    let (place, theirs, own) = file_of_both_that_goes();
    // A copy that is kept of the one name stands for the other as well.
    let running = slow(&place, "linkat", "delay_enter");
    let journal = place.store().join("b/commit/journal.json");
    until("the journal", || journal.exists().then_some(()));
    exchange(&theirs.join("x"));
    running.wait();
    place.sandbox("undo", ["--force", "b"]).run();
    assert_roots_own(&own);
    assert_eq!(std::fs::read(own.join("tool")).unwrap(), b"root's");
}

#[test]
fn a_box_may_have_a_file_with_the_name_of_what_is_being_written() {
    let place = Place::new();
    place.script("for i in a b; do echo $i >.myrt-commit-$i; done; echo z >z").run().ok();
    let wanted = place.content_by(|command| place.wrap(command));
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(place.content(), wanted);
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(std::fs::read_dir(place.host()).unwrap().count(), 0);
}

#[test]
fn changes_of_a_filesystem_that_is_gone_go_nowhere() {
    let place = Place::new();
    let store = place.store().display().to_string();
    let runtime = crate::util::runtime();
    let around = format!(
        "mkdir a; mount -t tmpfs t a; \"$@\" || exit 9; umount a
         {runtime} sandbox commit --store {store} b
         ls -A a; mount -t tmpfs t a; {runtime} sandbox commit --store {store} b >/dev/null; ls a"
    );
    let out = place.script("echo x >a/new").by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run();
    out.ok().out_has("nothing").err_has("is not mounted there now");
    assert!(out.out().ends_with("\nnew\n"), "{out}");
}

#[test]
fn a_huge_file_full_of_holes_is_compared_by_what_it_holds() {
    let place = Place::new();
    for name in ["same", "other"] {
        let host = "truncate -s 4T $1; printf x | dd of=$1 bs=1 seek=3T conv=notrunc status=none";
        TestCommand::shell(host, [name]).cwd(place.host()).run().ok();
    }
    let script = "printf y | dd of=other bs=1 seek=2T conv=notrunc status=none; touch -r /etc/passwd same";
    place.script(script).run().ok();
    assert_eq!(place.changes(), ["other: modified content,times", "same: modified times"]);
}

#[test]
fn nothing_is_taken_over_to_where_a_link_leads_in_the_place_of_a_folder() {
    let Some(place) = Place::ordinary() else { return };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let theirs = theirs(&place);
    let (shared, away) = (theirs.join("shared"), theirs.join("away"));
    let private = place.host().join("private");
    let user = place.user.as_ref().unwrap().uid;
    for (folder, owner, mode) in [(&shared, MALLORY, 0o777), (&private, user, 0o700)] {
        std::fs::create_dir(folder).unwrap();
        chown(folder, Some(owner), None).unwrap();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    place.script("echo evil >theirs/shared/.profile").run().ok();
    // Waits each time when it has looked whether the folder is there, or has opened it.
    let (trace, inject) = ("trace=/^(readlink|openat2)$", "inject=/^(readlink|openat2)$:delay_exit=1000000");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", shared.to_str().unwrap(), "-e", trace, "-e", inject];
    let running = place.sandbox("commit", ["b"]).by(strace).spawn();
    let journal = place.store().join("b/commit/journal.json");
    until("the journal", || journal.exists().then_some(()));
    std::fs::rename(&shared, &away).unwrap();
    std::os::unix::fs::symlink(&private, &shared).unwrap();
    let out = running.wait();
    assert_eq!(std::fs::read_dir(&private).unwrap().count(), 0, "{out}");
    assert!(out.exit_code() != 0 || away.join(".profile").exists(), "{out}");
}
