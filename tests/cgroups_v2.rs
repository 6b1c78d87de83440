//! cgroups on a pure v2 host. Where this one is not, a private mount namespace shows the tests a v2 tree alone.

use std::fs;
use std::path::PathBuf;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, Value, driver, json, until};

fn folder(bundle: &Bundle) -> PathBuf {
    let cgroups = bundle.cgroups();
    let found = cgroups.iter().find(|folder| folder.join("cgroup.events").exists());
    found.unwrap_or_else(|| panic!("no v2 cgroup among {cgroups:?}")).clone()
}

fn read(bundle: &Bundle, file: &str) -> String {
    let path = folder(bundle).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Whether the v2 tree has this controller at its root.
fn has(controller: &str) -> bool {
    let text = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .into_iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let there = text.split_whitespace().any(|name| name == controller);
    if !there {
        println!("not run: the v2 tree of this host has no {controller} controller");
    }
    there
}

#[test]
fn the_whole_life_cycle_works_and_leaves_no_cgroup() {
    let bundle = Bundle::on_v2("v2_cycle");
    bundle.sleeps().create().ok();
    bundle.start().ok();
    let pid = bundle.pid().to_string();
    assert!(read(&bundle, "cgroup.procs").lines().any(|line| line == pid));
    bundle.exec(["grep", "^0::", "/proc/self/cgroup"]).ok().stdout(&format!("0::{}", bundle.cgroup()));
    bundle.kill("TERM").ok();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
    bundle.args(["echo", "again"]).run().ok().stdout("again");
    bundle.assert_clean();
}

#[test]
fn root_of_a_user_namespace_owns_the_cgroup_it_may_write() {
    only_for_myrt!(CGROUP_OWNED);
    let bundle = Bundle::on_v2("v2_owner");
    bundle.open_to_all();
    bundle.sh("mkdir /sys/fs/cgroup/below && echo 1 > /sys/fs/cgroup/below/cgroup.procs && echo moved; sleep 1000");
    let with_option = |option: &str| {
        bundle.config(|config| {
            config.user_namespace(100_000, 65536);
            config.namespace("cgroup");
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
            let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", option] });
            mounts.push(mount);
        });
    };
    use std::os::unix::fs::MetadataExt as _;
    let owner = |name: &str| fs::metadata(folder(&bundle).join(name)).unwrap().uid();
    with_option("rw");
    bundle.run_detached();
    until("it has moved itself", || folder(&bundle).join("below").exists().then_some(()));
    assert_eq!((owner(""), owner("cgroup.procs")), (100_000, 100_000));
    bundle.delete_force().ok();
    with_option("ro");
    bundle.run_detached();
    assert_eq!((owner(""), owner("cgroup.procs")), (0, 0));
}

#[test]
fn exec_lands_in_the_same_cgroup() {
    let bundle = Bundle::on_v2("v2_exec");
    bundle.sleeps().run_detached();
    bundle.command(["exec", "-d", &bundle.id, "sleep", "1000"]).run().ok();
    until("two programs are in the cgroup", || {
        let procs = read(&bundle, "cgroup.procs");
        // The shell, its sleep and the one of exec.
        (procs.lines().count() >= 3).then_some(())
    });
}

#[test]
fn exec_follows_a_first_process_whose_cgroup_is_gone() {
    if driver::is_systemd() {
        // It removes a scope that is empty, and the container's end is told by that.
        return println!("not run: the scope is systemd's to remove");
    }
    let bundle = Bundle::on_v2("v2_moved");
    bundle.sleeps().run_detached();
    let home = folder(&bundle);
    let other = home.with_file_name(format!("{}-other", home.file_name().unwrap().display()));
    fs::create_dir(&other).unwrap();
    // What forks between the look and the move leaves a child behind.
    until("all have moved", || {
        for pid in read(&bundle, "cgroup.procs").lines() {
            fs::write(other.join("cgroup.procs"), pid).unwrap();
        }
        fs::remove_dir(&home).ok()
    });
    let seen = bundle.exec(["grep", "^0::", "/proc/self/cgroup"]);
    bundle.delete_force().ok();
    until("the other cgroup is empty", || fs::remove_dir(&other).ok());
    seen.ok().stdout(&format!("0::{}-other", bundle.cgroup()));
}

#[test]
fn pause_freezes_and_resume_thaws() {
    let bundle = Bundle::on_v2("v2_freeze");
    bundle.sleeps().run_detached();
    bundle.command(["pause", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "cgroup.freeze"), "1");
    assert!(read(&bundle, "cgroup.events").contains("frozen 1"), "pause returns when all are frozen");
    assert_eq!(bundle.status(), "paused");
    bundle.exec(["true"]).fails();
    bundle.command(["resume", &bundle.id]).run().ok();
    assert_eq!(read(&bundle, "cgroup.freeze"), "0");
    bundle.exec(["true"]).ok();
    bundle.command(["pause", &bundle.id]).run().ok();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_cgroup_that_is_there_already_and_frozen_is_refused() {
    // A scope is systemd's to make.
    if driver::is_systemd() {
        return;
    }
    let bundle = Bundle::on_v2("v2_prepared_frozen");
    bundle.sleeps().run_detached();
    let place = folder(&bundle);
    bundle.delete_force().ok();
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("cgroup.freeze"), "1").unwrap();
    bundle.create().fails().err_has("container's cgroup unexpectedly frozen");
    assert_eq!(read(&bundle, "cgroup.freeze"), "1");
    fs::remove_dir(place).unwrap();
    bundle.assert_clean();
}

#[test]
fn devices_are_denied_by_a_program_of_the_kernel() {
    let bundle = Bundle::on_v2("v2_devices");
    bundle.sh("mknod /tmp/dev c 1 99; cat /tmp/dev; echo >> /tmp/dev; echo > /dev/null && head -c 1 /dev/zero | wc -c");
    let output = bundle.run();
    assert_eq!(output.ok().err().matches("peration not permitted").count(), 2, "{output}");
    output.stdout("1");
    bundle.config(|config| {
        let rules = config["linux"]["resources"]["devices"].as_array_mut().unwrap();
        rules.push(json!({ "allow": true, "type": "c", "major": 1, "minor": 99, "access": "rm" }));
    });
    let output = bundle.run();
    assert_eq!(output.err().matches("peration not permitted").count(), 1, "{output}");
    assert_eq!(output.err().matches("o such device or address").count(), 1, "{output}");
    bundle.config(|config| config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]));
    let output = bundle.run();
    assert_eq!(output.err().matches("o such device or address").count(), 2, "{output}");
}

