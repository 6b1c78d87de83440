//! What callers parse: list, ps, events, update, pause, resume, features, spec, version.

use std::fs;
use std::path::PathBuf;

use crate::only_for_myrt;
use crate::util::{Bundle, TestCommand, Value, json, runtime};

fn running(name: &str) -> Bundle {
    let bundle = Bundle::busybox(name);
    bundle.sleeps().run_detached();
    bundle
}

/// A file of the container's cgroup, in whichever hierarchy has it.
fn cgroup_file(bundle: &Bundle, names: &[&str]) -> PathBuf {
    let files = bundle.cgroups().into_iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| panic!("no cgroup file {names:?}"))
}

fn read(bundle: &Bundle, names: &[&str]) -> String {
    fs::read_to_string(cgroup_file(bundle, names)).unwrap().trim().to_owned()
}

#[test]
fn list_is_a_table_json_or_ids() {
    let bundle = running("list");
    let second = bundle.another("list_second");
    second.sleeps().create().ok();

    let table = bundle.command(["list"]).run();
    let lines = table.ok().lines();
    assert_eq!(lines.len(), 3);
    let heads: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(heads, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<_> = lines.iter().find(|line| line.starts_with(&bundle.id)).unwrap().split_whitespace().collect();
    assert_eq!(row[1..4], [&bundle.pid().to_string(), "running", bundle.dir.to_str().unwrap()]);

    let all = bundle.command(["list", "--format", "json"]).run().json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 2);
    let first = all.iter().find(|entry| entry["id"] == bundle.id).unwrap();
    for (key, value) in bundle.state().as_object().unwrap() {
        // The owner is a name here, and in state it may be empty.
        assert!(key == "owner" || first[key] == *value, "{key} is as in state: {first}");
    }
    assert_eq!(all.iter().find(|entry| entry["id"] == second.id).unwrap()["status"], "created");

    for quiet in ["--quiet", "-q"] {
        let mut ids = bundle.command(["list", quiet]).run().lines();
        ids.sort();
        let mut expected = vec![bundle.id.clone(), second.id.clone()];
        expected.sort();
        assert_eq!(ids, expected);
    }
    bundle.command(["list", "--format", "yaml"]).run().fails();
}

#[test]
fn an_empty_list_is_an_empty_array() {
    only_for_myrt!(LIST_EMPTY);
    let bundle = Bundle::busybox("list_empty");
    assert_eq!(bundle.command(["list", "--format", "json"]).run().json(), json!([]));
    bundle.command(["list", "-f", "json"]).run().ok().stdout("[]");
    bundle.command(["list", "-q"]).run().ok().stdout("");
    assert_eq!(bundle.command(["list"]).run().ok().lines().len(), 1, "the heads alone");
}

#[test]
fn ps_is_a_table_or_an_array_of_pids() {
    let bundle = Bundle::busybox("ps");
    bundle.sh("sleep 1234 & sleep 1235 & wait").run_detached();
    let pids = crate::util::until("there are three processes", || {
        let pids = bundle.command(["ps", "--format", "json", &bundle.id]).run().json();
        let pids: Vec<i64> = pids.as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect();
        (pids.len() == 3).then_some(pids)
    });
    assert!(pids.contains(&i64::from(bundle.pid())), "{pids:?}");

    let table = bundle.command(["ps", &bundle.id]).run();
    let lines = table.ok().lines();
    assert!(lines[0].split_whitespace().any(|head| head == "PID"), "{table}");
    assert_eq!(lines.len(), 4, "{table}");
    table.out_has("sleep 1234").out_has("sleep 1235");

    let own = bundle.command(["ps", &bundle.id, "-o", "pid,comm"]).run();
    assert_eq!(own.ok().lines()[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
    assert_eq!(own.lines().len(), 4, "{own}");
}

#[test]
fn events_prints_statistics_once() {
    let bundle = running("events");
    let event = bundle.command(["events", "--stats", &bundle.id]).run().json();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], bundle.id);
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "nanoseconds: {event}");
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() >= 4096, "bytes: {event}");
    assert!(data["pids"]["current"].as_u64().unwrap() >= 1, "{event}");
    for key in ["cpu", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"] {
        assert!(data.get(key).is_some(), "no {key}: {event}");
    }
}

#[test]
fn events_go_on_until_the_container_is_gone() {
    let bundle = running("events_stream");
    let mut events = bundle.command(["events", "--interval", "20ms", &bundle.id]).spawn();
    // A line that is still being written is none yet.
    crate::util::until("three events came", || (events.stdout().matches('\n').count() >= 3).then_some(()));
    assert!(!events.ended());
    for line in events.stdout().lines().take(3) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["type"], "stats");
    }
    bundle.delete_force().ok();
    events.wait().ok();
}

#[test]
fn events_of_a_stopped_container_fail() {
    let bundle = running("events_stopped");
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.command(["events", "--stats", &bundle.id]).run().fails();
}

