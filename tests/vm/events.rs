//! `events --stats` against the files that the numbers come from, and pressure.

use super::{MB, bundle, count, limited, read, table};
use crate::util::{Bundle, Value, json, until};

fn stats(bundle: &Bundle) -> Value {
    bundle.command(["events", "--stats", &bundle.id]).run().json()["data"].clone()
}

/// A container that holds memory, has run, and then only sleeps, so that two looks at it see the same.
fn still(name: &str) -> Bundle {
    let bundle = limited(
        name,
        json!({
            "memory": { "limit": 64 * MB, "swap": 96 * MB },
            "pids": { "limit": 30 },
            "cpu": { "quota": 40_000, "period": 100_000 },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MB }],
        }),
    );
    let run = bundle
        .with_probe()
        .sh("probe eat 8; dd if=/bin/busybox of=/tmp/copy bs=64k conv=fsync 2>/dev/null; exec probe hold 4");
    let run = run.run_detached();
    until("it holds memory", || run.out().contains("holding").then_some(()));
    bundle
}

#[test]
fn processor_time() {
    crate::only_for_myrt!(EVENTS);
    let bundle = still("events_cpu");
    let before = table(&bundle, "cpu.stat");
    let data = stats(&bundle);
    let after = table(&bundle, "cpu.stat");
    for (key, file) in [("total", "usage_usec"), ("user", "user_usec"), ("kernel", "system_usec")] {
        let told = data["cpu"]["usage"][key].as_u64().unwrap();
        assert!((before[file] * 1000..=after[file] * 1000).contains(&told), "{key}: {told}, {before:?}, {after:?}");
    }
    let told = &data["cpu"]["throttling"];
    for (key, file, unit) in [
        ("periods", "nr_periods", 1),
        ("throttledPeriods", "nr_throttled", 1),
        ("throttledTime", "throttled_usec", 1000),
    ] {
        let told = told[key].as_u64().unwrap_or(0);
        assert!((before[file] * unit..=after[file] * unit).contains(&told), "{key}: {told}, {before:?}, {after:?}");
    }
    assert!(before["nr_periods"] > 0);
}

#[test]
fn memory() {
    crate::only_for_myrt!(EVENTS);
    let bundle = still("events_memory");
    let memory = stats(&bundle)["memory"].clone();
    assert_eq!(memory["usage"]["limit"], 64 * MB);
    // What the kernel counts in batches may move a little between two looks.
    let near = |told: &Value, file: &str| {
        let now: u64 = read(&bundle, file).parse().unwrap();
        let told = told.as_u64().unwrap();
        assert!(told.abs_diff(now) <= 2 * MB, "{file}: {told} and {now}");
        assert!(told >= 4 * MB, "{file}: {told}");
    };
    near(&memory["usage"]["usage"], "memory.current");
    if crate::util::is_myrt() {
        near(&memory["usage"]["max"], "memory.peak");
    }
    assert_eq!(memory["swap"]["limit"], 96 * MB, "memory and swap together, as readers expect");
    let stat = table(&bundle, "memory.stat");
    let anon = memory["raw"]["anon"].as_u64().unwrap();
    assert!(anon.abs_diff(stat["anon"]) <= 2 * MB && anon >= 4 * MB, "{anon} and {}", stat["anon"]);
    assert_eq!(memory["raw"].as_object().unwrap().len(), stat.len());
}

#[test]
fn processes_disks_and_huge_pages() {
    crate::only_for_myrt!(EVENTS);
    let bundle = still("events_others");
    let data = stats(&bundle);
    assert_eq!(data["pids"]["limit"], 30);
    assert_eq!(data["pids"]["current"].as_u64().unwrap().to_string(), read(&bundle, "pids.current"));
    let line = read(&bundle, "io.stat");
    let words: Vec<_> = line.lines().find(|line| line.starts_with("254:0 ")).unwrap().split(' ').collect();
    let number = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).unwrap().parse::<u64>().unwrap();
    let told = |list: &str, op: &str| {
        let entries = data["blkio"][list].as_array().unwrap();
        let entry = entries.iter().find(|entry| {
            entry["major"] == 254 && entry.get("minor").is_none_or(|minor| minor == 0) && entry["op"] == op
        });
        entry.unwrap_or_else(|| panic!("no {op} in {entries:?}"))["value"].as_u64().unwrap_or(0)
    };
    assert!(number("wbytes=") > 0, "{line}");
    assert_eq!(told("ioServiceBytesRecursive", "Write"), number("wbytes="));
    assert_eq!(told("ioServicedRecursive", "Write"), number("wios="));
    assert_eq!(told("ioServiceBytesRecursive", "Read"), number("rbytes="));
    assert_eq!(data["hugetlb"]["2MB"]["failcnt"], 0);
}

#[test]
fn what_was_refused_is_counted() {
    crate::only_for_myrt!(EVENT_COUNT);
    let bundle = limited("events_count", json!({ "memory": { "limit": 32 * MB, "swap": 32 * MB } }));
    bundle.with_probe().sh("probe eat 64; sleep 1000").run_detached();
    until("one was killed", || (count(&bundle, "memory.events", "oom_kill") > 0).then_some(()));
    let told = stats(&bundle)["memory"]["event_count"].clone();
    let events = table(&bundle, "memory.events");
    for key in ["max", "oom", "oom_kill"] {
        assert_eq!(told[key], events[key], "{key}: {told} and {events:?}");
    }
}

#[test]
fn pressure_is_told_for_cpu_memory_and_disk() {
    crate::only_for_myrt!(EVENTS_PSI);
    let bundle = limited("events_psi", json!({ "cpu": { "quota": 2_000, "period": 20_000 } }));
    bundle.sh("while :; do :; done").run_detached();
    // Held back by its quota it stalls.
    let total = |text: String| {
        let line = text.lines().find(|line| line.starts_with("some ")).unwrap().to_owned();
        line.rsplit_once("total=").unwrap().1.parse::<u64>().unwrap()
    };
    until("it stalls", || (total(read(&bundle, "cpu.pressure")) > 0).then_some(()));
    let before = total(read(&bundle, "cpu.pressure"));
    let data = stats(&bundle);
    let after = total(read(&bundle, "cpu.pressure"));
    let told = data["cpu"]["psi"]["some"]["total"].as_u64().unwrap();
    assert!((before..=after).contains(&told), "{before} {told} {after}");
    let quiet = super::bundle("events_psi_quiet");
    quiet.sleeps().run_detached();
    for (group, file) in [("memory", "memory.pressure"), ("blkio", "io.pressure")] {
        let bundle = if total(read(&bundle, file)) > 0 { &bundle } else { &quiet };
        let told = stats(bundle)[group]["psi"]["some"]["total"].as_u64().unwrap_or(0);
        assert!(told <= total(read(bundle, file)), "{group}: {told}");
    }
}

#[test]
fn a_container_without_limits_has_none_in_its_statistics() {
    crate::only_for_myrt!(EVENTS);
    let bundle = bundle("events_none");
    bundle.sleeps().run_detached();
    let data = stats(&bundle);
    assert_eq!(data["memory"]["usage"]["limit"], u64::MAX);
    assert_eq!(data["pids"].get("limit"), None, "{data}");
}
