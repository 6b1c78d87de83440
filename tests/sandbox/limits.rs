//! `--memory`, `--cpus`, `--pids`, `--seccomp`: each is seen to bite, and goes with the run.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::place::Place;
use crate::util::command::Output;
use crate::util::{TestCommand, Value, leftovers, until};

fn run(place: &Place, flags: &[&str], words: &[&str]) -> Output {
    place.sandbox("run", [&["--name", "b"], flags, words].concat()).run()
}

/// The cgroups of boxes of this name, of whatever store.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let own =
        |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")));
    let below = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    leftovers::cgroups("/myrt-sandbox").into_iter().flat_map(below).filter(own).collect()
}

#[test]
fn memory_ends_at_its_limit() {
    let place = Place::new();
    let program = "data = bytearray(200 << 20); print(len(data))";
    run(&place, &["--memory", "512m"], &["/usr/bin/python3", "-c", program]).ok().stdout("209715200");
    let killed = run(&place, &["--memory", "64m"], &["/usr/bin/python3", "-c", program]);
    let sentence = "the 67108864 bytes of --memory were used up: the kernel has killed a process of the program";
    killed.code(137).stdout("").err_has(sentence);
    // One that is no end of the program is told as well.
    let script = ["sh", "-c", "/usr/bin/python3 -c \"$0\"; echo $?", program];
    run(&place, &["--memory", "64m"], &script).ok().stdout("137").err_has(sentence);
    // The box goes on, and whatever else kills a program is not told as that.
    run(&place, &["--memory", "64m"], &["echo", "here"]).ok().stdout("here");
    let killed = run(&place, &["--memory", "64m"], &["sh", "-c", "kill -KILL $$"]);
    assert_eq!(killed.code(137).err(), "");
    let list = place.sandbox("list", ["--format", "json"]).run().json();
    let reports = list[0]["runs"].as_array().unwrap().iter().map(|run| &run["report"]);
    let counts: Vec<_> = reports.clone().map(|report| report["killedForMemory"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 1, 1, 0, 0]);
    assert_eq!(reports.map(|report| report["notes"].as_array().unwrap().len()).collect::<Vec<_>>(), [0, 1, 1, 0, 0]);
}

#[test]
fn processes_end_at_their_limit() {
    let place = Place::new();
    let program = "
import os
count = 0
try:
    while count < 100:
        if os.fork() == 0:
            os.pause() if hasattr(os, 'pause') else __import__('signal').pause()
        count += 1
except BlockingIOError:
    pass
print(count)";
    // The program itself is one of them.
    run(&place, &["--pids", "20"], &["/usr/bin/python3", "-c", program]).ok().stdout("19");
    run(&place, &["--pids", "1"], &["true"]).ok();
}

