//! run: the forms of its command line, exit codes, signals in the foreground, detached, kept.

use std::fs;

use rustix::process::Signal;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, TestCommand, json, until};

#[test]
fn the_exit_code_is_the_programs_own() {
    let bundle = Bundle::busybox("exit_code");
    for code in [0, 1, 7, 125, 255] {
        bundle.sh(&format!("exit {code}")).run().code(code);
        bundle.assert_clean();
    }
}

#[test]
fn a_signals_exit_code_is_128_and_its_number() {
    let bundle = Bundle::busybox("exit_signal");
    let run = bundle.sleeps().run_command().spawn();
    until("it runs", || bundle.runs().then_some(()));
    // Process 1 of a pid namespace is safe from its own signals, and from all but this one of others.
    bundle.kill("KILL").ok();
    run.wait().code(137);
    bundle.assert_clean();
    bundle.config(|config| config.share("pid"));
    for (signal, code) in [("SEGV", 139), ("TERM", 143), ("HUP", 129)] {
        bundle.sh(&format!("kill -{signal} $$")).run().code(code);
    }
}

#[test]
fn standard_streams_are_the_callers() {
    let bundle = Bundle::busybox("streams");
    bundle.sh("cat; echo to stderr >&2");
    let output = bundle.run_command().stdin("from stdin\n").run();
    output.ok().stdout("from stdin").err_has("to stderr");
}

#[test]
fn run_takes_a_bundle_and_makes_up_an_id() {
    only_for_myrt!(RUN_BUNDLE);
    let bundle = Bundle::busybox("run_bundle");
    bundle.args(["hostname"]);
    bundle.command(["run", bundle.dir.to_str().unwrap()]).run().ok().stdout("box");
    bundle.assert_clean();
    // Relative, with a dot, with a slash at its end.
    for form in [".", "./", "../NAME", "../NAME/"] {
        let form = form.replace("NAME", &bundle.id);
        bundle.command(["run", &form]).cwd(&bundle.dir).run().ok().stdout("box");
    }
}

#[test]
fn an_id_made_up_holds_the_bundles_name() {
    only_for_myrt!(RUN_BUNDLE);
    let bundle = Bundle::busybox("made_up");
    bundle.sleeps();
    bundle.command(["run", "--detach", bundle.dir.to_str().unwrap()]).run().ok();
    let ids = bundle.command(["list", "-q"]).run().lines();
    assert_eq!(ids.len(), 1);
    assert!(
        ids[0].starts_with(&bundle.id) && ids[0].len() > bundle.id.len(),
        "{} is not {} and more",
        ids[0],
        bundle.id
    );
}

#[test]
fn run_takes_a_bundle_and_an_id() {
    only_for_myrt!(RUN_BUNDLE);
    let bundle = Bundle::busybox("bundle_and_id");
    bundle.sleeps();
    bundle.command(["run", "-d", bundle.dir.to_str().unwrap(), &bundle.id]).run().ok();
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["bundle"], bundle.dir.to_str().unwrap());
}

#[test]
fn run_takes_an_id_alone_where_the_bundle_is_the_working_folder() {
    let bundle = Bundle::busybox("id_alone");
    bundle.args(["hostname"]);
    bundle.command(["run", &bundle.id]).cwd(&bundle.dir).run().ok().stdout("box");
}

#[test]
fn flags_may_follow_in_any_spelling() {
    let bundle = Bundle::busybox("spelling");
    bundle.sleeps();
    let dir = bundle.dir.to_str().unwrap();
    for flags in [
        vec!["--bundle".to_owned(), dir.to_owned(), "--detach".to_owned()],
        vec![format!("--bundle={dir}"), "-d".to_owned()],
        vec!["-b".to_owned(), dir.to_owned(), "-detach".to_owned()],
        vec!["-bundle".to_owned(), dir.to_owned(), "-d".to_owned()],
        vec![format!("-bundle={dir}"), "--detach=true".to_owned()],
    ] {
        bundle.command(["run"]).args(flags).arg(&bundle.id).run().ok();
        bundle.delete_force().ok();
    }
}

#[test]
fn a_flag_without_its_value_says_so() {
    let bundle = Bundle::busybox("no_value");
    let output = bundle.command(["run", &bundle.id, "--bundle"]).run();
    output.fails();
    let output = bundle.command(["run", "--bundle"]).run();
    output.fails();
    assert!((output.err() + &output.out()).contains("flag needs an argument"), "{output}");
}

#[test]
fn signals_are_forwarded_in_the_foreground() {
    let bundle = Bundle::busybox("forward");
    bundle.sh("for s in HUP INT USR1 USR2 QUIT; do trap \"echo got $s\" $s; done; trap 'echo bye; exit 42' TERM; \
               echo ready; while :; do sleep 1000 & wait $!; done");
    let mut run = bundle.run_command().spawn();
    run.until_stdout("ready");
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::QUIT, "QUIT"),
    ] {
        run.signal(signal);
        run.until_stdout(&format!("got {name}"));
    }
    run.signal(Signal::TERM);
    run.until_stdout("bye");
    run.wait().code(42);
    bundle.assert_clean();
}

#[test]
fn run_in_the_foreground_deletes_its_container() {
    let bundle = Bundle::busybox("deletes");
    bundle.run().ok();
    bundle.command(["state", &bundle.id]).run().fails();
    bundle.assert_clean();
}

