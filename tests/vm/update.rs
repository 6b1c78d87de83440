//! `update`: each limit of a running container, by flag and by JSON, and what a failed one leaves.

use super::{MB, count, holds, limited, read, update, update_json};
use crate::util::{Bundle, Value, json, until};

#[track_caller]
fn running(name: &str, resources: Value) -> Bundle {
    let bundle = limited(name, resources);
    bundle.sleeps().run_detached();
    bundle
}

#[test]
fn memory_by_flags() {
    let bundle = running("update_memory", json!({}));
    update(&bundle, &["--memory", "67108864", "--memory-swap", "100663296", "--memory-reservation", "33554432"]).ok();
    let files = [("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")];
    holds(&bundle, &files);
    update(&bundle, &["--memory-swap", "-1"]).ok();
    holds(&bundle, &[("memory.max", "67108864"), ("memory.swap.max", "max"), ("memory.low", "33554432")]);
}

#[test]
fn a_new_sum_of_memory_and_swap_counts_the_limit_that_stays() {
    crate::only_for_myrt!(SWAP_ALONE);
    let bundle = running("update_swap", json!({ "memory": { "limit": 64 * MB } }));
    update(&bundle, &["--memory-swap", "80m"]).ok();
    holds(&bundle, &[("memory.max", "67108864"), ("memory.swap.max", "16777216")]);
    update(&bundle, &["--memory-swap", "48m"]).fails().err_has("linux.resources.memory.swap");
    holds(&bundle, &[("memory.max", "67108864"), ("memory.swap.max", "16777216")]);
}

#[test]
fn memory_without_end_is_without_end_of_swap() {
    crate::only_for_myrt!(SWAP_NONE);
    let memory = json!({ "limit": 64 * MB, "swap": 96 * MB });
    let bundle = running("update_none", json!({ "memory": memory }));
    update(&bundle, &["--memory", "-1"]).ok();
    holds(&bundle, &[("memory.max", "max"), ("memory.swap.max", "max")]);
}

#[test]
fn cpu_by_flags() {
    let bundle = running("update_cpu", json!({}));
    update(&bundle, &["--cpu-quota", "40000", "--cpu-period", "80000"]).ok();
    holds(&bundle, &[("cpu.max", "40000 80000")]);
    update(&bundle, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    holds(&bundle, &[("cpuset.cpus", "0"), ("cpuset.cpus.effective", "0"), ("cpuset.mems", "0")]);
    update(&bundle, &["--cpuset-cpus", "0-1"]).ok();
    holds(&bundle, &[("cpuset.cpus", "0-1")]);
}

#[test]
fn a_new_quota_keeps_the_period() {
    crate::only_for_myrt!(PERIOD_STAYS);
    let bundle = running("update_quota", json!({ "cpu": { "quota": 40_000, "period": 80_000 } }));
    update(&bundle, &["--cpu-quota", "30000"]).ok();
    holds(&bundle, &[("cpu.max", "30000 80000")]);
    update(&bundle, &["--cpu-quota", "-1"]).ok();
    holds(&bundle, &[("cpu.max", "max 80000")]);
}

#[test]
fn shares_burst_and_idle_by_flags() {
    crate::only_for_myrt!(CPU_IDLE);
    let bundle = running("update_burst", json!({ "cpu": { "quota": 40_000 } }));
    update(&bundle, &["--cpu-share", "2048", "--cpu-burst", "10000"]).ok();
    holds(&bundle, &[("cpu.weight", "174"), ("cpu.max.burst", "10000"), ("cpu.max", "40000 100000")]);
    update(&bundle, &["--cpu-idle", "1"]).ok();
    holds(&bundle, &[("cpu.idle", "1")]);
    update(&bundle, &["--cpu-idle", "0", "--cpu-share", "512"]).ok();
    holds(&bundle, &[("cpu.idle", "0"), ("cpu.weight", "59")]);
}

#[test]
fn processes_by_flags() {
    let bundle = running("update_pids", json!({ "pids": { "limit": 40 } }));
    update(&bundle, &["--pids-limit", "50"]).ok();
    holds(&bundle, &[("pids.max", "50")]);
    update(&bundle, &["--pids-limit", "-1"]).ok();
    holds(&bundle, &[("pids.max", "max")]);
}

#[test]
fn all_at_once_by_json() {
    let bundle = running("update_json", json!({}));
    let resources = json!({
        "memory": { "limit": 64 * MB, "swap": 64 * MB, "reservation": 16 * MB },
        "cpu": { "quota": 20_000, "period": 50_000, "cpus": "1" },
        "pids": { "limit": 33 },
    });
    update_json(&bundle, &resources).ok();
    let files = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.low", "16777216"),
        ("cpu.max", "20000 50000"),
        ("cpuset.cpus", "1"),
        ("pids.max", "33"),
    ];
    holds(&bundle, &files);
}

#[test]
fn huge_pages_rates_and_unified_by_json() {
    crate::only_for_myrt!(UPDATE_ALL);
    let bundle = running("update_json_more", json!({}));
    let resources = json!({
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 6 * MB }],
        "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 5_000_000 }] },
        "unified": { "memory.high": "50331648", "memory.oom.group": "1" },
    });
    update_json(&bundle, &resources).ok();
    let files = [
        ("hugetlb.2MB.max", "6291456"),
        ("hugetlb.2MB.rsvd.max", "6291456"),
        ("io.max", "254:0 rbps=5000000 wbps=max riops=max wiops=max"),
        ("memory.high", "50331648"),
        ("memory.oom.group", "1"),
    ];
    holds(&bundle, &files);
}

