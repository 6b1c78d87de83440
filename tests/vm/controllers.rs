//! Each limit of config.json stands in the file of its controller; what cannot be had is refused with its field.

use super::{MB, bundle, holds, limited, read, set};
use crate::util::{Value, json};

/// The limits of one test, and what the files hold then.
#[track_caller]
fn gives(name: &str, resources: Value, files: &[(&str, &str)]) {
    let bundle = limited(name, resources);
    bundle.sleeps().run_detached();
    holds(&bundle, files);
}

/// Asserts that the container is refused, with these words, and that nothing is left of it.
#[track_caller]
fn refused(name: &str, resources: Value, words: &[&str]) {
    let bundle = limited(name, resources);
    let output = bundle.run();
    for word in words {
        output.fails().err_has(word);
    }
    output.out_lacks("ran");
    bundle.assert_clean();
}

#[test]
fn memory_limit_reservation_and_swap() {
    // config.json counts memory and swap together, v2 swap alone.
    let memory = json!({ "limit": 64 * MB, "reservation": 32 * MB, "swap": 96 * MB });
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "33554432"),
        ("memory.high", "max"),
    ];
    gives("memory", json!({ "memory": memory }), &files);
}

#[test]
fn memory_without_end_is_a_word() {
    let memory = json!({ "limit": 64 * MB, "swap": -1 });
    gives("memory_swap", json!({ "memory": memory }), &[("memory.max", "67108864"), ("memory.swap.max", "max")]);
    gives("memory_none", json!({ "memory": { "limit": -1 } }), &[("memory.max", "max"), ("memory.swap.max", "max")]);
}

#[test]
fn swap_that_equals_the_limit_is_none() {
    let memory = json!({ "limit": 64 * MB, "swap": 64 * MB });
    gives("memory_noswap", json!({ "memory": memory }), &[("memory.max", "67108864"), ("memory.swap.max", "0")]);
}

#[test]
fn memory_high_min_and_oom_group_by_unified() {
    let unified = json!({ "memory.high": "50331648", "memory.min": "4194304", "memory.oom.group": "1",
                          "memory.swap.high": "1048576" });
    let files = [
        ("memory.high", "50331648"),
        ("memory.min", "4194304"),
        ("memory.oom.group", "1"),
        ("memory.swap.high", "1048576"),
    ];
    gives("memory_unified", json!({ "unified": unified }), &files);
}

#[test]
fn cpu_quota_and_period() {
    let cpu = json!({ "quota": 50_000, "period": 200_000 });
    gives("cpu", json!({ "cpu": cpu }), &[("cpu.max", "50000 200000")]);
    gives("cpu_quota", json!({ "cpu": { "quota": 30_000 } }), &[("cpu.max", "30000 100000")]);
    gives("cpu_period", json!({ "cpu": { "period": 50_000 } }), &[("cpu.max", "max 50000")]);
    gives("cpu_none", json!({ "cpu": { "quota": -1, "period": 50_000 } }), &[("cpu.max", "max 50000")]);
}

#[test]
fn cpu_shares_become_a_weight_on_the_curve_that_keeps_the_default() {
    crate::only_for_myrt!(WEIGHT_CURVE);
    for (shares, weight) in [(2, "1"), (512, "59"), (1024, "100"), (2048, "174"), (262_144, "10000")] {
        gives(&format!("shares_{shares}"), json!({ "cpu": { "shares": shares } }), &[("cpu.weight", weight)]);
    }
}

#[test]
fn an_idle_cgroup_may_have_a_weight_in_its_config() {
    crate::only_for_myrt!(CPU_IDLE);
    // The kernel refuses a weight for an idle cgroup and shows 0.
    let cpu = json!({ "shares": 2048, "idle": 1 });
    gives("cpu_idle", json!({ "cpu": cpu }), &[("cpu.idle", "1"), ("cpu.weight", "0")]);
}

#[test]
fn realtime_limits_are_refused_since_v2_has_none() {
    crate::only_for_myrt!(V1_ONLY);
    refused("cpu_rt", json!({ "cpu": { "realtimeRuntime": 1000 } }), &["realtimeRuntime"]);
    refused("swappiness", json!({ "memory": { "swappiness": 10 } }), &["swappiness"]);
    refused("classid", json!({ "network": { "classID": 7 } }), &["classID"]);
}

#[test]
fn a_burst_stays_below_the_quota() {
    crate::only_for_myrt!(CPU_IDLE);
    let cpu = json!({ "quota": 50_000, "burst": 20_000 });
    gives("cpu_saved", json!({ "cpu": cpu }), &[("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")]);
    refused("cpu_burst", json!({ "cpu": { "quota": 10_000, "burst": 20_000 } }), &["linux.resources.cpu.burst"]);
}

