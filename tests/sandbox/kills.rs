//! A commit and an undo killed at any moment: afterwards `--resume` has all of it on the host, `--rollback` nothing.
//!
//! "Any moment" is every system call that changes something: strace kills the command right before the N-th of a kind, the
//! first ones each, later ones in growing steps.

use crate::commits::{BOX, HOST, all_sorts};
use crate::place::Place;
use crate::util::TestCommand;
use crate::util::command::Output;

/// The calls by which a commit changes something, or waits for the disk.
const CALLS: [&str; 20] = [
    "copy_file_range",
    "fchmod",
    "fchmodat",
    "fchownat",
    "fsync",
    "ftruncate",
    "linkat",
    "lremovexattr",
    "lsetxattr",
    "mkdirat",
    "mknodat",
    "openat",
    "renameat",
    "renameat2",
    "rename",
    "setxattr",
    "symlinkat",
    "syncfs",
    "unlinkat",
    "utimensat",
];

/// Runs a command that dies at its `number`th call of a kind.
pub fn killed_at(place: &Place, call: &str, number: u32, command: &str, words: &[&str]) -> Output {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={number}"));
    place.sandbox(command, words).by(["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).run()
}

/// Kills at one moment after the other, until the command comes through; gives how many there were.
pub fn at_every_moment(call: &str, mut attempt: impl FnMut(&str, u32) -> bool) -> u32 {
    let mut number = 1;
    let mut count = 0;
    while attempt(call, number) {
        count += 1;
        number += 1 + number / 4;
    }
    count
}

/// All sorts of changes, which are moved to the host, and such as are copied because they cannot be. Copies keep no name of
/// a file that is no part of the commit.
fn places() -> [Place; 2] {
    let (place, apart) = (Place::new(), Place::apart());
    TestCommand::shell(&format!("{HOST}; rm a-too"), [""]).cwd(apart.host()).run().ok();
    apart.script(BOX).run().ok();
    all_sorts(&place);
    [place, apart]
}

#[test]
fn a_killed_commit_is_finished_or_taken_back() {
    for place in places() {
        let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
        let mut turn = 0;
        let mut attempt = |call: &str, number| {
            turn += 1;
            commit_killed_at(&place, (call, number), ["--resume", "--rollback"][turn % 2], (&before, &wanted))
        };
        let moments: u32 = CALLS.iter().map(|call| at_every_moment(call, &mut attempt)).sum();
        assert!(moments > 60, "only {moments} moments");
    }
}

/// Whether it was killed; `host`: before and after a commit.
fn commit_killed_at(place: &Place, (call, number): (&str, u32), again: &str, host: (&str, &str)) -> bool {
    let (before, wanted) = host;
    let at = format!("killed at {call} {number}");
    let killed = killed_at(place, call, number, "commit", &["b"]).exit_code() != 0;
    if !killed {
        assert_eq!(place.content(), wanted, "{at}");
    }
    let unfinished = place.script("true").run().exit_code() == 125;
    assert!(killed || !unfinished, "{at}");
    place.sandbox("commit", [again, "b"]).run().ok();
    let now = place.content();
    match (unfinished, again) {
        (true, "--resume") => assert_eq!(now, wanted, "{at}, then {again}"),
        (true, _) => assert_eq!(now, before, "{at}, then {again}"),
        // It had not begun, or was over.
        (false, _) => assert!(now == before || now == wanted, "{at}: {now}"),
    }
    if now == wanted {
        place.sandbox("undo", ["b"]).run().ok();
    }
    assert_eq!(place.content(), before, "{at}, taken back");
    assert_eq!(place.content_by(|command| place.wrap(command)), wanted, "the box, {at}, taken back");
    killed
}

#[test]
fn a_commit_that_fails_at_any_call_is_taken_back() {
    for place in places() {
        let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
        let mut attempt = |call: &str, number| {
            let at = format!("no {call} {number}");
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=EROFS:when={number}"));
            let around = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let commit = place.sandbox("commit", ["b"]).by(around).run();
            let failed = commit.exit_code() != 0;
            if failed && place.script("true").run().exit_code() == 125 {
                // The host has all of it, or it could not be taken back at once.
                if place.content() == wanted {
                    commit.err_has("the host has all of it").err_has("--resume b");
                }
                place.sandbox("commit", ["--rollback", "b"]).run().ok();
            }
            if place.content() != before {
                assert_eq!(place.content(), wanted, "{at}");
                place.sandbox("undo", ["b"]).run().ok();
            }
            assert_eq!(place.content(), before, "{at}");
            assert_eq!(place.content_by(|command| place.wrap(command)), wanted, "the box, {at}");
            failed
        };
        let calls = ["linkat", "mkdirat", "renameat2", "renameat", "unlinkat", "utimensat", "fsync", "syncfs", "write"];
        let moments: u32 = calls.iter().map(|call| at_every_moment(call, &mut attempt)).sum();
        assert!(moments > 20, "only {moments} moments");
    }
}

#[test]
fn a_killed_undo_is_finished() {
    for place in places() {
        let (before, wanted) = (place.content(), place.content_by(|command| place.wrap(command)));
        let mut attempt = |call: &str, number| {
            let at = format!("killed at {call} {number}");
            place.sandbox("commit", ["b"]).run().ok();
            let killed = killed_at(&place, call, number, "undo", &["b"]).exit_code() != 0;
            // Under way it can only be finished, and before that it can be begun again.
            if place.sandbox("commit", ["--resume", "b"]).run().exit_code() != 0 {
                place.sandbox("commit", ["--rollback", "b"]).run().ok();
            }
            if place.content() != before {
                place.sandbox("undo", ["b"]).run().ok();
            }
            assert_eq!(place.content(), before, "{at}");
            assert_eq!(place.content_by(|command| place.wrap(command)), wanted, "the box, {at}");
            killed
        };
        let moments: u32 = CALLS.iter().map(|call| at_every_moment(call, &mut attempt)).sum();
        assert!(moments > 60, "only {moments} moments");
    }
}

/// Enough files for several threads, where there are several processors.
#[test]
fn a_commit_by_several_threads_is_finished_or_taken_back() {
    let place = Place::apart();
    let files = |each: u32, word: &str| {
        format!(
            "
import os
for folder in range(12):
    os.makedirs(f'd{{folder}}', exist_ok=True)
    for file in range({each}):
        with open(f'd{{folder}}/{{file}}', 'w') as out: out.write('{word}')
"
        )
    };
    TestCommand::new(["/usr/bin/python3", "-c", &files(50, "old")]).cwd(place.host()).run().ok();
    place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", &files(100, "new")]).run().ok();
    let before = place.content();
    let wanted = place.content_by(|command| place.wrap(command));
    for (number, again) in [(10, "--rollback"), (100, "--resume"), (250, "--rollback")] {
        let at = format!("killed at renameat {number}");
        assert_ne!(killed_at(&place, "renameat", number, "commit", &["b"]).exit_code(), 0, "{at}");
        place.sandbox("commit", [again, "b"]).run().ok();
        match again {
            "--resume" => {
                assert_eq!(place.content(), wanted, "{at}");
                place.sandbox("undo", ["b"]).run().ok();
            }
            _ => assert_eq!(place.content(), before, "{at}"),
        }
    }
    assert_eq!(place.content(), before);
}
