//! Namespaces that a container shares with the host or with another container.

use super::{Daemon, docker, sh, sleeper};
use crate::util::until;

#[test]
fn pids_of_the_host_and_of_another_container() {
    sh("--pid host", "ps").run().ok().out_has("containerd --config");
    let container = sleeper("");
    let shared = format!("--pid container:{}", container.name);
    sh(&shared, "cat /proc/1/cmdline | tr '\\0' ' '; echo; readlink /proc/self/ns/pid")
        .run()
        .ok()
        .out_has("sh -c while :")
        .out_has(container.exec("readlink /proc/self/ns/pid").run().out().trim());
    // A signal reaches the other one.
    let killed = Daemon::shared().detached("", "trap 'exit 9' TERM; echo up; while :; do usleep 20000; done");
    killed.until_logs("up");
    docker(&format!("run --rm --pid container:{} box kill 1", killed.name)).run().ok();
    killed.until_status("exited");
    assert_eq!(killed.inspect()["State"]["ExitCode"], 9);
}

#[test]
fn a_container_that_shares_the_hosts_pids_ends_whole() {
    let container = Daemon::shared().detached("--pid host", "sleep 4242 & sleep 4242");
    // The shell's own line has the words as well.
    let sleeps = |line: &&String| line.contains("sleep 4242") && !line.contains("sh -c");
    until("both processes run", || {
        (container.is_told("top").run().ok().lines().iter().filter(sleeps).count() == 2).then_some(())
    });
    container.is_told("kill").run().ok();
    container.until_status("exited");
    sh("--pid host", "ps").run().ok().out_lacks("sleep 4242");
}

#[test]
fn shared_memory_of_another_container() {
    let container = sleeper("--ipc shareable");
    container.exec_sh("echo shared > /dev/shm/x").run().ok();
    sh(&format!("--ipc container:{}", container.name), "cat /dev/shm/x").run().ok().stdout("shared");
    sh("", "cat /dev/shm/x").run().fails();
    let private = sleeper("--ipc private");
    docker(&format!("run --rm --ipc container:{} box true", private.name)).run().code(125);
    let host = Daemon::shared().within(["readlink", "/proc/self/ns/ipc"]).run().out();
    sh("--ipc host", "readlink /proc/self/ns/ipc").run().ok().stdout(&host);
    sh("--ipc none", "test -e /dev/shm").run().fails();
}

#[test]
fn names_of_the_host() {
    let host = Daemon::shared().within(["readlink", "/proc/self/ns/uts"]).run().out();
    sh("--uts host", "readlink /proc/self/ns/uts").run().ok().stdout(&host);
}

#[test]
fn a_cgroup_namespace_of_its_own_or_the_hosts() {
    sh("--cgroupns private", "cut -d: -f3 /proc/self/cgroup | sort -u").run().ok().stdout("/");
    let cgroup = &Daemon::shared().cgroup;
    sh("--cgroupns host", "cat /proc/self/cgroup").run().ok().out_has(&format!(":/{cgroup}/"));
}
