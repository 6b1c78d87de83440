//! Device nodes: the default ones, `linux.devices`, the links below /dev, and what a cgroup lets through.

use std::fs;

use crate::util::config::Edit as _;
use crate::util::{Bundle, is_myrt, json};

#[test]
fn the_default_devices_are_there_with_numbers_mode_and_owner() {
    let bundle = Bundle::busybox("dev_default");
    bundle.sh("cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty");
    bundle.run().ok().stdout(
        "null character special file 1:3 666 0:0\n\
         zero character special file 1:5 666 0:0\n\
         full character special file 1:7 666 0:0\n\
         random character special file 1:8 666 0:0\n\
         urandom character special file 1:9 666 0:0\n\
         tty character special file 5:0 666 0:0",
    );
}

#[test]
fn the_default_devices_work() {
    let bundle = Bundle::busybox("dev_work");
    bundle.sh("echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1 && head -c 8 /dev/urandom | wc -c; \
               echo x > /dev/full || echo full");
    bundle.run().ok().out_has("00 00 00 00").out_has("8\n").out_has("full");
}

#[test]
fn the_links_below_dev_are_there() {
    let bundle = Bundle::busybox("dev_links");
    bundle.sh("cd /dev; for l in fd stdin stdout stderr ptmx core; do echo $l $(readlink $l); done");
    let output = bundle.run();
    output.ok().out_has("fd /proc/self/fd\n").out_has("stdin /proc/self/fd/0\n").out_has("stdout /proc/self/fd/1\n");
    output.out_has("stderr /proc/self/fd/2\n");
    assert!(output.out().contains("ptmx pts/ptmx") || output.out().contains("ptmx /dev/pts/ptmx"), "{output}");
}

#[test]
fn devices_of_config_json_are_made_with_mode_and_owner() {
    let bundle = Bundle::busybox("dev_own");
    bundle.sh("cd /dev; stat -c '%n %F %t:%T %a %u:%g' mine deep/down pipe; stat -c '%F %t:%T' disk").config(|config| {
        config["linux"]["devices"] = json!([
            { "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 12, "gid": 34 },
            { "path": "/dev/deep/down", "type": "u", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 0, "gid": 0 },
            { "path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 5, "gid": 6 },
            { "path": "/dev/disk", "type": "b", "major": 7, "minor": 99 },
        ]);
    });
    bundle.run().ok().stdout(
        "mine character special file 1:5 640 12:34\n\
         deep/down character special file 1:3 600 0:0\n\
         pipe fifo 0:0 622 5:6\n\
         block special file 7:63",
    );
}

#[test]
fn a_device_that_config_json_names_replaces_the_default_one() {
    let bundle = Bundle::busybox("dev_replace");
    bundle.sh("stat -c '%t:%T %a' /dev/null").config(|config| {
        config["linux"]["devices"] =
            json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 0, "gid": 0 }]);
        let rules = config["linux"]["resources"]["devices"].as_array_mut().unwrap();
        rules.push(json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }));
    });
    bundle.run().ok().stdout("1:3 600");
}

