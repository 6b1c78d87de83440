//! containerd, driven by `ctr`: the life of a container, its processes, limits and rights, and what breaks on the way.

use std::fs;
use std::path::PathBuf;

use crate::HUNGRY;
use crate::containerd_daemon::{Containerd, IMAGE};
use crate::util::command::Output;
use crate::util::tty::Terminal;
use crate::util::{TestCommand, until};

fn containerd(name: &str) -> Containerd {
    Containerd::start(name, "containerd", |_| String::new())
}

/// The content of the first of these files that any hierarchy of the container has.
#[track_caller]
fn limit(folders: &[PathBuf], files: &[&str]) -> String {
    let paths = files.iter().flat_map(|file| folders.iter().map(move |folder| folder.join(file)));
    let found = paths.filter_map(|path| fs::read_to_string(path).ok()).next();
    found.unwrap_or_else(|| panic!("none of {files:?} in {folders:?}")).trim().to_owned()
}

/// Runs what writes something. ctr stops reading once containerd has deleted the process, whether or not all has arrived:
/// on a busy machine some of its outputs are lost, with any runtime. So what was not heard is said once more.
fn heard(command: &TestCommand) -> Output {
    until("ctr hears what is written", || Some(command.run()).filter(|output| !output.out().is_empty()))
}

#[test]
fn run_in_the_foreground_gives_output_and_exit_code() {
    let containerd = containerd("foreground");
    let script = "echo out; echo err >&2; pwd; echo $COLOR; read line; echo $line; exit 7";
    let flags = ["--rm", "--cwd", "/tmp", "--env", "COLOR=green"];
    let output = heard(&containerd.run(&flags, "one", &["sh", "-c", script]).stdin("typed\n"));
    output.code(7).stdout("out\n/tmp\ngreen\ntyped").err_has("err");
    containerd.assert_clean();
}

#[test]
fn a_program_that_is_not_there_is_named_and_nothing_is_left() {
    let containerd = containerd("missing");
    let output = containerd.run(&["--rm"], "one", &["no-such-program"]).run();
    output.fails().err_has("no-such-program").err_has("executable file not found in $PATH");
    containerd.assert_clean();
}

#[test]
fn a_terminal_has_a_size_is_resized_and_passes_control_c() {
    let containerd = containerd("tty");
    let (mut terminal, slave) = Terminal::open();
    terminal.resize(30, 100);
    let script = "trap 'echo interrupted; exit 5' INT; tty; until stty size | grep .; do sleep 0.01; done; echo ready; while :; do read line; stty size; done";
    let command = containerd.run(&["--rm", "--tty"], "one", &["sh", "-c", script]);
    let end = || slave.try_clone().unwrap().into();
    let running = command.by(["setsid", "--ctty", "--wait"]).spawn_with(end(), end(), end(), None);
    terminal.until_seen("/dev/pts/0");
    terminal.until_seen("30 100");
    terminal.until_seen("ready");
    // The new size is passed on by ctr and by the shim: until it has arrived, each line asks again. The signal of it is lost on
    // a ctr that does not listen yet, and comes again only when the size is another one.
    until("the size arrives", || {
        terminal.resize(41, 120);
        terminal.resize(40, 120);
        terminal.type_in("\n");
        terminal.seen().contains("40 120").then_some(())
    });
    terminal.type_in("\x03");
    terminal.until_seen("interrupted");
    running.wait().code(5);
    containerd.assert_clean();
}

