//! `prune`: what nobody has asked to keep goes, and nothing else.

use crate::place::Place;
use crate::util::{Value, tty::Terminal};

/// A box without a name that has changed something; gives the name that it got.
fn unnamed(place: &Place) -> String {
    unnamed_by(place, "echo x >x")
}

/// Likewise, by this script.
fn unnamed_by(place: &Place, script: &str) -> String {
    let said = place.sandbox("run", ["sh", "-c", script]).run().ok().err();
    said.split("kept in the box ").nth(1).unwrap().split(':').next().unwrap().to_owned()
}

fn prune(place: &Place, flags: &[&str]) -> Value {
    place.sandbox("prune", [&["--format", "json"], flags].concat()).run().json()
}

/// What was removed: what, and of which box.
fn removed(document: &Value) -> Vec<String> {
    let all = document["removed"].as_array().unwrap().iter();
    all.map(|each| format!("{} {}", each["what"].as_str().unwrap(), each["box"].as_str().unwrap_or("-"))).collect()
}

#[test]
fn boxes_without_a_name_and_undos_go() {
    let place = Place::new();
    assert_eq!(removed(&prune(&place, &[])), [""; 0]);
    place.script("echo 1 >one").run().ok();
    std::fs::write(place.host().join("old"), "before").unwrap();
    place.script("echo 2 >old").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    place.script("echo 3 >three").run().ok();
    let (first, kept) = (unnamed(&place), unnamed(&place));
    place.sandbox("snapshot", [&kept, "mine"]).run().ok();
    let busy = place.sandbox("run", ["sh", "-c", "echo x >y; echo ready; cat"]);
    let mut busy = busy.spawn_on(std::process::Stdio::piped());
    busy.until_stdout("ready");
    let (all, undo) = (format!("box {first}"), "undo b".to_owned());
    let mut expected = vec![all, undo];
    expected.sort();
    let sorted = |document: &Value| {
        let mut all = removed(document);
        all.sort();
        all
    };
    assert_eq!(removed(&prune(&place, &["--older-than", "1h"])), [""; 0]);
    let dry = prune(&place, &["--dry-run"]);
    assert_eq!(sorted(&dry), expected);
    assert!(dry["dryRun"] == true && dry["bytes"].as_u64().unwrap() > 4096, "{dry}");
    assert_eq!(sorted(&prune(&place, &["--older-than", "0s"])), expected);
    assert_eq!(removed(&prune(&place, &[])), [""; 0]);
    let list = place.sandbox("list", ["-q"]).run().ok().out();
    assert!(list.contains("b\n") && list.contains(&kept) && !list.contains(&first), "{list}");
    place.sandbox("undo", ["b"]).run().fails().err_has("no commit to undo");
    // The box still has what it changed after the commit, and that is no conflict.
    assert_eq!(place.changes(), ["three: added"]);
    place.sandbox("commit", ["b"]).run().ok();
    busy.signal(rustix::process::Signal::TERM);
    busy.wait();
}

#[test]
fn other_names_of_a_committed_file_are_no_conflict_afterwards() {
    let place = Place::new();
    std::fs::write(place.host().join("one"), "1").unwrap();
    std::fs::hard_link(place.host().join("one"), place.host().join("other-name")).unwrap();
    place.script("rm one; echo new >one").run().ok();
    // What is kept of the one is a name of the other.
    place.sandbox("commit", ["b"]).run().ok();
    place.script("echo more >>other-name").run().ok();
    assert_eq!(removed(&prune(&place, &[])), ["undo b"]);
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.host().join("other-name")).unwrap(), "1more\n");
}

#[test]
fn what_was_killed_halfway_goes() {
    let place = Place::new();
    place.script("mkdir d; for i in 1 2 3 4; do echo $i >d/$i; done").run().ok();
    place.sandbox("snapshot", ["b", "s"]).run().ok();
    crate::kills::killed_at(&place, "copy_file_range", 2, "clone", &["b", "c"]).code(137);
    crate::kills::killed_at(&place, "copy_file_range", 2, "snapshot", &["b", "t"]).code(137);
    place.sandbox("run", ["--name", "gone", "touch", "x"]).run().ok();
    crate::kills::killed_at(&place, "unlinkat", 1, "discard", &["gone"]).code(137);
    assert_eq!(place.sandbox("list", ["-q"]).run().ok().out(), "b\n");
    assert_eq!(removed(&prune(&place, &["--dry-run"])), ["remains -", "remains b"]);
    assert_eq!(removed(&prune(&place, &["--older-than", "1h"])), ["remains -", "remains b"]);
    assert_eq!(removed(&prune(&place, &[])), [""; 0]);
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(place.store().join("b/snapshots")).unwrap().count(), 1);
}

#[test]
fn an_interrupted_commit_is_not_pruned() {
    let place = Place::new();
    let name = unnamed(&place);
    let interrupted = |number: &u32| {
        crate::kills::killed_at(&place, "renameat", *number, "commit", &[&name]).code(137);
        place.sandbox("run", ["--name", &name, "true"]).run().exit_code() == 125
    };
    (1..20).find(interrupted).unwrap();
    assert_eq!(removed(&prune(&place, &[])), [""; 0]);
    place.sandbox("commit", ["--rollback", &name]).run().ok();
    assert_eq!(removed(&prune(&place, &[])), [format!("box {name}")]);
}

#[test]
fn in_a_terminal_one_is_asked() {
    let place = Place::new();
    let name = unnamed(&place);
    for (answer, code, stays) in [("n\n", 1, true), ("y\n", 0, false)] {
        let (mut terminal, slave) = Terminal::open();
        let end = || slave.try_clone().unwrap().into();
        let running = place.sandbox("prune", [""; 0]).spawn_with(end(), end(), end(), None);
        terminal.until_seen("[y/N]");
        assert!(terminal.seen().contains(&name));
        terminal.type_in(answer);
        running.wait().code(code);
        // What was listed to be agreed to is not listed again.
        assert_eq!(terminal.seen().matches(&name).count(), 1, "{}", terminal.seen());
        assert_eq!(terminal.seen().contains("1 leftover removed, "), !stays);
        assert_eq!(place.sandbox("list", ["-q"]).run().ok().out().contains(&name), stays);
    }
}

/// Runs a command so many times at once.
fn at_once(count: usize, command: impl Fn() -> crate::util::TestCommand) -> Vec<crate::util::command::Output> {
    let running: Vec<_> = (0..count).map(|_| command().spawn()).collect();
    running.into_iter().map(crate::util::command::Running::wait).collect()
}

#[test]
fn several_that_remove_the_same_do_not_disturb_each_other() {
    let place = Place::new();
    let many = "for i in $(seq 60); do mkdir -p a$i/b/c; : >a$i/x; : >a$i/b/c/y; done";
    for _ in 0..6 {
        let names: Vec<String> = (0..2).map(|_| unnamed_by(&place, many)).collect();
        for said in at_once(3, || place.sandbox("discard", &names)) {
            let err = said.err();
            assert!(said.exit_code() == 0 || err.contains("there is no box") || err.contains("is in use"), "{err}");
        }
        unnamed_by(&place, many);
        unnamed_by(&place, many);
        for said in at_once(3, || place.sandbox("prune", ["--force", "--format", "json"])) {
            assert_eq!(said.ok().err(), "");
            assert_eq!(said.json()["dryRun"], false);
        }
    }
    place.sandbox("prune", ["--force"]).run().ok().stdout("nothing to remove");
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
}
