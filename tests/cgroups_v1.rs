//! cgroups on a host with v1 controllers: paths, limits, removal.

use std::fs;
use std::path::PathBuf;

use crate::only_for_myrt;
use crate::util::{Bundle, Value, json, until};

/// Whether this host has a v1 hierarchy with this controller.
fn has(controller: &str) -> bool {
    let there = fs::exists(format!("/sys/fs/cgroup/{controller}/cgroup.procs")).unwrap();
    if !there {
        println!("not run: this host has no v1 hierarchy for {controller}");
    }
    there
}

fn folder(bundle: &Bundle, controller: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup/{controller}/myrt-test/{}", bundle.id))
}

fn read(bundle: &Bundle, controller: &str, file: &str) -> String {
    let path = folder(bundle, controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn with_resources(name: &str, resources: Value) -> Bundle {
    let bundle = Bundle::busybox(name);
    bundle.sleeps().config(|config| {
        for (key, value) in resources.as_object().unwrap() {
            config["linux"]["resources"][key] = value.clone();
        }
    });
    bundle
}

#[test]
fn a_container_has_a_cgroup_in_every_hierarchy_and_delete_removes_them() {
    if !has("memory") {
        return;
    }
    let bundle = Bundle::busybox("v1_every");
    bundle.sleeps().run_detached();
    let pid = bundle.pid().to_string();
    for controller in ["cpu", "cpuset", "memory", "devices", "freezer", "pids", "blkio"] {
        if has(controller) {
            assert!(read(&bundle, controller, "cgroup.procs").lines().any(|line| line == pid), "{controller}");
        }
    }
    bundle.delete_force().ok();
    assert_eq!(bundle.cgroups(), [] as [PathBuf; 0]);
}

#[test]
fn limits_appear_in_the_files() {
    if !has("memory") || !has("pids") || !has("cpu") {
        return;
    }
    let bundle = with_resources(
        "v1_limits",
        json!({
            "memory": { "limit": 64 << 20, "reservation": 32 << 20, "swappiness": 10 },
            "pids": { "limit": 77 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
        }),
    );
    bundle.run_detached();
    assert_eq!(read(&bundle, "memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read(&bundle, "memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(read(&bundle, "memory", "memory.swappiness"), "10");
    assert_eq!(read(&bundle, "pids", "pids.max"), "77");
    assert_eq!(read(&bundle, "cpu", "cpu.shares"), "512");
    assert_eq!(read(&bundle, "cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(&bundle, "cpu", "cpu.cfs_period_us"), "100000");
}

#[test]
fn the_swap_limit_holds_memory_and_swap_together() {
    if !has("memory") || !fs::exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").unwrap() {
        return;
    }
    let bundle = with_resources("v1_swap", json!({ "memory": { "limit": 32 << 20, "swap": 48 << 20 } }));
    bundle.run_detached();
    assert_eq!(read(&bundle, "memory", "memory.memsw.limit_in_bytes"), (48 << 20).to_string());
    // Both upwards at once, where either order alone would be refused for a while.
    bundle.command(["update", "--memory", "96M", "--memory-swap", "128M", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "memory", "memory.limit_in_bytes"), (96 << 20).to_string());
    assert_eq!(read(&bundle, "memory", "memory.memsw.limit_in_bytes"), (128 << 20).to_string());
    bundle.command(["update", "--memory", "16M", "--memory-swap", "20M", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "memory", "memory.memsw.limit_in_bytes"), (20 << 20).to_string());
}

#[test]
fn a_cpuset_binds_the_program() {
    if !has("cpuset") {
        return;
    }
    let bundle = with_resources("v1_cpuset", json!({ "cpu": { "cpus": "0", "mems": "0" } }));
    bundle.run_detached();
    assert_eq!(read(&bundle, "cpuset", "cpuset.cpus"), "0");
    bundle.exec(["grep", "Cpus_allowed_list", "/proc/1/status"]).ok().stdout("Cpus_allowed_list:\t0");
    bundle.exec(["nproc"]).ok().stdout("1");
}

#[test]
fn burst_and_idle_of_a_newer_specification_are_set() {
    only_for_myrt!(SPEC_1_3);
    if !has("cpu") || !fs::exists("/sys/fs/cgroup/cpu/myrt-test/cpu.cfs_burst_us").unwrap_or(false) {
        return;
    }
    let bundle = with_resources("v1_burst", json!({ "cpu": { "quota": 50_000, "period": 100_000, "burst": 20_000 } }));
    bundle.run_detached();
    assert_eq!(read(&bundle, "cpu", "cpu.cfs_burst_us"), "20000");
    bundle.command(["update", "--cpu-burst", "10000", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "cpu", "cpu.cfs_burst_us"), "10000");
    bundle.delete_force().ok();
    bundle.config(|config| config["linux"]["resources"]["cpu"] = json!({ "idle": 1 })).run_detached();
    assert_eq!(read(&bundle, "cpu", "cpu.idle"), "1");
    // An idle cgroup takes no shares, which nobody had changed.
    let output = bundle.command(["update", "--cpu-share", "512", &bundle.id]).run();
    output.fails();
    assert!(output.err().contains("cpu.shares") && !output.err().contains("put back"), "{output}");
}

#[test]
fn a_memory_limit_of_2_mib_starts() {
    only_for_myrt!(SMALL_MEMORY);
    if !has("memory") {
        return;
    }
    let bundle = with_resources("v1_small", json!({ "memory": { "limit": 2 << 20 } }));
    bundle.args(["echo", "started"]).run().ok().stdout("started");
}

#[test]
fn who_takes_more_than_the_limit_is_killed() {
    if !has("memory") {
        return;
    }
    let bundle = with_resources("v1_oom", json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } }));
    bundle.with_probe().args(["probe", "eat", "8"]).run().ok().stdout("eaten");
    bundle.args(["probe", "eat", "64"]).run().code(137);
}

#[test]
fn who_forks_more_than_the_limit_fails() {
    if !has("pids") {
        return;
    }
    let bundle = with_resources("v1_fork", json!({ "pids": { "limit": 8 } }));
    bundle.sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo unreached");
    let output = bundle.run();
    output.fails().err_has("fork");
}

#[test]
fn pids_of_minus_one_or_none_are_unlimited() {
    if !has("pids") {
        return;
    }
    let bundle = with_resources("v1_pids_none", json!({ "pids": { "limit": -1 } }));
    bundle.run_detached();
    assert_eq!(read(&bundle, "pids", "pids.max"), "max");
}

#[test]
fn a_relative_path_lies_below_that_of_the_runtime() {
    if !has("memory") {
        return;
    }
    let bundle = Bundle::busybox("v1_relative");
    bundle.sleeps().config(|config| config["linux"]["cgroupsPath"] = json!(format!("myrt-test/{}", bundle.id)));
    bundle.run_detached();
    let own = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        text.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path.to_owned())).unwrap()
    };
    let expected = format!("{}/myrt-test/{}", own("self").trim_end_matches('/'), bundle.id);
    let is = own(&bundle.pid().to_string());
    bundle.delete_force().ok();
    let left = format!("/sys/fs/cgroup/memory{expected}");
    assert!(!fs::exists(&left).unwrap(), "{left} is left");
    let _ = fs::remove_dir(format!("/sys/fs/cgroup/memory{}/myrt-test", own("self").trim_end_matches('/')));
    assert!(is == expected || is == format!("/myrt-test/{}", bundle.id), "{is} is not {expected}");
}

