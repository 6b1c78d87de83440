//! Running out of memory: who dies, who is told.

use super::{MB, count, limited, table};
use crate::util::{Value, json, until};

/// Memory without swap.
fn memory(megabytes: u64) -> Value {
    json!({ "memory": { "limit": megabytes * MB, "swap": megabytes * MB } })
}

/// The events of that type among lines of JSON, of which the last may be a half one.
fn ooms(lines: &str) -> Vec<Value> {
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["type"] == "oom").collect()
}

#[test]
fn the_one_who_asks_too_much_dies_alone() {
    let bundle = limited("oom_one", memory(32));
    bundle.with_probe().sh("probe eat 64; echo \"survived $?\"").run().ok().stdout("survived 137");
}

#[test]
fn with_oom_group_all_die_together() {
    let bundle = limited("oom_group", memory(32));
    super::set(&bundle, json!({ "unified": { "memory.oom.group": "1" } }));
    bundle.with_probe().sh("probe eat 64; echo \"survived $?\"").run().code(137).out_lacks("survived");
}

#[test]
fn the_counters_stay_to_be_read_after_the_end() {
    let bundle = limited("oom_counters", memory(32));
    bundle.with_probe().args(["probe", "eat", "64"]).create().ok();
    bundle.start().ok();
    bundle.until_status("stopped");
    assert_eq!(count(&bundle, "memory.events", "oom_kill"), 1, "{:?}", table(&bundle, "memory.events"));
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn events_tell_of_each_kill() {
    crate::only_for_myrt!(EVENTS);
    let bundle = limited("oom_events", memory(32));
    bundle.with_probe().sh("while [ ! -e /go ]; do usleep 10000; done; probe eat 64; probe eat 64; sleep 1000");
    bundle.run_detached();
    // A long interval: what comes is about memory and nothing else, but for the first, which shows that it listens.
    let events = bundle.command(["events", "--interval", "500ms", &bundle.id]).spawn();
    until("the first statistics came", || events.stdout().contains("\"stats\"").then_some(()));
    bundle.file("go", "");
    let told = || ooms(&events.stdout());
    until("both were told", || (told().len() == 2).then_some(()));
    assert!(told().iter().all(|event| event["id"] == *bundle.id), "{:?}", told());
    bundle.delete_force().ok();
    events.wait().ok();
}

#[test]
fn the_kill_that_ends_the_container_is_told_as_well() {
    crate::only_for_myrt!(EVENTS);
    crate::only_for_myrt!(EVENTS_TWICE);
    let bundle = limited("oom_last", memory(32));
    bundle.with_probe().sh("while [ ! -e /go ]; do usleep 10000; done; exec probe eat 64");
    bundle.run_detached();
    let events = bundle.command(["events", "--interval", "500ms", &bundle.id]).spawn();
    until("the first statistics came", || events.stdout().contains("\"stats\"").then_some(()));
    bundle.file("go", "");
    let output = events.wait();
    output.ok();
    assert_eq!(ooms(&output.out()).len(), 1, "{output}");
}

#[test]
fn a_limit_too_small_for_anything_says_why() {
    crate::only_for_myrt!(SMALL_MEMORY);
    let bundle = limited("oom_tiny", json!({ "memory": { "limit": 100_000, "swap": 100_000 } }));
    let output = bundle.with_probe().args(["probe", "eat", "8"]).run();
    output.fails();
    assert!(!output.out().contains("eaten"), "{output}");
    bundle.assert_clean();
}