#[test]
fn a_detached_container_runs_more_processes_and_is_killed_and_deleted() {
    let containerd = containerd("detached");
    let script = "trap 'exit 3' USR1; echo up >/tmp/up; while :; do sleep 0.01; done";
    containerd.run_detached(&[], "one", &["sh", "-c", script]);
    containerd.until_status("one", "RUNNING");

    let exec = |flags: &[&str], name: &str, args: &[&str]| containerd.exec(flags, "one", name, args).run();
    until("the script is up", || (exec(&[], "up", &["cat", "/tmp/up"]).out() == "up\n").then_some(()));
    let flags = ["--cwd", "/etc", "--user", "guest"];
    heard(&containerd.exec(&flags, "one", "as", &["sh", "-c", "pwd; id -u; exit 9"])).code(9).stdout("/etc\n1000");
    heard(&containerd.exec(&[], "one", "in", &["head", "-n", "1"]).stdin("typed\n")).ok().stdout("typed");
    exec(&[], "no", &["no-such-program"]).fails().err_has("executable file not found in $PATH");

    exec(&["--detach"], "bg", &["sleep", "1000"]).ok();
    let ps = |what: &str, count: usize| {
        let lines = || containerd.ctr(["task", "ps", "one"]).run().ok().lines();
        // A heading, the script, its sleep of a moment.
        until(what, || {
            (lines().len() >= count && lines().iter().any(|line| line.contains("bg")) == (count > 2)).then_some(())
        });
    };
    ps("the second process is listed", 3);
    containerd.ctr(["task", "kill", "--exec-id", "bg", "--signal", "KILL", "one"]).run().ok();
    ps("the second process is gone", 2);

    containerd.ctr(["task", "delete", "one"]).run().fails();
    assert_eq!(containerd.status("one").as_deref(), Some("RUNNING"));
    containerd.ctr(["task", "kill", "--signal", "USR1", "one"]).run().ok();
    containerd.until_status("one", "STOPPED");
    containerd.delete_task("one", 3);
    containerd.ctr(["container", "delete", "one"]).run().ok();
    containerd.assert_clean();
}

#[test]
fn an_exec_on_a_terminal_gets_one() {
    let containerd = containerd("exectty");
    containerd.run_detached(&[], "one", &["sleep", "1000"]);
    let (mut terminal, slave) = Terminal::open();
    let end = || slave.try_clone().unwrap().into();
    let script = "tty; until stty size | grep .; do sleep 0.01; done; read line; exit 4";
    let command = containerd.exec(&["--tty"], "one", "shell", &["sh", "-c", script]);
    let running = command.by(["setsid", "--ctty", "--wait"]).spawn_with(end(), end(), end(), None);
    terminal.until_seen("/dev/pts/");
    terminal.until_seen("24 80");
    terminal.type_in("\n");
    running.wait().code(4);
    containerd.remove("one");
    containerd.assert_clean();
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let containerd = containerd("pause");
    containerd.run_detached(&[], "one", &["sleep", "1000"]);
    containerd.ctr(["task", "pause", "one"]).run().ok();
    assert_eq!(containerd.status("one").as_deref(), Some("PAUSED"));
    let frozen = limit(&containerd.cgroups("one"), &["freezer.state", "cgroup.events"]);
    assert!(frozen.contains("FROZEN") || frozen.contains("frozen 1"), "{frozen}");
    containerd.ctr(["task", "resume", "one"]).run().ok();
    assert_eq!(containerd.status("one").as_deref(), Some("RUNNING"));
    containerd.exec(&[], "one", "alive", &["sh", "-c", "exit 42"]).run().code(42);
    // What is killed while it is paused ends.
    containerd.ctr(["task", "pause", "one"]).run().ok();
    containerd.remove("one");
    containerd.assert_clean();
}

#[test]
fn limits_are_in_force_and_metrics_show_them() {
    let containerd = containerd("limits");
    let flags = ["--memory-limit", "33554432", "--cpu-quota", "50000", "--cpu-period", "100000", "--cpu-shares", "512"];
    containerd.run_detached(&flags, "one", &["sleep", "1000"]);
    let folders = containerd.cgroups("one");
    assert_eq!(limit(&folders, &["memory.limit_in_bytes", "memory.max"]), "33554432");
    let quota = limit(&folders, &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["50000", "50000 100000"].contains(&quota.as_str()), "{quota}");
    let metrics = containerd.ctr(["task", "metrics", "one"]).run();
    metrics.ok().out_has("33554432").out_has("pids.current");
    containerd.remove("one");

    // More memory than there may be: the kernel ends the container, containerd tells why.
    let events = containerd.ctr(["events"]).spawn();
    containerd.run_detached(&["--memory-limit", "16777216"], "two", &["sh", "-c", HUNGRY]);
    containerd.exec(&[], "two", "go", &["touch", "/go"]).run().ok();
    until("the event is there", || events.stdout().contains("/tasks/oom").then_some(()));
    drop(events);
    containerd.exec(&[], "two", "end", &["rm", "/go"]).run().ok();
    containerd.until_status("two", "STOPPED");
    containerd.delete_task("two", 137);
    containerd.ctr(["container", "delete", "two"]).run().ok();
    containerd.assert_clean();
}