#[test]
fn cpus_are_shared_out_by_the_kernel() {
    let place = Place::new();
    let mut running = place
        .sandbox("run", ["--name", "cpus-of-half", "--cpus", "0.5", "sh", "-c", "echo ready; cat"])
        .spawn_on(std::process::Stdio::piped());
    running.until_stdout("ready");
    let read =
        |name: &str| cgroups("cpus-of-half").iter().find_map(|folder| std::fs::read_to_string(folder.join(name)).ok());
    match read("cpu.cfs_quota_us") {
        Some(quota) => assert_eq!(quota.trim(), "50000"),
        None => assert_eq!(read("cpu.max").unwrap().trim(), "50000 100000"),
    }
    running.signal(Signal::TERM);
    running.wait().code(143);
    assert_eq!(cgroups("cpus-of-half"), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_runs_cgroup_goes_with_the_next_run_or_the_box() {
    let place = Place::new();
    let start = || {
        let words = ["--name", "cgroup-of-killed", "--pids", "50", "sh", "-c", "echo ready; exec sleep 64321"];
        let mut running = place.sandbox("run", words).spawn();
        running.until_stdout("ready");
        assert!(!cgroups("cgroup-of-killed").is_empty());
        running.signal(Signal::KILL);
        running.wait().code(137);
        until("the program has ended", || {
            TestCommand::new(["pgrep", "-f", "^sleep 64321$"]).run().out().is_empty().then_some(())
        });
        assert!(!cgroups("cgroup-of-killed").is_empty(), "nothing was left, so nothing is shown");
    };
    start();
    place.sandbox("run", ["--name", "cgroup-of-killed", "true"]).run().ok();
    assert_eq!(cgroups("cgroup-of-killed"), Vec::<PathBuf>::new());
    start();
    place.sandbox("discard", ["cgroup-of-killed"]).run().ok();
    assert_eq!(cgroups("cgroup-of-killed"), Vec::<PathBuf>::new());
}

#[test]
fn limits_that_cannot_be_had_are_refused() {
    let place = Place::new();
    for (flags, words) in [
        (["--memory", "0"], "--memory"),
        (["--memory", "-1"], "--memory"),
        (["--cpus", "0"], "--cpus"),
        (["--cpus", "many"], "--cpus"),
        (["--pids", "0"], "--pids"),
    ] {
        run(&place, &flags, &["true"]).fails().err_has(words);
    }
    // A host on which no cgroup can be made: its hierarchies are read-only.
    let store = place.store().display().to_string();
    let words = ["sandbox", "run", "--store", &store, "--memory", "64m", "echo", "it ran"];
    let script =
        "for each in $(findmnt -rno TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $each; done; exec \"$@\"";
    TestCommand::new(["unshare", "--mount", "sh", "-ec", script, "sh", &crate::util::runtime()])
        .args(words)
        .cwd(place.host())
        .run()
        .code(125)
        .err_has("--memory")
        .stdout("");
    assert_eq!(place.sandbox("list", ["-q"]).run().ok().out(), "");
}

#[test]
fn runs_that_come_and_go_beside_each_other_get_their_cgroups() {
    let place = Place::new();
    let all: Vec<_> = (0..4)
        .map(|number| {
            let store = place.store().display().to_string();
            let script = format!(
                "for i in 1 2 3 4 5 6; do {} sandbox run --store {store} --name of-many-{number} --pids 20 true || exit; done",
                crate::util::runtime()
            );
            TestCommand::shell(&script, [""]).cwd(place.host()).spawn()
        })
        .collect();
    for one in all {
        one.wait().ok();
    }
    assert_eq!(cgroups("of-many"), Vec::<PathBuf>::new());
}

/// A program in Python that names the errno of one call.
pub fn errno_of(call: &str) -> String {
    format!(
        "import ctypes, errno, socket; libc = ctypes.CDLL(None, use_errno=True)
try: answer = {call}
except OSError as error: print(errno.errorcode[error.errno])
else: print(errno.errorcode[ctypes.get_errno()] if answer == -1 else 'done')"
    )
}

#[test]
fn the_default_profile_forbids_what_attackers_do() {
    let place = Place::new();
    let answer =
        |flags: &[&str], call: &str| run(&place, flags, &["/usr/bin/python3", "-c", &errno_of(call)]).ok().out();
    // By number, the same everywhere: io_uring_setup has no function in libc.
    let call = "libc.syscall(425, 0, 0)";
    assert_eq!(answer(&[], call).trim(), "EPERM");
    assert_eq!(answer(&["--seccomp", "default"], call).trim(), "EPERM");
    assert_ne!(answer(&["--seccomp", "unconfined"], call).trim(), "EPERM");
    // To the hypervisor, which no network namespace divides.
    assert_eq!(answer(&[], "socket.socket(40, socket.SOCK_STREAM).fileno()").trim(), "EAFNOSUPPORT");
    assert_eq!(answer(&["--no-new-privileges"], call).trim(), "EPERM");
    // Nothing that a debugger or an installer needs.
    run(&place, &[], &["strace", "-f", "-o", "/dev/null", "sh", "-c", "chroot / id -un"]).ok().stdout("root");
}

#[test]
fn a_file_says_which_calls_are_left() {
    let place = Place::new();
    let profile = |name: &str, text: &str| {
        std::fs::write(place.host().join(name), text).unwrap();
        name.to_owned()
    };
    let no_links = profile(
        "no-links.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#,
    );
    run(&place, &["--seccomp", &no_links], &["ln", "-s", "x", "y"]).fails().err_has("not supported");
    run(&place, &["--seccomp", &no_links], &["touch", "y"]).ok();
    let docker = profile("docker.json", r#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "x"}]}"#);
    let broken = profile("broken.json", r#"{"defaultAction": "SCMP_ACT_WISH"}"#);
    for (file, words) in [(docker.as_str(), "archMap"), (&broken, "SCMP_ACT_WISH"), ("nowhere.json", "nowhere.json")] {
        let refused = run(&place, &["--seccomp", file], &["echo", "it ran"]);
        refused.code(125).err_has("--seccomp").err_has(words).stdout("");
    }
    let boxes: Value = place.sandbox("list", ["--format", "json"]).run().json();
    assert_eq!(boxes[0]["runs"].as_array().unwrap().len(), 2, "{boxes}");
}
