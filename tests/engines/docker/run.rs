//! `docker run`: output, exit codes, what stopped a start, detached containers and their logs, restarts, many at once.

use super::{Daemon, docker, sh, sleeper};
use crate::util::{is_myrt, leftovers, until};

#[test]
fn output_comes_back_on_both_streams_and_so_does_the_exit_code() {
    let output = sh("", "echo out; echo err >&2; exit 7").run();
    output.code(7).stdout("out").err_has("err");
    sh("", "true").run().ok();
    // The first process of a pid namespace is safe from itself; another one is not.
    sh("", "sh -c 'kill -9 $$'; exit $?").run().code(137);
}

#[test]
fn standard_input_is_read_to_its_end() {
    docker("run --rm -i box cat").stdin("one\ntwo\n").run().ok().stdout("one\ntwo");
}

#[test]
fn a_program_that_is_not_there_gives_127_and_one_that_may_not_run_126() {
    docker("run --rm box nosuch").run().code(127).err_has("executable file not found in $PATH");
    docker("run --rm box /nosuch").run().code(127).err_has("no such file or directory");
    docker("run --rm box /etc/passwd").run().code(126).err_has("permission denied");
    docker("run --rm --user 1000 --workdir /root box true").run().ok();
}

#[test]
fn environment_working_folder_and_host_name_are_set() {
    let output = sh("--env A=1 --env B= --workdir /new/folder --hostname inside", "echo $A-$B-; pwd; hostname").run();
    output.ok().stdout("1--\n/new/folder\ninside");
    sh("--entrypoint= --add-host other:192.0.2.1", "cat /etc/hosts").run().ok().out_has("192.0.2.1\tother");
}

#[test]
fn a_detached_container_writes_logs_and_is_waited_for() {
    let container = Daemon::shared().detached("", "echo begin; while [ ! -e /go ]; do usleep 20000; done; exit 9");
    container.until_logs("begin");
    docker("ps --format {{.Names}}").run().ok().out_has(&container.name);
    let waiting = container.is_told("wait").spawn();
    container.exec("touch /go").run().ok();
    waiting.wait().ok().stdout("9");
    assert_eq!(container.inspect()["State"]["ExitCode"], 9);
    container.is_told("logs --timestamps").run().ok().out_has("Z begin");
}

#[test]
fn what_a_container_had_is_there_again_when_it_is_started_again() {
    let container = Daemon::shared().detached("", "echo x >> /count; wc -l < /count");
    for round in ["1", "2", "3"] {
        container.until_status("exited");
        assert_eq!(container.logs().lines().last().map(str::trim), Some(round));
        container.is_told("start").run().ok();
    }
}

#[test]
fn attach_and_signals_of_the_client_reach_the_program() {
    let container = Daemon::shared().container();
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do usleep 20000; done";
    let words = format!("run --rm --name {} box sh -c", container.name);
    let mut client = docker(&words).arg(script).spawn();
    client.until_stdout("ready");
    client.signal(rustix::process::Signal::TERM);
    client.until_stdout("got it");
    client.wait().code(5);
}

#[test]
fn restart_policies_start_it_again() {
    let failing = Daemon::shared().detached("--restart on-failure:2", "echo try; exit 4");
    let always = Daemon::shared().detached("--restart always", "exit 0");
    until("it was restarted twice and given up", || {
        let container = failing.inspect();
        (container["RestartCount"] == 2 && container["State"]["Status"] == "exited").then_some(())
    });
    assert_eq!(failing.logs().lines().count(), 3);
    assert_eq!(failing.inspect()["State"]["ExitCode"], 4);
    until("a success is restarted as well", || always.inspect()["RestartCount"].as_u64().filter(|count| *count > 1));
    always.is_told("stop --time 1").run().ok();
    always.until_status("exited");
}

#[test]
fn the_first_process_of_init_is_dockers_and_reaps() {
    let zombies = "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
    let script =
        format!("cat /proc/1/comm; sh -c 'true & exec true'; while [ $({zombies}) != 0 ]; do usleep 9999; done");
    sh("--init", &script).run().ok().stdout("docker-init");
    sh("--init", "exit 3").run().code(3);
}

#[test]
fn docker_knows_what_it_runs() {
    let info = docker("info --format").arg("{{json .}}").run().json();
    assert_eq!(info["DefaultRuntime"], "myrt");
    assert!(info["Runtimes"]["myrt"]["path"].as_str().unwrap().ends_with("/myrt"));
    if is_myrt() {
        // dockerd has parsed `myrt --version`.
        assert!(info["RuncCommit"]["ID"].as_str().is_some_and(|commit| !commit.is_empty() && commit != "N/A"));
    }
    assert_eq!(sleeper("").inspect()["HostConfig"]["Runtime"], "myrt");
}

#[test]
fn fifty_containers_start_run_and_end_at_once() {
    let daemon = Daemon::shared();
    let parent = format!("{}/fifty", daemon.cgroup);
    let options = format!("--cgroup-parent /{parent} --network none");
    let containers: Vec<_> = (0..50).map(|_| daemon.container()).collect();
    let script = "hostname; while :; do sleep 1; done";
    let clients: Vec<_> = containers
        .iter()
        .map(|container| {
            let words = format!("run --detach --name {0} --hostname {0} {options} box sh -c", container.name);
            docker(&words).arg(script).spawn()
        })
        .collect();
    clients.into_iter().for_each(|client| _ = client.wait().ok());
    containers.iter().for_each(|container| container.until_logs(&container.name));
    assert!(!leftovers::cgroups(&parent).is_empty());
    let names: Vec<_> = containers.iter().map(|container| &container.name).collect();
    let states = docker("inspect --format {{.State.Running}}").args(&names).run();
    assert_eq!(states.lines(), ["true"; 50]);
    let running = docker("inspect --format {{.State.Pid}}").args(&names).run().lines();
    assert_eq!(running.iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
    docker("rm --force").args(&names).run().ok();
    let left = leftovers::cgroups(&parent).into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten());
    let left: Vec<_> = left.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}
