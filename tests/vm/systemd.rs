//! Containers as scopes of systemd: their properties, their slices, their names, and what is done to them from outside.

use std::fs;
use std::path::Path;

use super::{read, scope, show};
use crate::only_for_myrt;
use crate::util::{Bundle, TestCommand, Value, json, until};

/// The unit of a container.
fn unit(bundle: &Bundle) -> String {
    format!("test-{}.scope", bundle.id)
}

fn limited(name: &str) -> Bundle {
    let bundle = scope(name);
    bundle.sleeps().config(|config| {
        let resources = json!({
            "memory": { "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20 },
            "cpu": { "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0" },
            "pids": { "limit": 50 },
            "unified": { "memory.high": "60000000" },
        });
        for (key, value) in resources.as_object().unwrap() {
            config["linux"]["resources"][key] = value.clone();
        }
    });
    bundle
}

#[test]
fn limits_are_properties_of_the_scope_and_stand_in_its_cgroup() {
    only_for_myrt!(SCOPE_PROPERTIES);
    only_for_myrt!(WEIGHT_CURVE);
    let bundle = limited("sd_limits");
    bundle.run_detached();
    let rows = [
        ("MemoryMax", "67108864", "memory.max", "67108864"),
        ("MemoryLow", "33554432", "memory.low", "33554432"),
        ("MemorySwapMax", "33554432", "memory.swap.max", "33554432"),
        // The kernel counts in pages.
        ("MemoryHigh", "60000000", "memory.high", "59998208"),
        ("CPUWeight", "100", "cpu.weight", "100"),
        ("CPUQuotaPerSecUSec", "500ms", "cpu.max", "50000 100000"),
        ("TasksMax", "50", "pids.max", "50"),
        ("AllowedCPUs", "0-1", "cpuset.cpus", "0-1"),
        ("AllowedMemoryNodes", "0", "cpuset.mems", "0"),
    ];
    let names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    let shown = show(&unit(&bundle), &names);
    for ((name, property, file, value), shown) in rows.iter().zip(shown) {
        assert_eq!(shown, *property, "{name}");
        assert_eq!(read(&bundle, file), *value, "{file}");
    }
    assert_eq!(show(&unit(&bundle), &["Delegate", "Slice", "ActiveState"]), ["yes", "system.slice", "active"]);
}

#[test]
fn an_io_weight_is_a_property_as_well() {
    only_for_myrt!(SCOPE_IO);
    let bundle = scope("sd_io");
    bundle.sleeps().config(|config| config["linux"]["resources"]["blockIO"] = json!({ "weight": 500 }));
    bundle.run_detached();
    // 10 to 1000 become 1 to 10000.
    assert_eq!(show(&unit(&bundle), &["IOWeight"]), ["4950"]);
}

#[test]
fn an_update_changes_the_properties_and_survives_a_reload() {
    only_for_myrt!(SCOPE_PROPERTIES);
    let bundle = limited("sd_update");
    bundle.run_detached();
    let args =
        "--memory 83886080 --memory-swap 104857600 --cpu-quota 70000 --cpu-share 2048 --pids-limit 60 --cpuset-cpus 1";
    bundle.command(["update"]).args(args.split(' ')).arg(&bundle.id).run().ok();
    let look = || {
        let names = ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax", "AllowedCPUs"];
        assert_eq!(show(&unit(&bundle), &names), ["83886080", "20971520", "700ms", "60", "1"]);
        let files = ["memory.max", "memory.swap.max", "cpu.max", "pids.max", "cpuset.cpus", "memory.low"];
        let values = files.map(|file| read(&bundle, file));
        assert_eq!(values, ["83886080", "20971520", "70000 100000", "60", "1", "33554432"]);
    };
    look();
    TestCommand::new(["systemctl", "daemon-reload"]).run().ok();
    look();
    assert_eq!(bundle.status(), "running");
    bundle.exec(["true"]).ok();
}

#[test]
fn annotations_become_properties() {
    let bundle = scope("sd_annotations");
    bundle.sleeps().config(|config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "uint64 17",
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.MemoryHigh": "uint64 50000000",
            "org.systemd.property.Before": "['shutdown.target']",
            "something.else": "is left alone",
        });
    });
    bundle.run_detached();
    let shown = show(&unit(&bundle), &["TimeoutStopUSec", "CollectMode", "MemoryHigh", "Before"]);
    assert_eq!(shown[..3], ["17s", "inactive", "50000000"]);
    assert!(shown[3].contains("shutdown.target"), "{shown:?}");
}

