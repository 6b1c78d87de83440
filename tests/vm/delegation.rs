//! Delegated controllers: what an ordinary user may limit, and what a container may do with a cgroup that is its own.

use std::fs;

use serde_json::{Value, json};

use super::{as_user, bundle, machine, user};
use crate::only_for_myrt;
use crate::util::command::Running;
use crate::util::config::Edit as _;
use crate::util::user::Ordinary;
use crate::util::{Bundle, TestCommand};

/// The folder of the cgroup that the container's first process is in.
fn folder(bundle: &Bundle) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    format!("/sys/fs/cgroup{}", text.trim().strip_prefix("0::").unwrap())
}

fn limited(name: &str, user: &Ordinary, path: Value) -> Bundle {
    machine();
    let bundle = Bundle::rootless(name, user, true);
    bundle.sleeps().config(|config| {
        config["linux"]["cgroupsPath"] = path;
        config["linux"]["resources"] = json!({
            "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 },
            "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "1" },
        });
    });
    bundle
}

/// A scope of the user's with delegated controllers, whose processes have moved into a cgroup below and so left it free to
/// pass its controllers on, as the kernel wants it; and what runs further commands there.
fn delegated() -> (Running, Ordinary) {
    let script = "own=/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup) && mkdir $own/caller && echo $$ > $own/caller/cgroup.procs \
                  && echo $own && exec sleep 1000";
    let mut holder = TestCommand::new(user().prefix).args(["sh", "-c", script]).spawn();
    holder.until_stdout("user@1000.service");
    let procs = format!("{}/caller/cgroup.procs", holder.stdout().trim());
    let enter = format!("echo $$ > {procs} && exec \"$@\"");
    // Root moves the shell, which then becomes the user.
    let prefix = ["sh", "-c", &enter, "sh"].map(str::to_owned).into_iter().chain(as_user());
    (holder, Ordinary { prefix: prefix.collect(), ..user() })
}

#[test]
fn the_limits_of_a_user_hold_where_controllers_are_delegated() {
    only_for_myrt!(ROOTLESS_DELEGATED);
    machine();
    let (holder, user) = delegated();
    let above = holder.stdout().trim().to_owned();
    for path in [Value::Null, json!("myrt-relative")] {
        let bundle = limited("de_limits", &user, path);
        let output = bundle.run_detached();
        assert_eq!(output.err(), "");
        let folder = folder(&bundle);
        assert!(folder.starts_with(&above), "{folder} is not in {above}");
        let read = |file: &str| fs::read_to_string(format!("{folder}/{file}")).unwrap().trim().to_owned();
        let files = ["memory.max", "pids.max", "cpu.max", "cpuset.cpus"];
        assert_eq!(files.map(read), ["67108864", "33", "50000 100000", "1"]);
        bundle.command(["update", "--memory", "83886080", "--pids-limit", "44", &bundle.id]).run().ok();
        TestCommand::new(as_user()).args(["systemctl", "--user", "daemon-reload"]).run().ok();
        assert_eq!(files.map(read), ["83886080", "44", "50000 100000", "1"]);
        bundle.exec(["true"]).ok();
        bundle.command(["pause", &bundle.id]).run().ok();
        assert_eq!(bundle.status(), "paused");
        bundle.command(["resume", &bundle.id]).run().ok();
        bundle.delete_force().ok();
        assert!(!fs::exists(&folder).unwrap(), "{folder}");
        bundle.assert_clean();
    }
}

#[test]
fn without_delegation_there_is_one_warning_that_names_a_limit() {
    only_for_myrt!(ROOTLESS_SILENT);
    only_for_myrt!(ROOTLESS_CGROUP);
    // In the cgroup of the caller, which is root's.
    let bundle = limited("de_none", &Ordinary { prefix: as_user(), ..user() }, Value::Null);
    bundle.args(["echo", "ran"]);
    let output = bundle.run();
    output.ok().stdout("ran").err_has("linux.resources");
    assert_eq!(output.err().lines().count(), 1, "{output}");
}

/// A container that mounts its cgroup writable makes cgroups below, moves itself and passes controllers on.
const NEST: &str = "cd /sys/fs/cgroup && mkdir in && echo 1 > in/cgroup.procs && echo '+pids +memory' > cgroup.subtree_control \
                    && echo 20 > in/pids.max && cat in/pids.max && cat /proc/self/cgroup";

fn nests(bundle: &Bundle) {
    bundle.sh(NEST).config(|config| {
        config.namespace("cgroup");
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                            "options": ["nosuid", "noexec", "nodev", "relatime", "rw"] }));
    });
    bundle.run().ok().stdout("20\n0::/in");
    bundle.assert_clean();
}

#[test]
fn root_of_a_user_namespace_may_pass_controllers_on() {
    only_for_myrt!(CGROUP_OWNED);
    for as_scope in [false, true] {
        let bundle = bundle("de_nested");
        let bundle = if as_scope { bundle.in_scope() } else { bundle };
        bundle.open_to_all().config(|config| config.user_namespace(100_000, 65536));
        nests(&bundle);
    }
}

#[test]
fn so_may_root_of_a_users_container() {
    only_for_myrt!(CGROUP_OWNED);
    machine();
    for as_scope in [false, true] {
        let bundle = Bundle::rootless("de_users", &user(), true);
        nests(&if as_scope { bundle.in_scope() } else { bundle });
    }
}

#[test]
fn a_limit_from_outside_holds_for_what_is_nested() {
    only_for_myrt!(CGROUP_OWNED);
    let bundle = bundle("de_outer");
    let script = format!(
        "{NEST} && echo max > in/pids.max && cat pids.max 2>&1; echo 99 > pids.max && echo lifted || echo held"
    );
    bundle.open_to_all().config(|config| {
        config.user_namespace(100_000, 65536);
        config["linux"]["resources"]["pids"] = json!({ "limit": 30 });
    });
    nests(&bundle);
    bundle.sh(&script).run().ok().out_has("30").out_has("held").out_lacks("lifted");
}
