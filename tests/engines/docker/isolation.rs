//! What a container may do: users, capabilities, filters, limits, devices, cgroups.

use std::fs;

use super::{Daemon, docker, sh, sleeper};
use crate::only_for_myrt;
use crate::util::{TestCommand, leftovers};

/// A line of /proc/PID/status.
fn status_line<'a>(status: &'a str, field: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"));
    line.unwrap_or_else(|| panic!("no {field} in {status}")).trim()
}

/// The effective capabilities of `docker run OPTIONS`.
fn effective(options: &str) -> u64 {
    let status = sh(options, "cat /proc/self/status").run().ok().out();
    u64::from_str_radix(status_line(&status, "CapEff"), 16).unwrap()
}

const CHOWN: u64 = 1;
const NET_RAW: u64 = 1 << 13;
const NET_ADMIN: u64 = 1 << 12;

#[test]
fn capabilities_are_added_and_dropped() {
    // Docker's fourteen, then fewer, then only one.
    assert_eq!(effective("").count_ones(), 14);
    assert_eq!(effective("--cap-drop CHOWN --cap-drop NET_RAW") & (CHOWN | NET_RAW), 0);
    assert_eq!(effective("--cap-drop ALL --cap-add NET_ADMIN"), NET_ADMIN);
    sh("--cap-drop ALL", "chown 1000 /tmp").run().fails().err_has("not permitted");
    sh("--cap-add NET_ADMIN", "ip link set lo mtu 1280 && cat /sys/class/net/lo/mtu").run().ok().stdout("1280");
    sh("--user 1000", "grep -E 'Cap(Eff|Prm|Amb)' /proc/self/status | cut -f2 | uniq")
        .run()
        .ok()
        .stdout("0000000000000000");
}

#[test]
fn a_privileged_container_has_all_that_the_host_has() {
    only_for_myrt!(UNGRANTED);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = u64::from_str_radix(status_line(&own, "CapBnd"), 16).unwrap();
    // Docker of this age asks for no more than 38.
    let known = bounding & ((1 << 38) - 1);
    assert_eq!(effective("--privileged") & known, known);
    let script = "mount -t tmpfs tmpfs /mnt && echo mounted; test -w /proc/sys && echo writable; test -e /dev/kmsg && echo devices";
    sh("--privileged", script).run().ok().stdout("mounted\nwritable\ndevices");
    sh("", "mount -t tmpfs tmpfs /mnt").run().fails().err_has("permission denied");
    let container = sleeper("");
    let status = docker("exec --privileged").args([&container.name, "cat", "/proc/self/status"]).run().ok().out();
    assert_eq!(u64::from_str_radix(status_line(&status, "CapEff"), 16).unwrap() & known, known);
}

