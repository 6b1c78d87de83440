//! Boxes: names, `list`, `discard`, boxes in use, runs that were killed.

use rustix::process::Signal;

use crate::place::Place;
use crate::util::{TestCommand, Value, until};

#[test]
fn boxes_are_listed_and_discarded() {
    let place = Place::new();
    place.sandbox("list", [""; 0]).run().ok().stdout("NAME   STATUS   CREATED   RUNS   LAST PROGRAM");
    place.sandbox("list", ["--format", "json"]).run().ok().stdout("[]");
    place.sandbox("run", ["--name", "one", "sh", "-c", "exit 4"]).run().code(4);
    place.sandbox("run", ["--name", "two", "true"]).run().ok();
    place.sandbox("list", ["-q"]).run().ok().stdout("one\ntwo");
    let list = place.sandbox("list", ["--format", "json"]).run().json();
    assert_eq!(
        (&list[0]["name"], &list[0]["status"], &list[0]["runs"][0]["exitCode"]),
        (&"one".into(), &"stopped".into(), &4.into())
    );
    place.sandbox("discard", ["one", "nobody"]).run().fails().err_has("there is no box nobody");
    place.sandbox("discard", ["two", "one", "two"]).run().ok();
    place.sandbox("list", ["-q"]).run().ok().stdout("");
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
    place.sandbox("diff", ["one"]).run().fails().err_has("there is no box one");
}

#[test]
fn a_value_that_is_empty_is_no_missing_flag() {
    let place = Place::new();
    for flag in ["--name", "--memory", "--cpus", "--pids", "--seccomp", "--net", "--hide", "--report"] {
        let run = place.sandbox("run", [flag, "", "true"]).run();
        run.fails().err_has(&format!("{flag}: its value is empty"));
    }
    place.sandbox("run", ["--name=", "true"]).run().fails();
    assert!(!place.store().exists());
}

#[test]
fn a_name_is_as_long_as_all_that_is_made_of_it_allows() {
    let place = Place::new();
    let (name, other) = ("n".repeat(200), "o".repeat(200));
    place.sandbox("run", ["--name", &name, "--pids", "50", "sh", "-c", "echo x >x"]).run().ok();
    place.sandbox("clone", [&name, &other]).run().ok();
    place.sandbox("snapshot", [&name]).run().ok();
    place.sandbox("commit", [&name]).run().ok();
    place.sandbox("undo", [&name]).run().ok();
    place.sandbox("discard", [&name, &other]).run().ok();
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
    place.sandbox("run", ["--name", &"n".repeat(201), "true"]).run().code(125).err_has("at most 200 bytes");
}

#[test]
fn a_box_in_use_is_used_by_one_alone() {
    let place = Place::new();
    let mut running = place.script("echo ready; cat").spawn_on(std::process::Stdio::piped());
    running.until_stdout("ready");
    let list = place.sandbox("list", ["--format", "json"]).run().json();
    assert_eq!(list[0]["status"], "running");
    for (command, words) in [("run", vec!["--name", "b", "true"]), ("diff", vec!["b"]), ("discard", vec!["b"])] {
        place.sandbox(command, words).run().fails().err_has("the box b is in use");
    }
    place.sandbox("run", ["--name", "other", "true"]).run().ok();
    running.signal(Signal::TERM);
    running.wait().code(143);
    place.sandbox("discard", ["b"]).run().ok();
}

#[test]
fn a_killed_run_ends_its_program_and_the_box_goes_on() {
    let place = Place::new();
    let mut running = place.script("echo 1 >first; echo ready; exec sleep 54321").spawn();
    running.until_stdout("ready");
    running.signal(Signal::KILL);
    running.wait().code(137);
    until("the program has ended", || {
        TestCommand::new(["pgrep", "-f", "^sleep 54321$"]).run().out().is_empty().then_some(())
    });
    // Until the last process of the namespace is gone the lock may still be held by nobody else.
    place.script("cat first").run().ok().stdout("1");
    let list: Value = place.sandbox("list", ["--format", "json"]).run().json();
    assert!(list[0]["runs"][0]["ended"].is_null() && list[0]["runs"][1]["exitCode"] == 0, "{list}");
}

