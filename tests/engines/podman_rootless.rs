//! Podman of an ordinary user: a user namespace, slirp4netns, and no cgroup of its own where nobody delegated one.

use crate::only_for_myrt;
use crate::podman::rootless;
use crate::util::until;

#[test]
fn run_exec_and_stop_work() {
    let script = "trap 'echo term; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let container = rootless().start("life", &[], script);
    container.until_logged("ready");
    let output = container.exec(["sh", "-c", "id -u; cat /proc/self/uid_map; exit 5"]).run();
    output.code(5);
    let map: Vec<String> =
        output.lines().iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(map[0], "0");
    assert!(map[1].starts_with("0 ") && map[1].ends_with(" 1") && map[2].ends_with(" 65536"), "{map:?}");
    rootless().podman(["exec", "-u", "guest", "life", "id", "-u"]).run().ok().stdout("1000");
    // Its script makes and ends a process all the time: Podman fails where one that it has listed is gone.
    until("Podman lists its processes", || {
        (rootless().podman(["top", "life", "pid", "huser"]).run().exit_code() == 0).then_some(())
    });
    rootless().podman(["stop", "life"]).run().ok();
    assert_eq!(container.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 4");
    container.until_logged("term");
}

#[test]
fn a_program_that_cannot_run_has_the_usual_exit_codes() {
    let run = |args: &[&str]| rootless().podman(["run", "--rm", "--network", "none", "box"]).args(args).run();
    run(&["no-such-program"])
        .code(127)
        .err_has("executable file not found in $PATH")
        .err_has("command that was not found");
    run(&["/etc"]).code(126).err_has("permission denied");
}

#[test]
fn the_reason_of_a_failure_is_right_without_json_too() {
    // At this log level Podman takes the text of stderr and goes by the first wording that it knows.
    let run = ["--log-level", "debug", "run", "--rm", "--network", "none", "box", "no-such-program"];
    rootless().podman(run).run().code(127).err_has("command that was not found");
}

#[test]
fn a_terminal_works() {
    let (mut terminal, run) = rootless().on_terminal(["run", "-it", "--rm", "--network", "none", "box", "sh"]);
    terminal.type_in("tty; stty size; echo $((6*7))\n");
    terminal.until_seen("42");
    assert!(terminal.seen().contains("/dev/pts/0") && terminal.seen().contains("24 80"), "{}", terminal.seen());
    terminal.type_in("exit 8\n");
    run.wait().code(8);
}

#[test]
fn slirp4netns_gives_a_network_and_publishes_ports() {
    let script = "echo rootless > /index.html; httpd -f -p 80 -h /";
    let options = ["--network", "slirp4netns", "-p", "127.0.0.1:19090:80"];
    let container = rootless().start_with("web", &options, &["box", "sh", "-c", script]);
    container.exec(["ip", "addr", "show", "tap0"]).run().ok().out_has("10.0.2.100/24");
    let get = || rootless().inside(["busybox", "wget", "-qO-", "http://127.0.0.1:19090/"]).run();
    until("the web server answers", || (get().out().trim() == "rootless").then_some(()));
}

#[test]
fn ids_are_mapped_as_asked() {
    let user = rootless().inside(["id", "-u"]).run().ok().out();
    rootless().sh(&["--userns", "keep-id"], "id -u").ok().stdout(&user);
    let map = rootless().sh(&["--uidmap", "0:1:1000", "--gidmap", "0:1:1000"], "cat /proc/self/uid_map").ok().out();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "1", "1000"]);
    rootless().sh(&["--userns", "auto:size=2000"], "cat /proc/self/uid_map").ok().out_has("2000");
    rootless().sh(&["--user", "1000:1000"], "touch /tmp/x; stat -c %u:%g /tmp/x").ok().stdout("1000:1000");
}

#[test]
fn privileges_end_at_the_user_namespace() {
    rootless().sh(&["--privileged"], "mount -t tmpfs x /mnt && echo mounted").ok().stdout("mounted");
    rootless().sh(&["--privileged"], "echo 1 > /proc/sys/kernel/panic").fails();
    rootless()
        .sh(&["--cap-drop", "all", "--read-only"], "grep CapEff /proc/self/status; touch /x")
        .fails()
        .out_has("0000000000000000")
        .err_has("Read-only file system");
}

#[test]
fn host_namespaces_volumes_and_devices_can_be_had() {
    let folder = rootless().path("home/volume");
    rootless().inside(["mkdir", &folder]).run().ok();
    rootless().sh(&["-v", &format!("{folder}:/v")], "echo kept > /v/file").ok();
    rootless().inside(["cat", &format!("{folder}/file")]).run().ok().stdout("kept");
    rootless().sh(&["--pid", "host"], "ps | grep -q '[c]onmon' && echo seen").ok().stdout("seen");
    rootless().sh(&["--device", "/dev/fuse"], "[ -c /dev/fuse ] && echo device").ok().stdout("device");
}

#[test]
fn limits_that_cannot_be_had_are_no_obstacle() {
    rootless().sh(&["--memory", "64m", "--pids-limit", "50"], "echo ran").ok().stdout("ran");
}

#[test]
fn cgroups_can_be_left_out() {
    only_for_myrt!(NO_CGROUPS);
    rootless().sh(&["--cgroups", "disabled"], "echo ran").ok().stdout("ran");
}

#[test]
fn a_build_runs_its_steps_and_says_nothing_about_cgroups() {
    let context = rootless().path("home/context");
    let file = "FROM box\nRUN echo built > /file && id -u\nENTRYPOINT [\"cat\", \"/file\"]\n";
    rootless().inside(["mkdir", &context]).run().ok();
    rootless().inside(["tee", &format!("{context}/Dockerfile")]).stdin(file).run().ok();
    let build = rootless().podman(["build", "--network", "none", "-t", "built", &context]).run();
    build.ok().out_lacks("warning");
    assert!(!build.err().contains("warning"), "{build}");
    rootless().podman(["run", "--rm", "--network", "none", "built"]).run().ok().stdout("built");
}

#[test]
fn pods_share_their_network() {
    rootless().podman(["pod", "create", "--name", "shared"]).run().ok();
    let web =
        rootless().start_with("in-pod", &["--pod", "shared"], &["box", "httpd", "-f", "-p", "8080", "-h", "/etc"]);
    let get = || {
        rootless()
            .podman(["run", "--rm", "--pod", "shared", "box", "wget", "-qO-", "http://127.0.0.1:8080/group"])
            .run()
    };
    until("the other container answers", || get().out().contains("guest").then_some(()));
    drop(web);
    rootless().podman(["pod", "rm", "-f", "-t", "0", "shared"]).run().ok();
}
