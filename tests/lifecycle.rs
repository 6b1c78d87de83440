//! create, start, state, kill, delete: the order, the exit codes, the wordings that callers match, who wins a race.

use std::fs;

use rustix::process::Signal;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, Value, json, until};

#[test]
fn a_container_goes_from_created_to_running_to_stopped_to_gone() {
    only_for_myrt!(CRUN_WORDS);
    let bundle = Bundle::busybox("lifecycle");
    bundle.sh("echo started > /tmp/started; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done");
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    assert!(!bundle.rootfs("tmp/started").exists(), "create must not run the program");
    bundle.start().ok();
    bundle.until_status("running");
    until("the program has begun", || bundle.rootfs("tmp/started").exists().then_some(()));
    bundle.kill("TERM").ok();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.command(["state", &bundle.id]).run().code(1).err_has("container does not exist");
    bundle.assert_clean();
}

#[test]
fn state_has_every_field_of_the_contract() {
    only_for_myrt!(CRUN_ROOTFS);
    let bundle = Bundle::busybox("state");
    bundle.sleeps().config(|config| config["annotations"] = json!({ "org.example.key": "value" }));
    bundle.create().ok();
    let state = bundle.state();
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    assert!(state["pid"].as_i64().unwrap() > 1, "{state}");
    // RFC 3339 in UTC, such as 2026-01-02T03:04:05.678Z.
    let created = state["created"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.as_bytes()[10] == b'T' && created.len() >= 20, "{created}");
    assert!(state["owner"].is_string(), "{state}");
    bundle.start().ok();
    let pid = bundle.pid();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "the pid of state is that of a living process");
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    assert_eq!(bundle.state()["pid"], 0, "a stopped container has no process");
}

#[test]
fn commands_on_an_unknown_container_say_that_it_does_not_exist() {
    only_for_myrt!(CRUN_WORDS);
    let bundle = Bundle::busybox("unknown");
    for command in [&["state"][..], &["start"], &["kill"], &["delete"], &["exec"], &["pause"], &["resume"], &["ps"]] {
        let mut args = command.to_vec();
        args.push("no-such-container");
        if command[0] == "exec" {
            args.push("true");
        }
        bundle.command(args).run().fails().err_has("container does not exist");
    }
    for command in ["state", "start", "kill"] {
        bundle.command([command, "no-such-container"]).run().code(1);
    }
}

#[test]
fn delete_force_of_an_unknown_container_succeeds() {
    let bundle = Bundle::busybox("delete_unknown");
    bundle.command(["delete", "--force", "no-such-container"]).run().ok();
    bundle.command(["delete", "-f", "no-such-container"]).run().ok();
}

#[test]
fn an_id_is_taken_until_its_container_is_deleted() {
    let bundle = Bundle::busybox("taken");
    bundle.sleeps();
    bundle.create().ok();
    bundle.create().fails().err_has("exist");
    assert_eq!(bundle.status(), "created", "the loser must not disturb the winner");
    bundle.start().ok();
    bundle.create().fails().err_has("exist");
    bundle.run().fails().err_has("exist");
    assert_eq!(bundle.status(), "running");
    bundle.delete_force().ok();
    bundle.create().ok();
}

#[test]
fn of_two_creates_at_once_exactly_one_wins() {
    only_for_myrt!(RACE_OF_CREATES);
    let bundle = Bundle::busybox("race");
    bundle.sleeps();
    for _ in 0..8 {
        let rivals: Vec<_> = (0..3).map(|_| bundle.create_command().spawn()).collect();
        let ends: Vec<_> = rivals.into_iter().map(crate::util::command::Running::wait).collect();
        let winners = ends.iter().filter(|end| end.exit_code() == 0).count();
        assert_eq!(winners, 1, "{}", ends.iter().map(ToString::to_string).collect::<String>());
        for loser in ends.iter().filter(|end| end.exit_code() != 0) {
            loser.fails().err_has("exist");
        }
        assert_eq!(bundle.status(), "created");
        bundle.start().ok();
        bundle.delete_force().ok();
        bundle.assert_clean();
    }
}

