//! `linux.sysctl`: values of the container's own namespaces, and refusal of all others.

use crate::util::config::Edit as _;
use crate::util::{Bundle, json};

#[test]
fn values_of_own_namespaces_are_set() {
    let bundle = Bundle::busybox("sysctl");
    bundle.sh("cd /proc/sys; cat kernel/shmmax net/ipv4/ip_forward fs/mqueue/msg_max kernel/msgmni").config(|config| {
        config["linux"]["sysctl"] = json!({
            "kernel.shmmax": "12345678",
            "net.ipv4.ip_forward": "1",
            "fs.mqueue.msg_max": "17",
            "kernel.msgmni": "222",
        });
    });
    bundle.run().ok().stdout("12345678\n1\n17\n222");
}

#[test]
fn a_key_may_be_written_with_slashes() {
    let bundle = Bundle::busybox("sysctl_slash");
    bundle.sh("cat /proc/sys/net/ipv4/conf/lo/forwarding");
    bundle.config(|config| config["linux"]["sysctl"] = json!({ "net/ipv4/conf/lo/forwarding": "1" }));
    bundle.run().ok().stdout("1");
}

#[test]
fn a_value_of_the_whole_host_is_refused() {
    let bundle = Bundle::busybox("sysctl_host");
    for key in ["vm.swappiness", "kernel.panic", "fs.file-max", "kernel.core_pattern"] {
        bundle.config(|config| config["linux"]["sysctl"] = json!({ key: "0" }));
        bundle.run().fails().err_has(key);
        bundle.assert_clean();
    }
}

#[test]
fn a_key_that_climbs_out_is_refused() {
    let bundle = Bundle::busybox("sysctl_climb");
    for key in ["net/../kernel/panic", "net.ipv4/../../kernel/panic", "/net/ipv4/ip_forward/../../../kernel/panic"] {
        bundle.config(|config| config["linux"]["sysctl"] = json!({ key: "0" }));
        let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
        bundle.run().fails();
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
    }
}

#[test]
fn a_value_of_a_namespace_that_is_shared_is_refused() {
    let bundle = Bundle::busybox("sysctl_shared");
    bundle.config(|config| {
        config.share("network");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "0" });
    });
    bundle.run().fails().err_has("net.ipv4.ip_forward");
    bundle.config(|config| {
        config.share("ipc");
        config["linux"]["sysctl"] = json!({ "kernel.shmmax": "1" });
    });
    bundle.run().fails().err_has("kernel.shmmax");
}

#[test]
fn nor_is_the_hosts_own_namespace_taken_for_the_containers_because_it_has_a_path() {
    let bundle = Bundle::busybox("sysctl_path");
    let before = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    bundle.config(|config| {
        config.join("network", "/proc/self/ns/net");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
        config["linux"]["sysctl"] = json!({ "net.core.somaxconn": "77" });
    });
    // In a namespace of its own, so that a failure of this test does not change the machine either.
    let script = "\"$@\"; code=$?; cat /proc/sys/net/core/somaxconn; exit $code";
    let output = bundle.run_command().by(["unshare", "--net", "/bin/sh", "-c", script, "sh"]).run();
    output.fails().err_has("net").stdout(&before);
}

#[test]
fn the_hostname_is_not_set_by_sysctl() {
    let bundle = Bundle::busybox("sysctl_hostname");
    bundle.config(|config| config["linux"]["sysctl"] = json!({ "kernel.hostname": "x" }));
    bundle.run().fails().err_has("kernel.hostname");
    bundle.assert_clean();
}

#[test]
fn the_domainname_may_be_set_by_sysctl() {
    let bundle = Bundle::busybox("sysctl_domain");
    bundle.args(["cat", "/proc/sys/kernel/domainname"]);
    bundle.config(|config| config["linux"]["sysctl"] = json!({ "kernel.domainname": "example.org" }));
    bundle.run().ok().stdout("example.org");
}

#[test]
fn a_key_that_the_kernel_does_not_know_or_a_bad_value_is_named() {
    let bundle = Bundle::busybox("sysctl_unknown");
    for (key, value, why) in
        [("net.no.such.key", "1", "no such file or directory"), ("net.ipv4.ip_forward", "nonsense", "invalid argument")]
    {
        bundle.config(|config| config["linux"]["sysctl"] = json!({ key: value }));
        bundle.run().fails().err_has(&key.replace('.', "/")).err_has(why);
        bundle.assert_clean();
    }
}
