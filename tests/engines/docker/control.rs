//! What is done to a container that runs: exec, signals, pause, new limits, and what Docker tells about it.

use super::{Daemon, docker, sleeper};
use crate::HUNGRY;
use crate::util::until;

#[test]
fn exec_runs_one_more_program() {
    let container = sleeper("--env IMAGE=box");
    container.exec("echo in").run().ok().stdout("in");
    container.exec_sh("echo out; echo err >&2; exit 3").run().code(3).stdout("out").err_has("err");
    let options = "exec --workdir /tmp --user guest --env A=b";
    let words = format!("{options} {} sh -c", container.name);
    docker(&words).arg("pwd; id -un; id -Gn; echo $A $IMAGE").run().ok().stdout("/tmp\nguest\nguest extra\nb box");
    docker(&format!("exec --interactive {} cat", container.name)).stdin("through").run().ok().stdout("through");
    container.exec("nosuch").run().code(126).out_has("executable file not found in $PATH");
    // Of the container, not of the host: its first process is the shell.
    container.exec("cat /proc/1/comm").run().ok().stdout("sh");
}

#[test]
fn exec_in_the_background_runs_on() {
    let container = sleeper("");
    docker(&format!("exec --detach {} sh -c", container.name)).arg("echo done > /proof").run().ok();
    until("the detached program has written", || {
        container.exec_sh("cat /proof").run().out().contains("done").then_some(())
    });
    until("no exec is left", || container.inspect()["ExecIDs"].is_null().then_some(()));
}

#[test]
fn many_execs_at_once_get_their_own_output() {
    let container = sleeper("");
    let running: Vec<_> = (0..12).map(|n| (n, container.exec(&format!("echo {n}")).spawn())).collect();
    running.into_iter().for_each(|(n, exec)| _ = exec.wait().ok().stdout(&n.to_string()));
}

#[test]
fn stop_asks_and_then_kills() {
    let polite = Daemon::shared().detached("", "trap 'echo bye; exit 6' TERM; echo up; while :; do usleep 20000; done");
    polite.until_logs("up");
    polite.is_told("stop").run().ok();
    assert_eq!((polite.inspect()["State"]["ExitCode"].clone(), polite.logs().as_str()), (6.into(), "up\nbye\n"));
    let deaf = Daemon::shared().detached("", "trap '' TERM; echo up; while :; do sleep 1; done");
    deaf.until_logs("up");
    deaf.is_told("stop --time 1").run().ok();
    assert_eq!(deaf.inspect()["State"]["ExitCode"], 137);
    let other =
        Daemon::shared().detached("--stop-signal USR2", "trap 'exit 8' USR2; echo up; while :; do usleep 20000; done");
    other.until_logs("up");
    other.is_told("stop").run().ok();
    assert_eq!(other.inspect()["State"]["ExitCode"], 8);
}

#[test]
fn kill_sends_any_signal() {
    let container = Daemon::shared().detached("", "trap 'echo one' USR1; echo up; while :; do usleep 20000; done");
    container.until_logs("up");
    container.is_told("kill --signal USR1").run().ok();
    container.until_logs("one");
    container.is_told("kill --signal 10").run().ok();
    container.until_logs("one\none");
    container.is_told("kill").run().ok();
    container.until_status("exited");
    assert_eq!(container.inspect()["State"]["ExitCode"], 137);
    container.is_told("kill").run().fails().err_has("is not running");
}

#[test]
fn restart_gives_a_new_process() {
    let container = sleeper("");
    let before = container.inspect()["State"]["Pid"].clone();
    container.is_told("restart --time 0").run().ok();
    let after = container.inspect()["State"].clone();
    assert!(after["Running"] == true && after["Pid"] != before, "{after}");
    container.exec("true").run().ok();
}

#[test]
fn pause_stops_its_clock_and_unpause_lets_it_go_on() {
    let container = Daemon::shared().detached("", "while :; do echo tick; usleep 10000; done");
    container.until_logs("tick");
    container.is_told("pause").run().ok();
    assert_eq!(container.inspect()["State"]["Status"], "paused");
    let ticks = container.logs().lines().count();
    container.exec("true").run().fails().err_has("is paused");
    // The time that a `docker` command takes is that of many ticks.
    assert_eq!(container.logs().lines().count(), ticks);
    container.is_told("unpause").run().ok();
    until("it ticks again", || (container.logs().lines().count() > ticks).then_some(()));
}