#[test]
fn rights_and_mounts_are_those_that_were_asked_for() {
    let containerd = containerd("rights");
    let out = |flags: &[&str], script: &str| {
        heard(&containerd.run(&[&["--rm"], flags].concat(), "one", &["sh", "-c", script])).ok().out().trim().to_owned()
    };
    let effective = "sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status";
    let usual = u64::from_str_radix(&out(&[], effective), 16).unwrap();
    let more = u64::from_str_radix(&out(&["--cap-add", "CAP_NET_ADMIN"], effective), 16).unwrap();
    let less = u64::from_str_radix(&out(&["--cap-drop", "CAP_CHOWN"], effective), 16).unwrap();
    assert_eq!((more, less), (usual | 1 << 12, usual & !1));
    let all = u64::from_str_radix(&out(&["--privileged"], effective), 16).unwrap();
    assert!(all & more == more && all != more, "{all:x}");

    let filter = "sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status";
    assert_eq!((out(&[], filter).as_str(), out(&["--seccomp"], filter).as_str()), ("0", "2"));
    let privileges = "sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status";
    assert_eq!((out(&[], privileges).as_str(), out(&["--allow-new-privs"], privileges).as_str()), ("1", "0"));

    out(&["--read-only"], "! touch /file 2>/dev/null; echo done");
    fs::write(containerd.dir.join("note"), "from outside").unwrap();
    let mount = format!("type=bind,src={}/note,dst=/tmp/note,options=rbind:ro", containerd.dir.display());
    assert_eq!(out(&["--mount", &mount], "cat /tmp/note; ! echo x 2>/dev/null >/tmp/note"), "from outside");
    assert_eq!(out(&["--device", "/dev/full"], "! echo x 2>/dev/null >/dev/full; stat -c %t,%T /dev/full"), "1,7");
    out(&["--rootfs-propagation", "rshared"], "echo done");

    let ours = containerd.inside(["readlink", "/proc/self/ns/net"]).run().out().trim().to_owned();
    let namespace = "readlink /proc/self/ns/net";
    assert_ne!(out(&[], namespace), ours);
    assert_eq!(out(&["--net-host"], namespace), ours);
    containerd.inside(["ip", "netns", "add", "joined"]).run().ok();
    let joined = containerd.inside(["ip", "netns", "exec", "joined", "readlink", "/proc/self/ns/net"]).run();
    assert_eq!(out(&["--with-ns", "network:/run/netns/joined"], namespace), joined.out().trim());
    containerd.assert_clean();
}

#[test]
fn a_user_namespace_maps_the_ids_of_the_image() {
    let containerd = containerd("userns");
    let flags = ["--rm", "--uidmap", "0:1410720000:65536", "--gidmap", "0:1410720000:65536"];
    let script = "cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /mine && stat -c %u /mine";
    let output = heard(&containerd.run(&flags, "one", &["sh", "-c", script]));
    let words: Vec<_> = output.ok().out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "1410720000", "65536", "0", "0"]);
    containerd.assert_clean();
}

#[test]
fn a_checkpoint_is_refused_with_a_sentence_and_the_container_goes_on() {
    crate::only_for_myrt!(CHECKPOINT);
    let containerd = containerd("checkpoint");
    containerd.run_detached(&[], "one", &["sleep", "1000"]);
    let image = containerd.dir.join("checkpoint");
    let output = containerd.ctr(["task", "checkpoint", "--image-path"]).arg(image.display()).arg("one").run();
    output.fails().err_has("cannot save and restore containers yet");
    assert_eq!(containerd.status("one").as_deref(), Some("RUNNING"));
    containerd.exec(&[], "one", "alive", &["sh", "-c", "exit 42"]).run().code(42);
    containerd.remove("one");
    containerd.assert_clean();
}