#[test]
fn an_annotation_that_systemd_does_not_know_is_refused_and_leaves_nothing() {
    let bundle = scope("sd_unknown");
    bundle.sleeps().config(|config| config["annotations"] = json!({ "org.systemd.property.NoSuchThing": "true" }));
    bundle.create().fails().err_has("NoSuchThing");
    bundle.assert_clean();
}

#[test]
fn the_unit_says_what_it_is_and_is_not_kept_after_a_failure() {
    only_for_myrt!(SCOPE_COLLECTED);
    let bundle = scope("sd_about");
    bundle.sleeps().run_detached();
    let shown = show(&unit(&bundle), &["Description", "CollectMode", "DefaultDependencies"]);
    assert!(shown[0].contains("container"), "{shown:?}");
    assert_eq!(shown[1..], ["inactive-or-failed", "no"]);
}

#[test]
fn without_a_path_the_scope_is_named_after_the_id() {
    only_for_myrt!(SCOPE_BELOW);
    let bundle = scope("sd_default");
    bundle.args(["cat", "/proc/self/cgroup"]).config(|config| config["linux"]["cgroupsPath"] = Value::Null);
    let output = bundle.run();
    let runtime = bundle.runtime();
    let prefix = Path::new(&runtime).file_name().unwrap().to_str().unwrap();
    output.ok().stdout(&format!("0::/system.slice/{prefix}-{}.scope", bundle.id));
}

#[test]
fn exec_is_in_the_scope() {
    only_for_myrt!(SCOPE_BELOW);
    let bundle = scope("sd_exec");
    bundle.sleeps().run_detached();
    bundle.exec(["cat", "/proc/self/cgroup"]).ok().stdout(&format!("0::{}", bundle.cgroup()));
}

#[test]
fn a_dash_nests_a_slice() {
    only_for_myrt!(SCOPE_BELOW);
    let bundle = scope("sd_nested");
    let top = format!("mt{}", std::process::id());
    let inner = format!("{top}-in.slice");
    bundle.args(["cat", "/proc/self/cgroup"]);
    bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("{inner}:test:{}", bundle.id)));
    bundle.run().ok().stdout(&format!("0::/{top}.slice/{inner}/{}", unit(&bundle)));
    // The scope is gone. The slices stay, as they do with runc and crun: they are their users' to set up and to stop.
    assert_eq!(show(&unit(&bundle), &["LoadState"]), ["not-found"]);
    let folder = format!("/sys/fs/cgroup/{top}.slice");
    let scopes = TestCommand::new(["find", &folder, "-name", "*.scope"]).run();
    scopes.stdout("");
    TestCommand::new(["systemctl", "stop", &format!("{top}.slice")]).run().ok();
    until("the slices are gone", || (!Path::new(&folder).exists()).then_some(()));
}

#[test]
fn a_name_that_systemd_would_not_take_is_refused_before_anything_is_made() {
    only_for_myrt!(UNIT_NAMES);
    let bundle = scope("sd_names");
    let long = "x".repeat(250);
    for name in ["a b", "a@b", "%n", "\u{e4}", "$(id)", "a\nb", "../../x", &long] {
        bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{name}")));
        bundle.create().fails().err_has("linux.cgroupsPath");
        bundle.assert_clean();
    }
    for slice in ["a b.slice", "a/b.slice", "x.service", "a--b.slice", "%n.slice"] {
        bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("{slice}:test:{}", bundle.id)));
        bundle.create().fails().err_has("linux.cgroupsPath");
        bundle.assert_clean();
    }
}

#[test]
fn a_name_with_escapes_is_taken_as_it_is() {
    only_for_myrt!(SCOPE_BELOW);
    let bundle = scope("sd_escapes");
    let name = format!("a\\x2db:{}_.", bundle.id);
    bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{name}")));
    // Three parts, so a colon is not part of a name.
    bundle.create().fails();
    let name = format!("a\\x2db_{}", bundle.id);
    bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{name}")));
    bundle.args(["cat", "/proc/self/cgroup"]).run().ok().stdout(&format!("0::/system.slice/test-{name}.scope"));
    assert_eq!(show(&format!("test-{name}.scope"), &["LoadState"]), ["not-found"]);
}

