//! Podman: from run to rm, and what a user sees of it: exit codes, logs, states, restarts.

use crate::podman::machine;
use crate::util::{Value, json, until};

#[test]
fn run_gives_output_and_exit_code() {
    let output = machine().sh(&[], "echo out; echo err >&2; exit 7");
    output.code(7).stdout("out").err_has("err");
}

#[test]
fn input_goes_in_and_a_signal_is_an_exit_code() {
    let run = machine().podman(["run", "--rm", "-i", "--network", "none", "box", "cat"]).stdin("typed");
    run.run().ok().stdout("typed");
    machine().sh(&[], "sh -c 'kill -9 $$'; exit $?").code(137);
}

#[test]
fn a_program_that_cannot_run_has_the_usual_exit_codes() {
    let run = |args: &[&str]| machine().podman(["run", "--rm", "--network", "none", "box"]).args(args).run();
    run(&["no-such-program"]).code(127).err_has("executable file not found in $PATH");
    run(&["/etc"]).code(126).err_has("permission denied");
    run(&["/no/such/file"]).code(127).err_has("no such file or directory");
}

#[test]
fn a_detached_container_logs_stops_and_starts_again() {
    let script = "echo out; echo err >&2; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let container = machine().start("life", &[], script);
    container.until_logged("ready");
    machine().podman(["logs", "life"]).run().ok().stdout("out\nready").err_has("err");
    assert_eq!(container.inspect("{{.State.Status}} {{.OCIRuntime}}"), "running myrt");
    machine().podman(["ps", "--filter", "name=^life$", "--format", "{{.Status}}"]).run().ok().out_has("Up ");

    machine().podman(["stop", "life"]).run().ok();
    assert_eq!(container.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
    machine().podman(["logs", "life"]).run().ok().out_has("term");

    machine().podman(["start", "life"]).run().ok();
    container.until_state("running");
    machine().podman(["restart", "-t", "0", "life"]).run().ok();
    machine().podman(["kill", "life"]).run().ok();
    container.until_state("exited");
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "137");
    machine().podman(["wait", "life"]).run().ok().stdout("137");
}

#[test]
fn kill_sends_the_signal_that_is_named() {
    let script = "trap 'echo usr1' USR1; trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done";
    let container = machine().start("signals", &["--stop-signal", "HUP"], script);
    container.until_logged("ready");
    machine().podman(["kill", "--signal", "USR1", "signals"]).run().ok();
    container.until_logged("usr1");
    machine().podman(["stop", "signals"]).run().ok();
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "9");
}

