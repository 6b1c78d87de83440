//! The eight kinds of namespaces: new, joined by path, shared with the caller; id maps, names, clocks.

use std::fs;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, Value, json, until};

/// Name in config.json, name below /proc/PID/ns.
const KINDS: &[(&str, &str)] = &[
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("user", "user"),
    ("uts", "uts"),
];

fn of_host(proc_name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{proc_name}")).unwrap().to_str().unwrap().to_owned()
}

fn of_container(bundle: &Bundle, proc_name: &str) -> String {
    fs::read_link(format!("/proc/{}/ns/{proc_name}", bundle.pid())).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn each_kind_that_is_listed_is_new() {
    let bundle = Bundle::busybox("ns_new");
    bundle.sleeps().config(|config| {
        config.namespace("cgroup");
        config.user_namespace(100_000, 65_536);
    });
    bundle.open_to_all().run_detached();
    for (_, proc_name) in KINDS {
        assert_ne!(of_container(&bundle, proc_name), of_host(proc_name), "{proc_name}");
    }
}

#[test]
fn each_kind_that_is_not_listed_is_the_callers() {
    for (kind, proc_name) in KINDS {
        if matches!(*kind, "mount" | "user") {
            continue;
        }
        let bundle = Bundle::busybox("ns_shared");
        bundle.sleeps().config(|config| {
            config.share(kind);
            if *kind == "uts" {
                config["hostname"] = Value::Null;
            }
            if *kind == "network" {
                // sysfs belongs to the network namespace that mounts it; the host's may only be bound.
                config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
            }
            if *kind == "ipc" {
                config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "mqueue");
            }
        });
        bundle.run_detached();
        assert_eq!(of_container(&bundle, proc_name), of_host(proc_name), "{kind}");
    }
}

#[test]
fn each_kind_is_joined_by_path() {
    let first = Bundle::busybox("ns_first");
    first.sleeps().config(|config| config.namespace("cgroup"));
    first.run_detached();
    for kind in ["cgroup", "ipc", "network", "pid", "uts"] {
        let proc_name = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
        let second = first.another("ns_second");
        second.sleeps().config(|config| {
            config.join(kind, &format!("/proc/{}/ns/{proc_name}", first.pid()));
            config["hostname"] = if kind == "uts" { Value::Null } else { json!("second") };
        });
        second.run_detached();
        assert_eq!(of_container(&second, proc_name), of_container(&first, proc_name), "{kind}");
        for (_, other) in KINDS.iter().filter(|(name, _)| !matches!(*name, "cgroup" | "user") && *name != kind) {
            assert_ne!(of_container(&second, other), of_container(&first, other), "{other} while {kind} is joined");
        }
        if kind == "uts" {
            second.exec(["hostname"]).ok().stdout("box");
        }
        second.delete_force().ok();
        assert_eq!(first.status(), "running", "{kind}");
    }
}

#[test]
fn a_joined_pid_namespace_has_another_process_1() {
    let first = Bundle::busybox("pidns_first");
    first.sleeps().run_detached();
    let second = first.another("pidns_second");
    second.sh("echo own $$; ps -o pid,args").config(|config| {
        config.join("pid", &format!("/proc/{}/ns/pid", first.pid()));
    });
    let output = second.run();
    output.ok().out_has("sleep 1000");
    assert!(!output.out().contains("own 1\n"), "{output}");
    assert_eq!(first.status(), "running");
}

#[test]
fn a_user_namespace_is_joined_with_its_maps() {
    only_for_myrt!(JOIN_USER);
    let first = Bundle::busybox("userns_first");
    first.sleeps().config(|config| config.user_namespace(100_000, 65_536));
    first.open_to_all().run_detached();
    let second = first.another("userns_second");
    second.sh("id -u; tr -s ' ' < /proc/self/uid_map; hostname").config(|config| {
        config.join("user", &format!("/proc/{}/ns/user", first.pid()));
    });
    second.open_to_all();
    second.run().ok().stdout("0\n 0 100000 65536\nbox");
}

