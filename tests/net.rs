//! The network of a container: loopback, and devices of the host that move in.

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, TestCommand, Value, json};

/// A network namespace of the test's own that stands for the host's: devices made there disturb nobody.
fn in_own_network(bundle: &Bundle, setup: &str, then: &str) -> crate::util::command::Output {
    let script = format!("ip link set lo up; {setup}; \"$@\"; code=$?; {then}; exit $code");
    bundle.run_command().by(["unshare", "--net", "/bin/sh", "-c", &script, "sh"]).run()
}

#[test]
fn the_loopback_of_a_new_network_is_up() {
    let bundle = Bundle::busybox("lo");
    bundle.sh("ip link show lo; ip addr show lo; ls /sys/class/net");
    bundle.run().ok().out_has("UP").out_has("127.0.0.1/8").out_has("\nlo");
}

#[test]
fn the_loopback_carries_data() {
    let bundle = Bundle::busybox("lo_data");
    bundle.sh("echo through | nc -l -p 1234 & for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 1234 < /dev/null && break; usleep 50000; done");
    bundle.run().ok().out_has("through");
}

#[test]
fn a_shared_network_is_the_callers() {
    let bundle = Bundle::busybox("net_shared");
    bundle.args(["ip", "link"]).config(|config| {
        config.share("network");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
    });
    in_own_network(&bundle, "ip link add mine type veth peer name other", ":").ok().out_has("mine");
}

#[test]
fn devices_move_in_with_their_addresses_and_new_names() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("net_devices");
    bundle.args(["ip", "addr"]).config(|config| {
        config["linux"]["netDevices"] = json!({ "first": {}, "second": { "name": "eth0" } });
    });
    let setup = "ip link add first type veth peer name far1; ip link add second type veth peer name far2; \
                 ip addr add 10.9.8.7/24 dev first; ip addr add fd00::7/64 dev first; ip link set second mtu 1400";
    let output = in_own_network(&bundle, setup, "ip link >&2");
    output.ok().out_has(" first@").out_has(" eth0@").out_has("10.9.8.7/24").out_has("fd00::7/64").out_has("mtu 1400");
    output.out_lacks(" second");
    assert!(!output.err().contains("eth0"), "{output}");
}

#[test]
fn one_end_of_a_veth_pair_moves_in() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("net_veth");
    bundle.args(["ip", "link"]).config(|config| {
        config["linux"]["netDevices"] = json!({ "inner": { "name": "eth0" } });
    });
    let output = in_own_network(&bundle, "ip link add outer type veth peer name inner", "ip link >&2");
    output.ok().out_has(" eth0@");
}

#[test]
fn a_device_that_is_not_there_or_a_bad_name_is_refused() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("net_missing");
    for devices in [
        json!({ "nosuchdev": {} }),
        json!({ "first": { "name": "a/b" } }),
        json!({ "first": { "name": "much-too-long-for-a-name" } }),
        json!({ "first": { "name": ".." } }),
        json!({ "first": { "name": "eth0" }, "second": { "name": "eth0" } }),
    ] {
        bundle.config(|config| config["linux"]["netDevices"] = devices);
        let output = in_own_network(
            &bundle,
            "ip link add first type veth peer name far1; ip link add second type veth peer name far2",
            ":",
        );
        output.fails().err_has("netDevices");
        bundle.assert_clean();
    }
}

#[test]
fn devices_without_a_network_namespace_are_refused() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("net_no_ns");
    bundle.config(|config| {
        config.share("network");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
        config["linux"]["netDevices"] = json!({ "lo": {} });
    });
    bundle.run().fails().err_has("netDevices");
}

#[test]
fn statistics_count_the_interfaces() {
    let bundle = Bundle::busybox("net_stats");
    bundle.sleeps().run_detached();
    let event = bundle.command(["events", "--stats", &bundle.id]).run().json();
    let interfaces = &event["data"]["network_interfaces"];
    assert!(matches!(interfaces, Value::Null | Value::Array(_)), "{interfaces}");
}

#[test]
fn what_a_test_needs_of_the_host_is_there() {
    TestCommand::new(["ip", "-V"]).run().ok();
    TestCommand::new(["unshare", "--version"]).run().ok();
    TestCommand::new(["setpriv", "--version"]).run().ok();
}