#[test]
fn an_update_leaves_the_device_rules_in_place() {
    let bundle = Bundle::on_v2("v2_update");
    bundle.sleeps().run_detached();
    bundle.command(["update", "-r", "-", &bundle.id]).stdin("{}").run().ok();
    let output = bundle.exec(["sh", "-c", "mknod /tmp/dev c 1 99; cat /tmp/dev; echo > /dev/null && echo ok"]);
    output.ok().stdout("ok").err_has("peration not permitted");
}

#[test]
fn kill_all_reaches_every_process_of_the_cgroup() {
    let bundle = Bundle::on_v2("v2_kill_all");
    bundle.sh("sleep 1000 & sleep 1001 & exec sleep 1002").config(|config| config.share("pid"));
    bundle.run_detached();
    until("there are three", || (read(&bundle, "cgroup.procs").lines().count() == 3).then_some(()));
    bundle.command(["kill", "--all", &bundle.id, "KILL"]).run().ok();
    // systemd removes the folder of a scope that has become empty.
    let left =
        || bundle.cgroups().iter().any(|folder| !fs::read(folder.join("cgroup.procs")).unwrap_or_default().is_empty());
    until("all are gone", || (!left()).then_some(()));
    bundle.until_status("stopped");
}

#[test]
fn what_outlives_the_first_process_dies_at_delete() {
    only_for_myrt!(ORPHANS_V2);
    let bundle = Bundle::on_v2("v2_orphans");
    bundle.sh("sleep 1000 & sleep 1001 & exec sleep 1002").config(|config| config.share("pid"));
    bundle.run_detached();
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn children_are_removed_with_their_parent() {
    let bundle = Bundle::on_v2("v2_children");
    bundle.sleeps().run_detached();
    fs::create_dir_all(folder(&bundle).join("a/b/c")).unwrap();
    fs::create_dir_all(folder(&bundle).join("d")).unwrap();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_cgroup_namespace_shows_its_own_cgroup_as_the_root() {
    let bundle = Bundle::on_v2("v2_ns");
    bundle.config(|config| {
        config.namespace("cgroup");
        config.mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }));
    });
    bundle.sh(
        "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -n 1; ls -d /sys/fs/cgroup/myrt-test; \
               mkdir /sys/fs/cgroup/x || echo refused",
    );
    bundle.run().ok().stdout("0::/\n1\nrefused");
}

