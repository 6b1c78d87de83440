//! Boxes on a host with systemd: an ordinary user's, which is put together around what is mounted below /proc and /sys, and
//! limits, which hold in cgroups of the v2 tree or in scopes.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use rustix::process::Signal;

use super::{ROOT, USER, as_user, machine, read_at, user};
use crate::only_for_myrt;
use crate::util::{TestCommand, runtime};

/// Who runs what follows does not find the user's manager.
const NO_MANAGER: [&str; 4] = ["env", "-u", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR=/nonexistent"];

/// A store, and a folder of the host's, gone with it.
struct Place {
    top: PathBuf,
    /// Of its box.
    name: &'static str,
    /// What stands before each command.
    prefix: Vec<String>,
    /// The runtime's global flags.
    flags: Vec<&'static str>,
}

impl Place {
    fn new(name: &'static str, prefix: Vec<String>) -> Self {
        machine();
        let top = PathBuf::from(format!("/var/tmp/myrt-box-{name}-{}", std::process::id()));
        for folder in ["", "host", "store"] {
            fs::create_dir(top.join(folder)).unwrap();
            let owner = if prefix.is_empty() { 0 } else { USER };
            chown(top.join(folder), Some(owner), Some(owner)).unwrap();
            crate::util::command::set_mode(top.join(folder), 0o700);
        }
        Self { top, name, prefix, flags: Vec::new() }
    }

    fn host(&self) -> PathBuf {
        self.top.join("host")
    }

    /// `myrt sandbox WORDS…`
    fn sandbox(&self, words: &[&str]) -> TestCommand {
        let store = self.top.join("store").display().to_string();
        let command = TestCommand::new([runtime()]).args(&self.flags).args(["sandbox", words[0], "--store", &store]);
        command.args(&words[1..]).cwd(self.host()).by(&self.prefix)
    }

    /// A script by the same caller, in no box.
    fn on_the_host(&self, script: &str) -> TestCommand {
        TestCommand::new(["sh", "-ec", script]).by(&self.prefix)
    }

    /// A script in the box, with these flags.
    fn script(&self, flags: &[&str], script: &str) -> TestCommand {
        self.sandbox(&[&["run", "--name", self.name], flags, &["sh", "-ec", script]].concat())
    }

    /// Limits hold, what was killed for memory is told, and no cgroup is left.
    fn assert_limits(&self) {
        let flags = ["--memory", "32m", "--cpus", "0.5", "--pids", "20"];
        let mut running = self.script(&flags, "echo ready; exec sleep 1000").spawn();
        running.until_stdout("ready");
        let folders = self.cgroups();
        let [cgroup] = &*folders else { panic!("{folders:?}") };
        // The runtime's own first process does not count.
        let files = ["memory.max", "cpu.max", "pids.max"].map(|file| read_at(cgroup, file));
        assert_eq!(files, ["33554432", "50000 100000", "21"]);
        running.signal(Signal::TERM);
        running.wait().code(143);
        for _ in 0..3 {
            let output = self.script(&flags, "exec tail /dev/zero").run();
            output.code(137).err_has("33554432 bytes of --memory were used up");
        }
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
    }

    /// The box's cgroups, scopes among them.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::from(ROOT)];
        while let Some(folder) = pending.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            pending.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.trim_start_matches("myrt-sandbox-").starts_with(&format!("{}-", self.name)) {
                found.push(folder);
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

#[test]
fn an_ordinary_users_box_is_put_together_around_what_systemd_mounts() {
    only_for_myrt!(BOXES);
    let place = Place::new("user", as_user());
    let file = place.host().join("file");
    fs::write(&file, "old\n").unwrap();
    chown(&file, Some(USER), Some(USER)).unwrap();
    let script = "id -u; cat file; echo new >file; cat file; ls /proc/sys/fs/binfmt_misc; test -r /proc/self/status";
    place.script(&[], script).run().ok().out_has(&format!("{USER}\nold\nnew"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
    place.sandbox(&["diff", place.name]).run().ok().out_has("M ");
    place.sandbox(&["commit", place.name]).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
    // The system's manager, which answers everybody on the host, is out of reach.
    let ask = "systemctl show --property=Version";
    place.on_the_host(ask).run().ok().out_has("Version=");
    place.script(&[], &format!("echo inside; {ask}")).run().fails().stdout("inside");
}

#[test]
fn limits_of_root_are_a_cgroups_or_a_scopes() {
    only_for_myrt!(BOXES);
    let mut place = Place::new("root", Vec::new());
    place.assert_limits();
    place.flags.push("--systemd-cgroup");
    place.assert_limits();
}

#[test]
fn limits_of_an_ordinary_user_are_a_delegated_cgroups_or_a_scopes_of_the_users_manager() {
    only_for_myrt!(BOXES);
    Place::new("delegated", [user().prefix, NO_MANAGER.map(str::to_owned).to_vec()].concat()).assert_limits();
    // The manager is asked without a word, too: what the user makes itself does not last below a slice.
    let mut place = Place::new("scope", as_user());
    place.assert_limits();
    place.flags.push("--systemd-cgroup");
    place.assert_limits();
}

#[test]
fn limits_that_nobody_can_give_are_refused() {
    only_for_myrt!(BOXES);
    let place = Place::new("nobody", [as_user(), NO_MANAGER.map(str::to_owned).to_vec()].concat());
    let refused = place.script(&["--memory", "32m"], "true").run();
    refused.code(125).err_has("--memory").err_has("enable-linger");
}