#[test]
fn cpus_and_memory_nodes() {
    let files = [("cpuset.cpus", "1"), ("cpuset.mems", "0"), ("cpuset.cpus.effective", "1")];
    gives("cpuset", json!({ "cpu": { "cpus": "1", "mems": "0" } }), &files);
}

#[test]
fn pids() {
    gives("pids", json!({ "pids": { "limit": 77 } }), &[("pids.max", "77")]);
    gives("pids_none", json!({ "pids": { "limit": -1 } }), &[("pids.max", "max")]);
}

#[test]
fn huge_pages_in_use_and_reserved() {
    let limits = json!([{ "pageSize": "2MB", "limit": 4 * MB }, { "pageSize": "1GB", "limit": 0 }]);
    let mut files = vec![("hugetlb.2MB.max", "4194304"), ("hugetlb.1GB.max", "0")];
    if crate::util::is_myrt() {
        files.extend([("hugetlb.2MB.rsvd.max", "4194304"), ("hugetlb.1GB.rsvd.max", "0")]);
    }
    gives("hugetlb", json!({ "hugepageLimits": limits }), &files);
}

#[test]
fn what_the_kernel_refuses_leaves_nothing() {
    crate::only_for_myrt!(LEFT_BEHIND);
    refused("cpuset_bad", json!({ "cpu": { "cpus": "900" } }), &["cpuset.cpus"]);
    let limits = json!([{ "pageSize": "3MB", "limit": 4 * MB }]);
    refused("hugetlb_bad", json!({ "hugepageLimits": limits }), &["3MB"]);
}

#[test]
fn rdma_of_a_device_that_is_not_there_is_refused_by_name() {
    crate::only_for_myrt!(RDMA);
    super::machine();
    let controllers = super::read_at(super::ROOT.as_ref(), "cgroup.controllers");
    assert!(controllers.split(' ').any(|name| name == "rdma"), "the machine has the controller: {controllers}");
    refused("rdma", json!({ "rdma": { "mlx5_0": { "hcaHandles": 3 } } }), &["linux.resources.rdma.mlx5_0"]);
}

#[test]
fn misc_by_unified() {
    crate::only_for_myrt!(LEFT_BEHIND);
    let bundle = bundle("misc");
    bundle.sleeps().run_detached();
    // Its resources are those of confidential guests, which this machine has none of; but the files are there.
    assert_eq!(read(&bundle, "misc.max"), "");
    refused("misc_bad", json!({ "unified": { "misc.max": "sev 5" } }), &["misc.max"]);
}

#[test]
fn unified_has_the_last_word() {
    let bundle = limited("unified_last", json!({ "pids": { "limit": 50 }, "memory": { "limit": 64 * MB } }));
    set(&bundle, json!({ "unified": { "pids.max": "60", "memory.max": "50331648", "cpu.weight": "321" } }));
    bundle.sleeps().run_detached();
    holds(&bundle, &[("pids.max", "60"), ("memory.max", "50331648"), ("cpu.weight", "321")]);
}

#[test]
fn a_unified_value_of_several_lines_is_several_writes() {
    crate::only_for_myrt!(UNIFIED_LINES);
    let unified = json!({ "io.max": "254:0 rbps=1048576\n254:16 wiops=7" });
    let bundle = limited("unified_lines", json!({ "unified": unified }));
    bundle.sleeps().run_detached();
    let mut lines: Vec<_> = read(&bundle, "io.max").lines().map(str::to_owned).collect();
    lines.sort();
    let expected = ["254:0 rbps=1048576 wbps=max riops=max wiops=max", "254:16 rbps=max wbps=max riops=max wiops=7"];
    assert_eq!(lines, expected);
}

#[test]
fn a_unified_key_that_cannot_be_written_is_refused_by_name() {
    crate::only_for_myrt!(LEFT_BEHIND);
    let keys = ["memory.no_such_file", "nonsense.max", "memory.current", "cgroup.events"];
    for (index, key) in keys.iter().enumerate() {
        refused(&format!("unified_{index}"), json!({ "unified": { *key: "1" } }), &[key]);
    }
}

#[test]
fn a_unified_key_leads_nowhere_but_into_the_cgroup() {
    crate::only_for_myrt!(UNIFIED_TRICKS);
    super::machine();
    let above = super::Path::new(super::ROOT).join("myrt-test");
    let _ = std::fs::create_dir(&above);
    let before = super::read_at(&above, "cgroup.max.depth");
    let keys =
        ["../cgroup.max.depth", "./cgroup.max.depth", "/sys/fs/cgroup/myrt-test/cgroup.max.depth", "..", "", "."];
    for (index, key) in keys.iter().enumerate() {
        refused(&format!("trick_{index}"), json!({ "unified": { *key: "7" } }), &["linux.resources.unified"]);
    }
    if let Ok(now) = std::fs::read_to_string(above.join("cgroup.max.depth")) {
        assert_eq!(now.trim(), before);
    }
}