#[test]
fn all_of_another_containers_namespaces_can_be_joined_as_in_a_pod() {
    let pause = Bundle::busybox("pod_pause");
    pause.sleeps().run_detached();
    let member = pause.another("pod_member");
    member.sleeps().config(|config| {
        for (kind, proc_name) in [("ipc", "ipc"), ("network", "net"), ("uts", "uts")] {
            config.join(kind, &format!("/proc/{}/ns/{proc_name}", pause.pid()));
        }
        config["hostname"] = Value::Null;
    });
    member.run_detached();
    for proc_name in ["ipc", "net", "uts"] {
        assert_eq!(of_container(&member, proc_name), of_container(&pause, proc_name));
    }
    assert_ne!(of_container(&member, "pid"), of_container(&pause, "pid"));
}

#[test]
fn a_namespace_path_that_is_none_or_of_another_kind_is_refused() {
    let bundle = Bundle::busybox("ns_path");
    for path in ["/no/such/namespace", "/proc/self/ns/uts", "/etc/passwd", "relative/path"] {
        bundle.config(|config| config.join("network", path));
        bundle.run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn an_unknown_or_repeated_kind_is_refused() {
    let bundle = Bundle::busybox("ns_kind");
    bundle.config(|config| config.namespace("nonsense"));
    bundle.run().fails().err_has("nonsense");
    bundle.config(|config| {
        config.share("nonsense");
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "pid" }));
    });
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn hostname_is_set_and_needs_a_uts_namespace() {
    let bundle = Bundle::busybox("hostname");
    bundle.args(["hostname"]).config(|config| config["hostname"] = json!("other-name.example"));
    bundle.run().ok().stdout("other-name.example");
    bundle.config(|config| config.share("uts"));
    bundle.run().fails().err_has("hostname");
    bundle.assert_clean();
}

#[test]
fn domainname_is_set_and_needs_a_uts_namespace() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("domainname");
    bundle.args(["cat", "/proc/sys/kernel/domainname"]).config(|config| config["domainname"] = json!("example.org"));
    bundle.run().ok().stdout("example.org");
    bundle.config(|config| {
        config["hostname"] = Value::Null;
        config.share("uts");
    });
    bundle.run().fails().err_has("domainname");
}

#[test]
fn a_user_namespace_maps_ids_line_by_line() {
    let bundle = Bundle::busybox("id_maps");
    bundle.sh("tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; id -u; id -g; cat /proc/self/setgroups");
    bundle.config(|config| {
        config.namespace("user");
        config["linux"]["uidMappings"] = json!([
            { "containerID": 0, "hostID": 100_000, "size": 1000 },
            { "containerID": 1000, "hostID": 300_000, "size": 10 },
        ]);
        config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 200_000, "size": 2000 }]);
    });
    bundle.open_to_all();
    bundle.run().ok().stdout(" 0 100000 1000\n 1000 300000 10\n 0 200000 2000\n0\n0\nallow");
    bundle.sh("echo > /tmp/mine; stat -c '%u %g' /tmp/mine").config(|config| {
        config["process"]["user"] = json!({ "uid": 1005, "gid": 1005, "additionalGids": [7] });
    });
    bundle.run().ok().stdout("1005 1005");
    let host = fs::metadata(bundle.rootfs("tmp/mine")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((host.uid(), host.gid()), (300_005, 201_005));
}

