//! The room against the kernel at hand, as root: first as the host is, then in a private mount namespace where a v2 tree is
//! mounted at /sys/fs/cgroup. Each test makes cgroups under a name of its own and leaves nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::*;

/// Whether the test can run at all: it needs the rights to make cgroups.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test again inside a private mount namespace with a pure v2 view, and says whether it was run there.
fn in_v2_view(test: &str) -> bool {
    if std::env::var_os("MYRT_TEST_V2").is_some() {
        return true;
    }
    if !is_root() {
        return false;
    }
    let script =
        "mount --make-rprivate / && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$0\" --exact \"$1\" --nocapture";
    let me = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(me)
        .arg(test)
        .env("MYRT_TEST_V2", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// A record that is taken down whatever becomes of the test.
struct Planned(Record);

impl std::ops::Deref for Planned {
    type Target = Record;
    fn deref(&self) -> &Record {
        &self.0
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        Cgroup::open(&self.0).kill(Signal::KILL).unwrap();
        remove_record(&self.0).unwrap();
    }
}

fn plan(name: &str) -> Planned {
    let id = format!("myrt-test-{name}-{}", std::process::id());
    let annotations = BTreeMap::new();
    let request = Request { id: &id, path: None, driver: Driver::Cgroupfs, annotations: &annotations, rootless: false };
    Planned(Record::plan(&request).unwrap())
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// Runs a shell script inside the cgroups, in all hierarchies.
fn inside(record: &Record, script: &str) -> Output {
    let folders: Vec<String> =
        record.trees().iter().map(|tree| tree.folder().join("cgroup.procs").display().to_string()).collect();
    let script = format!("for f in {}; do echo $$ > $f || exit 99; done; {script}", folders.join(" "));
    Command::new("sh").args(["-c", &script]).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Starts a shell script in the cgroups that outlives the call, and waits until it is there.
fn background(record: &Record, script: &str) {
    let output = inside(record, &format!("({script}) >/dev/null 2>&1 & echo started"));
    assert_eq!(text(&output), "started\n");
}

fn gone(record: &Record) -> bool {
    record.trees().iter().all(|tree| !tree.folder().exists())
}

fn life_cycle(name: &str) {
    let record = plan(name);
    let cgroup = Cgroup::create(&record, &resources("{}")).unwrap();
    assert!(!gone(&record));
    assert!(cgroup.warnings().is_empty());
    let again = Cgroup::create(&record, &resources("{}")).unwrap();
    assert!(again.pids().unwrap().is_empty(), "an empty leftover is taken over");

    background(&record, "sleep 100");
    background(&record, "sleep 100");
    assert!(cgroup.pids().unwrap().len() >= 2);
    let error = Cgroup::create(&record, &resources("{}")).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert!(!gone(&record));

    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let stats = cgroup.stats().unwrap();
    let json = serde_json::to_value(&stats).unwrap();
    assert!(stats.pids.current >= 2, "{json}");
    assert!(json["cpu"]["usage"]["kernel"].is_u64() && json["memory"]["usage"]["limit"].is_u64());

    cgroup.kill(Signal::KILL).unwrap();
    cgroup.remove().unwrap();
    assert!(gone(&record));
    cgroup.remove().unwrap();
    assert!(cgroup.pids().unwrap().is_empty());
    assert!(!cgroup.is_frozen().unwrap());
}

#[test]
fn a_life_on_this_host() {
    if is_root() {
        life_cycle("life");
    }
}

#[test]
fn a_life_on_v2() {
    if in_v2_view("cgroup::tests::a_life_on_v2") {
        assert_eq!(plan("x").kind(), Some(Kind::V2));
        life_cycle("life2");
    }
}

#[test]
fn a_hybrid_host_freezes_in_the_v1_way_and_is_thawed_in_both() {
    let (true, record) = (is_root(), plan("hybrid")) else { return };
    let (Some(v1), Some(v2)) = (record.v1("freezer"), record.v2()) else { return };
    let cgroup = Cgroup::create(&record, &resources("{}")).unwrap();
    background(&record, "sleep 100");
    cgroup.freeze().unwrap();
    assert_eq!(file::read_line(&v1.folder(), "freezer.state").unwrap(), "FROZEN");
    file::write(&v2.folder(), "cgroup.freeze", "1").unwrap();
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    file::write(&v2.folder(), "cgroup.freeze", "1").unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    cgroup.kill(Signal::KILL).unwrap();
    cgroup.remove().unwrap();
    assert!(gone(&record));
}

fn signals(name: &str) {
    let record = plan(name);
    let cgroup = Cgroup::create(&record, &resources("{}")).unwrap();
    background(&record, "trap 'exit 0' USR1; sleep 100 & wait");
    cgroup.kill(Signal::USR1).unwrap();
    cgroup.kill(Signal::TERM).unwrap();
    cgroup.remove().unwrap();
    assert!(gone(&record));
}

#[test]
fn other_signals_reach_everybody() {
    if is_root() {
        signals("signals");
    }
}

#[test]
fn other_signals_reach_everybody_on_v2() {
    if in_v2_view("cgroup::tests::other_signals_reach_everybody_on_v2") {
        signals("signals2");
    }
}

const DEVICES: &str = r#"{"devices":[{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":11,"access":"w"}]}"#;

/// What a process in the container may do with device nodes: null is always allowed; kmsg (1:11) may be written but not read;
/// loop-control (10:237) may be made as a node, and not opened.
const PROBE: &str = r#"d=$(mktemp -d); t() { "$@" 2>/dev/null && echo yes || echo no; }
    t sh -c 'cat < /dev/null'
    mknod $d/kmsg c 1 11; t sh -c "exec 3< $d/kmsg"; t sh -c "exec 3> $d/kmsg"
    t mknod $d/loop c 10 237; t sh -c "exec 3< $d/loop"
    rm -r $d"#;

fn device_rules(name: &str) {
    let record = plan(name);
    let cgroup = Cgroup::create(&record, &resources(DEVICES)).unwrap();
    assert_eq!(text(&inside(&record, PROBE)), "yes\nno\nyes\nyes\nno\n");
    cgroup.update(&resources(r#"{"pids":{"limit":-1}}"#)).unwrap();
    assert_eq!(text(&inside(&record, PROBE)), "yes\nno\nyes\nyes\nno\n", "an update without devices changes none");
    cgroup
        .update(&resources(r#"{"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":11}]}"#))
        .unwrap();
    assert_eq!(text(&inside(&record, PROBE)), "yes\nyes\nyes\nyes\nno\n");
    cgroup.update(&resources(r#"{"devices":[{"allow":true}]}"#)).unwrap();
    assert_eq!(text(&inside(&record, PROBE)), "yes\nyes\nyes\nyes\nyes\n");
    cgroup.update(&resources(r#"{"devices":[{"allow":false}]}"#)).unwrap();
    assert_eq!(text(&inside(&record, PROBE)), "yes\nno\nno\nyes\nno\n");
    cgroup.remove().unwrap();
}

#[test]
fn devices_are_denied() {
    if is_root() {
        device_rules("devices");
    }
}

#[test]
fn devices_are_denied_on_v2() {
    if in_v2_view("cgroup::tests::devices_are_denied_on_v2") {
        device_rules("devices2");
    }
}

#[test]
fn a_hole_in_a_range_is_kept_on_v2() {
    if in_v2_view("cgroup::tests::a_hole_in_a_range_is_kept_on_v2") {
        let record = plan("hole");
        let rules = r#"{"devices":[{"allow":false},{"allow":true,"type":"c","minor":11},
            {"allow":true,"type":"c","major":10},{"allow":false,"type":"c","major":10,"minor":237}]}"#;
        let cgroup = Cgroup::create(&record, &resources(rules)).unwrap();
        assert_eq!(text(&inside(&record, PROBE)), "yes\nyes\nyes\nyes\nno\n");
        cgroup.remove().unwrap();
    }
}

#[test]
fn cgroups_made_inside_go_too() {
    if in_v2_view("cgroup::tests::cgroups_made_inside_go_too") {
        let record = plan("nested");
        let cgroup = Cgroup::create(&record, &resources("{}")).unwrap();
        let folder = record.trees()[0].folder();
        std::fs::create_dir_all(folder.join("a/b/c")).unwrap();
        std::fs::create_dir_all(folder.join("a/d")).unwrap();
        let script = format!("echo $$ > {}/a/b/c/cgroup.procs; exec sleep 100", folder.display());
        background(&record, &script);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !Path::new(&folder).join("a/b/c/cgroup.procs").exists() || cgroup.pids().unwrap().is_empty() {
            assert!(std::time::Instant::now() < end);
        }
        let pids = cgroup.pids().unwrap();
        assert_eq!(pids.len(), 1);
        let sub = Cgroup::sub(&record, &["a/d".to_owned()]).unwrap();
        assert!(sub.clone_target().is_some() && sub.record().trees()[0].path.ends_with("/a/d"));
        assert!(Cgroup::sub(&record, &["missing".to_owned()]).is_err());
        cgroup.kill(Signal::KILL).unwrap();
        cgroup.remove().unwrap();
        assert!(gone(&record));
    }
}

#[test]
fn parents_that_were_made_go_too_and_others_stay() {
    if in_v2_view("cgroup::tests::parents_that_were_made_go_too_and_others_stay") {
        let top = format!("/myrt-test-parents-{}", std::process::id());
        let annotations = BTreeMap::new();
        let plan = |below: &str| {
            let path = format!("{top}/{below}");
            let request = Request {
                id: "x",
                path: Some(&path),
                driver: Driver::Cgroupfs,
                annotations: &annotations,
                rootless: false,
            };
            Record::plan(&request).unwrap()
        };
        let first = plan("a/one");
        let one = Cgroup::create(&first, &resources("{}")).unwrap();
        let two = Cgroup::create(&plan("a/two"), &resources("{}")).unwrap();
        let folder = format!("/sys/fs/cgroup{top}");
        one.remove().unwrap();
        assert!(Path::new(&folder).join("a/two").exists());
        two.remove().unwrap();
        assert!(Path::new(&folder).join("a").exists(), "it was there before the second");
        remove_record(&first).unwrap();
        assert!(!Path::new(&folder).exists());
    }
}

#[test]
fn limits_hold_on_this_host() {
    let record = plan("limits");
    if !is_root() || record.v1("memory").is_none() || record.v1("pids").is_none() || record.v1("cpu").is_none() {
        return;
    }
    let json = r#"{"memory":{"limit":16777216,"swap":33554432},"pids":{"limit":9},
        "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0"}}"#;
    let cgroup = Cgroup::create(&record, &resources(json)).unwrap();
    let read = |controller: &str, name: &str| {
        let folder = record.v1(controller).unwrap().folder();
        std::fs::read_to_string(folder.join(name)).unwrap().trim().to_owned()
    };
    let memory = || (read("memory", "memory.limit_in_bytes"), read("memory", "memory.memsw.limit_in_bytes"));
    assert_eq!(memory(), ("16777216".into(), "33554432".into()));
    assert_eq!((read("pids", "pids.max"), read("cpu", "cpu.shares")), ("9".into(), "512".into()));
    assert_eq!(read("cpuset", "cpuset.cpus"), "0");
    // Up past the old sum, down below the old limit: the kernel wants another order each time.
    cgroup.update(&resources(r#"{"memory":{"limit":67108864,"swap":134217728}}"#)).unwrap();
    assert_eq!(memory(), ("67108864".into(), "134217728".into()));
    cgroup.update(&resources(r#"{"memory":{"limit":8388608,"swap":8388608}}"#)).unwrap();
    assert_eq!(memory(), ("8388608".into(), "8388608".into()));
    cgroup.update(&resources(r#"{"memory":{"limit":-1}}"#)).unwrap();
    assert!(memory().0.len() > 15 && memory().1.len() > 15);
    cgroup.update(&resources(r#"{"cpu":{"quota":20000,"period":20000,"burst":10000}}"#)).unwrap();
    assert_eq!(read("cpu", "cpu.cfs_burst_us"), "10000");
    let error = cgroup.update(&resources(r#"{"cpu":{"cpus":"4000"}}"#)).unwrap_err().to_string();
    assert!(error.starts_with("linux.resources.cpu.cpus: "), "{error}");
    cgroup.remove().unwrap();
}

#[test]
fn a_limit_without_its_controller_is_refused_and_leaves_nothing() {
    if in_v2_view("cgroup::tests::a_limit_without_its_controller_is_refused_and_leaves_nothing") {
        let record = plan("missing");
        if file::read(Path::new(layout::ROOT), "cgroup.controllers").unwrap().contains("memory") {
            return;
        }
        let error = Cgroup::create(&record, &resources(r#"{"memory":{"limit":16777216}}"#)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("linux.resources.memory.limit") && text.contains("the memory controller"), "{text}");
        assert!(gone(&record));
        Cgroup::create(&record, &resources(r#"{"memory":{"limit":-1},"pids":{"limit":0}}"#)).unwrap().remove().unwrap();
        let error = Cgroup::create(&record, &resources(r#"{"unified":{"memory.high":"5"}}"#)).unwrap_err().to_string();
        assert!(error.contains("memory.high"), "{error}");
    }
}

#[test]
fn a_thread_enters_every_v1_hierarchy() {
    let record = plan("enter");
    if !is_root() || record.kind() == Some(Kind::V2) {
        return;
    }
    let cgroup = Cgroup::create(&record, &resources("{}")).unwrap();
    // Only this test's own thread moves, and what it starts.
    cgroup.enter().unwrap();
    let output = Command::new("cat").arg("/proc/self/cgroup").output().unwrap();
    let outside = record.trees().iter().map(|tree| tree.mount.clone());
    for mount in outside {
        let file = if file::exists(&mount.join("tasks")) { "tasks" } else { continue };
        file::write(&mount, file, "0").unwrap();
    }
    let text = text(&output);
    for tree in record.trees().iter().filter(|tree| !tree.is_v2()) {
        assert!(text.contains(&format!(":{}:{}\n", tree.controllers, tree.path)), "{text}");
    }
    cgroup.remove().unwrap();
}

#[test]
fn running_out_of_memory_is_told() {
    let record = plan("oom");
    if !is_root() || record.v1("memory").is_none() {
        return;
    }
    let json = r#"{"memory":{"limit":8388608,"swap":8388608}}"#;
    let cgroup = Cgroup::create(&record, &resources(json)).unwrap();
    let mut events = cgroup.oom_events().unwrap();
    assert_eq!(events.read().unwrap(), Oom::Nothing);
    inside(&record, "head -c 30000000 /dev/zero | tail");
    assert!(matches!(events.read().unwrap(), Oom::Happened(_)));
    cgroup.remove().unwrap();
    assert_eq!(events.read().unwrap(), Oom::Gone);
}

/// Runs a test again as an ordinary user, in a cgroup that this user was given or in none, and says whether it was run there.
fn as_user(test: &str, delegated: bool) -> bool {
    if std::env::var_os("MYRT_TEST_USER").is_some() {
        return true;
    }
    if !is_root() {
        return false;
    }
    let top = format!("/sys/fs/cgroup/myrt-test-user-{}-{delegated}", std::process::id());
    let give = if delegated { "chown -R 65534 \"$2\"" } else { "true" };
    let script = format!(
        "mount --make-rprivate / && mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir -p \"$2/own\" && {give} && \
         cp \"$0\" /tmp/myrt-test-$$ && chmod 755 /tmp/myrt-test-$$ && echo $$ > \"$2/own/cgroup.procs\" && \
         setpriv --reuid 65534 --regid 65534 --clear-groups /tmp/myrt-test-$$ --exact \"$1\" --nocapture; code=$?; \
         echo $$ > /sys/fs/cgroup/cgroup.procs; rm /tmp/myrt-test-$$; rmdir \"$2/own\" \"$2\"; exit $code"
    );
    let me = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(me)
        .args([test, &top])
        .env("MYRT_TEST_USER", "1")
        .output();
    let text = text(&output.unwrap());
    assert!(text.contains("1 passed") && !text.contains("rmdir:"), "{text}");
    false
}

fn plan_rootless(path: Option<&str>) -> Record {
    let annotations = BTreeMap::new();
    let request = Request { id: "c1", path, driver: Driver::Cgroupfs, annotations: &annotations, rootless: true };
    Record::plan(&request).unwrap()
}

#[test]
fn an_ordinary_user_without_delegation_is_warned_once() {
    if as_user("cgroup::tests::an_ordinary_user_without_delegation_is_warned_once", false) {
        let record = plan_rootless(None);
        let cgroup = Cgroup::create(&record, &resources(DEVICES)).unwrap();
        assert!(cgroup.warnings().is_empty(), "nothing was asked for: {:?}", cgroup.warnings());
        assert!(cgroup.clone_target().is_none());
        assert_eq!(cgroup.record().kind(), None);
        assert!(View::of(cgroup.record()).unwrap().trees[0].container.is_none());
        cgroup.remove().unwrap();
        remove_record(&record).unwrap();
        let cgroup = Cgroup::create(&plan_rootless(Some("/named")), &resources(DEVICES)).unwrap();
        let [warning] = cgroup.warnings() else { panic!("{:?}", cgroup.warnings()) };
        assert!(warning.contains("permission denied"), "{warning}");
        for record in [record, plan_rootless(Some("/named"))] {
            let cgroup = Cgroup::create(&record, &resources(r#"{"pids":{"limit":5}}"#)).unwrap();
            let [warning] = cgroup.warnings() else { panic!("{:?}", cgroup.warnings()) };
            assert!(warning.contains("linux.resources.pids.limit") && warning.contains("Delegate="), "{warning}");
        }
        assert!(host(true).delegated.is_empty());
    }
}

#[test]
fn an_ordinary_user_uses_what_was_delegated() {
    if as_user("cgroup::tests::an_ordinary_user_uses_what_was_delegated", true) {
        let record = plan_rootless(None);
        assert!(record.trees()[0].path.ends_with("-true/c1"), "{record:?}");
        let cgroup = Cgroup::create(&record, &resources(DEVICES)).unwrap();
        assert!(cgroup.warnings().is_empty() && cgroup.clone_target().is_some());
        background(&record, "sleep 100");
        cgroup.freeze().unwrap();
        assert_eq!(cgroup.pids().unwrap().len(), 1);
        cgroup.kill(Signal::KILL).unwrap();
        cgroup.remove().unwrap();
    }
}