#[test]
fn what_ignores_the_stop_signal_is_killed() {
    let container = machine().start("stubborn", &[], "trap '' TERM; echo ready; while :; do sleep 1; done");
    container.until_logged("ready");
    machine().podman(["stop", "-t", "1", "stubborn"]).run().ok();
    assert_eq!(container.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
}

#[test]
fn create_init_and_start_are_separate_steps() {
    let command = machine().podman(["create", "--name", "steps", "--network", "none", "box", "echo", "stepped"]);
    command.run().ok();
    machine().podman(["init", "steps"]).run().ok();
    machine().podman(["inspect", "--format", "{{.State.Status}}", "steps"]).run().ok().stdout("initialized");
    machine().podman(["start", "--attach", "steps"]).run().ok().stdout("stepped");
    machine().podman(["rm", "steps"]).run().ok();
    machine().podman(["container", "exists", "steps"]).run().code(1);
}

#[test]
fn exec_has_its_own_user_folder_environment_and_exit_code() {
    let container = machine().start("exec", &["--env", "A=container"], "sleep 1000");
    container.exec(["sh", "-c", "echo $A; exit 5"]).run().code(5).stdout("container");
    let options = ["exec", "-u", "guest", "-w", "/tmp", "-e", "A=exec", "exec", "sh", "-c", "id; pwd; echo $A"];
    let output = machine().podman(options).run();
    output.ok().out_has("uid=1000(guest) gid=1000(guest)").out_has("/tmp\nexec");
    machine().podman(["exec", "-i", "exec", "cat"]).stdin("piped").run().ok().stdout("piped");
    machine().podman(["exec", "-d", "exec", "touch", "/tmp/detached"]).run().ok();
    until("the detached exec has run", || {
        (container.exec(["test", "-e", "/tmp/detached"]).run().exit_code() == 0).then_some(())
    });
    container.exec(["no-such-program"]).run().code(127).err_has("executable file not found in $PATH");
    container.exec(["/etc"]).run().code(126).err_has("permission denied");
    machine().podman(["exec", "no-such-container", "true"]).run().code(125);
}

#[test]
fn a_paused_container_stands_still_and_refuses_exec() {
    let container = machine().start("paused", &[], "while :; do echo x >> /ticks; sleep 0.02; done");
    machine().podman(["pause", "paused"]).run().ok();
    assert_eq!(container.inspect("{{.State.Status}}"), "paused");
    container.exec(["true"]).run().fails().err_has("container state improper");
    machine().podman(["unpause", "paused"]).run().ok();
    container.exec(["true"]).run().ok();
    machine().podman(["pause", "paused"]).run().ok();
    // rm -f of a paused container is the guard's.
}

#[test]
fn top_stats_and_ps_see_the_processes() {
    let _container = machine().start("seen", &["--memory", "64m"], "sleep 1001 & sleep 1002");
    let top = || machine().podman(["top", "seen", "pid", "args"]).run();
    until("both processes are listed", || (top().ok().out().matches("sleep 100").count() >= 2).then_some(()));
    let stats = machine().podman(["stats", "--no-stream", "--format", "json", "seen"]).run().json();
    assert_eq!(stats[0]["name"], "seen");
    assert!(stats[0]["mem_usage"].as_str().unwrap().ends_with("/ 67.11MB"), "{stats}");
    assert!(stats[0]["pids"].as_str().unwrap().parse::<u32>().unwrap() >= 2, "{stats}");
}

#[test]
fn a_failing_container_is_restarted_as_often_as_the_policy_says() {
    let folder = machine().path("restarts");
    std::fs::create_dir(&folder).unwrap();
    let options = ["--restart", "on-failure:2", "-v", &format!("{folder}:/s")];
    let container = machine().start("restarts", &options, "echo x >> /s/starts; exit 1");
    until("the third start", || {
        (std::fs::read_to_string(format!("{folder}/starts")).unwrap_or_default().lines().count() == 3).then_some(())
    });
    container.until_state("exited");
    assert_eq!(container.inspect("{{.RestartCount}} {{.State.ExitCode}}"), "2 1");
}

#[test]
fn a_health_check_runs_in_the_container() {
    let options = ["--health-cmd", "test -e /healthy", "--health-interval", "disable", "--health-retries", "1"];
    let container = machine().start("health", &options, "sleep 1000");
    let check = || machine().podman(["healthcheck", "run", "health"]).run();
    check().code(1);
    assert_eq!(container.inspect("{{.State.Health.Status}}"), "unhealthy");
    container.exec(["touch", "/healthy"]).run().ok();
    check().ok();
    assert_eq!(container.inspect("{{.State.Health.Status}}"), "healthy");
}

#[test]
fn init_takes_in_orphans() {
    // The orphan has ended when the pipe has; who takes it in is then asked until there is no zombie.
    let script = "cat /proc/1/comm; (sh -c 'exec sh -c true' & echo) | cat; sleep 0.01
        while grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.1; done; echo none";
    machine().sh(&["--init"], script).ok().out_has("podman-init").out_has("none");
}

#[test]
fn files_are_copied_in_and_out_also_of_a_paused_container() {
    let file = machine().path("tmp/to-copy");
    std::fs::write(&file, "copied").unwrap();
    let container = machine().start("copy", &[], "sleep 1000");
    machine().podman(["cp", &file, "copy:/tmp/first"]).run().ok();
    machine().podman(["pause", "copy"]).run().ok();
    machine().podman(["cp", &file, "copy:/tmp/second"]).run().ok();
    machine().podman(["unpause", "copy"]).run().ok();
    container.exec(["cat", "/tmp/first", "/tmp/second"]).run().ok().stdout("copiedcopied");
    let back = machine().path("tmp/copied-back");
    machine().podman(["cp", "copy:/tmp/first", &back]).run().ok();
    assert_eq!(std::fs::read_to_string(back).unwrap(), "copied");
}

#[test]
fn descriptors_that_are_preserved_arrive() {
    let file = machine().path("tmp/preserved");
    std::fs::write(&file, "handed on").unwrap();
    let script = "exec 3<\"$1\"; shift; exec podman \"$@\"";
    let with_file = || machine().inside(["/bin/sh", "-c", script, "sh", &file]);
    let run = ["run", "--rm", "--network", "none", "--preserve-fds", "1", "box", "cat", "/proc/self/fd/3"];
    with_file().args(run).run().ok().stdout("handed on");
    let _container = machine().start("preserve", &[], "sleep 1000");
    with_file()
        .args(["exec", "--preserve-fds", "1", "preserve", "cat", "/proc/self/fd/3"])
        .run()
        .ok()
        .stdout("handed on");
}

#[test]
fn checkpoint_is_refused_and_the_container_lives_on() {
    let container = machine().start("checkpoint", &[], "sleep 1000");
    machine().podman(["container", "checkpoint", "checkpoint"]).run().fails().err_has("checkpoint");
    container.exec(["true"]).run().ok();
}

#[test]
fn a_container_whose_conmon_was_killed_can_still_be_removed() {
    let container = machine().start("orphaned", &[], "trap '' TERM; sleep 1000");
    let (conmon, pid) = (container.inspect("{{.State.ConmonPid}}"), container.inspect("{{.State.Pid}}"));
    machine().inside(["kill", "-9", &conmon]).run().ok();
    machine().podman(["rm", "-f", "-t", "0", "orphaned"]).run().ok();
    machine().podman(["container", "exists", "orphaned"]).run().code(1);
    machine().inside(["test", "-e", &format!("/proc/{pid}")]).run().fails();
}

#[test]
fn a_socket_of_its_caller_is_passed_on() {
    // As systemd starts a service on demand: the socket is descriptor 3, and two variables say so.
    let script = "exec 3<\"$1\"; shift; export LISTEN_PID=$$ LISTEN_FDS=1; exec podman \"$@\"";
    let file = machine().path("tmp/socket");
    std::fs::write(&file, "from the socket").unwrap();
    let run = ["run", "--rm", "--network", "none", "box", "sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3"];
    let command = machine().inside(["/bin/sh", "-c", script, "sh", &file]).args(run);
    command.run().ok().stdout("1 1\nfrom the socket");
}

#[test]
fn hooks_of_the_host_run_with_the_containers_state() {
    let folder = machine().path("hooks");
    std::fs::create_dir(&folder).unwrap();
    let log = format!("{folder}/log");
    let hook = format!(
        r#"{{"version": "1.0.0", "when": {{"always": true}}, "stages": ["createRuntime", "poststop"],
            "hook": {{"path": "/bin/sh", "args": ["sh", "-c", "cat >> {log}; echo >> {log}"]}}}}"#
    );
    std::fs::write(format!("{folder}/hook.json"), hook).unwrap();
    let run = ["--hooks-dir", &folder, "run", "--rm", "--network", "none", "box", "echo", "hooked"];
    machine().podman(run).run().ok().stdout("hooked");
    let states = std::fs::read_to_string(&log).unwrap();
    let states: Vec<Value> = states.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states[0]["pid"].as_u64().unwrap() > 0 && states[0]["bundle"].is_string(), "{states:?}");
    assert_eq!((&states[0]["id"], &states[1]["status"]), (&states[1]["id"], &json!("stopped")));
}