#[test]
fn a_user_namespace_may_be_without_an_id_0() {
    only_for_myrt!(NO_ROOT_INSIDE);
    let bundle = Bundle::busybox("no_root_inside");
    bundle.sh("id -u; id -g; tr -s ' ' < /proc/self/uid_map").config(|config| {
        config.namespace("user");
        config["linux"]["uidMappings"] = json!([{ "containerID": 1000, "hostID": 100_000, "size": 1 }]);
        config["linux"]["gidMappings"] = json!([{ "containerID": 1000, "hostID": 200_000, "size": 1 }]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        for mount in config["mounts"].as_array_mut().unwrap() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    });
    bundle.open_to_all();
    bundle.run().ok().stdout("1000\n1000\n 1000 100000 1");
    bundle.sleeps().run_detached();
    bundle.exec(["sh", "-c", "id -u; id -g"]).ok().stdout("1000\n1000");
}

#[test]
fn a_user_namespace_without_maps_is_refused() {
    let bundle = Bundle::busybox("no_maps");
    bundle.config(|config| config.namespace("user"));
    bundle.open_to_all();
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_user_that_is_not_mapped_is_refused() {
    let bundle = Bundle::busybox("unmapped");
    bundle.config(|config| {
        config.user_namespace(100_000, 10);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 0 });
    });
    bundle.open_to_all();
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_cgroup_namespace_hides_the_path_above() {
    let bundle = Bundle::busybox("cgroup_ns");
    bundle.args(["cat", "/proc/self/cgroup"]);
    bundle.run().ok().out_has(&bundle.cgroup());
    bundle.config(|config| config.namespace("cgroup"));
    let output = bundle.run();
    output.ok().out_lacks(&bundle.id);
    assert!(output.lines().iter().all(|line| line.ends_with(":/")), "{output}");
}

#[test]
fn the_first_process_of_a_pid_namespace_is_1() {
    let bundle = Bundle::busybox("pid_1");
    bundle.sh("echo $$");
    bundle.run().ok().stdout("1");
}

#[test]
fn clocks_are_shifted_in_a_time_namespace() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("time_ns");
    bundle.with_probe().sh("probe clock monotonic; probe clock boottime; readlink /proc/self/ns/time");
    let plain = bundle.run();
    let plain: Vec<i64> = plain.ok().lines()[..2].iter().map(|line| line.parse().unwrap()).collect();
    bundle.config(|config| {
        config.namespace("time");
        config["linux"]["timeOffsets"] =
            json!({ "monotonic": { "secs": 100_000, "nanosecs": 5 }, "boottime": { "secs": 700_000 } });
    });
    let shifted = bundle.run();
    let lines = shifted.ok().lines();
    let shifted: Vec<i64> = lines[..2].iter().map(|line| line.parse().unwrap()).collect();
    // A minute is for a slow machine, and far less than the offsets.
    assert!((100_000..100_060).contains(&(shifted[0] - plain[0])), "{plain:?} {shifted:?}");
    assert!((700_000..700_060).contains(&(shifted[1] - plain[1])), "{plain:?} {shifted:?}");
    assert_ne!(lines[2], of_host("time"));
    // exec sees the same clock.
    bundle.sleeps().run_detached();
    let exec: i64 = bundle.exec(["probe", "clock", "boottime"]).ok().out().trim().parse().unwrap();
    assert!((700_000..700_060).contains(&(exec - plain[1])), "{exec}");
}

#[test]
fn time_offsets_without_a_time_namespace_are_refused() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("time_offsets");
    bundle.config(|config| config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } }));
    bundle.run().fails().err_has("timeOffsets");
}

#[test]
fn ipc_objects_of_the_host_are_not_seen() {
    let bundle = Bundle::busybox("ipc");
    bundle.sh("ls /dev/mqueue | wc -l; wc -l < /proc/sysvipc/shm");
    bundle.run().ok().stdout("0\n1");
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    let first = Bundle::busybox("mntns_first");
    first.sleeps().run_detached();
    let second = first.another("mntns_second");
    second.sleeps().config(|config| config.join("mount", &format!("/proc/{}/ns/mnt", first.pid())));
    let output = second.command(["run", "-d", "-b", second.dir.to_str().unwrap(), &second.id]).run();
    // Which root that gives is not specified: it either works or is refused in words, and the first one stays whole.
    if output.exit_code() == 0 {
        assert_eq!(of_container(&second, "mnt"), of_container(&first, "mnt"));
    } else {
        output.fails();
    }
    second.delete_force().ok();
    first.exec(["ls", "/bin/sh"]).ok();
}

#[test]
fn a_pinned_network_namespace_outlives_its_containers() {
    let bundle = Bundle::busybox("netns_pinned");
    let pin = bundle.outside("netns");
    fs::write(&pin, "").unwrap();
    let script = "unshare --net=\"$1\" true";
    crate::util::TestCommand::shell(script, [pin.to_str().unwrap()]).run().ok();
    bundle.args(["readlink", "/proc/self/ns/net"]).config(|config| config.join("network", pin.to_str().unwrap()));
    let first = bundle.run().ok().out();
    let second = bundle.run().ok().out();
    assert_eq!(first, second);
    assert_ne!(first.trim(), of_host("net"));
    rustix::mount::unmount(&pin, rustix::mount::UnmountFlags::DETACH).unwrap();
    until("the pin is gone", || fs::remove_file(&pin).is_ok().then_some(()));
}