#[test]
fn without_a_cgroup_namespace_the_mount_is_there_as_well() {
    let bundle = Bundle::on_v2("v2_no_ns");
    bundle.config(|config| {
        config.mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }));
    });
    bundle.sh("test -e /sys/fs/cgroup/cgroup.procs && echo there; mkdir /sys/fs/cgroup/x || echo refused");
    bundle.run().ok().stdout("there\nrefused");
}

#[test]
fn a_writable_cgroup_mount_can_be_delegated_to() {
    let bundle = Bundle::on_v2("v2_delegate");
    bundle.config(|config| {
        config.namespace("cgroup");
        config
            .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }));
    });
    bundle.sh(
        "mkdir /sys/fs/cgroup/inner && echo $$ > /sys/fs/cgroup/inner/cgroup.procs && cat /proc/self/cgroup | grep ^0",
    );
    bundle.run().ok().stdout("0::/inner");
    bundle.assert_clean();
}

#[test]
fn unified_values_are_written_as_they_are() {
    let bundle = Bundle::on_v2("v2_unified");
    bundle.sleeps().config(|config| {
        config["linux"]["resources"]["unified"] = json!({ "cgroup.max.descendants": "7", "cgroup.max.depth": "3" });
    });
    bundle.run_detached();
    assert_eq!(read(&bundle, "cgroup.max.descendants"), "7");
    assert_eq!(read(&bundle, "cgroup.max.depth"), "3");
}

#[test]
fn a_unified_key_that_is_no_file_name_is_refused() {
    only_for_myrt!(LEFT_BEHIND);
    let bundle = Bundle::on_v2("v2_unified_bad");
    for key in ["../cgroup.procs", "no.such.file", "a/b"] {
        bundle.config(|config| config["linux"]["resources"]["unified"] = json!({ key: "1" }));
        bundle.run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn a_limit_without_its_controller_is_refused_in_words() {
    if has("memory") {
        return;
    }
    let bundle = Bundle::on_v2("v2_no_memory");
    bundle.config(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 1 << 30 }));
    bundle.run().fails().err_has("memory");
    bundle.assert_clean();
}

#[test]
fn limits_appear_in_the_files() {
    if !has("memory") || !has("pids") || !has("cpu") {
        return;
    }
    let bundle = Bundle::on_v2("v2_limits");
    bundle.sleeps().config(|config| {
        let resources = &mut config["linux"]["resources"];
        resources["memory"] = json!({ "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20 });
        resources["pids"] = json!({ "limit": 77 });
        resources["cpu"] = json!({ "shares": 1024, "quota": 50_000, "period": 100_000 });
    });
    bundle.run_detached();
    assert_eq!(read(&bundle, "memory.max"), (64 << 20).to_string());
    assert_eq!(read(&bundle, "memory.low"), (32 << 20).to_string());
    // The specification counts memory and swap together, v2 swap alone.
    assert_eq!(read(&bundle, "memory.swap.max"), (32 << 20).to_string());
    assert_eq!(read(&bundle, "pids.max"), "77");
    assert_eq!(read(&bundle, "cpu.max"), "50000 100000");
    if crate::util::is_myrt() {
        assert_eq!(read(&bundle, "cpu.weight"), "100", "1024 shares are the default weight");
    }
}

#[test]
fn a_huge_page_limit_is_set() {
    if !has("hugetlb") {
        return;
    }
    let bundle = Bundle::on_v2("v2_hugetlb");
    bundle.sleeps().config(|config| {
        config["linux"]["resources"]["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
    });
    bundle.run_detached();
    assert_eq!(read(&bundle, "hugetlb.2MB.max"), (4 << 20).to_string());
}

#[test]
fn no_path_at_all_is_one_made_of_the_id() {
    let bundle = Bundle::on_v2("v2_no_path");
    bundle.args(["grep", "^0::", "/proc/self/cgroup"]).config(|config| config["linux"]["cgroupsPath"] = Value::Null);
    let output = bundle.run();
    let last = if driver::is_systemd() { format!("/myrt-{}.scope", bundle.id) } else { format!("/{}", bundle.id) };
    assert!(output.ok().out().trim().ends_with(&last), "{output}");
}

#[test]
fn events_tell_what_a_v2_host_knows() {
    let bundle = Bundle::on_v2("v2_events");
    bundle.sleeps().run_detached();
    let output = bundle.command(["events", "--stats", &bundle.id]).run();
    if crate::util::is_myrt() {
        // A tree without controllers still has CPU times.
        assert!(output.json()["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{output}");
    }
}
