//! The io controller on a real block device, the machine's own disk.
//!
//! The rates are so low that what they hold back would take many minutes. Who proves that it is held back is a second container
//! without a limit, which begins later and is done before.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{bundle, holds, limited, read, set, update_json};
use crate::util::{Bundle, TestCommand, Value, json, until};

/// The machine's disk.
const DISK: &str = "254:0";

/// Held by who changes what all of them see: the scheduler's module, the cost model.
fn settings() -> MutexGuard<'static, ()> {
    static SETTINGS: Mutex<()> = Mutex::new(());
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk as config.json names it, with more keys.
fn disk(key: &str, value: u64) -> Value {
    json!([{ "major": 254, "minor": 0, key: value }])
}

/// A line of io.max with one limit.
fn line(key: &str, value: &str) -> String {
    let fields =
        ["rbps", "wbps", "riops", "wiops"].map(|name| format!("{name}={}", if name == key { value } else { "max" }));
    format!("{DISK} {}", fields.join(" "))
}

/// A container that reads or writes a file of four megabytes past the page cache, and says when it is done.
fn mover(name: &str, direction: &str) -> Bundle {
    let bundle = bundle(name);
    fs::write(bundle.rootfs("tmp/file"), vec![7; 4 << 20]).unwrap();
    TestCommand::new(["sync"]).run().ok();
    let dd = match direction {
        "r" => "dd if=/tmp/file of=/dev/null iflag=direct bs=4096",
        _ => "dd if=/dev/zero of=/tmp/file oflag=direct conv=notrunc bs=4096 count=1024",
    };
    bundle.sh(&format!("echo begun; {dd} 2>/dev/null && echo moved; sleep 1000"));
    bundle
}

/// Asserts that a limit of one kind holds a container back until it is taken away.
#[track_caller]
fn throttles(list: &str, key: &str, rate: u64) {
    let slow = mover(&format!("io_{key}"), &key[..1]);
    set(&slow, json!({ "blockIO": { list: disk("rate", rate) } }));
    let output = slow.run_detached();
    holds(&slow, &[("io.max", &line(key, &rate.to_string()))]);
    until("it has begun", || output.out().contains("begun").then_some(()));
    let quick = mover(&format!("io_{key}_free"), &key[..1]);
    let free = quick.run_detached();
    until("the one without a limit is done", || free.out().contains("moved").then_some(()));
    assert!(!output.out().contains("moved"), "{key} of {rate} holds nothing back: {}", read(&slow, "io.stat"));
    // What waits in the block layer cannot be killed: the limit has to go first.
    update_json(&slow, &json!({ "blockIO": { list: disk("rate", 0) } })).ok();
    assert_eq!(read(&slow, "io.max"), "");
    until("it is done", || output.out().contains("moved").then_some(()));
}

#[test]
fn bytes_read_are_limited() {
    crate::only_for_myrt!(RATE_ZERO);
    throttles("throttleReadBpsDevice", "rbps", 300);
}

#[test]
fn bytes_written_are_limited() {
    crate::only_for_myrt!(RATE_ZERO);
    throttles("throttleWriteBpsDevice", "wbps", 300);
}

#[test]
fn reads_are_limited() {
    crate::only_for_myrt!(RATE_ZERO);
    // The kernel takes no less than two.
    throttles("throttleReadIOPSDevice", "riops", 2);
}

#[test]
fn writes_are_limited() {
    crate::only_for_myrt!(RATE_ZERO);
    throttles("throttleWriteIOPSDevice", "wiops", 2);
}

#[test]
fn the_four_rates_stand_in_one_line() {
    crate::only_for_myrt!(RATE_ZERO);
    let block = json!({
        "throttleReadBpsDevice": disk("rate", 1_000_000), "throttleWriteBpsDevice": disk("rate", 2_000_000),
        "throttleReadIOPSDevice": disk("rate", 300), "throttleWriteIOPSDevice": disk("rate", 400),
    });
    let bundle = limited("io_max", json!({ "blockIO": block }));
    bundle.sleeps().run_detached();
    holds(&bundle, &[("io.max", "254:0 rbps=1000000 wbps=2000000 riops=300 wiops=400")]);
    update_json(&bundle, &json!({ "blockIO": { "throttleWriteBpsDevice": disk("rate", 0) } })).ok();
    holds(&bundle, &[("io.max", "254:0 rbps=1000000 wbps=max riops=300 wiops=400")]);
}

#[test]
fn a_rate_of_a_device_that_is_not_there_is_refused() {
    crate::only_for_myrt!(LEFT_BEHIND);
    crate::only_for_myrt!(FIELD_NAMED);
    let device = json!([{ "major": 251, "minor": 77, "rate": 1000 }]);
    let bundle = limited("io_no_device", json!({ "blockIO": { "throttleReadBpsDevice": device } }));
    bundle.run().fails().err_has("linux.resources.blockIO.throttleReadBpsDevice[0]");
    bundle.assert_clean();
}

#[test]
fn weights_go_to_the_cost_model_or_to_the_scheduler() {
    let _settings = settings();
    // Without the scheduler's module there is one file, on its own scale.
    TestCommand::shell("rmmod bfq 2>/dev/null || true", [""; 0]).run().ok();
    let bundle = limited("io_weight", json!({ "blockIO": { "weight": 500 } }));
    bundle.sleeps().run_detached();
    holds(&bundle, &[("io.weight", "default 4950")]);
    super::update(&bundle, &["--blkio-weight", "1000"]).ok();
    holds(&bundle, &[("io.weight", "default 10000")]);
    bundle.delete_force().ok();
    // With it there is another, which takes the number as it is.
    TestCommand::new(["modprobe", "bfq"]).run().ok();
    bundle.run_detached();
    holds(&bundle, &[("io.bfq.weight", "default 500")]);
    super::update(&bundle, &["--blkio-weight", "700"]).ok();
    holds(&bundle, &[("io.bfq.weight", "default 700")]);
    bundle.delete_force().ok();
    TestCommand::new(["rmmod", "bfq"]).run().ok();
}

#[test]
fn the_weight_of_one_device_needs_somebody_who_heeds_it() {
    crate::only_for_myrt!(WEIGHT_DEVICE);
    let _settings = settings();
    let qos = |enable: u8| fs::write("/sys/fs/cgroup/io.cost.qos", format!("{DISK} enable={enable}")).unwrap();
    TestCommand::shell("rmmod bfq 2>/dev/null || true", [""; 0]).run().ok();
    // Nobody asked the cost model to look at the machine's second disk.
    let other = json!([{ "major": 254, "minor": 16, "weight": 100 }]);
    let bundle = limited("io_weight_device", json!({ "blockIO": { "weightDevice": other } }));
    bundle.run().fails().err_has("linux.resources.blockIO.weightDevice[0].weight").err_has("io.weight");
    bundle.assert_clean();
    set(&bundle, json!({ "blockIO": { "weightDevice": disk("weight", 100) } }));
    qos(1);
    bundle.sleeps().run_detached();
    holds(&bundle, &[("io.weight", "default 100\n254:0 910")]);
    bundle.delete_force().ok();
    qos(0);
}
