//! exec: one more process in a running container. What it is told, what it inherits, how it ends.

use std::fs;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::tty::{FdSocket, Terminal};
use crate::util::{Bundle, Value, json, until};

/// A running container.
fn running(name: &str) -> Bundle {
    let bundle = Bundle::busybox(name);
    bundle.sleeps().run_detached();
    bundle
}

/// The least that process.json must hold.
fn process(args: &[&str]) -> Value {
    json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } })
}

fn exec_json(bundle: &Bundle, process: &Value) -> crate::util::command::Output {
    let file = bundle.outside("process.json");
    fs::write(&file, process.to_string()).unwrap();
    bundle.command(["exec", "--process", file.to_str().unwrap(), &bundle.id]).run()
}

#[test]
fn the_exit_code_is_the_programs_own() {
    let bundle = running("exec_code");
    for code in [0, 1, 42, 255] {
        bundle.exec(["sh", "-c", &format!("exit {code}")]).code(code);
    }
    bundle.exec(["sh", "-c", "kill -KILL $$"]).code(137);
    bundle.exec(["sh", "-c", "kill -TERM $$"]).code(143);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn it_lives_in_the_containers_namespaces_and_cgroups() {
    let bundle = running("exec_where");
    bundle.exec(["hostname"]).ok().stdout("box");
    let host_pid = bundle.pid();
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        let inside = bundle.exec(["readlink", &format!("/proc/self/ns/{kind}")]).ok().out();
        let of_init = fs::read_link(format!("/proc/{host_pid}/ns/{kind}")).unwrap();
        assert_eq!(inside.trim(), of_init.to_str().unwrap());
    }
    let cgroup = bundle.exec(["cat", "/proc/self/cgroup"]).ok().out();
    let of_init = fs::read_to_string(format!("/proc/{host_pid}/cgroup")).unwrap();
    assert_eq!(cgroup, of_init);
}

#[test]
fn streams_are_the_callers() {
    let bundle = running("exec_streams");
    bundle.exec_command(["sh", "-c", "cat; echo err >&2"]).stdin("in\n").run().ok().stdout("in").err_has("err");
}

#[test]
fn process_json_says_everything() {
    let bundle = running("process_json");
    let mut process = process(&["sh", "-c", "pwd; id -u; id -g; id -G; echo $KEY"]);
    process["cwd"] = json!("/tmp");
    process["env"] = json!(["PATH=/bin", "KEY=value"]);
    process["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] });
    let output = exec_json(&bundle, &process);
    output.ok().stdout("/tmp\n1000\n1001\n1001 5 7\nvalue");
}

#[test]
fn process_json_sets_the_umask() {
    only_for_myrt!(EXEC_UMASK);
    let bundle = running("exec_umask");
    let mut process = process(&["sh", "-c", "umask"]);
    process["user"]["umask"] = json!(0o27);
    exec_json(&bundle, &process).ok().stdout("0027");
}

#[test]
fn a_user_id_that_does_not_fit_is_refused() {
    only_for_myrt!(EXEC_BIG_UID);
    let bundle = running("exec_big_uid");
    for user in ["4294967296", "99999999999", "-1", "0:99999999999"] {
        bundle.command(["exec", "--user", user, &bundle.id, "id", "-u"]).run().fails();
    }
}

#[test]
fn process_json_sets_limits_and_capabilities() {
    let bundle = running("process_limits");
    let mut process =
        process(&["sh", "-c", "ulimit -n; grep Cap /proc/self/status; grep NoNewPrivs /proc/self/status"]);
    process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    process["capabilities"] = json!({ "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN"],
                                      "effective": ["CAP_CHOWN"] });
    process["noNewPrivileges"] = json!(true);
    exec_json(&bundle, &process)
        .ok()
        .out_has("100\n")
        .out_has("CapInh:\t0000000000000000")
        .out_has("CapPrm:\t0000000000000001")
        .out_has("CapEff:\t0000000000000001")
        .out_has("CapBnd:\t0000000000000021")
        .out_has("CapAmb:\t0000000000000000")
        .out_has("NoNewPrivs:\t1");
}

