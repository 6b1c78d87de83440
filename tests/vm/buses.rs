//! By which bus systemd is reached: a bus daemon, or its private socket; and what is said where there is none.

use super::{scope, show};
use crate::only_for_myrt;
use crate::util::Bundle;

/// Has each command of the runtime run where this folder is empty.
fn without(bundle: &Bundle, folders: &[&str]) {
    let hide: String = folders.iter().map(|folder| format!("mount -t tmpfs none {folder} && ")).collect();
    bundle.behind(["unshare", "--mount", "sh", "-c", &format!("{hide}exec \"$@\""), "sh"]);
}

#[test]
fn without_a_bus_daemon_the_private_socket_of_systemd_does() {
    only_for_myrt!(PRIVATE_SOCKET);
    let bundle = scope("sd_private");
    without(&bundle, &["/run/dbus"]);
    bundle.sleeps().config(|config| config["linux"]["resources"]["pids"] = serde_json::json!({ "limit": 40 }));
    bundle.run_detached();
    let unit = format!("test-{}.scope", bundle.id);
    assert_eq!(show(&unit, &["ActiveState", "TasksMax"]), ["active", "40"]);
    bundle.command(["update", "--pids-limit", "41", &bundle.id]).run().ok();
    assert_eq!(show(&unit, &["TasksMax"]), ["41"]);
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn without_systemd_the_message_names_what_was_tried_and_what_to_do() {
    only_for_myrt!(BUS_NAMED);
    let bundle = scope("sd_no_bus");
    without(&bundle, &["/run/dbus", "/run/systemd"]);
    let output = bundle.run();
    output.fails().err_has("/run/dbus/system_bus_socket").err_has("/run/systemd/private").err_has("--systemd-cgroup");
    bundle.assert_clean();
    bundle.create().fails();
    bundle.assert_clean();
}

#[test]
fn a_container_can_be_removed_after_systemd_was_out_of_reach() {
    let bundle = scope("sd_lost_bus");
    bundle.sleeps().run_detached();
    // What is mounted in that namespace is not seen here.
    let script = "mount -t tmpfs none /run/dbus && mount -t tmpfs none /run/systemd && exec \"$@\"";
    let hidden = ["unshare", "--mount", "sh", "-c", script, "sh"];
    bundle.command(["delete", "--force", &bundle.id]).by(hidden).run();
    bundle.delete_force().ok();
    bundle.assert_clean();
}