#[test]
fn pause_stops_and_resume_goes_on() {
    let bundle = Bundle::busybox("pause");
    bundle.sh("while :; do echo x >> /tmp/ticks; usleep 1000; done").run_detached();
    let ticks = || fs::metadata(bundle.rootfs("tmp/ticks")).map(|file| file.len()).unwrap_or_default();
    crate::util::until("it ticks", || (ticks() > 4).then_some(()));
    bundle.command(["pause", &bundle.id]).run().ok();
    assert_eq!(bundle.status(), "paused");
    let frozen = ticks();
    // A frozen program takes no CPU time: its counters stand still while this test does a few things.
    for _ in 0..3 {
        assert_eq!(bundle.status(), "paused");
    }
    assert_eq!(ticks(), frozen);
    bundle.command(["pause", &bundle.id]).run();
    assert_eq!(bundle.status(), "paused");
    bundle.command(["resume", &bundle.id]).run().ok();
    assert_eq!(bundle.status(), "running");
    crate::util::until("it ticks again", || (ticks() > frozen).then_some(()));
    bundle.command(["resume", &bundle.id]).run().fails();
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let bundle = running("pause_delete");
    bundle.command(["pause", &bundle.id]).run().ok();
    bundle.delete().fails();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn update_changes_limits_by_flags() {
    let bundle = running("update_flags");
    let flags = ["--memory", "67108864", "--pids-limit", "33", "--cpu-quota", "50000", "--cpu-period", "100000"];
    bundle.command(["update"]).args(flags).arg(&bundle.id).run().ok();
    assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
    assert_eq!(read(&bundle, &["pids.max"]), "33");
    bundle.command(["update", "--pids-limit", "-1", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, &["pids.max"]), "max");
    bundle.command(["update", "--memory", "-1", &bundle.id]).run().ok();
    // v2 has a word for it, v1 the largest number of pages.
    let without_end = read(&bundle, &["memory.limit_in_bytes", "memory.max"]);
    assert!(without_end == "max" || without_end.len() > 18, "{without_end}");
    bundle.command(["update", "--memory", "nonsense", &bundle.id]).run().fails();
}

#[test]
fn update_takes_sizes_with_a_unit() {
    let bundle = running("update_units");
    bundle.command(["update", "--memory", "48M", "--memory-reservation", "32m", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), (48 << 20).to_string());
    assert_eq!(read(&bundle, &["memory.soft_limit_in_bytes", "memory.low"]), (32 << 20).to_string());
}

#[test]
fn update_reads_resources_from_stdin_or_a_file() {
    let bundle = running("update_resources");
    let resources =
        |limit: u64, pids: i64| json!({ "memory": { "limit": limit }, "pids": { "limit": pids } }).to_string();
    for (flag, limit) in [("--resources=-", 40_u64 << 20), ("-r=-", 41 << 20)] {
        bundle.command(["update", flag, &bundle.id]).stdin(resources(limit, 20)).run().ok();
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), limit.to_string());
        assert_eq!(read(&bundle, &["pids.max"]), "20");
    }
    bundle.command(["update", "--resources", "-", &bundle.id]).stdin(resources(42 << 20, 21)).run().ok();
    assert_eq!(read(&bundle, &["pids.max"]), "21");
    let file = bundle.outside("resources.json");
    fs::write(&file, resources(43 << 20, 22)).unwrap();
    bundle.command(["update", "-r", file.to_str().unwrap(), &bundle.id]).run().ok();
    assert_eq!(read(&bundle, &["pids.max"]), "22");
    bundle.command(["update", "-r", "-", &bundle.id]).stdin("{ broken").run().fails();
    bundle.command(["update", "-r", "/no/such/file", &bundle.id]).run().fails();
}

#[test]
fn an_update_leaves_alone_what_it_does_not_name() {
    let bundle = Bundle::busybox("update_keeps");
    bundle.sleeps().config(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 50 });
    });
    bundle.run_detached();
    bundle.command(["update", "--pids-limit", "60", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, &["pids.max"]), "60");
    assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
    bundle.exec(["sh", "-c", "echo > /dev/null"]).ok();
}

#[test]
fn version_has_the_lines_that_callers_look_for() {
    let output = TestCommand::new([runtime().as_str(), "--version"]).run();
    let lines = output.ok().lines();
    assert!(lines[0].contains(" version "), "{output}");
    assert!(lines.iter().any(|line| line.starts_with("commit: ")), "{output}");
    assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{output}");
    if crate::util::is_myrt() {
        assert!(lines[0].starts_with("myrt version "), "{output}");
    }
    TestCommand::new([runtime().as_str(), "-v"]).run().ok().out_has(" version ");
}

