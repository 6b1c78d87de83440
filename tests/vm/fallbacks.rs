//! What Linux 6.1 lacks of the features that ARCHITECTURE.md lists: each is replaced or refused with its field.

use std::fs;

use serde_json::json;

use super::{bundle, machine, user};
use crate::only_for_myrt;
use crate::util::Bundle;
use crate::util::config::Edit as _;

#[test]
fn this_kernel_is_older_than_what_is_tested_here() {
    machine();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with("6.1."), "{release}: the tests of this file want the kernel of Debian 12");
}

/// MFD_EXEC is of Linux 6.3. Who may write to the binary runs it from sealed memory.
#[test]
fn a_binary_that_its_user_can_overwrite_runs_from_sealed_memory() {
    only_for_myrt!(SEALED_MEMORY);
    machine();
    let bundle = Bundle::rootless("fb_memfd", &user(), true);
    crate::util::TestCommand::new(["chown", "1000", &bundle.runtime()]).run().ok();
    bundle.sleeps().create().ok();
    let exe = fs::read_link(format!("/proc/{}/exe", bundle.pid())).unwrap();
    assert!(exe.display().to_string().starts_with("/memfd:myrt"), "{exe:?}");
    bundle.start().ok();
    bundle.exec(["true"]).ok();
}

/// tmpfs is idmapped since Linux 6.3; ext4, the disk's filesystem, long before.
#[test]
fn an_idmapped_mount_of_a_tmpfs_is_refused_with_its_field() {
    only_for_myrt!(IDMAP);
    only_for_myrt!(FIELD_NAMED);
    let bundle = bundle("fb_idmap");
    let folder = format!("/dev/shm/{}-source", bundle.id);
    for (source, possible) in [(bundle.outside("").display().to_string(), true), (folder.clone(), false)] {
        fs::create_dir_all(&source).unwrap();
        bundle.config(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt");
            config.mount(
                json!({ "destination": "/mnt", "type": "bind", "source": source, "options": ["bind", "idmap"],
                "uidMappings": [{ "containerID": 0, "hostID": 5000, "size": 10 }],
                "gidMappings": [{ "containerID": 0, "hostID": 6000, "size": 10 }] }),
            );
        });
        let output = bundle.args(["stat", "-c", "%u %g", "/mnt"]).run();
        if possible {
            output.ok().stdout("5000 6000");
        } else {
            output.fails().err_has("mounts[").err_has(&source);
        }
        bundle.assert_clean();
    }
    fs::remove_dir(folder).unwrap();
}

/// Weighted interleaving is of Linux 6.9.
#[test]
fn a_memory_policy_that_the_kernel_does_not_know_is_refused_with_its_field() {
    only_for_myrt!(MEMORY_POLICY);
    let bundle = bundle("fb_policy");
    for (mode, possible) in [("MPOL_INTERLEAVE", true), ("MPOL_WEIGHTED_INTERLEAVE", false)] {
        bundle.config(|config| config["linux"]["memoryPolicy"] = json!({ "mode": mode, "nodes": "0" }));
        let output = bundle.args(["grep", "-c", "interleave:0", "/proc/self/numa_maps"]).run();
        if possible {
            output.ok();
        } else {
            output.fails().err_has("linux.memoryPolicy");
        }
        bundle.assert_clean();
    }
}

/// memory.peak is of Linux 5.19, memory.swap.peak of 6.5.
#[test]
fn statistics_have_the_peak_of_memory_and_leave_that_of_swap_out() {
    only_for_myrt!(OWN_STATISTICS);
    let bundle = bundle("fb_peak");
    bundle
        .sleeps()
        .config(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20, "swap": 96 << 20 }));
    bundle.run_detached();
    let folder = bundle.cgroups().remove(0);
    assert!(folder.join("memory.peak").exists() && !folder.join("memory.swap.peak").exists());
    let data = bundle.command(["events", "--stats", &bundle.id]).run().json()["data"]["memory"].clone();
    assert!(data["usage"]["max"].as_u64().unwrap() > 0, "{data}");
    assert_eq!(data["swap"]["max"].as_u64().unwrap_or(0), 0, "{data}");
}

/// Those that 6.1 has: a burst and an idle cgroup (5.14, 5.15), cgroup.kill (5.14), entered by the clone (5.7).
#[test]
fn what_this_kernel_has_is_used() {
    only_for_myrt!(CPU_BURST);
    let bundle = bundle("fb_has");
    bundle.sleeps().config(|config| {
        config["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000, "burst": 10_000 });
    });
    bundle.run_detached();
    let folder = bundle.cgroups().remove(0);
    assert_eq!(fs::read_to_string(folder.join("cpu.max.burst")).unwrap().trim(), "10000");
    bundle.command(["update", "--cpu-idle", "1", &bundle.id]).run().ok();
    assert_eq!(fs::read_to_string(folder.join("cpu.idle")).unwrap().trim(), "1");
    assert!(folder.join("cgroup.kill").exists());
    bundle.command(["kill", "--all", &bundle.id, "KILL"]).run().ok();
    bundle.until_status("stopped");
}

#[test]
fn check_says_of_this_kernel_what_is_missing() {
    only_for_myrt!(OWN_COMMANDS);
    machine();
    let output = crate::util::TestCommand::new([crate::util::runtime().as_str(), "check"]).run();
    output.out_has("6.1.").out_has("systemd").out_has("252");
}