#[test]
fn flags_override_what_config_json_says() {
    let bundle = running("exec_flags");
    let exec = |flags: &[&str], program: &[&str]| {
        let output = bundle.command(["exec"]).args(flags).arg(&bundle.id).args(program).run();
        output.ok();
        output.out().trim().to_owned()
    };
    assert_eq!(exec(&["--cwd", "/tmp"], &["pwd"]), "/tmp");
    assert_eq!(exec(&["-e", "A=1", "-e", "B=2"], &["sh", "-c", "echo $A$B$PATH"]), "12/bin");
    assert_eq!(exec(&["--user", "1000:1001"], &["sh", "-c", "id -u; id -g"]), "1000\n1001");
    assert_eq!(exec(&["-u", "1000"], &["id", "-u"]), "1000");
    assert_eq!(exec(&["--additional-gids", "7", "--additional-gids", "9"], &["id", "-G"]), "0 7 9");
    assert_eq!(exec(&["--cwd=/tmp", "-u=5"], &["sh", "-c", "pwd; id -u"]), "/tmp\n5");
}

#[test]
fn what_no_flag_says_is_as_in_config_json() {
    let bundle = Bundle::busybox("exec_inherits");
    bundle.sleeps().config(|config| {
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
        config["process"]["env"].as_array_mut().unwrap().push(json!("FROM=config"));
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 }]);
    });
    bundle.run_detached();
    let output =
        bundle.exec(["sh", "-c", "pwd; id -u; id -g; echo $FROM; ulimit -n; grep NoNewPrivs /proc/self/status"]);
    output.ok().stdout("/tmp\n1000\n1001\nconfig\n100\nNoNewPrivs:\t1");
}

#[test]
fn a_flags_value_may_look_like_a_flag_of_the_program() {
    let bundle = running("exec_dashes");
    bundle.exec(["echo", "-n", "--flag", "-x"]).ok().stdout("--flag -x");
    bundle.exec(["sh", "-c", "echo $0 $1", "--detach", "--tty"]).ok().stdout("--detach --tty");
}

#[test]
fn capabilities_can_be_added() {
    let bundle = Bundle::busybox("exec_cap");
    bundle.sleeps().config(|config| config.capabilities(&["CAP_KILL"]));
    bundle.run_detached();
    let status = |flags: &[&str]| {
        let command = bundle.command(["exec"]).args(flags).arg(&bundle.id);
        command.args(["grep", "Cap", "/proc/self/status"]).run().ok().out()
    };
    let plain = status(&[]);
    assert!(plain.contains("CapEff:\t0000000000000020"), "{plain}");
    let more = status(&["--cap", "CAP_NET_RAW", "--cap", "CAP_CHOWN"]);
    for set in ["Bnd", "Eff", "Prm"] {
        assert!(more.contains(&format!("Cap{set}:\t0000000000002021")), "{more}");
    }
    // An inheritable set from nowhere is CVE-2022-29162.
    assert!(more.contains("CapInh:\t0000000000000000"), "{more}");
}