#[test]
fn twenty_at_once_start_and_end() {
    let containerd = containerd("twenty");
    let ids: Vec<_> = (0..20).map(|number| format!("c{number}")).collect();
    let all = |what: &dyn Fn(&str) -> TestCommand| ids.iter().map(|id| what(id).spawn()).collect::<Vec<_>>();
    for running in all(&|id| containerd.run(&["--detach"], id, &["sleep", "1000"])) {
        running.wait().ok();
    }
    let running = containerd.ctr(["task", "ls"]).run();
    assert_eq!(running.ok().lines().iter().filter(|line| line.ends_with("RUNNING")).count(), 20, "{running}");
    for (exec, id) in all(&|id| containerd.exec(&[], id, "host", &["hostname"])).into_iter().zip(&ids) {
        assert!(exec.wait().exit_code() == 0, "{id}");
    }
    for killed in all(&|id| containerd.ctr(["task", "delete", "--force", id])) {
        killed.wait().ok().err_has("exit code 137");
    }
    for deleted in all(&|id| containerd.ctr(["container", "delete", id])) {
        deleted.wait().ok();
    }
    containerd.assert_clean();
}

#[test]
fn a_killed_shim_takes_its_container_with_it_and_the_id_is_free_again() {
    let containerd = containerd("shim");
    containerd.run_detached(&[], "one", &["sleep", "1000"]);
    let (pid, _) = containerd.task("one").unwrap();
    let shim = containerd.inside(["ps", "-o", "ppid=", "-p", &pid]).run().out().trim().to_owned();
    containerd.inside(["ps", "-o", "comm=", "-p", &shim]).run().out_has("containerd-shim");
    containerd.inside(["kill", "-KILL", &shim]).run().ok();
    until("containerd has cleaned up", || containerd.task("one").is_none().then_some(()));
    containerd.ctr(["container", "delete", "one"]).run().ok();
    containerd.assert_clean();
    heard(&containerd.run(&["--rm"], "one", &["echo", "again"])).ok().stdout("again");
    containerd.assert_clean();
}

#[test]
fn containers_outlive_a_killed_containerd() {
    let mut containerd = containerd("restart");
    containerd.run_detached(&[], "one", &["sleep", "1000"]);
    let daemon = containerd.inside(["ps", "-o", "pid=", "-C", "containerd"]).run().out().trim().to_owned();
    containerd.inside(["kill", "-KILL", &daemon]).run().ok();
    until("another containerd runs", || {
        let now = containerd.inside(["ps", "-o", "pid=", "-C", "containerd"]).run().out().trim().to_owned();
        (!now.is_empty() && now != daemon).then_some(())
    });
    containerd.until_ready();
    containerd.until_status("one", "RUNNING");
    containerd.exec(&[], "one", "alive", &["sh", "-c", "exit 42"]).run().code(42);
    containerd.remove("one");
    containerd.assert_clean();
}

#[test]
fn the_systemd_driver_makes_a_scope_or_says_that_there_is_no_systemd() {
    let containerd = containerd("systemd");
    let cgroup = format!("system.slice:myrt:{}", containerd.namespace);
    let flags = ["--rm", "--runc-systemd-cgroup", "--cgroup", &cgroup];
    let command = containerd.run(&flags, "one", &["cat", "/proc/self/cgroup"]);
    if fs::exists("/run/systemd/system").unwrap() {
        heard(&command).ok().out_has(&format!("myrt-{}.scope", containerd.namespace));
    } else {
        command.run().fails().err_has("systemd");
    }
    containerd.assert_clean();
}

#[test]
fn an_image_that_is_not_there_is_an_error_of_containerd() {
    let containerd = containerd("noimage");
    let other = IMAGE.replace("busybox", "other");
    containerd.ctr(["run", "--rm", &other, "one"]).run().fails().err_has("not found");
    containerd.assert_clean();
}