#[test]
fn a_deep_tree_with_forbidden_folders_is_discarded() {
    let place = Place::new();
    place
        .python(
            "import os
for _ in range(1500):
    os.mkdir('deep'); os.mkdir('closed', 0); os.chdir('deep')
os.symlink('/etc', 'link')",
        )
        .run()
        .ok();
    assert!(place.sandbox("diff", ["b"]).run().ok().out().lines().last().unwrap().starts_with("3001 added"));
    place.sandbox("discard", ["b"]).run().ok();
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[test]
fn a_store_that_others_may_read_is_refused() {
    let place = Place::new();
    std::fs::create_dir(place.store()).unwrap();
    place.script("true").run().code(125).err_has("not yours alone");
}

#[test]
fn a_run_that_was_refused_leaves_no_box() {
    let place = Place::new();
    let from = |folder: &str| format!("exec \"$@\" <{folder}");
    let run = place.sandbox("run", ["--name", "new", "true"]).by(["sh", "-c", &from("/tmp"), "sh"]).run();
    run.code(125).err_has("standard input is a folder");
    assert!(!place.store().exists());
    place.sandbox("run", ["--name", "new", "no-such-program"]).run().code(127);
    place.sandbox("list", ["-q"]).run().ok().stdout("");
    // One that was there stays.
    place.sandbox("run", ["--name", "old", "true"]).run().ok();
    place.sandbox("run", ["--name", "old", "no-such-program"]).run().code(127);
    place.sandbox("run", ["--name", "old", "true"]).by(["sh", "-c", &from("/tmp"), "sh"]).run().code(125);
    place.sandbox("list", ["-q"]).run().ok().stdout("old");
}

#[test]
fn what_is_said_to_be_typed_can_be_typed() {
    let place = Place::new();
    let typed = |said: &str| {
        let command = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}")).to_owned();
        let ours = command.strip_prefix("myrt ").unwrap_or_else(|| panic!("{said}"));
        TestCommand::shell(&format!("{} {ours}", place.myrt()), [""]).cwd(place.host()).run()
    };
    let kept = place.sandbox("run", ["sh", "-c", "echo x >made"]).run().ok().err();
    typed(&kept).ok().out_has("1 added");
    place.script("echo x >made").run().ok();
    typed(&place.sandbox("diff", ["nobody"]).run().fails().err()).ok().out_has("\nb ");
    typed(&place.sandbox("snapshot", ["b", "--restore", "none"]).run().fails().err()).ok();
    typed(&place.sandbox("diff", ["b", "/nothing"]).run().fails().err()).ok().out_has("1 added");
    let interrupted = |number: u32| {
        crate::kills::killed_at(&place, "renameat", number, "commit", &["b"]).code(137);
        let said = place.sandbox("run", ["--name", "b", "true"]).run();
        (said.exit_code() == 125).then(|| said.err())
    };
    let said = (1..20).find_map(interrupted).unwrap();
    let list = place.sandbox("list", ["--format", "json"]).run().json();
    assert!(list.as_array().unwrap().iter().any(|row| row["name"] == "b" && row["status"] == "interrupted"), "{list}");
    typed(&said).ok().stdout("1 taken over");
    // A name that the shell would take apart; and the own place, which needs none.
    let odd = "it's here";
    let at = |store: &[&str], words: &[&str]| {
        let command = [&[place.myrt(), "sandbox"][..], &words[..1], store, &words[1..]].concat();
        TestCommand::new(command).cwd(place.host()).run()
    };
    let kept = at(&["--store", odd], &["run", "sh", "-c", "echo x >other"]).ok().err();
    typed(&kept).ok().out_has("1 added");
    assert!(at(&[], &["diff", "no-such-box"]).fails().err().contains("`myrt sandbox list`"));
}

#[test]
fn without_its_second_program_a_run_does_not_end_like_a_program() {
    let place = Place::new();
    let alone = place.path("myrt");
    crate::util::command::copy_executable(std::path::Path::new(place.myrt()), std::path::Path::new(&alone));
    for (command, code) in [("run", 125), ("shell", 125), ("list", 1)] {
        let said = TestCommand::new([&alone, "sandbox", command, "true"]).run();
        said.code(code).err_has("there is no myrt-sandbox beside this program");
        assert_eq!(said.err().matches(&place.path("myrt-sandbox")).count(), 1, "{said}");
    }
}