#[test]
fn a_paused_container_can_be_removed() {
    let container = sleeper("");
    container.is_told("pause").run().ok();
    container.is_told("rm --force").run().ok();
    container.is_told("inspect").run().fails();
}

/// One of a v1 and a v2 file of the container's own cgroup, as it sees it.
fn limit(container: &super::Container<'_>, v1: &str, v2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{v1} 2> /dev/null || cat /sys/fs/cgroup/{v2}");
    container.exec_sh(&script).run().ok().out().trim().to_owned()
}

#[test]
fn update_changes_limits_of_a_running_container() {
    let container = sleeper("--memory 128m --cpus 1");
    assert_eq!(limit(&container, "memory/memory.limit_in_bytes", "memory.max"), (128 << 20).to_string());
    let words = "update --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0";
    container.is_told(words).run().ok();
    assert_eq!(limit(&container, "memory/memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(limit(&container, "cpu/cpu.cfs_quota_us", "cpu.max").split(' ').next(), Some("50000"));
    assert_eq!(limit(&container, "pids/pids.max", "pids.max"), "50");
    assert_eq!(limit(&container, "cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    container.exec("nproc").run().ok().stdout("1");
    assert_eq!(container.inspect()["HostConfig"]["Memory"], 64 << 20);
    // The limits hold for the next start as well.
    container.is_told("restart --time 0").run().ok();
    assert_eq!(limit(&container, "memory/memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    container.is_told("update --restart no --cpu-shares 512").run().ok();
}

#[test]
fn a_container_beyond_its_memory_is_killed_and_docker_tells_why() {
    let container = Daemon::shared().detached("--memory 24m --memory-swap 24m", HUNGRY);
    container.exec("touch /go").run().ok();
    let events = format!("events --since 1h --until 0s --filter event=oom --filter container={}", container.name);
    until("Docker has heard of it", || docker(&events).run().ok().out().contains("oom").then_some(()));
    container.exec("rm /go").run().ok();
    container.until_status("exited");
    let state = container.inspect()["State"].clone();
    assert!(state["ExitCode"] == 137 && state["OOMKilled"] == true, "{state}");
}

#[test]
fn stats_and_top_show_its_processes() {
    let container = sleeper("--pids-limit 77 --memory 99m");
    let stats = docker("stats --no-stream --format").arg("{{json .}}").arg(&container.name).run().json();
    let memory = stats["MemUsage"].as_str().unwrap();
    assert!(memory.ends_with("/ 99MiB") && !memory.starts_with("0B"), "{stats}");
    assert!(stats["PIDs"].as_str().unwrap().parse::<u32>().unwrap() >= 1, "{stats}");
    assert!(stats["CPUPerc"].as_str().unwrap().ends_with('%'), "{stats}");
    let top = docker(&format!("top {} -o pid,args", container.name)).run();
    top.ok().out_has("sh -c while :");
    let pid = container.inspect()["State"]["Pid"].to_string();
    assert!(top.lines().iter().any(|line| line.trim_start().starts_with(&pid)), "{top}");
}

#[test]
fn a_health_check_turns_and_is_seen() {
    let health = "--health-interval 200ms --health-retries 2 --health-timeout 10s";
    let container = Daemon::shared().container();
    let words = format!("run --detach --name {} {health} --health-cmd", container.name);
    docker(&words).arg("cat /tmp/health").args(["box", "sh", "-c", "while :; do sleep 1; done"]).run().ok();
    let becomes = |status: &str| {
        until(&format!("it is {status}"), || {
            (container.inspect()["State"]["Health"]["Status"] == *status).then_some(())
        });
    };
    becomes("unhealthy");
    container.exec_sh("echo well > /tmp/health").run().ok();
    becomes("healthy");
    let log = container.inspect()["State"]["Health"]["Log"].clone();
    let last = log.as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["ExitCode"].clone(), last["Output"].clone()), (0.into(), "well\n".into()), "{log}");
    docker("ps --format {{.Names}}={{.Status}}").run().ok().out_has("(healthy)");
}

#[test]
fn files_are_copied_in_and_out() {
    let container = sleeper("");
    let path = Daemon::shared().path("copied");
    std::fs::write(&path, "from outside").unwrap();
    docker("cp").arg(&path).arg(format!("{}:/root/in", container.name)).run().ok();
    container.exec("cat /root/in").run().ok().stdout("from outside");
    container.exec_sh("echo back > /root/in").run().ok();
    docker("cp").arg(format!("{}:/root/in", container.name)).arg(&path).run().ok();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "back\n");
}
