//! The power goes in the middle of a commit or an undo, or right after it has said that it is done.
//!
//! Host and store lie on an ext4 in a file, with a loop device between. What the file holds at a moment is what had reached
//! the device: a copy of it, mounted in its place, is the machine after the power cut. The moments are those at which the
//! most is at stake: right before each call that waits for the disk, and some among the changes.

use crate::commits::{BOX, HOST};
use crate::place::{LOOK, Place};
use crate::util::{TestCommand, runtime};

/// `moment N CALL COMMAND…`: makes host and box, runs the command, killed right before its Nth CALL, cuts the power, and
/// says whether the command had come to its end. The mount option switches off what ext4 does for the careless.
const MOMENT: &str = r#"
exec </dev/null
sandbox() { verb=$1; shift; "$runtime" sandbox "$verb" --store "$PWD/m/store" "$@"; }
content() { (cd m/host && /usr/bin/python3 -c "$LOOK" false); }
mounted() { mount -o loop,noauto_da_alloc "$1" m; }
inside() { (cd m/host && "$runtime" sandbox run --store ../store --name b "$@"); }
is() { content >now; if cmp -s now before; then echo before; elif cmp -s now wanted; then echo wanted; else echo neither; fi; }
mkdir m; truncate -s 64M new; mkfs.ext4 -q new
mounted new; mkdir m/host; (cd m/host && sh -ec "$HOST"); content >before; umount m
made() { cp --sparse=always new disk; mounted disk; inside sh -ec "$BOX"; inside /usr/bin/python3 -c "$LOOK" false >wanted; }
cut() { cp --sparse=always disk cut; umount m; mounted cut; }
killed() {
    when=$1 call=$2; shift 2
    strace -f -qq -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=$when \
        "$runtime" sandbox "$@" --store "$PWD/m/store" b >said 2>&1
}
"#;

/// Runs a script after [`MOMENT`], on a tmpfs in a mount namespace of its own; its output has a line for each moment.
fn on_a_disk(script: &str) -> Vec<String> {
    let place = Place::new();
    let all = format!("mount -t tmpfs t .; cd \"$PWD\"\n{MOMENT}\n{script}");
    let out = TestCommand::new(["unshare", "-m", "sh", "-ec", &all])
        .env("runtime", runtime())
        .env("HOST", HOST)
        .env("BOX", BOX)
        .env("LOOK", LOOK)
        .cwd(place.host())
        .run();
    out.ok();
    out.lines()
}

/// The calls that wait for the disk, and those that change names, each with the steps in which it is killed.
const CALLS: [(&str, u32); 6] =
    [("syncfs", 1), ("fsync", 1), ("renameat", 5), ("renameat2", 2), ("linkat", 5), ("unlinkat", 7)];

/// Runs a script for each of them.
fn at_each_call(script: &str) -> Vec<String> {
    let run = |(call, step): (&str, u32)| on_a_disk(&format!("call={call} step={step}\n{script}"));
    CALLS.into_iter().flat_map(run).collect()
}

#[test]
fn a_commit_that_is_cut_off_is_finished_or_taken_back_and_one_that_is_done_stays() {
    let script = r#"
turn=0 when=1
while :; do
    made
    if killed $when $call commit; then ended=done; else ended=killed; fi
    cut
    turn=$((turn + 1))
    if inside true 2>/dev/null; then again=; else
        if [ $((turn % 2)) = 0 ]; then again=resume; else again=rollback; fi
        sandbox commit --$again b >/dev/null
    fi
    echo "$call $when $ended $again $(is)"
    sandbox diff b >/dev/null
    umount m
    [ $ended = killed ] || break
    when=$((when + step))
done"#;
    let lines = at_each_call(script);
    assert!(lines.len() > 12, "{lines:?}");
    for line in &lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [_, _, "done", "", "wanted"] | [_, _, "killed", "", "before" | "wanted"] => {}
            [_, _, "killed", "resume", "wanted"] | [_, _, "killed", "rollback", "before"] => {}
            _ => panic!("{line} in {lines:?}"),
        }
    }
    let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert!(count("resume") > 2 && count("rollback") > 2 && count("done") == 6, "{lines:?}");
}

#[test]
fn an_undo_that_is_cut_off_is_finished_and_one_that_is_done_stays() {
    let script = r#"
when=1
while :; do
    made
    sandbox commit b >/dev/null
    if killed $when $call undo; then ended=done; else ended=killed; fi
    cut
    if inside true 2>/dev/null; then again=; else again=rollback; sandbox commit --rollback b >/dev/null; fi
    if [ "$(is)" = wanted ]; then again=undo; sandbox undo b >/dev/null; fi
    inside /usr/bin/python3 -c "$LOOK" false | cmp -s - wanted && box=whole || box=broken
    echo "$call $when $ended $again $(is) $box"
    umount m
    [ $ended = killed ] || break
    when=$((when + step))
done"#;
    let lines = at_each_call(script);
    for line in &lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [_, _, "done", "", "before", "whole"] => {}
            [_, _, "killed", "" | "undo" | "rollback", "before", "whole"] => {}
            _ => panic!("{line} in {lines:?}"),
        }
    }
    let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert!(count("rollback") > 2 && count("done") == 6, "{lines:?}");
}

#[test]
fn the_number_of_an_inode_that_is_used_again_is_not_taken_for_the_old_file() {
    // ext4 gives the number of a file that went to the next one that comes; the store is elsewhere, so backups are copies.
    let script = r#"
rm -rf m/host; mounted new; cd m/host; rm -r *
for i in 1 2 3 4 5 6; do echo old $i >f$i; done; ln f1 g1; ln f2 g2
cd ../..; content >before
store="$PWD/store"
command() { (cd m/host && "$runtime" sandbox "$@"); }
command run --store "$store" --name b sh -c 'for i in f?; do echo new $i >$i.n; mv $i.n $i; done; rm g1; echo 2 >>g2'
command run --store "$store" --name b /usr/bin/python3 -c "$LOOK" false >wanted
for when in 8 11 12 14 16 18 20; do
    strace -f -qq -o /dev/null -e trace=renameat -e inject=renameat:signal=KILL:when=$when \
        "$runtime" sandbox commit --store "$store" b || true
    command commit --store "$store" --resume b
    echo $(is)
    command undo --store "$store" b
    echo $(is)
done"#;
    let lines = on_a_disk(script);
    let words: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.contains(' ')).collect();
    assert_eq!(words, ["wanted", "before"].repeat(7), "{lines:?}");
}
