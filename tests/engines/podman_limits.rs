//! Podman: limits, and the cgroups that hold them.

use std::fs;

use crate::only_for_myrt;
use crate::podman::machine;
use crate::util::leftovers;

/// A file of the container's own cgroup: by its v2 name on a v2 host, else by its v1 name.
fn read(v1: &str, v2: &str) -> String {
    format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}")
}

#[test]
fn limits_are_what_was_asked_for() {
    let check = |option: &str, value: &str, script: &str, expected: &str| {
        machine().sh(&[option, value], script).ok().stdout(expected);
    };
    check("--memory", "32m", &read("memory/memory.limit_in_bytes", "memory.max"), "33554432");
    check("--pids-limit", "77", &read("pids/pids.max", "pids.max"), "77");
    check("--cpuset-cpus", "0", "grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0");
    let quota = machine().sh(&["--cpus", "0.5"], &read("cpu/cpu.cfs_quota_us", "cpu.max")).ok().out();
    assert!(quota.starts_with("50000"), "{quota}");
}

#[test]
fn limits_bite() {
    let memory = ["--memory", "16m", "--memory-swap", "16m"];
    machine().sh(&memory, "dd if=/dev/zero of=/dev/null bs=64M count=1").code(137);
    let pids = machine().sh(&["--pids-limit", "5"], "for i in 1 2 3 4 5 6 7; do sleep 1 & done; wait");
    pids.fails().err_has("Resource temporarily unavailable");
}

#[test]
fn update_changes_a_running_container() {
    let container = machine().start("updated", &["--memory", "64m"], "sleep 1000");
    machine().podman(["update", "--memory", "48m", "--cpus", "0.25", "--cpuset-cpus", "0", "updated"]).run().ok();
    let script = read("memory/memory.limit_in_bytes", "memory.max");
    container.exec(["sh", "-c", &script]).run().ok().stdout("50331648");
    let script = read("cpu/cpu.cfs_quota_us", "cpu.max");
    assert!(container.exec(["sh", "-c", &script]).run().ok().out().starts_with("25000"));
    container.exec(["grep", "Cpus_allowed_list", "/proc/self/status"]).run().ok().stdout("Cpus_allowed_list:\t0");
}

#[test]
fn the_parent_cgroup_is_the_one_that_was_named_and_goes_with_the_container() {
    let options = ["--cgroup-parent", "/named-parent", "--cgroupns", "host"];
    let container = machine().start("parent", &options, "sleep 1000");
    container.exec(["cat", "/proc/1/cgroup"]).run().ok().out_has("/named-parent/libpod-");
    let path = format!("{}/named-parent", machine().folder.file_name().unwrap().to_str().unwrap());
    let below = || {
        let folders = leftovers::cgroups(&path).into_iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
        folders
            .filter(|entry| entry.path().is_dir() && entry.file_name().to_str().unwrap().starts_with("libpod-"))
            .count()
    };
    assert!(below() > 0);
    machine().podman(["rm", "-f", "-t", "0", "parent"]).run().ok();
    machine().podman(["container", "exists", "parent"]).run().code(1);
    // conmon's is a cgroup beside it, which Podman leaves to the host.
    assert_eq!(container_cgroups(&path), Vec::<String>::new());
}

fn container_cgroups(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in leftovers::cgroups(path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let procs = entry.path().join("cgroup.procs");
            if fs::read_to_string(&procs).is_ok_and(|pids| !pids.trim().is_empty()) {
                found.push(procs.display().to_string());
            }
        }
    }
    found
}

#[test]
fn cgroups_can_be_left_out() {
    only_for_myrt!(NO_CGROUPS);
    let ours = machine().inside(["cat", "/proc/self/cgroup"]).run().ok().out();
    let theirs = machine().sh(&["--cgroups", "disabled", "--cgroupns", "host"], "cat /proc/self/cgroup").ok().out();
    assert!(!theirs.contains("libpod-"), "{theirs}, beside {ours}");
}

#[test]
fn conmon_can_be_left_in_the_callers_cgroup() {
    machine().sh(&["--cgroups", "no-conmon"], "echo ran").ok().stdout("ran");
}

#[test]
fn fifty_containers_at_once_start_and_go() {
    let scripts = (0..50).map(|number| {
        let args = ["run", "--rm", "--network", "none", "box", "echo"];
        (number, machine().podman(args).arg(format!("number-{number}")))
    });
    // A handful at a time: Podman itself takes locks, and two cores are few.
    let all: Vec<_> = scripts.collect();
    for chunk in all.chunks(10) {
        let running: Vec<_> = chunk.iter().map(|(number, command)| (number, command.spawn())).collect();
        for (number, running) in running {
            running.wait().ok().stdout(&format!("number-{number}"));
        }
    }
}
