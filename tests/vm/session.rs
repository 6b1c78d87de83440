//! An ordinary user whose containers are scopes of their own systemd: from a session, without one, and from a user namespace
//! in which they are root, as podman's callers are.

use std::fs;

use serde_json::json;

use super::{as_user, read, show_of_user, user};
use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::user::Ordinary;
use crate::util::{Bundle, TestCommand, until};

fn scope_of(name: &str, user: &Ordinary) -> Bundle {
    super::machine();
    Bundle::rootless(name, user, true).in_scope()
}

/// Gives it limits, and looks for them in systemd and in the kernel.
fn assert_limits(bundle: &Bundle) {
    bundle.sleeps().config(|config| {
        config["linux"]["resources"] = json!({
            "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 },
            "cpu": { "quota": 50_000, "period": 100_000, "cpus": "1" },
        });
    });
    bundle.run_detached();
    let unit = format!("test-{}.scope", bundle.id);
    let names = ["ActiveState", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "AllowedCPUs"];
    assert_eq!(show_of_user(&unit, &names), ["active", "67108864", "33", "500ms", "1"]);
    let files = ["memory.max", "pids.max", "cpu.max", "cpuset.cpus"];
    assert_eq!(files.map(|file| read(bundle, file)), ["67108864", "33", "50000 100000", "1"]);
    bundle.command(["update", "--pids-limit", "44", &bundle.id]).run().ok();
    assert_eq!(show_of_user(&unit, &["TasksMax"]), ["44"]);
    bundle.exec(["true"]).ok();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_users_container_is_a_scope_of_the_users_manager() {
    only_for_myrt!(SCOPE_PROPERTIES);
    assert_limits(&scope_of("us_scope", &user()));
}

#[test]
fn the_private_socket_of_the_users_manager_does_as_well() {
    only_for_myrt!(PRIVATE_SOCKET);
    let mut user = user();
    let nowhere = "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/no-such-bus";
    user.prefix.extend(["env", nowhere].map(str::to_owned));
    assert_limits(&scope_of("us_private", &user));
}

#[test]
fn without_a_session_the_message_says_how_to_get_one() {
    only_for_myrt!(BUS_NAMED);
    let mut prefix = as_user();
    prefix.extend(["env", "-u", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR=/nonexistent"].map(str::to_owned));
    let bundle = scope_of("us_no_bus", &Ordinary { prefix, ..user() });
    bundle.run().fails().err_has("/nonexistent/bus").err_has("enable-linger").err_has("XDG_RUNTIME_DIR");
    bundle.assert_clean();
}

#[test]
fn from_outside_the_session_the_manager_has_the_process_moved() {
    only_for_myrt!(SCOPE_BELOW);
    // The caller's cgroup is root's, out of which the user's manager may move nothing by itself.
    let bundle = scope_of("us_outside", &Ordinary { prefix: as_user(), ..user() });
    bundle.args(["cat", "/proc/self/cgroup"]).run().ok().stdout(&format!("0::{}", bundle.cgroup()));
    bundle.assert_clean();
}

#[test]
fn root_of_a_user_namespace_asks_the_users_manager() {
    only_for_myrt!(SCOPE_PROPERTIES);
    let mut user = user();
    let holder = TestCommand::new(as_user()).args(["unshare", "--user", "--map-root-user", "sleep", "1000"]).spawn();
    let pid = holder.pid().as_raw_nonzero().to_string();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let namespace = format!("/proc/{pid}/ns/user");
    until("the user namespace is there", || {
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
        (fs::read_link(&namespace).ok()? != own && map.contains("1000")).then_some(())
    });
    user.prefix.extend(["nsenter", "--preserve-credentials", "--user", "--target", &pid, "--"].map(str::to_owned));
    let bundle = scope_of("us_root", &user);
    bundle.config(|config| {
        config.share("user");
        config["linux"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("Mappings"));
    });
    assert_limits(&bundle);
}