#[test]
fn a_scope_that_is_stopped_from_outside_is_a_stopped_container() {
    let bundle = scope("sd_stopped");
    bundle.sleeps().run_detached();
    TestCommand::new(["systemctl", "stop", &unit(&bundle)]).run().ok();
    bundle.until_status("stopped");
    bundle.exec(["true"]).fails();
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn a_scope_that_has_to_be_killed_leaves_no_failed_unit() {
    only_for_myrt!(SCOPE_COLLECTED);
    let bundle = scope("sd_stubborn");
    bundle.args(["sleep", "1000"]);
    bundle.config(|config| config["annotations"] = json!({ "org.systemd.property.TimeoutStopSec": "uint64 1" }));
    bundle.run_detached();
    TestCommand::new(["systemctl", "stop", &unit(&bundle)]).run();
    bundle.until_status("stopped");
    until("systemd forgets the scope", || (show(&unit(&bundle), &["LoadState"]) == ["not-found"]).then_some(()));
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn a_scope_that_runs_out_of_memory_ends_and_can_be_deleted() {
    let bundle = scope("sd_oom");
    bundle.args(["tail", "/dev/zero"]).config(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    });
    bundle.create().ok();
    bundle.start();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
    // The name is free again, also for systemd.
    bundle.args(["true"]).run().ok();
}

#[test]
fn one_process_out_of_memory_does_not_end_the_others() {
    let bundle = scope("sd_oom_one");
    bundle.sh("tail /dev/zero; echo survived $?; exec sleep 1000").config(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    });
    let output = bundle.run_detached();
    until("the shell goes on", || output.out().contains("survived 137").then_some(()));
    assert_eq!(show(&unit(&bundle), &["ActiveState"]), ["active"]);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_scope_that_runs_already_is_not_taken_and_not_harmed() {
    only_for_myrt!(SCOPE_TAKEN);
    let first = scope("sd_first");
    first.sleeps().run_detached();
    let second = first.another("sd_second");
    second.sleeps().config(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{}", first.id)));
    second.create().fails().err_has(&unit(&first));
    second.delete_force();
    assert_eq!(first.status(), "running");
    first.exec(["true"]).ok();
    assert_eq!(show(&unit(&first), &["ActiveState"]), ["active"]);
}

#[test]
fn of_two_creates_of_one_scope_at_once_the_winner_is_not_harmed() {
    only_for_myrt!(SCOPE_TAKEN);
    for _ in 0..5 {
        let first = scope("sd_race");
        let second = first.another("sd_race");
        let both = [first.sleeps(), second.sleeps()];
        for bundle in both {
            bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{}", first.id)));
        }
        let creates = both.map(|bundle| bundle.create_command().spawn());
        let ended = creates.map(|create| create.wait());
        let winners: Vec<_> = both.iter().zip(&ended).filter(|(_, output)| output.exit_code() == 0).collect();
        let [(winner, _)] = winners.as_slice() else { panic!("{} of two creates succeeded", winners.len()) };
        winner.start().ok();
        winner.exec(["true"]).ok();
        assert_eq!(show(&unit(&first), &["ActiveState"]), ["active"]);
        winner.delete_force().ok();
    }
}

#[test]
fn a_killed_create_leaves_no_scope_after_delete_force() {
    only_for_myrt!(KILLED_CREATE_SCOPE);
    let bundle = scope("sd_killed");
    bundle.sleeps();
    for moment in [5, 20, 40, 60, 80, 120, 200] {
        let create = bundle.create_command().spawn();
        std::thread::sleep(std::time::Duration::from_millis(moment));
        create.signal(rustix::process::Signal::KILL);
        create.wait();
        bundle.delete_force().ok();
        bundle.assert_clean();
    }
    bundle.create().ok();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_container_whose_state_is_lost_is_found_by_its_config() {
    only_for_myrt!(CORRUPTED_STATE);
    let bundle = scope("sd_lost");
    for path in [json!(format!("system.slice:test:{}", bundle.id)), Value::Null] {
        bundle.sleeps().config(|config| config["linux"]["cgroupsPath"] = path);
        bundle.run_detached();
        let pid = rustix::process::Pid::from_raw(bundle.pid()).unwrap();
        fs::write(bundle.root().join(&bundle.id).join("state.json"), "{").unwrap();
        bundle.delete_force().ok();
        until("its process ends", || rustix::process::test_kill_process(pid).err());
        bundle.assert_clean();
        assert_eq!(show(&format!("myrt-{}.scope", bundle.id), &["LoadState"]), ["not-found"]);
    }
}

#[test]
fn twenty_at_once() {
    let first = scope("sd_many");
    let all: Vec<Bundle> = (0..20).map(|_| first.another("sd_many")).collect();
    let runs: Vec<_> = all.iter().map(|bundle| bundle.sleeps().create_command().spawn()).collect();
    for run in runs {
        run.wait().ok();
    }
    for bundle in &all {
        assert_eq!(show(&unit(bundle), &["ActiveState"]), ["active"]);
    }
    let deletes: Vec<_> = all.iter().map(|bundle| bundle.command(["delete", "--force", &bundle.id]).spawn()).collect();
    for delete in deletes {
        delete.wait().ok();
    }
    first.assert_clean();
}
