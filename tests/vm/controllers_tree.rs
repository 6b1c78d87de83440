//! The folders of a container's cgroup: what is passed on along the path, what may lie above and below, what is left, and
//! that a process is there from its first instruction on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{MB, ROOT, bundle, count, folder, limited, read, read_at, set};
use crate::util::config::Edit as _;
use crate::util::{Bundle, TestCommand, json, until};

/// A folder of the test's own for the container's cgroup to lie in; taken away at the end.
struct Above {
    path: PathBuf,
}

impl Above {
    /// Makes it, and puts the container's cgroup there, below `between`.
    fn of(bundle: &Bundle, between: &str) -> Self {
        let name = format!("myrt-above-{}", bundle.id);
        let path = Path::new(ROOT).join(&name);
        fs::create_dir(&path).unwrap();
        bundle.config(|config| config["linux"]["cgroupsPath"] = json!(format!("/{name}/{between}{}", bundle.id)));
        Self { path }
    }

    /// A process of the host's in it.
    fn inhabited(&self) -> crate::util::command::Running {
        let script = "echo $$ > \"$1/cgroup.procs\"; echo in; exec sleep 1000";
        let mut running = TestCommand::shell(script, [self.path.display()]).spawn();
        running.until_stdout("in");
        running
    }

    /// What is set in each of its files.
    fn settings(&self) -> BTreeMap<String, String> {
        settings(&self.path)
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        for _ in 0..1000 {
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        assert!(std::thread::panicking(), "{} is not empty", self.path.display());
    }
}

/// The files of a cgroup that somebody may write and read: what is set there.
fn settings(folder: &Path) -> BTreeMap<String, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let files = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    let files = files.filter(|entry| entry.metadata().unwrap().permissions().mode() & 0o222 != 0);
    let names = files.map(|entry| entry.file_name().into_string().unwrap());
    let names = names.filter(|name| !name.ends_with(".pressure") && name != "cgroup.procs" && name != "cgroup.threads");
    names
        .filter_map(|name| Some((fs::read_to_string(folder.join(&name)).ok()?, name)))
        .map(|(text, name)| (name, text.trim().to_owned()))
        .collect()
}

#[test]
fn controllers_are_passed_on_and_nothing_else_is_changed_above() {
    let bundle = limited("tree_path", json!({ "memory": { "limit": 64 * MB }, "pids": { "limit": 20 } }));
    let above = Above::of(&bundle, "");
    let (before, root) = (above.settings(), settings(ROOT.as_ref()));
    assert_eq!(before["cgroup.subtree_control"], "");
    bundle.sleeps().run_detached();
    let leaf = above.path.join(&bundle.id);
    assert_eq!(read_at(&leaf, "memory.max"), (64 * MB).to_string());
    assert_eq!(read_at(&leaf, "cgroup.subtree_control"), "", "the container passes on nothing by itself");
    bundle.delete_force().ok();
    bundle.assert_clean();
    assert!(!leaf.exists());
    let mut after = above.settings();
    let passed = after.insert("cgroup.subtree_control".to_owned(), String::new()).unwrap();
    for controller in ["memory", "pids"] {
        assert!(passed.split(' ').any(|name| name == controller), "{controller} is not among {passed}");
    }
    assert_eq!(after, before);
    let mut now = settings(ROOT.as_ref());
    now.insert("cgroup.subtree_control".to_owned(), root["cgroup.subtree_control"].clone());
    assert_eq!(now, root);
}

#[test]
fn folders_on_the_way_are_made_and_taken_away_again() {
    crate::only_for_myrt!(FOLDERS_ABOVE);
    let bundle = limited("tree_deep", json!({ "pids": { "limit": 20 } }));
    let above = Above::of(&bundle, "a/b/");
    bundle.sleeps().run_detached();
    assert_eq!(read_at(&above.path.join("a/b").join(&bundle.id), "pids.max"), "20");
    bundle.delete_force().ok();
    bundle.assert_clean();
    assert!(!above.path.join("a").exists(), "what was made on the way");
    assert!(above.path.exists(), "what was there before");
}

#[test]
fn a_cgroup_above_with_processes_of_its_own_is_named() {
    crate::only_for_myrt!(ABOVE_NAMED);
    let bundle = limited("tree_procs", json!({ "memory": { "limit": 64 * MB } }));
    let above = Above::of(&bundle, "");
    let inhabitant = above.inhabited();
    let output = bundle.run();
    output.fails().err_has("linux.resources.memory.limit").err_has("memory controller");
    output.err_has(&format!("{} has processes", above.path.display()));
    bundle.assert_clean();
    assert_eq!(read_at(&above.path, "cgroup.subtree_control"), "");
    // Without a limit it does not matter who lives above.
    bundle.config(|config| {
        config["linux"]["resources"].as_object_mut().unwrap().remove("memory");
    });
    bundle.args(["echo", "ran"]).run().ok().stdout("ran");
    drop(inhabitant);
}