#[test]
fn an_added_capability_is_ambient_where_config_json_made_it_inheritable() {
    only_for_myrt!(EXEC_AMBIENT);
    let bundle = Bundle::busybox("exec_ambient");
    bundle.sleeps().config(|config| {
        config.capabilities(&["CAP_KILL"]);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_SYSLOG"]);
        config["process"]["capabilities"]["inheritable"] = json!(["CAP_SYSLOG"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    bundle.run_detached();
    let command = bundle.command(["exec", "--cap", "CAP_SYSLOG", "--cap", "CAP_CHOWN", &bundle.id]);
    let status = command.args(["grep", "Cap", "/proc/self/status"]).run().ok().out();
    for set in ["Inh", "Amb", "Prm", "Eff"] {
        assert!(status.contains(&format!("Cap{set}:\t0000000400000000")), "{status}");
    }
}

#[test]
fn no_new_privs_can_be_asked_for() {
    let bundle = Bundle::busybox("exec_nnp");
    bundle.sleeps().config(|config| config["process"]["noNewPrivileges"] = json!(false));
    bundle.run_detached();
    let grep = ["grep", "NoNewPrivs", "/proc/self/status"];
    bundle.exec(grep).ok().stdout("NoNewPrivs:\t0");
    bundle.command(["exec", "--no-new-privs", &bundle.id]).args(grep).run().ok().stdout("NoNewPrivs:\t1");
}

#[test]
fn detached_it_returns_at_once_and_names_its_pid() {
    let bundle = running("exec_detach");
    let file = bundle.outside("exec.pid");
    let args = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), &bundle.id];
    bundle.command(args).args(["sleep", "1000"]).run().ok();
    let pid = fs::read_to_string(&file).unwrap();
    assert!(!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()), "{pid:?}");
    let line = until("it is the program", || {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        line.contains("sleep").then_some(line)
    });
    assert_eq!(line, "sleep\x001000\0");
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap(),
        fs::read_link(format!("/proc/{}/ns/mnt", bundle.pid())).unwrap()
    );
}

#[test]
fn process_file_detached_and_pid_file_go_together_as_a_shim_calls_them() {
    let bundle = running("exec_shim");
    let (file, pid) = (bundle.outside("p.json"), bundle.outside("p.pid"));
    fs::write(&file, process(&["sh", "-c", "echo of-shim > /tmp/shim"]).to_string()).unwrap();
    let args =
        ["exec", "--process", file.to_str().unwrap(), "--detach", "--pid-file", pid.to_str().unwrap(), &bundle.id];
    bundle.command(args).run().ok();
    let made = bundle.rootfs("tmp/shim");
    until("it has run", || (fs::read_to_string(&made).unwrap_or_default() == "of-shim\n").then_some(()));
}

#[test]
fn it_may_run_in_a_created_container() {
    let bundle = Bundle::busybox("exec_created");
    bundle.sleeps().create().ok();
    bundle.exec(["hostname"]).ok().stdout("box");
    assert_eq!(bundle.status(), "created");
}

#[test]
fn a_paused_container_refuses_it() {
    let bundle = running("exec_paused");
    bundle.command(["pause", &bundle.id]).run().ok();
    bundle.exec(["true"]).fails().err_has("paused");
    let late = bundle.command(["exec", "--ignore-paused", &bundle.id, "echo", "late"]).spawn();
    bundle.command(["resume", &bundle.id]).run().ok();
    late.wait().ok().stdout("late");
    bundle.exec(["true"]).ok();
}

#[test]
fn a_stopped_container_refuses_it() {
    let bundle = running("exec_stopped");
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    bundle.exec(["true"]).fails();
}

