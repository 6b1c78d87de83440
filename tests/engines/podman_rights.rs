//! Podman: what a container's program may do, and as whom.

use std::fs;

use crate::podman::machine;

#[test]
fn capabilities_are_podmans_defaults_more_fewer_or_all() {
    let effective = |options: &[&str]| machine().sh(options, "grep CapEff /proc/self/status").ok().out();
    assert_eq!(effective(&[]), effective(&["--cap-add", "chown"]));
    let one = effective(&["--cap-drop", "all", "--cap-add", "net_raw"]);
    assert!(one.trim().ends_with("0000000000002000"), "{one}");
    let fewer = effective(&["--cap-drop", "chown"]);
    assert_ne!(fewer, effective(&[]));
    machine().sh(&["--cap-drop", "chown"], "touch /x; chown 1 /x").fails().err_has("Operation not permitted");
    let none = effective(&["--user", "1000"]);
    assert!(none.trim().ends_with("0000000000000000"), "{none}");
}

#[test]
fn privileged_is_everything_that_the_caller_has() {
    let script =
        "grep -E '^(CapEff|Seccomp):' /proc/self/status; mount -t tmpfs x /mnt && echo mounted; [ -c /dev/fuse ]";
    let output = machine().sh(&["--privileged"], script);
    output.ok().out_has("mounted").out_has("Seccomp:\t0");
    let caller = machine().inside(["grep", "CapEff", "/proc/self/status"]).run().ok().out();
    output.out_has(caller.trim());
    machine().sh(&[], "mount -t tmpfs x /mnt").fails();
}

#[test]
fn no_new_privileges_and_masks_hold() {
    machine()
        .sh(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status")
        .ok()
        .stdout("NoNewPrivs:\t1");
    machine().sh(&[], "[ ! -s /proc/kcore ] && echo masked; echo x > /proc/sysrq-trigger").fails().stdout("masked");
    machine().sh(&["--security-opt", "mask=/proc/version"], "wc -c < /proc/version").ok().stdout("0");
    machine().sh(&["--security-opt", "unmask=all"], "grep -q ' /proc/sys ' /proc/self/mountinfo").fails();
}

#[test]
fn seccomp_is_podmans_profile_a_file_or_none() {
    let file = machine().path("seccomp.json");
    let rule = r#"{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#;
    fs::write(&file, format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#)).unwrap();
    machine().sh(&[], "grep Seccomp: /proc/self/status; unshare -m true").fails().out_has("Seccomp:\t2");
    let option = format!("seccomp={file}");
    machine().sh(&["--security-opt", &option], "mkdir /x").fails().err_has("Function not implemented");
    machine()
        .sh(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status")
        .ok()
        .stdout("Seccomp:\t0");
    // An exec is under the same profile.
    let container = machine().start("filtered", &["--security-opt", &option], "sleep 1000");
    container.exec(["mkdir", "/x"]).run().fails().err_has("Function not implemented");
}

#[test]
fn users_and_groups_are_found_by_name_and_number() {
    machine().sh(&["--user", "1000:2000"], "id").ok().stdout("uid=1000(guest) gid=2000(extra) groups=2000(extra)");
    machine().sh(&["--user", "guest", "--group-add", "3000"], "id -u; id -G").ok().out_has("1000\n").out_has("3000");
    machine().sh(&["--user", "12345"], "id -u; umask").ok().stdout("12345\n0022");
    machine().sh(&["--umask", "0077"], "umask").ok().stdout("0077");
    machine().sh(&["--user", "nobody-has-this-name"], "true").fails();
}

#[test]
fn ulimits_and_oom_score_are_set() {
    // nproc is named because Podman otherwise asks for more of it than every host grants.
    let options = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "nproc=500:500"];
    machine().sh(&options, "ulimit -n; ulimit -Hn; ulimit -c").ok().stdout("100\n200\n0");
    machine().sh(&["--oom-score-adj", "77"], "cat /proc/self/oom_score_adj").ok().stdout("77");
}

#[test]
fn a_device_is_there_with_the_rights_that_were_given() {
    // Not one of those that every container may use whatever is asked for.
    let script = "ls -l /dev/thing | cut -c1; exec 3< /dev/thing; echo opened; : > /dev/thing";
    let output = machine().sh(&["--device", "/dev/fuse:/dev/thing:r"], script);
    output.fails().stdout("c\nopened").err_has("not permitted");
    machine().sh(&["--device", "/dev/fuse:/dev/thing"], script).ok();
    let rule = ["--device-cgroup-rule", "c 10:229 rw"];
    machine().sh(&rule, "mknod /dev/thing c 10 229; exec 3< /dev/thing; echo opened").ok().stdout("opened");
    machine().sh(&[], "mknod /dev/thing b 7 0; head -c 1 /dev/thing").fails();
}

#[test]
fn a_read_only_container_writes_to_its_temporary_folders_only() {
    machine().sh(&["--read-only"], "touch /tmp/x /run/x; touch /x").fails().err_has("/x: Read-only file system");
    machine().sh(&["--read-only", "--read-only-tmpfs=false"], "touch /tmp/x").fails().err_has("Read-only file system");
}

#[test]
fn user_namespaces_map_ids() {
    let map = machine().sh(&["--uidmap", "0:100000:65536"], "cat /proc/self/uid_map; touch /x; stat -c %u /x");
    assert_eq!(map.ok().out().split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536", "0"]);
    let container = machine().start("mapped", &["--uidmap", "0:100000:65536", "--init"], "exec sleep 1000");
    container.exec(["sh", "-c", "id -u; chown 5 /tmp"]).run().ok().stdout("0");
    machine().podman(["top", "mapped", "huser"]).run().ok().out_has("100000");
    machine().podman(["stop", "-t", "5", "mapped"]).run().ok();
}