#[test]
fn a_seccomp_profile_is_in_force() {
    let profile = Daemon::shared().path("seccomp.json");
    let rule = r#"{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}"#;
    fs::write(&profile, format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#)).unwrap();
    sh(&format!("--security-opt seccomp={profile}"), "mkdir /x").run().fails().err_has("not implemented");
    let seccomp = "grep Seccomp: /proc/self/status";
    sh("--security-opt seccomp=unconfined", seccomp).run().ok().stdout("Seccomp:\t0");
    // Docker's own, which some three hundred calls pass.
    sh("", seccomp).run().ok().stdout("Seccomp:\t2");
    sh("", "unshare --user true").run().fails().err_has("not permitted");
}

#[test]
fn no_new_privileges_holds_for_run_and_exec() {
    let flag = "grep NoNewPrivs: /proc/self/status";
    sh("", flag).run().ok().stdout("NoNewPrivs:\t0");
    let container = sleeper("--security-opt no-new-privileges");
    container.exec_sh(flag).run().ok().stdout("NoNewPrivs:\t1");
}

#[test]
fn a_user_is_given_by_number_or_by_name() {
    sh("--user 1234:2000 --group-add 5 --group-add extra", "id -u; id -g; id -G")
        .run()
        .ok()
        .stdout("1234\n2000\n2000 5");
    sh("--user guest", "id -un; id -Gn; echo $HOME").run().ok().stdout("guest\nguest extra\n/home/guest");
    docker("run --rm --user nobody-knows box true").run().code(125).err_has("unable to find user");
}

#[test]
fn ulimits_hold_for_run_and_exec() {
    let limits = "ulimit -n; ulimit -Hn; ulimit -c";
    let container = sleeper("--ulimit nofile=100:200 --ulimit core=0");
    container.exec_sh(limits).run().ok().stdout("100\n200\n0");
    sh("--ulimit nofile=100:200 --ulimit core=0", limits).run().ok().stdout("100\n200\n0");
}

#[test]
fn a_device_is_there_with_its_rights_and_others_are_not() {
    sh("--device /dev/null:/dev/mine:rw", "echo x > /dev/mine; cat /dev/mine; ls -l /dev/mine")
        .run()
        .ok()
        .out_has("1,   3");
    sh("--device /dev/kmsg:/dev/mine:r", ": > /dev/mine").run().fails().err_has("not permitted");
    // loop-control, whether this kernel has it or not: the rule alone decides whether it is permitted.
    let script = "mknod /dev/mine c 10 237; : < /dev/mine";
    sh("", script).run().fails().err_has("not permitted");
    let allowed = docker("run --rm --device-cgroup-rule").args(["c 10:237 r", "box", "sh", "-c", script]).run();
    assert!(!allowed.err().contains("not permitted"), "{allowed}");
}

#[test]
fn it_lives_below_the_cgroup_that_is_asked_for() {
    let parent = format!("{}/of-my-own", Daemon::shared().cgroup);
    let container = sleeper(&format!("--cgroup-parent /{parent}"));
    let id = container.inspect()["Id"].as_str().unwrap().to_owned();
    let folders = leftovers::cgroups(&format!("{parent}/{id}"));
    assert!(!folders.is_empty());
    for folder in &folders {
        assert!(!fs::read_to_string(folder.join("cgroup.procs")).unwrap().is_empty(), "{}", folder.display());
    }
    drop(container);
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn a_relative_cgroup_parent_lies_below_the_daemons_own_and_is_removed() {
    only_for_myrt!(PARENT_CGROUP);
    let parent = format!("{}-relative", Daemon::shared().cgroup);
    let find = || TestCommand::new(["find", "/sys/fs/cgroup", "-name", &parent]).run().out();
    let container = sleeper(&format!("--cgroup-parent {parent}"));
    container.exec("true").run().ok();
    container.is_told("pause").run().ok();
    container.is_told("unpause").run().ok();
    assert_ne!(find(), "");
    drop(container);
    assert_eq!(find(), "");
}

#[test]
fn oom_score_and_sysctls_are_set() {
    sh("--oom-score-adj 500", "cat /proc/self/oom_score_adj").run().ok().stdout("500");
    let sysctls = "--sysctl net.ipv4.ip_unprivileged_port_start=99 --sysctl kernel.msgmax=1000";
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    sh(sysctls, script).run().ok().stdout("99\n1000");
    docker("run --rm --sysctl vm.swappiness=1 box true").run().code(125).err_has("vm.swappiness");
    // The host's network comes as a namespace with a path: it is the host's all the same.
    let host = "--network host --sysctl net.core.somaxconn=77";
    sh(host, "true").run().fails().err_has("network namespace");
    sh("--network host", "cat /proc/sys/net/core/somaxconn").run().ok().out_lacks("77");
}

#[test]
fn limits_are_seen_inside() {
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || cat /sys/fs/cgroup/memory.max
        cat /sys/fs/cgroup/pids/pids.max 2> /dev/null || cat /sys/fs/cgroup/pids.max; nproc";
    sh("--memory 64m --pids-limit 33 --cpuset-cpus 0", script).run().ok().stdout("67108864\n33\n1");
    // The limit on processes bites.
    let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done; echo all";
    sh("--pids-limit 4", forks).run().out_lacks("all");
}

#[test]
fn what_docker_masks_cannot_be_read() {
    let script = "wc -c < /proc/keys; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness";
    sh("", script).run().fails().stdout("0\n0").err_has("Read-only file system");
    let unmasked = "--security-opt systempaths=unconfined";
    sh(unmasked, "grep -c -E ' /proc/(keys|sys|acpi) ' /proc/self/mounts").run().code(1).stdout("0");
}
