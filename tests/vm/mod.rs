//! What needs more than most hosts have: pure cgroup v2 with all controllers, swap, huge pages, systemd, AppArmor, and the
//! right to change the machine. `scripts/vm.sh test vm` runs these in a virtual machine; elsewhere each of them fails.
//!
//! | file | subject |
//! |---|---|
//! | `controllers.rs` | each limit of config.json in the file of its controller, and what is refused |
//! | `controllers_bite.rs` | limits that a program runs into |
//! | `controllers_io.rs` | weights and rates of a real block device |
//! | `controllers_tree.rs` | the folders: controllers passed on, parents, children, removal, being born inside |
//! | `update.rs` | each limit changed while the container runs, and what a failed update leaves |
//! | `oom.rs` | running out of memory: who dies, who is told |
//! | `systemd.rs` | scopes and slices, their properties, names, what happens to them from outside |
//! | `buses.rs` | by which bus systemd is reached, and what is said where there is none |
//! | `session.rs` | an ordinary user's own systemd, and root of a user namespace who asks it |
//! | `boxes.rs` | sandboxes: an ordinary user's, and limits of boxes |
//! | `delegation.rs` | delegated controllers, and cgroups that are a container's own |
//! | `apparmor.rs` | profiles entered and enforced |
//! | `fallbacks.rs` | newer features that Linux 6.1 lacks |
//! | `events.rs` | statistics against the files they come from, pressure |

mod apparmor;
mod boxes;
mod buses;
mod controllers;
mod controllers_bite;
mod controllers_io;
mod controllers_tree;
mod delegation;
mod events;
mod fallbacks;
mod oom;
mod session;
mod systemd;
mod update;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::util::user::Ordinary;
use crate::util::{Bundle, TestCommand, Value};

/// The ordinary user of the machine, who has a lingering session with delegated controllers.
const USER: u32 = 1000;

/// The v2 tree.
const ROOT: &str = "/sys/fs/cgroup";

/// Fails where the test could do harm or says nothing: outside of the machine that is made for it.
#[track_caller]
pub fn machine() {
    assert!(
        std::env::var_os("MYRT_TEST_VM").is_some(),
        "this test needs the virtual machine: run it by scripts/vm.sh test vm, and leave it out elsewhere with --skip vm::"
    );
}

/// A bundle in the machine.
#[track_caller]
pub fn bundle(name: &str) -> Bundle {
    machine();
    Bundle::busybox(&format!("vm_{name}"))
}

/// The same with these `linux.resources`, besides the usual device rules.
#[track_caller]
pub fn limited(name: &str, resources: Value) -> Bundle {
    let bundle = bundle(name);
    set(&bundle, resources);
    bundle
}

/// Puts these groups into `linux.resources`.
pub fn set(bundle: &Bundle, resources: Value) {
    bundle.config(|config| {
        for (group, value) in resources.as_object().unwrap() {
            config["linux"]["resources"][group] = value.clone();
        }
    });
}

/// The folder of the container's cgroup.
pub fn folder(bundle: &Bundle) -> PathBuf {
    Path::new(ROOT).join(bundle.cgroup().trim_start_matches('/'))
}

/// A file of a folder, without the white space at its end.
#[track_caller]
pub fn read_at(folder: &Path, file: &str) -> String {
    let path = folder.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// A file of the container's cgroup.
#[track_caller]
pub fn read(bundle: &Bundle, file: &str) -> String {
    read_at(&folder(bundle), file)
}

/// A file of lines with a name and a number each.
#[track_caller]
pub fn table(bundle: &Bundle, file: &str) -> BTreeMap<String, u64> {
    let text = read(bundle, file);
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{file}: {line}")));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// One number of such a file.
#[track_caller]
pub fn count(bundle: &Bundle, file: &str, name: &str) -> u64 {
    table(bundle, file)[name]
}

/// Asserts what files of the container's cgroup hold.
#[track_caller]
pub fn holds(bundle: &Bundle, files: &[(&str, &str)]) {
    for (file, value) in files {
        assert_eq!(read(bundle, file), *value, "{file}");
    }
}

/// `update` with flags.
pub fn update(bundle: &Bundle, flags: &[&str]) -> crate::util::command::Output {
    bundle.command(["update"]).args(flags).arg(&bundle.id).run()
}

/// `update` with JSON.
pub fn update_json(bundle: &Bundle, resources: &Value) -> crate::util::command::Output {
    bundle.command(["update", "-r", "-", &bundle.id]).stdin(resources.to_string()).run()
}

/// Megabytes.
pub const MB: u64 = 1 << 20;

/// A bundle as root whose container is a scope.
fn scope(name: &str) -> Bundle {
    bundle(name).in_scope()
}

/// The ordinary user; each command of theirs is a scope of their own manager, with delegated controllers.
fn user() -> Ordinary {
    let run = format!("/run/user/{USER}");
    let mut prefix = as_user();
    prefix.extend(["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes", "--"].map(str::to_owned));
    assert!(Path::new(&run).exists());
    Ordinary { uid: USER, gid: USER, range: Some(100_000), prefix }
}

/// What runs a command as that user, in the environment of a session and the cgroup of the caller.
fn as_user() -> Vec<String> {
    let text = format!(
        "setpriv --reuid {USER} --regid {USER} --init-groups env XDG_RUNTIME_DIR=/run/user/{USER} \
         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus HOME=/home/user"
    );
    text.split_whitespace().map(str::to_owned).collect()
}

/// Properties of a unit, as `systemctl show` has them, in the order of `names`.
#[track_caller]
fn show(unit: &str, names: &[&str]) -> Vec<String> {
    shown(&[], unit, names)
}

/// The same of a unit of the ordinary user's manager.
#[track_caller]
fn show_of_user(unit: &str, names: &[&str]) -> Vec<String> {
    shown(&["--user"], unit, names)
}

#[track_caller]
fn shown(flags: &[&str], unit: &str, names: &[&str]) -> Vec<String> {
    let mut command = TestCommand::new(["systemctl"]).args(flags).args(["show", unit, "--property", &names.join(",")]);
    if !flags.is_empty() {
        command = command.by(as_user());
    }
    let lines = command.run().ok().lines();
    let value = |name: &&str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("{unit} shows no {name}: {lines:?}")).to_owned()
    };
    names.iter().map(value).collect()
}
