//! Limits that a program runs into. Nothing here is timed: the kernel's own counters say what was refused or held back.

use super::{MB, count, limited, read, table};
use crate::util::{json, until};

#[test]
fn memory_beyond_the_limit_kills() {
    let bundle = limited("bite_memory", json!({ "memory": { "limit": 32 * MB, "swap": 32 * MB } }));
    bundle.with_probe().args(["probe", "eat", "64"]).run().code(137).out_lacks("eaten");
    bundle.args(["probe", "eat", "8"]).run().ok().stdout("eaten");
}

#[test]
fn swap_is_used_up_to_its_limit() {
    let bundle = limited("bite_swap", json!({ "memory": { "limit": 24 * MB, "swap": 64 * MB } }));
    // The first fits with swap; both together do not. A slow disk may have the kernel end one before swap is used up.
    bundle.with_probe().sh("again() { while :; do probe hold 40; done; }; again & again").run_detached();
    until("swap is used", || (read(&bundle, "memory.swap.current") != "0").then_some(()));
    until("swap ran out", || (count(&bundle, "memory.swap.events", "max") > 0).then_some(()));
    until("one was killed for it", || (count(&bundle, "memory.events", "oom_kill") > 0).then_some(()));
}

#[test]
fn memory_beyond_high_is_reclaimed_and_kills_nobody() {
    let bundle = limited("bite_high", json!({ "unified": { "memory.high": (16 * MB).to_string() } }));
    let run = bundle.with_probe().sh("probe eat 32; sleep 1000").run_detached();
    until("it has eaten", || run.out().contains("eaten").then_some(()));
    assert!(count(&bundle, "memory.events", "high") > 0);
    assert_eq!(count(&bundle, "memory.events", "oom_kill"), 0);
}

#[test]
fn a_fork_beyond_the_number_of_processes_is_refused() {
    let bundle = limited("bite_pids", json!({ "pids": { "limit": 6 } }));
    bundle.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all").run_detached();
    until("the limit was met", || (count(&bundle, "pids.events", "max") > 0).then_some(()));
    assert!(read(&bundle, "pids.current").parse::<u64>().unwrap() <= 6);
}

#[test]
fn a_quota_throttles() {
    let bundle = limited("bite_cpu", json!({ "cpu": { "quota": 2_000, "period": 20_000 } }));
    bundle.sh("while :; do :; done").run_detached();
    until("it was held back", || (count(&bundle, "cpu.stat", "nr_throttled") > 2).then_some(()));
    let stat = table(&bundle, "cpu.stat");
    assert!(stat["nr_periods"] >= stat["nr_throttled"] && stat["throttled_usec"] > 0, "{stat:?}");
}

#[test]
fn without_a_quota_nothing_throttles() {
    let bundle = limited("bite_no_cpu", json!({}));
    let run = bundle.sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000").run_detached();
    until("it is done", || run.out().contains("done").then_some(()));
    assert_eq!(count(&bundle, "cpu.stat", "nr_throttled"), 0);
}

#[test]
fn a_program_runs_on_its_cpus_alone() {
    let bundle = limited("bite_cpuset", json!({ "cpu": { "cpus": "1" } }));
    let script = "grep ^Cpus_allowed_list: /proc/self/status; nproc";
    bundle.sh(script).run().ok().stdout("Cpus_allowed_list:\t1\n1");
}

#[test]
fn huge_pages_beyond_the_limit_are_refused() {
    let limits = json!([{ "pageSize": "2MB", "limit": 4 * MB }]);
    let bundle = limited("bite_hugetlb", json!({ "hugepageLimits": limits }));
    // The machine has eight pages; one container takes two of them.
    bundle.with_probe().args(["probe", "huge", "4", "0"]).run().ok().stdout("touched");
    // Pages that were not reserved are counted when they are touched: SIGBUS.
    bundle.args(["probe", "huge", "6", "1"]).run().code(135).out_lacks("touched");
}

#[test]
fn huge_pages_beyond_the_limit_cannot_even_be_reserved() {
    crate::only_for_myrt!(HUGETLB_RSVD);
    let limits = json!([{ "pageSize": "2MB", "limit": 4 * MB }]);
    let bundle = limited("bite_hugetlb_rsvd", json!({ "hugepageLimits": limits }));
    bundle.with_probe().args(["probe", "huge", "6", "0"]).run().ok().stdout("mmap 12");
}

#[test]
fn a_device_that_no_rule_allows_cannot_be_read() {
    let bundle = limited("bite_devices", json!({}));
    let script = "mknod /tmp/disk b 254 0; head -c 1 /tmp/disk | wc -c; mknod /tmp/mem c 1 1; cat /tmp/mem";
    let output = bundle.sh(script).run();
    assert_eq!(output.out().trim(), "0", "{output}");
    assert_eq!(output.err().matches("peration not permitted").count(), 2, "{output}");
    let rules = json!([{ "allow": false, "access": "rwm" },
                       { "allow": true, "type": "b", "major": 254, "minor": 0, "access": "rm" }]);
    super::set(&bundle, json!({ "devices": rules }));
    let script = "head -c 1 /tmp/disk | wc -c; echo x >> /tmp/disk || echo refused";
    bundle.sh(script).run().ok().stdout("1\nrefused");
}