#[test]
fn device_rules_by_json() {
    crate::only_for_myrt!(UPDATE_ALL);
    let bundle = running("update_devices", json!({}));
    let read = || bundle.exec(["sh", "-c", "test -e /tmp/d || mknod /tmp/d b 254 0; head -c 1 /tmp/d | wc -c"]).out();
    assert_eq!(read().trim(), "0");
    let rules = json!([{ "allow": false, "access": "rwm" },
                       { "allow": true, "type": "b", "major": 254, "minor": 0, "access": "rm" }]);
    update_json(&bundle, &json!({ "devices": rules })).ok();
    assert_eq!(read().trim(), "1");
    update_json(&bundle, &json!({ "devices": [{ "allow": false, "access": "rwm" }] })).ok();
    assert_eq!(read().trim(), "0");
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_when_asked_to_look() {
    crate::only_for_myrt!(CHECK_BEFORE);
    let bundle = limited("update_check", json!({ "memory": { "limit": 64 * MB, "swap": 64 * MB } }));
    let run = bundle.with_probe().args(["probe", "hold", "32"]).run_detached();
    until("it holds memory", || run.out().contains("holding").then_some(()));
    let resources = json!({ "memory": { "limit": 16 * MB, "swap": 16 * MB, "checkBeforeUpdate": true } });
    update_json(&bundle, &resources).fails().err_has("linux.resources.memory.limit").err_has("in use");
    holds(&bundle, &[("memory.max", "67108864"), ("memory.swap.max", "0")]);
    assert_eq!(count(&bundle, "memory.events", "oom_kill"), 0);
    assert_eq!(bundle.status(), "running");
    // One that leaves room is set.
    update_json(&bundle, &json!({ "memory": { "limit": 48 * MB, "swap": 48 * MB, "checkBeforeUpdate": true } })).ok();
    holds(&bundle, &[("memory.max", "50331648"), ("memory.swap.max", "0")]);
}

#[test]
fn a_limit_below_what_is_in_use_reclaims_first() {
    let bundle = limited("update_reclaim", json!({ "memory": { "limit": 64 * MB, "swap": -1 } }));
    let run = bundle.with_probe().args(["probe", "hold", "32"]).run_detached();
    until("it holds memory", || run.out().contains("holding").then_some(()));
    update_json(&bundle, &json!({ "memory": { "limit": 16 * MB } })).ok();
    holds(&bundle, &[("memory.max", "16777216")]);
    assert!(read(&bundle, "memory.current").parse::<u64>().unwrap() <= 16 * MB);
    assert!(read(&bundle, "memory.swap.current").parse::<u64>().unwrap() > 0, "it went to the swap");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn an_update_of_which_a_part_fails_changes_nothing() {
    crate::only_for_myrt!(ROLL_BACK);
    let before = json!({
        "memory": { "limit": 64 * MB, "swap": 96 * MB, "reservation": 16 * MB },
        "cpu": { "shares": 2048, "quota": 20_000, "period": 50_000, "burst": 5_000 },
        "pids": { "limit": 33 },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MB }],
        "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 5_000_000 }] },
        "unified": { "memory.high": "50331648" },
    });
    let bundle = running("update_atomic", before);
    let files = [
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "memory.high",
        "cpu.weight",
        "cpu.max",
        "cpu.max.burst",
        "cpuset.cpus.effective",
        "cpuset.mems.effective",
        "pids.max",
        "hugetlb.2MB.max",
        "hugetlb.2MB.rsvd.max",
        "io.max",
    ];
    let look = || files.map(|file| (file, read(&bundle, file)));
    let held = look();
    let all = json!({
        "memory": { "limit": 32 * MB, "swap": 32 * MB, "reservation": 8 * MB },
        "cpu": { "shares": 512, "quota": 10_000, "period": 100_000, "burst": 1_000, "cpus": "1", "mems": "0" },
        "pids": { "limit": 44 },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 2 * MB }],
        "blockIO": {
            "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1_000_000 }],
            "throttleWriteIOPSDevice": [{ "major": 254, "minor": 0, "rate": 77 }, { "major": 254, "minor": 16, "rate": 5 }],
        },
        "unified": { "memory.high": "10485760", "memory.no_such_file": "1" },
    });
    update_json(&bundle, &all).fails().err_has("memory.no_such_file");
    assert_eq!(look(), held);
    // And idle, which changes what another file shows.
    update_json(&bundle, &json!({ "cpu": { "idle": 1 }, "unified": { "no.such": "1" } })).fails();
    holds(&bundle, &[("cpu.idle", "0"), ("cpu.weight", "174")]);
    assert_eq!(look(), held);
    // Without the part that fails, the rest goes.
    update_json(&bundle, &json!({ "pids": { "limit": 44 }, "memory": { "limit": 32 * MB } })).ok();
    holds(&bundle, &[("pids.max", "44"), ("memory.max", "33554432")]);
}

#[test]
fn an_update_of_a_frozen_container_works_and_leaves_it_frozen() {
    let bundle = running("update_frozen", json!({ "pids": { "limit": 30 } }));
    bundle.command(["pause", &bundle.id]).run().ok();
    update(&bundle, &["--pids-limit", "31"]).ok();
    holds(&bundle, &[("pids.max", "31"), ("cgroup.freeze", "1")]);
    assert_eq!(bundle.status(), "paused");
    bundle.command(["resume", &bundle.id]).run().ok();
}

#[test]
fn an_update_of_a_created_container_holds_when_it_starts() {
    let bundle = limited("update_created", json!({}));
    bundle.args(["cat", "/proc/self/cgroup"]).create().ok();
    update(&bundle, &["--pids-limit", "21"]).ok();
    holds(&bundle, &[("pids.max", "21")]);
    bundle.start().ok();
}
