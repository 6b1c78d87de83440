//! `--hide`, `--read-only`, `--write-through`, `--tmpfs`, `--no-new-privileges`.

use crate::place::Place;
use crate::util::TestCommand;

fn run(place: &Place, flags: &[&str], script: &str) -> crate::util::command::Output {
    let words = ["--name", "b"].iter().chain(flags).copied().chain(["sh", "-c", script]).collect::<Vec<_>>();
    place.sandbox("run", words).run()
}

fn host() -> Place {
    let place = Place::new();
    TestCommand::shell("mkdir d d/e; echo secret >d/f; echo secret >f; ln -s d link", [""])
        .cwd(place.host())
        .run()
        .ok();
    place
}

#[test]
fn hidden_paths_are_empty_and_stay_so() {
    let place = host();
    let script = "cat f; ls -A d; echo x >d/new; umount d; umount f; cat f";
    run(&place, &["--hide", "d", "--hide", "f"], script).ok().stdout("");
    assert_eq!(place.changes(), Vec::<String>::new());
    run(&place, &["--hide", "nowhere"], "true").code(125).err_has("--hide \"nowhere\"");
}

#[test]
fn a_rule_that_would_be_empty_words_or_leave_nothing_is_refused() {
    let place = host();
    for (flag, path, why) in [
        ("--hide", "/", "this is the whole host"),
        ("--hide", "/dev", "no program runs without it"),
        ("--write-through", "/", "this is the whole host"),
        ("--write-through", "/dev/shm", "/dev is the box's own"),
        ("--write-through", "/proc/sys", "/proc is the box's own"),
        ("--write-through", "/sys", "/sys is the box's own"),
        ("--tmpfs", "/", "this is the whole host"),
        ("--tmpfs", "/sys", "/sys is the box's own"),
        ("--tmpfs", "f", "this is no folder"),
    ] {
        run(&place, &[flag, path], "true").code(125).err_has(flag).err_has(why);
    }
    assert!(!place.store().exists());
}

#[test]
fn read_only_paths_are_read_only_behind_a_link_as_well() {
    let place = host();
    let script =
        "cat d/f; echo x >d/f; touch d/new; rm d/f; mv d other; echo x >>f; mount -o remount,rw d; echo x >d/new; ls d";
    run(&place, &["--read-only", "link"], script).stdout("secret\ne\nf");
    assert_eq!(place.changes(), ["f: modified content,times"]);
}

#[test]
fn what_is_written_through_is_the_hosts() {
    let place = host();
    run(&place, &["--write-through", "d"], "echo mine >d/new; echo box >f").ok();
    assert_eq!(std::fs::read_to_string(place.host().join("d/new")).unwrap(), "mine\n");
    assert_eq!(std::fs::read_to_string(place.host().join("f")).unwrap(), "secret\n");
    assert_eq!(place.changes(), ["f: modified content,times"]);
    // A device node that is the host's stays closed.
    TestCommand::shell("mknod d/zero c 1 5; chmod 666 d/zero", [""]).cwd(place.host()).run().ok();
    run(&place, &["--write-through", "d"], "head -c 1 d/zero").fails();
}

#[test]
fn a_tmpfs_is_empty_and_forgotten() {
    let place = host();
    run(&place, &["--tmpfs", "d"], "ls -A d; echo x >d/x && cat d/x").ok().stdout("x");
    run(&place, &[], "ls d").ok().stdout("e\nf");
    assert_eq!(place.changes(), Vec::<String>::new());
}

#[test]
fn without_new_privileges_a_setuid_program_gives_nothing() {
    let place = host();
    TestCommand::shell("cp /usr/bin/id id; chmod 4755 id; chmod 755 .", [""]).cwd(place.host()).run().ok();
    let script = "setpriv --reuid 1234 --clear-groups ./id -un";
    run(&place, &[], script).ok().stdout("root");
    run(&place, &["--no-new-privileges"], script).out_lacks("root");
}

#[test]
fn a_folder_around_what_is_protected_is_not_exchanged() {
    for place in [Some(Place::new()), Place::ordinary()].into_iter().flatten() {
        let make = "mkdir -p p/.git/hooks p/x/y; echo mine >p/.git/config; echo secret >p/x/y/.env; mkdir p/new";
        place.by_caller(TestCommand::shell(make, [""]).cwd(place.host())).run().ok();
        let flags = [
            "--write-through",
            "p",
            "--read-only",
            "p/.git/config",
            "--read-only",
            "p/.git/hooks",
            "--hide",
            "p/x/y/.env",
        ];
        let script = "mv -T p/.git p/g2; mv -T p/new p/.git; /usr/bin/python3 -c 'import os; os.rename(\"p/.git\", \"p/g3\")'
                      mkdir -p p/.git/hooks; echo evil >p/.git/config; echo evil >p/.git/hooks/pre-commit
                      mv -T p/x/y p/x/z; mv -T p/x p/z; echo box >p/.git/index; echo box >p/x/y/f; cat p/x/y/.env p/z/y/.env";
        run(&place, &flags, script).out_lacks("secret");
        let host = |name: &str| std::fs::read_to_string(place.host().join(name)).unwrap_or_default();
        let found = ["p/.git/config", "p/.git/hooks/pre-commit", "p/x/y/.env", "p/.git/index", "p/x/y/f"].map(host);
        assert_eq!(found, ["mine\n", "", "secret\n", "box\n", "box\n"]);
    }
}

/// Runs `script` with `flags` on a host with the mounts `p`, `p/sub` and `p/mine`; gives what it prints, then the files there.
fn with_mounts_below(flags: &[&str], script: &str) -> crate::util::command::Output {
    let place = Place::new();
    let words = ["--name", "b"].iter().chain(flags).copied().chain(["sh", "-c", script]).collect::<Vec<_>>();
    let around = "mkdir p; mount -t tmpfs t p; mkdir p/sub p/mine; mount -t tmpfs t p/sub; mount -t tmpfs t p/mine
                  \"$@\"; find p -type f | sort; umount -R p";
    place.sandbox("run", words).by(["unshare", "-m", "sh", "-ec", around, "sh"]).run()
}

#[test]
fn what_is_mounted_below_a_read_only_folder_is_read_only() {
    let script = "for i in p p/sub p/mine; do touch $i/f 2>/dev/null && echo $i; done; true";
    with_mounts_below(&["--read-only", "p"], script).ok().stdout("");
    with_mounts_below(&["--read-only", "p", "--write-through", "p"], script).ok().stdout("");
    with_mounts_below(&["--read-only", "p/sub", "--write-through", "p"], script)
        .ok()
        .stdout("p\np/mine\np/f\np/mine/f");
}

#[test]
fn of_two_rules_the_one_for_less_holds() {
    let script = "for i in p p/sub p/mine p/mine/in; do touch $i/f 2>/dev/null && echo $i; done; true";
    with_mounts_below(&["--read-only", "p", "--write-through", "p/mine"], script).ok().stdout("p/mine\np/mine/f");
    with_mounts_below(&["--read-only", "p", "--tmpfs", "p/mine"], script).ok().stdout("p/mine");
    let own = "touch p/f /tmp/f 2>/dev/null && echo wrong; touch p/mine/f; echo 5 >/proc/self/oom_score_adj; echo x >/dev/shm/x";
    with_mounts_below(&["--read-only", "/", "--write-through", "p/mine"], own).ok().stdout("p/mine/f");
}
