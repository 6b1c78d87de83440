//! What wants a daemon of its own: other users' ids for all containers, containers that outlive their daemon, a host
//! whose root cannot be pivoted.

use std::fs;

use super::Daemon;
use crate::util::until;
use crate::util::user::Ordinary;

#[test]
fn containers_outlive_their_daemon_with_live_restore() {
    let mut daemon = Daemon::start(&["--live-restore"]);
    let steady = daemon.container();
    let ending = daemon.container();
    let talks = "trap 'exit 0' TERM; while :; do echo tick; usleep 50000; done";
    let waits = "until [ -e /tmp/go ]; do usleep 50000; done; exit 11";
    let names = [(steady.name.clone(), talks), (ending.name.clone(), waits)];
    for (name, script) in &names {
        daemon.docker(&format!("run --detach --name {name} box sh -c")).arg(script).run().ok();
    }
    std::mem::forget((steady, ending));
    let pid = |daemon: &Daemon, name: &str| {
        daemon.docker(&format!("inspect --format {{{{.State.Pid}}}} {name}")).run().ok().out().trim().to_owned()
    };
    let before = [pid(&daemon, &names[0].0), pid(&daemon, &names[1].0)];

    daemon.stop_dockerd();
    daemon.docker("version").run().fails();
    daemon.within(["kill", "-0", &before[0]]).run().ok();
    // One of them ends while nobody looks.
    daemon.within(["touch", &format!("/proc/{}/root/tmp/go", before[1])]).run().ok();
    until("it has ended", || (daemon.within(["kill", "-0", &before[1]]).run().exit_code() != 0).then_some(()));
    daemon.start_dockerd();

    assert_eq!(pid(&daemon, &names[0].0), before[0]);
    let lines = |daemon: &Daemon| daemon.docker(&format!("logs {}", names[0].0)).run().ok().out().lines().count();
    let then = lines(&daemon);
    until("its output is read again", || (lines(&daemon) > then).then_some(()));
    daemon.docker(&format!("exec {} echo in", names[0].0)).run().ok().stdout("in");
    daemon.docker(&format!("stop {}", names[0].0)).run().ok();
    let codes =
        daemon.docker("inspect --format {{.State.Status}}={{.State.ExitCode}}").args(names.map(|(name, _)| name));
    codes.run().ok().stdout("exited=0\nexited=11");
}

#[test]
fn with_userns_remap_root_inside_is_nobody_outside() {
    let user = Ordinary::get();
    let first = user.range.expect("subordinate ids of myrt-test");
    let daemon = Daemon::start(&["--userns-remap", "myrt-test"]);
    let script =
        "echo $(cat /proc/self/uid_map /proc/self/gid_map); id -u; touch /x; stat -c %u /x; while :; do sleep 1; done";
    let container = daemon.detached("--volume /v", script);
    let map = format!("0 {first} 65536");
    container.until_logs(&format!("{map} {map}\n0\n0\n"));
    let state = container.inspect();
    // Seen from outside of all namespaces.
    let pid = state["State"]["Pid"].to_string();
    daemon.within(["stat", "-c", "%u", &format!("/proc/{pid}")]).run().ok().stdout(&first.to_string());
    let volume = state["Mounts"][0]["Source"].as_str().unwrap().to_owned();
    container.exec("touch /v/file").run().ok();
    daemon.within(["stat", "-c", "%u", &format!("{volume}/file")]).run().ok().stdout(&first.to_string());
    container.exec_sh("echo $(cat /proc/self/uid_map)").run().ok().stdout(&map);
    container.is_told("update --memory 64m --memory-swap 64m").run().ok();
    container.is_told("pause").run().ok();
    container.is_told("unpause").run().ok();
    // A file of the host's root can be looked at through a bind, not written.
    let secret = daemon.path("secret");
    fs::write(&secret, "of the host").unwrap();
    let bind = daemon.docker(&format!("run --rm --volume {secret}:/secret box sh -c"));
    bind.arg("cat /secret; echo x > /secret").run().fails().stdout("of the host").err_has("Permission denied");
    daemon.docker("run --rm --read-only --tmpfs /t --user 1000 --network none box id -u").run().ok().stdout("1000");
    daemon.docker("run --rm --sysctl net.ipv4.ip_unprivileged_port_start=9 --init box true").run().ok();
    daemon.docker("run --rm --userns host box cat /proc/self/uid_map").run().ok().out_has("4294967295");
    container.is_told("stop --time 0").run().ok();
}

#[test]
fn on_a_ramdisk_the_root_is_moved_and_not_pivoted() {
    // What an initramfs wants, dockerd is told by its environment: containers are created with --no-pivot.
    let daemon = Daemon::start_with(&[], &[("DOCKER_RAMDISK", "1")]);
    let container = daemon.detached("--read-only", "echo started; while :; do sleep 1; done");
    container.until_logs("started");
    container.exec_sh("cd ../../..; ls; pwd").run().ok().out_has("proc").out_lacks("lost+found");
    container.exec("touch /x").run().fails().err_has("Read-only");
    container.is_told("stop --time 0").run().ok();
}