#[test]
fn keep_leaves_a_stopped_container() {
    let bundle = Bundle::busybox("keep");
    bundle.sh("exit 3");
    bundle.command(["run", "--keep", "-b", bundle.dir.to_str().unwrap(), &bundle.id]).run().code(3);
    assert_eq!(bundle.status(), "stopped");
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn detach_returns_while_the_program_runs() {
    let bundle = Bundle::busybox("detach");
    bundle.sleeps();
    bundle.run_detached();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_detached_container_has_no_terminal_to_itself() {
    let bundle = Bundle::busybox("detach_tty");
    bundle.config(|config| config["process"]["terminal"] = json!(true));
    let output = bundle.command(["run", "--detach", "-b", bundle.dir.to_str().unwrap(), &bundle.id]).run();
    output.fails().err_has("console");
    bundle.assert_clean();
}

#[test]
fn run_with_no_pivot_still_has_its_own_root() {
    let bundle = Bundle::busybox("no_pivot");
    bundle.args(["ls", "/"]);
    let output = bundle.command(["run", "--no-pivot", "-b", bundle.dir.to_str().unwrap(), &bundle.id]).run();
    output.ok().out_has("bin").out_lacks("boot");
}

#[test]
fn a_new_session_keyring_is_made_unless_told_otherwise() {
    let bundle = Bundle::busybox("keyring");
    bundle.with_probe().args(["probe", "keyring"]);
    let own = bundle.run();
    let dir = bundle.dir.to_str().unwrap();
    let shared = bundle.command(["run", "--no-new-keyring", "-b", dir, &bundle.id]).run();
    let again = bundle.command(["run", "--no-new-keyring", "-b", dir, &bundle.id]).run();
    let (own, shared, again) = (own.ok().out(), shared.ok().out(), again.ok().out());
    assert!(own.trim().parse::<u32>().unwrap() > 0, "{own}");
    assert_ne!(own, shared, "a keyring of its own is not the caller's");
    assert_eq!(shared, again, "without one of its own it is the caller's");
}

#[test]
fn preserved_descriptors_reach_the_program_and_no_others() {
    let bundle = Bundle::busybox("preserve_fds");
    bundle.sh("cat <&3; cat <&4; ls /proc/self/fd | sort -n | tail -n 1");
    for (name, text) in [("three", "of three\n"), ("four", "of four\n"), ("five", "secret\n")] {
        fs::write(bundle.outside(name), text).unwrap();
    }
    let command = bundle.command(["run", "--preserve-fds", "2", "-b", bundle.dir.to_str().unwrap(), &bundle.id]);
    let script = "cd \"$1\"; shift; exec \"$@\" 3<three 4<four 5<five";
    let output = command.by(["/bin/sh", "-c", script, "sh", bundle.dir.to_str().unwrap()]).run();
    // ls itself opens the folder as the next free descriptor, which is 5.
    output.ok().stdout("of three\nof four\n5");
}

#[test]
fn sockets_of_activation_are_passed_on() {
    let bundle = Bundle::busybox("listen_fds");
    bundle.sh("echo $LISTEN_FDS; cat <&3; cat <&4; ls /proc/self/fd | sort -n | tail -n 1; echo pid=$LISTEN_PID");
    fs::write(bundle.outside("three"), "of three\n").unwrap();
    fs::write(bundle.outside("four"), "of four\n").unwrap();
    let command = bundle.run_command().env("LISTEN_FDS", 2);
    let script = "cd \"$1\"; shift; export LISTEN_PID=$$; exec \"$@\" 3<three 4<four";
    let output = command.by(["/bin/sh", "-c", script, "sh", bundle.dir.to_str().unwrap()]).run();
    output.ok().stdout("2\nof three\nof four\n5\npid=1");
}

#[test]
fn help_names_every_command() {
    let help = TestCommand::new([crate::util::runtime(), "--help".to_owned()]).run();
    help.ok();
    for command in [
        "create",
        "start",
        "state",
        "kill",
        "delete",
        "run",
        "exec",
        "list",
        "ps",
        "pause",
        "resume",
        "update",
        "events",
        "spec",
        "features",
        "checkpoint",
        "restore",
    ] {
        help.out_has(command);
    }
}

#[test]
fn an_unknown_command_or_flag_fails() {
    let runtime = crate::util::runtime();
    TestCommand::new([runtime.as_str(), "state", "--no-such-flag", "x"]).run().fails();
    TestCommand::new([runtime.as_str(), "--no-such-flag", "list"]).run().fails();
    TestCommand::new([runtime.as_str(), "state"]).run().fails();
    TestCommand::new([runtime.as_str(), "state", "a", "b"]).run().fails();
    if crate::util::is_myrt() {
        TestCommand::new([runtime.as_str(), "no-such-command"]).run().fails();
    }
}

#[test]
fn the_probe_of_podman_for_checkpoint_succeeds() {
    TestCommand::new([crate::util::runtime().as_str(), "checkpoint", "--help"]).run().ok();
}

#[test]
fn checkpoint_and_restore_fail_with_a_sentence() {
    only_for_myrt!(CHECKPOINT);
    let bundle = Bundle::busybox("checkpoint");
    bundle.sleeps();
    bundle.run_detached();
    bundle.command(["checkpoint", &bundle.id]).run().fails().err_has("checkpoint");
    bundle.command(["restore", "-b", bundle.dir.to_str().unwrap(), "other"]).run().fails().err_has("restore");
    assert_eq!(bundle.status(), "running");
}