#[test]
fn no_path_at_all_is_one_made_of_the_id() {
    if !has("memory") {
        return;
    }
    let bundle = Bundle::busybox("v1_no_path");
    bundle.args(["cat", "/proc/self/cgroup"]).config(|config| config["linux"]["cgroupsPath"] = Value::Null);
    let output = bundle.run();
    let line = output.ok().lines().into_iter().find(|line| line.contains(":memory:")).unwrap();
    assert!(line.ends_with(&format!("/{}", bundle.id)), "{line}");
}

#[test]
fn a_path_that_climbs_out_stays_below_the_root_of_the_hierarchy() {
    if !has("memory") {
        return;
    }
    let bundle = Bundle::busybox("v1_climb");
    let escaped = PathBuf::from(format!("/sys/fs/{}", bundle.id));
    bundle.args(["cat", "/proc/self/cgroup"]).config(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("/../../../myrt-test/{}", bundle.id));
    });
    let output = bundle.run();
    if output.exit_code() == 0 {
        output.out_has(&format!("/myrt-test/{}", bundle.id)).out_lacks("..");
    }
    assert!(!escaped.exists());
}

#[test]
fn children_that_the_container_made_are_removed_with_it() {
    if !has("pids") {
        return;
    }
    let bundle = Bundle::busybox("v1_children");
    bundle.sleeps().run_detached();
    let child = folder(&bundle, "pids").join("child/grandchild");
    fs::create_dir_all(&child).unwrap();
    bundle.command(["exec", "-d", &bundle.id, "sleep", "1000"]).run().ok();
    let procs = read(&bundle, "pids", "cgroup.procs");
    let moved = procs.lines().last().unwrap();
    fs::write(child.join("cgroup.procs"), moved).unwrap();
    bundle.delete_force().ok();
    assert!(!folder(&bundle, "pids").exists());
    bundle.assert_clean();
}

#[test]
fn the_freezer_freezes_every_process() {
    if !has("freezer") {
        return;
    }
    let bundle = Bundle::busybox("v1_freezer");
    bundle.sleeps().run_detached();
    bundle.command(["pause", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "freezer", "freezer.state"), "FROZEN");
    bundle.command(["resume", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "freezer", "freezer.state"), "THAWED");
}