#[test]
fn features_tells_what_there_is() {
    let features = TestCommand::new([runtime().as_str(), "features"]).run().json();
    assert!(features["ociVersionMin"].as_str().unwrap().starts_with("1.0"), "{features}");
    let has = |path: &[&str], wanted: &[&str]| {
        let list = path.iter().fold(&features, |value, key| &value[*key]);
        let list: Vec<_> = list.as_array().unwrap_or_else(|| panic!("{path:?} in {features}")).iter().collect();
        for item in wanted {
            assert!(list.iter().any(|entry| entry == item), "no {item} in {path:?}: {list:?}");
        }
    };
    let hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    has(&["hooks"], &hooks);
    has(&["mountOptions"], &["bind", "rbind", "ro", "rro", "nosuid", "rprivate", "tmpcopyup", "strictatime"]);
    has(&["linux", "namespaces"], &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]);
    has(&["linux", "capabilities"], &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]);
    has(&["linux", "seccomp", "actions"], &["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY", "SCMP_ACT_LOG"]);
    has(&["linux", "seccomp", "operators"], &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]);
    has(&["linux", "seccomp", "archs"], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"]);
    assert_eq!(features["linux"]["cgroup"]["v1"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn features_tells_what_kubernetes_asks_of_a_newer_runtime() {
    only_for_myrt!(SPEC_1_3);
    let features = TestCommand::new([runtime().as_str(), "features"]).run().json();
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1.3"), "{features}");
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    let namespaces = features["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!("user")) && namespaces.contains(&json!("time")), "{namespaces:?}");
    assert_eq!(features["linux"]["netDevices"]["enabled"], true);
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
    assert!(features["linux"]["cgroup"]["rdma"].is_boolean(), "{features}");
    assert!(features["linux"]["seccomp"]["supportedFlags"].is_array(), "{features}");
    assert!(features["linux"]["seccomp"]["knownFlags"].is_array(), "{features}");
    assert!(features["linux"]["apparmor"]["enabled"].is_boolean(), "{features}");
    assert!(features["linux"]["selinux"]["enabled"].is_boolean(), "{features}");
    assert!(features["linux"]["intelRdt"]["enabled"].is_boolean(), "{features}");
}

#[test]
fn features_need_no_state_root_and_no_arguments() {
    TestCommand::new([runtime().as_str(), "features"]).without_env().run().ok();
    TestCommand::new([runtime().as_str(), "features", "more"]).run().fails();
}

#[test]
fn spec_writes_a_config_that_runs() {
    let bundle = Bundle::busybox("spec");
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.command(["spec"]).cwd(&bundle.dir).run().ok();
    let path = bundle.dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(config["ociVersion"].as_str().unwrap().starts_with("1."));
    assert_eq!(config["root"]["readonly"], true);
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["process"]["args"], json!(["sh"]));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["id", "-u"]);
    fs::write(&path, config.to_string()).unwrap();
    bundle.run().ok().stdout("0");
}

#[test]
fn spec_overwrites_nothing() {
    let bundle = Bundle::busybox("spec_exists");
    let before = fs::read(bundle.dir.join("config.json")).unwrap();
    bundle.command(["spec", "--bundle", bundle.dir.to_str().unwrap()]).run().fails().err_has("config.json");
    assert_eq!(fs::read(bundle.dir.join("config.json")).unwrap(), before);
}

#[test]
fn spec_for_rootless_has_a_user_namespace_and_no_network_of_its_own() {
    let bundle = Bundle::busybox("spec_rootless");
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.command(["spec", "--rootless", "--bundle", bundle.dir.to_str().unwrap()]).run().ok();
    let config: Value = serde_json::from_slice(&fs::read(bundle.dir.join("config.json")).unwrap()).unwrap();
    let namespaces = config["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.iter().any(|namespace| namespace["type"] == "user"), "{namespaces:?}");
    assert!(!namespaces.iter().any(|namespace| namespace["type"] == "network"), "{namespaces:?}");
    assert_eq!(config["linux"]["uidMappings"][0], json!({ "containerID": 0, "hostID": 0, "size": 1 }));
    assert_eq!(config["linux"]["gidMappings"][0], json!({ "containerID": 0, "hostID": 0, "size": 1 }));
    for mount in config["mounts"].as_array().unwrap() {
        let options = mount["options"].to_string();
        assert!(!options.contains("gid=") && !options.contains("uid="), "ids that are not mapped: {mount}");
    }
}

#[test]
fn completions_manuals_and_the_check_of_the_host_are_there() {
    only_for_myrt!(OWN_COMMANDS);
    for shell in ["bash", "zsh", "fish"] {
        TestCommand::new([runtime().as_str(), "completion", shell]).run().ok().out_has("myrt").out_has("exec");
    }
    TestCommand::new([runtime().as_str(), "completion", "no-such-shell"]).run().fails();
    let check = TestCommand::new([runtime().as_str(), "check"]).run();
    for word in ["kernel", "cgroup", "user namespace", "overlay", "subuid", "systemd"] {
        assert!(check.out().to_lowercase().contains(word), "no {word} in {check}");
    }
}
