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
//! | `events.rs` | statistics against the files they come from, pressure |

mod controllers;
mod controllers_bite;
mod controllers_io;
mod controllers_tree;
mod events;
mod oom;
mod update;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::util::{Bundle, Value};

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
    Path::new(ROOT).join("myrt-test").join(&bundle.id)
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