#[test]
fn a_threaded_cgroup_above_is_named() {
    crate::only_for_myrt!(ABOVE_NAMED);
    let bundle = bundle("tree_threaded");
    let above = Above::of(&bundle, "");
    fs::write(above.path.join("cgroup.type"), "threaded").unwrap();
    bundle.run().fails().err_has("threaded").err_has("linux.cgroupsPath");
    bundle.assert_clean();
    assert!(!above.path.join(&bundle.id).exists());
    // The neighbour of a threaded one takes no processes either, unless it is threaded itself.
}

#[test]
fn a_process_is_born_in_its_cgroup() {
    crate::only_for_myrt!(BORN_THERE);
    super::machine();
    let script = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; \
                  for event in mkdir attach_task transfer_tasks; do \
                  echo 1 > /sys/kernel/tracing/events/cgroup/cgroup_$event/enable; done";
    TestCommand::shell(script, [""; 0]).run().ok();
    let trace = || fs::read_to_string("/sys/kernel/tracing/trace").unwrap();
    let moved_to = |path: &str| {
        let moves =
            |line: &&str| (line.contains("attach_task") || line.contains("transfer_tasks")) && line.contains(path);
        trace().lines().filter(moves).map(str::to_owned).collect::<Vec<_>>()
    };
    // The kernel tells of each process that is moved; that it does so is seen first.
    let bundle = bundle("tree_born");
    let above = Above::of(&bundle, "");
    drop(above.inhabited());
    let name = above.path.file_name().unwrap().to_str().unwrap();
    assert!(!moved_to(name).is_empty(), "{}", trace());
    let path = format!("{name}/{}", bundle.id);
    bundle.args(["grep", "^0::", "/proc/self/cgroup"]).run().ok().stdout(&format!("0::/{path}"));
    bundle.sleeps().run_detached();
    bundle.exec(["grep", "^0::", "/proc/self/cgroup"]).ok().stdout(&format!("0::/{path}"));
    bundle.delete_force().ok();
    assert!(trace().lines().any(|line| line.contains("mkdir") && line.contains(&path)), "{}", trace());
    assert_eq!(moved_to(&path), [""; 0], "no process was ever moved there");
}

#[test]
fn a_killed_cgroup_cannot_be_forked_away_from() {
    let bundle = limited("tree_kill", json!({ "pids": { "limit": 60 } }));
    bundle.config(|config| config.share("pid"));
    // Each process makes two others and ends, so that a list of numbers is stale as soon as it is read.
    bundle.file("bomb", "sh /bomb & sh /bomb & exit 0\n").sh("sh /bomb 2>/dev/null & sleep 1000").run_detached();
    until("they are many", || (count(&bundle, "pids.events", "max") > 0).then_some(()));
    bundle.command(["kill", "--all", &bundle.id, "KILL"]).run().ok();
    until("all are gone", || (count(&bundle, "cgroup.events", "populated") == 0).then_some(()));
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_frozen_container_is_deleted_all_the_same() {
    let bundle = bundle("tree_frozen");
    bundle.sleeps().run_detached();
    bundle.command(["pause", &bundle.id]).run().ok();
    assert_eq!(count(&bundle, "cgroup.events", "frozen"), 1);
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn cgroups_that_the_container_made_go_with_it() {
    let bundle = limited("tree_nested", json!({ "memory": { "limit": 64 * MB }, "pids": { "limit": 20 } }));
    bundle.config(|config| {
        config.namespace("cgroup");
        config
            .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }));
    });
    let script = "cd /sys/fs/cgroup && mkdir own && echo 1 > own/cgroup.procs && \
                  echo +memory +pids > cgroup.subtree_control && mkdir -p jobs/a/b && \
                  echo +pids > jobs/cgroup.subtree_control && echo 3 > jobs/a/pids.max && \
                  { sleep 1000 & echo $! > jobs/a/b/cgroup.procs; } && echo ready; sleep 1000";
    let run = bundle.sh(script).run_detached();
    until("it has made cgroups", || run.out().contains("ready").then_some(()));
    let inner = folder(&bundle).join("jobs/a");
    assert_eq!(read_at(&inner, "pids.max"), "3");
    // The limit around it is above what the container may reach.
    assert_eq!(read(&bundle, "pids.max"), "20");
    // Its own cgroup holds no processes any more: further programs go where the first one is.
    bundle.exec(["grep", "^0::", "/proc/self/cgroup"]).ok();
    set(&bundle, json!({}));
    bundle.delete_force().ok();
    bundle.assert_clean();
    assert!(!folder(&bundle).exists());
}