#[test]
fn a_device_outside_of_dev_is_made() {
    let bundle = Bundle::busybox("dev_outside");
    bundle.sh("stat -c '%t:%T' /etc/null").config(|config| {
        config["linux"]["devices"] =
            json!([{ "path": "/etc/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0 }]);
    });
    bundle.run().ok().stdout("1:3");
}

#[test]
fn a_bad_device_is_refused() {
    let bundle = Bundle::busybox("dev_bad");
    let mut bad = vec![json!({ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 })];
    if is_myrt() {
        // runc 1.1 takes this one as below the root.
        bad.push(json!({ "path": "relative", "type": "c", "major": 1, "minor": 3 }));
    }
    for bad in bad {
        bundle.config(|config| config["linux"]["devices"] = json!([bad]));
        bundle.run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn in_a_user_namespace_devices_of_the_host_are_bound() {
    let bundle = Bundle::busybox("dev_userns");
    bundle.sh("stat -c '%F %t:%T' /dev/null; echo x > /dev/null && echo ok; stat -c '%F %t:%T' /dev/mine");
    bundle.config(|config| {
        config.user_namespace(100_000, 65_536);
        config["linux"]["devices"] = json!([{ "path": "/dev/zero", "type": "c", "major": 1, "minor": 5 }]);
    });
    bundle.sh("stat -c '%F %t:%T' /dev/null /dev/zero; echo x > /dev/null && echo ok");
    bundle.open_to_all();
    bundle.run().ok().stdout("character special file 1:3\ncharacter special file 1:5\nok");
}

/// A device that no driver has: who may open it is told that there is none, who may not is told that.
const NOBODYS: &str = "mknod /tmp/dev c 1 99; cat /tmp/dev; echo >> /tmp/dev";

#[test]
fn what_the_rules_do_not_allow_cannot_be_opened() {
    let bundle = Bundle::busybox("dev_denied");
    let output = bundle.sh(NOBODYS).run();
    assert_eq!(output.err().matches("peration not permitted").count(), 2, "{output}");
    bundle.config(|config| {
        let rules = config["linux"]["resources"]["devices"].as_array_mut().unwrap();
        rules.push(json!({ "allow": true, "type": "c", "major": 1, "minor": 99, "access": "rwm" }));
    });
    let output = bundle.run();
    assert_eq!(output.err().matches("o such device or address").count(), 2, "{output}");
}

#[test]
fn what_is_read_only_to_the_rules_cannot_be_written() {
    let bundle = Bundle::busybox("dev_read");
    bundle.sh(NOBODYS).config(|config| {
        let rules = config["linux"]["resources"]["devices"].as_array_mut().unwrap();
        rules.push(json!({ "allow": true, "type": "c", "major": 1, "minor": 99, "access": "rm" }));
    });
    let output = bundle.run();
    assert_eq!(output.err().matches("o such device or address").count(), 1, "{output}");
    assert_eq!(output.err().matches("peration not permitted").count(), 1, "{output}");
}

#[test]
fn a_rule_for_all_minors_or_all_devices_holds() {
    let bundle = Bundle::busybox("dev_wild");
    for rule in [
        json!({ "allow": true, "type": "c", "major": 1, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "access": "rwm" }),
        json!({ "allow": true, "access": "rwm" }),
    ] {
        bundle.sh(NOBODYS).config(|config| {
            config["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }, rule]);
        });
        let output = bundle.run();
        assert_eq!(output.err().matches("o such device or address").count(), 2, "{rule} {output}");
    }
}

#[test]
fn of_two_rules_the_later_one_counts() {
    let bundle = Bundle::busybox("dev_order");
    bundle.sh(NOBODYS).config(|config| {
        config["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 99, "access": "rw" },
            { "allow": false, "type": "c", "major": 1, "minor": 99, "access": "w" },
        ]);
    });
    let output = bundle.run();
    assert_eq!(output.err().matches("o such device or address").count(), 1, "{output}");
    assert_eq!(output.err().matches("peration not permitted").count(), 1, "{output}");
}

#[test]
fn a_node_may_be_made_of_any_kind_that_the_rules_let_be_made() {
    let bundle = Bundle::busybox("dev_mknod");
    bundle.sh("mknod /tmp/block b 7 99 && echo made");
    bundle.run().ok().stdout("made");
}

#[test]
fn a_dev_bound_from_the_host_is_left_alone() {
    let bundle = Bundle::busybox("dev_bound");
    let dev = bundle.outside("dev");
    fs::create_dir(&dev).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dev.join("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    bundle.args(["ls", "/dev"]).config(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] }));
    });
    bundle.run().ok().stdout("null");
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 1, "nothing is added to the host's folder");
}