#[test]
fn an_id_that_is_not_a_plain_name_is_refused() {
    only_for_myrt!(CRUN_IDS);
    let bundle = Bundle::busybox("names");
    let dir = bundle.dir.to_str().unwrap();
    for id in ["", ".", "..", "../up", "a/b", "/abs", "with space", "new\nline", "semi;colon", "umläut"] {
        bundle.command(["create", "--bundle", dir, id]).run().fails();
    }
    for id in ["a", "A-1_b.c+d", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"] {
        let id = format!("{id}{}", std::process::id());
        // The cgroup is named by config.json, so these differ by id alone.
        bundle.command(["create", "--bundle", dir, &id]).run().ok();
        bundle.command(["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn a_container_starts_once() {
    only_for_myrt!(CRUN_WORDS);
    let bundle = Bundle::busybox("once");
    bundle.sleeps();
    bundle.create().ok();
    bundle.start().ok();
    bundle.start().code(1).err_has("cannot start");
    assert_eq!(bundle.status(), "running");
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.start().code(1).err_has("cannot start");
}

#[test]
fn a_running_container_is_deleted_only_by_force() {
    let bundle = Bundle::busybox("delete_running");
    bundle.sleeps();
    bundle.run_detached();
    bundle.delete().fails().err_has("running");
    assert_eq!(bundle.status(), "running");
    bundle.delete_force().ok();
    bundle.command(["state", &bundle.id]).run().fails();
    bundle.assert_clean();
}

#[test]
fn a_created_container_can_be_deleted() {
    let bundle = Bundle::busybox("delete_created");
    bundle.sleeps();
    bundle.create().ok();
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn delete_takes_several_spellings_of_force() {
    only_for_myrt!(CRUN_DASHES);
    let bundle = Bundle::busybox("force_flag");
    bundle.sleeps();
    for args in [["delete", "-f", &bundle.id], ["delete", "--force", &bundle.id], ["delete", "-force", &bundle.id]] {
        bundle.run_detached();
        bundle.command(args).run().ok();
        bundle.assert_clean();
    }
}

#[test]
fn kill_knows_signals_by_name_and_number() {
    only_for_myrt!(CRUN_SIGNALS);
    let bundle = Bundle::busybox("signals");
    bundle.sh("for s in USR1 USR2 HUP INT TERM; do trap \"echo $s >> /tmp/got\" $s; done; echo > /tmp/ready; \
               while :; do sleep 1000 & wait $!; done");
    bundle.run_detached();
    until("the traps are set", || bundle.rootfs("tmp/ready").exists().then_some(()));
    let got = || fs::read_to_string(bundle.rootfs("tmp/got")).unwrap_or_default();
    let mut expected = String::new();
    for (signal, name) in [
        ("USR1", "USR1"),
        ("SIGUSR2", "USR2"),
        ("1", "HUP"),
        ("int", "INT"),
        ("sigterm", "TERM"),
        ("10", "USR1"),
        ("SigHup", "HUP"),
    ] {
        bundle.kill(signal).ok();
        expected += &format!("{name}\n");
        until(&format!("{signal} has arrived as {name}"), || (got() == expected).then_some(()));
    }
    // TERM, if no signal is named.
    bundle.command(["kill", &bundle.id]).run().ok();
    expected += "TERM\n";
    until("the default has arrived", || (got() == expected).then_some(()));
}

#[test]
fn kill_refuses_a_signal_that_there_is_not() {
    only_for_myrt!(CRUN_SIGNALS);
    let bundle = Bundle::busybox("bad_signal");
    bundle.sleeps();
    bundle.run_detached();
    for signal in ["NOPE", "SIG", "-1", "1x", "999"] {
        bundle.command(["kill", "--", &bundle.id, signal]).run().fails();
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn kill_of_a_stopped_container_says_that_it_is_not_running() {
    only_for_myrt!(CRUN_WORDS);
    let bundle = Bundle::busybox("kill_stopped");
    bundle.args(["true"]);
    bundle.create().ok();
    bundle.start().ok();
    bundle.until_status("stopped");
    bundle.kill("KILL").code(1).err_has("container not running");
    bundle.kill("TERM").code(1).err_has("container not running");
}

#[test]
fn signal_0_asks_whether_there_is_a_process() {
    only_for_myrt!(CRUN_SIGNALS);
    let bundle = Bundle::busybox("signal_0");
    bundle.sleeps();
    bundle.run_detached();
    bundle.kill("0").ok();
    bundle.command(["kill", "--all", &bundle.id, "0"]).run().ok();
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.kill("0").code(1).err_has("container not running");
    bundle.command(["kill", "--all", &bundle.id, "0"]).run().ok();
}

#[test]
fn who_is_refused_the_cgroup_of_another_leaves_that_one_alone() {
    only_for_myrt!(CGROUP_SHARED);
    let bundle = Bundle::busybox("cgroup_taken");
    bundle.sleeps();
    bundle.run_detached();
    let second = bundle.another("cgroup_second");
    let text = fs::read(bundle.dir.join("config.json")).unwrap();
    let first: Value = serde_json::from_slice(&text).unwrap();
    second.config(|config| config["linux"]["cgroupsPath"] = first["linux"]["cgroupsPath"].clone());
    second.create().fails();
    second.run().fails();
    // Nothing of it is there to be deleted, which would have killed who lives in that cgroup.
    second.command(["state", &second.id]).run().fails().err_has("container does not exist");
    second.delete_force().ok();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn kill_reaches_a_created_container() {
    let bundle = Bundle::busybox("kill_created");
    bundle.sleeps();
    bundle.create().ok();
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn kill_all_reaches_every_process() {
    let bundle = Bundle::busybox("kill_all");
    // Without a pid namespace of its own the death of the first process takes nobody along.
    bundle.sh("sleep 1000 & sleep 1001 & echo > /tmp/ready; wait").config(|config| config.share("pid"));
    bundle.run_detached();
    until("there are three processes", || (procs(&bundle).len() == 3).then_some(()));
    bundle.command(["kill", "--all", &bundle.id, "KILL"]).run().ok();
    until("all are gone", || procs(&bundle).is_empty().then_some(()));
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn delete_takes_along_what_outlived_the_first_process() {
    only_for_myrt!(ORPHANS_V2);
    let bundle = Bundle::busybox("orphans");
    bundle.sh("sleep 1000 & sleep 1001 & echo > /tmp/ready; exec sleep 1002").config(|config| config.share("pid"));
    bundle.run_detached();
    until("there are three processes", || (procs(&bundle).len() == 3).then_some(()));
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.delete_force().ok();
    bundle.assert_clean();
}

fn procs(bundle: &Bundle) -> Vec<String> {
    let file = bundle.cgroups().first().map(|folder| folder.join("cgroup.procs"));
    let text = file.map(|file| fs::read_to_string(file).unwrap_or_default()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_pid_file_holds_digits_alone() {
    let bundle = Bundle::busybox("pid_file");
    bundle.sleeps();
    let file = bundle.outside("pid");
    bundle.create_command_with(["--pid-file", file.to_str().unwrap()]).run().ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    assert_eq!(text, bundle.pid().to_string());
    bundle.delete_force().ok();

    let args =
        ["run", "--detach", "--pid-file", file.to_str().unwrap(), "-b", bundle.dir.to_str().unwrap(), &bundle.id];
    bundle.command(args).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string(), "an old pid file is replaced");
}

#[test]
fn the_bundle_is_the_working_folder_if_none_is_named() {
    let bundle = Bundle::busybox("cwd_bundle");
    bundle.sleeps();
    bundle.command(["create", &bundle.id]).cwd(&bundle.dir).run().ok();
    assert_eq!(bundle.state()["bundle"], bundle.dir.to_str().unwrap());
    bundle.delete_force().ok();
    // A relative one is relative to the caller.
    let parent = bundle.dir.parent().unwrap().to_owned();
    bundle.command(["create", "--bundle", &bundle.id, &bundle.id]).cwd(parent).run().ok();
    assert_eq!(bundle.state()["bundle"], bundle.dir.to_str().unwrap());
}

#[test]
fn no_command_needs_an_environment() {
    let bundle = Bundle::busybox("no_env");
    bundle.sleeps();
    bundle.create_command().without_env().run().ok();
    for command in [&["start"][..], &["state"], &["kill"], &["delete", "--force"]] {
        let mut args = command.to_vec();
        args.push(&bundle.id);
        bundle.command(args).without_env().run().ok();
    }
    bundle.assert_clean();
}

#[test]
fn the_state_of_a_container_whose_process_was_killed_from_outside_is_stopped() {
    let bundle = Bundle::busybox("killed_outside");
    bundle.sleeps();
    bundle.run_detached();
    rustix::process::kill_process(rustix::process::Pid::from_raw(bundle.pid()).unwrap(), Signal::KILL).unwrap();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn the_bundle_may_be_gone_when_its_container_is_deleted() {
    let bundle = Bundle::busybox("bundle_gone");
    bundle.sleeps();
    bundle.run_detached();
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.state();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn containers_of_one_root_do_not_disturb_each_other() {
    let first = Bundle::busybox("first");
    let second = first.another("second");
    first.sleeps();
    second.sleeps();
    first.run_detached();
    second.run_detached();
    first.delete_force().ok();
    assert_eq!(second.status(), "running");
    second.delete_force().ok();
    first.assert_clean();
}
