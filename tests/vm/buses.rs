//! By which bus systemd is reached: a bus daemon, or its private socket; and what is said where there is none.

use std::fs;
use std::time::Duration;

use super::{ROOT, folder, scope, show};
use crate::only_for_myrt;
use crate::util::{Bundle, TestCommand, until};

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

/// `delete --force` that cannot reach systemd. What is mounted in its namespace is not seen here.
fn delete_unheard(bundle: &Bundle) -> TestCommand {
    let script = "mount -t tmpfs none /run/dbus && mount -t tmpfs none /run/systemd && exec \"$@\"";
    let hidden = ["unshare", "--mount", "sh", "-c", script, "sh"];
    bundle.command(["delete", "--force", &bundle.id]).by(hidden)
}

#[test]
fn a_container_can_be_removed_after_systemd_was_out_of_reach() {
    let bundle = scope("sd_lost_bus");
    bundle.sleeps().run_detached();
    delete_unheard(&bundle).run();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

/// systemd at a standstill, until this is dropped.
struct Still;

impl Still {
    const FILE: &str = "init.scope/cgroup.freeze";

    fn new() -> Self {
        fs::write(format!("{ROOT}/{}", Self::FILE), "1").unwrap();
        Self
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        fs::write(format!("{ROOT}/{}", Self::FILE), "0").unwrap();
    }
}

#[test]
fn a_scope_is_forgotten_though_systemd_was_slow_to_look() {
    only_for_myrt!(SCOPE_LEFT);
    let bundle = scope("sd_slow");
    bundle.sleeps().run_detached();
    let cgroup = folder(&bundle);
    let still = Still::new();
    let deleting = delete_unheard(&bundle).spawn();
    until("the scope is empty or gone", || {
        let events = fs::read_to_string(cgroup.join("cgroup.events"));
        events.map_or(true, |text| text.contains("populated 0")).then_some(())
    });
    // Long enough for a delete that does not wait to take the folder away under systemd.
    std::thread::sleep(Duration::from_millis(500));
    drop(still);
    deleting.wait().ok();
    // The name is free again, and so is the unit.
    bundle.run_detached();
    bundle.delete_force().ok();
    bundle.assert_clean();
}