#[test]
fn a_missing_program_is_named_as_callers_match_it() {
    let bundle = running("exec_missing");
    bundle.exec(["no-such-program"]).fails().err_has("no-such-program").err_has("executable file not found in $PATH");
    bundle.exec(["/bin/no-such-program"]).fails().err_has("/bin/no-such-program").err_has("no such file or directory");
    bundle.exec(["/etc/passwd"]).fails().err_has("permission denied");
    bundle.exec(["/tmp"]).fails();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_failed_detached_exec_says_so() {
    let bundle = running("exec_detach_fail");
    let pid = bundle.outside("pid");
    let args = ["exec", "--detach", "--pid-file", pid.to_str().unwrap(), &bundle.id, "no-such-program"];
    bundle.command(args).run().fails().err_has("executable file not found in $PATH");
}

#[test]
fn a_missing_working_folder_or_user_is_refused() {
    let bundle = running("exec_bad");
    bundle.command(["exec", "--cwd", "relative", &bundle.id, "true"]).run().fails();
    bundle.command(["exec", "--user", "nobody-there", &bundle.id, "true"]).run().fails();
    bundle.command(["exec", "--user", "1:x", &bundle.id, "true"]).run().fails();
    bundle.command(["exec", &bundle.id]).run().fails();
    let empty = bundle.outside("empty.json");
    fs::write(&empty, "{}").unwrap();
    bundle.command(["exec", "--process", empty.to_str().unwrap(), &bundle.id]).run().fails();
    fs::write(&empty, "{ broken").unwrap();
    bundle.command(["exec", "--process", empty.to_str().unwrap(), &bundle.id]).run().fails();
    bundle.command(["exec", "--process", "/no/such/file", &bundle.id]).run().fails().err_has("/no/such/file");
}

#[test]
fn a_terminal_is_received_through_the_console_socket() {
    let bundle = running("exec_console");
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let args = ["exec", "--detach", "--tty", "--console-socket", socket.to_str().unwrap(), &bundle.id];
    let exec = bundle.command(args).args(["sh", "-c", "tty; stty size; read line; echo got $line"]).spawn();
    let (_, mut fds) = listener.receive();
    assert_eq!(fds.len(), 1);
    let mut terminal = Terminal::from(fds.remove(0));
    exec.wait().ok();
    terminal.until_seen("/dev/pts/");
    terminal.type_in("a line\n");
    terminal.until_seen("got a line");
}

#[test]
fn a_tty_in_the_foreground_is_one_to_the_program() {
    let bundle = running("exec_tty");
    let (mut terminal, slave) = Terminal::open();
    terminal.resize(33, 99);
    let command = bundle.command(["exec", "--tty", &bundle.id, "sh", "-c", "tty; stty size; exit 6"]);
    let run = command.spawn_with(
        slave.try_clone().unwrap().into(),
        slave.try_clone().unwrap().into(),
        slave.try_clone().unwrap().into(),
        None,
    );
    terminal.until_seen("33 99");
    terminal.until_seen("/dev/pts/");
    run.wait().code(6);
}

#[test]
fn preserved_descriptors_reach_the_program() {
    let bundle = running("exec_fds");
    fs::write(bundle.outside("three"), "of three\n").unwrap();
    let command = bundle.command(["exec", "--preserve-fds", "1", &bundle.id]);
    let command = command.args(["sh", "-c", "cat <&3; ls /proc/self/fd | sort -n | tail -n 1"]);
    let script = "cd \"$1\"; shift; exec \"$@\" 3<three 4<three";
    let output = command.by(["/bin/sh", "-c", script, "sh", bundle.dir.to_str().unwrap()]).run();
    output.ok().stdout("of three\n4");
}

#[test]
fn a_user_namespace_is_entered_as_its_root() {
    let bundle = Bundle::busybox("exec_userns");
    bundle.sleeps().config(|config| config.user_namespace(100_000, 65_536));
    bundle.open_to_all();
    bundle.run_detached();
    bundle.exec(["sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '"]).ok().stdout("0\n 0 100000 65536");
    let args = ["exec", "-u", "1000:1000", &bundle.id];
    bundle.command(args).args(["sh", "-c", "id -u; id -g"]).run().ok().stdout("1000\n1000");
}

#[test]
fn many_at_once_all_succeed() {
    let bundle = running("exec_many");
    let all: Vec<_> = (0..12).map(|n| bundle.exec_command(["echo", &n.to_string()]).spawn()).collect();
    for (n, exec) in all.into_iter().enumerate() {
        exec.wait().ok().stdout(&n.to_string());
    }
}

#[test]
fn a_sub_cgroup_can_be_named() {
    let bundle = Bundle::busybox("exec_cgroup");
    bundle.sleeps().run_detached();
    let folders: Vec<_> = bundle.cgroups().into_iter().map(|folder| folder.join("below")).collect();
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        // A v1 cpuset takes no process before it has CPUs.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read(folder.parent().unwrap().join(file)) {
                let _ = fs::write(folder.join(file), value);
            }
        }
    }
    let args = ["exec", "--cgroup", "below", &bundle.id, "cat", "/proc/self/cgroup"];
    bundle.command(args).run().ok().out_has("/below\n");
    for outside in ["..", "below/../..", "/.."] {
        let args = ["exec", "--cgroup", outside, &bundle.id, "true"];
        bundle.command(args).run().fails().err_has("is not a sub cgroup path");
    }
}