#[test]
fn one_that_is_frozen_from_outside_is_paused() {
    only_for_myrt!(FROZEN_OUTSIDE);
    if !has("freezer") {
        return;
    }
    let bundle = Bundle::busybox("v1_frozen");
    bundle.sleeps().run_detached();
    fs::write(folder(&bundle, "freezer").join("freezer.state"), "FROZEN").unwrap();
    bundle.until_status("paused");
    bundle.command(["resume", &bundle.id]).run().ok();
    bundle.until_status("running");
}

#[test]
fn a_cgroup_that_is_there_already_and_frozen_is_refused_and_left_alone() {
    if !has("freezer") {
        return;
    }
    let bundle = Bundle::busybox("v1_prepared_frozen");
    let prepared = folder(&bundle, "freezer");
    fs::create_dir_all(&prepared).unwrap();
    fs::write(prepared.join("freezer.state"), "FROZEN").unwrap();
    bundle.sleeps().create().fails().err_has("container's cgroup unexpectedly frozen");
    assert_eq!(read(&bundle, "freezer", "freezer.state"), "FROZEN");
    fs::remove_dir(prepared).unwrap();
    bundle.assert_clean();
}

#[test]
fn a_cpuset_whose_parents_have_no_cpus_yet_gets_some() {
    if !has("cpuset") {
        return;
    }
    let bundle = Bundle::busybox("v1_empty_cpuset");
    let pod = PathBuf::from(format!("/sys/fs/cgroup/cpuset/myrt-test-pod-{}", bundle.id));
    fs::create_dir_all(pod.join("below")).unwrap();
    let path = format!("/{}/below/{}", pod.file_name().unwrap().to_str().unwrap(), bundle.id);
    bundle.sleeps().config(|config| config["linux"]["cgroupsPath"] = json!(path));
    bundle.run_detached();
    let pid = bundle.pid().to_string();
    let inside = fs::read_to_string(pod.join("below").join(&bundle.id).join("cgroup.procs")).unwrap();
    assert!(inside.lines().any(|line| line == pid), "{inside}");
    bundle.delete_force().ok();
    fs::remove_dir(pod.join("below")).unwrap();
    fs::remove_dir(pod).unwrap();
}

#[test]
fn device_rules_are_in_the_list() {
    if !has("devices") {
        return;
    }
    let bundle = Bundle::busybox("v1_devices");
    bundle.sleeps().run_detached();
    let list = read(&bundle, "devices", "devices.list");
    assert!(!list.contains("a *:* rwm"), "everything is allowed: {list}");
    for rule in ["c 1:3 rwm", "c 1:5 rwm", "c 1:8 rwm", "c 5:2 rwm", "c 136:* rwm", "c *:* m", "b *:* m"] {
        assert!(list.lines().any(|line| line == rule), "no {rule} in {list}");
    }
}

#[test]
fn a_bad_limit_names_itself_and_leaves_nothing() {
    if !has("cpu") {
        return;
    }
    let bundle = with_resources("v1_bad", json!({ "cpu": { "quota": 1, "period": 100_000 } }));
    bundle.run().fails();
    bundle.assert_clean();
    let bundle = with_resources("v1_bad_cpus", json!({ "cpu": { "cpus": "99999" } }));
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_cgroup_that_is_in_use_by_another_container_is_not_removed() {
    if !has("pids") {
        return;
    }
    let first = Bundle::busybox("v1_shared");
    first.sleeps().run_detached();
    let second = first.another("v1_sharer");
    second.sleeps().config(|config| config["linux"]["cgroupsPath"] = json!(format!("/myrt-test/{}", first.id)));
    let output = second.create();
    // Joining a cgroup that is not empty may be refused or allowed, but the first container survives either.
    if output.exit_code() == 0 {
        second.delete();
    }
    assert_eq!(first.status(), "running");
    until("its process is still in its cgroup", || {
        read(&first, "pids", "cgroup.procs").lines().any(|pid| pid == first.pid().to_string()).then_some(())
    });
}

#[test]
fn oom_is_an_event() {
    if !has("memory") {
        return;
    }
    let bundle = with_resources("v1_oom_event", json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } }));
    bundle.with_probe().sh("while [ ! -e /tmp/go ]; do usleep 2000; done; probe eat 64; while :; do sleep 1000; done");
    bundle.run_detached();
    let events = bundle.command(["events", "--interval", "30ms", &bundle.id]).spawn();
    until("statistics came, so that the watch stands", || events.stdout().contains("stats").then_some(()));
    fs::write(bundle.rootfs("tmp/go"), "").unwrap();
    until("an oom event comes", || events.stdout().contains("\"type\":\"oom\"").then_some(()));
    bundle.delete_force().ok();
    events.wait().ok();
}
