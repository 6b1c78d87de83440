//! `process`: user and groups, the five capability sets, limits, scheduling, working folder, environment, signals.

use std::fs;

use crate::only_for_myrt;
use crate::util::config::Edit as _;
use crate::util::{Bundle, Value, json};

/// The value of a field of /proc/self/status inside.
fn status_of(text: &str, field: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

fn cap_mask(caps: &[u32]) -> String {
    format!("{:016x}", caps.iter().fold(0_u64, |mask, cap| mask | 1 << cap))
}

/// Whether the tests may raise what only CAP_SYS_RESOURCE may raise.
fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    u64::from_str_radix(&status_of(&status, "CapEff"), 16).unwrap() & 1 << 24 != 0
}

#[test]
fn user_group_and_additional_groups_are_set() {
    let bundle = Bundle::busybox("user");
    bundle.sh("id -u; id -g; id -G; grep -E '^(Uid|Gid)' /proc/self/status").config(|config| {
        config["process"]["user"] = json!({ "uid": 1234, "gid": 2345, "additionalGids": [10, 2345, 3000] });
    });
    let output = bundle.run();
    output.ok().out_has("Uid:\t1234\t1234\t1234\t1234").out_has("Gid:\t2345\t2345\t2345\t2345");
    assert_eq!(output.lines()[2].split(' ').collect::<std::collections::BTreeSet<_>>(), ["10", "2345", "3000"].into());
}

#[test]
fn groups_of_the_caller_are_dropped() {
    let bundle = Bundle::busybox("groups");
    bundle.args(["grep", "Groups", "/proc/self/status"]);
    let output = bundle.run_command().by(["setpriv", "--groups", "27,44"]).run();
    output.ok().stdout("Groups:");
}

#[test]
fn the_umask_is_set_and_022_if_not_said() {
    let bundle = Bundle::busybox("umask");
    bundle.args(["sh", "-c", "umask"]).run().ok().stdout("0022");
    bundle.config(|config| config["process"]["user"]["umask"] = json!(0o77)).run().ok().stdout("0077");
    bundle.config(|config| config["process"]["user"]["umask"] = json!(0)).run().ok().stdout("0000");
}

#[test]
fn a_strange_umask_of_the_caller_does_not_reach_what_is_made() {
    only_for_myrt!(CALLERS_UMASK);
    let bundle = Bundle::busybox("callers_umask");
    bundle.sh("umask; stat -c %a /dev/null /dev /dev/shm").config(|config| {
        config.mount(json!({
        "destination": "/made/here", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] }))
    });
    let command = bundle.run_command().by(["/bin/sh", "-c", "umask 0777; exec \"$@\"", "sh"]);
    command.run().ok().stdout("0022\n666\n755\n1777");
    use std::os::unix::fs::PermissionsExt as _;
    let made = fs::metadata(bundle.rootfs("made")).unwrap().permissions().mode() & 0o777;
    assert_eq!(made, 0o755, "{made:o}");
}

#[test]
fn the_five_capability_sets_are_as_config_json_says() {
    let bundle = Bundle::busybox("caps");
    bundle.args(["grep", "Cap", "/proc/self/status"]).config(|config| {
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
            "effective": ["CAP_CHOWN", "CAP_KILL"],
            "inheritable": ["CAP_CHOWN", "CAP_KILL"],
            "ambient": ["CAP_KILL"],
        });
        // As an ordinary user what the program has is what was given, not what exec gives to root.
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let text = bundle.run().ok().out();
    assert_eq!(status_of(&text, "CapBnd"), cap_mask(&[0, 5, 7, 13]));
    assert_eq!(status_of(&text, "CapInh"), cap_mask(&[0, 5]));
    // execve(2) by an ordinary user leaves the ambient ones.
    assert_eq!(status_of(&text, "CapPrm"), cap_mask(&[5]));
    assert_eq!(status_of(&text, "CapEff"), cap_mask(&[5]));
    assert_eq!(status_of(&text, "CapAmb"), cap_mask(&[5]));
}

#[test]
fn roots_capabilities_are_bounded() {
    let bundle = Bundle::busybox("caps_root");
    bundle.args(["grep", "Cap", "/proc/self/status"]).config(|config| config.capabilities(&["CAP_CHOWN", "CAP_KILL"]));
    let text = bundle.run().ok().out();
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(status_of(&text, set), cap_mask(&[0, 5]), "{text}");
    }
    assert_eq!(status_of(&text, "CapInh"), cap_mask(&[]));
    assert_eq!(status_of(&text, "CapAmb"), cap_mask(&[]));
}

#[test]
fn an_ordinary_user_has_no_capabilities_without_ambient_ones() {
    let bundle = Bundle::busybox("caps_user");
    bundle.args(["grep", "Cap", "/proc/self/status"]);
    bundle.config(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let text = bundle.run().ok().out();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(status_of(&text, set), cap_mask(&[]), "{text}");
    }
}

#[test]
fn no_capabilities_are_none() {
    let bundle = Bundle::busybox("caps_none");
    bundle.args(["grep", "Cap", "/proc/self/status"]);
    for nothing in [json!({}), Value::Null] {
        bundle.config(|config| config["process"]["capabilities"] = nothing.clone());
        let text = bundle.run().ok().out();
        for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(status_of(&text, set), cap_mask(&[]), "capabilities: {nothing}\n{text}");
        }
    }
}

#[test]
fn a_capability_that_nobody_knows_does_not_stop_the_container() {
    let bundle = Bundle::busybox("caps_unknown");
    bundle.config(|config| config.capabilities(&["CAP_KILL", "CAP_OF_THE_FUTURE"]));
    bundle.run().ok();
}

#[test]
fn a_capability_that_the_runtime_lacks_does_not_stop_the_container() {
    only_for_myrt!(UNGRANTED);
    let bundle = Bundle::busybox("caps_ungranted");
    bundle.args(["grep", "Cap", "/proc/self/status"]);
    bundle.config(|config| config.capabilities(&["CAP_KILL", "CAP_SYS_TIME"]));
    for no_new_privileges in [true, false] {
        bundle.config(|config| config["process"]["noNewPrivileges"] = json!(no_new_privileges));
        let output = bundle.run_command().by(["setpriv", "--bounding-set", "-sys_time"]).run();
        let text = output.ok().err_has("CAP_SYS_TIME").out();
        assert_eq!(status_of(&text, "CapEff"), cap_mask(&[5]), "{text}");
        assert_eq!(status_of(&text, "CapBnd"), cap_mask(&[5]), "{text}");
    }
}

#[test]
fn no_new_privs_is_set_when_asked_for() {
    let bundle = Bundle::busybox("nnp");
    bundle.args(["grep", "NoNewPrivs", "/proc/self/status"]).run().ok().stdout("NoNewPrivs:\t1");
    bundle.config(|config| config["process"]["noNewPrivileges"] = json!(false)).run().ok().stdout("NoNewPrivs:\t0");
}

#[test]
fn limits_are_set_soft_and_hard() {
    let bundle = Bundle::busybox("rlimits");
    bundle.args(["cat", "/proc/self/limits"]).config(|config| {
        config["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 64, "hard": 128 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_NPROC", "soft": 1000, "hard": 2000 },
            { "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000 },
            { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608 },
            { "type": "RLIMIT_AS", "soft": 1_000_000_000, "hard": 2_000_000_000 },
            { "type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192 },
            { "type": "RLIMIT_CPU", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_SIGPENDING", "soft": 11, "hard": 22 },
            { "type": "RLIMIT_MSGQUEUE", "soft": 1111, "hard": 2222 },
            { "type": "RLIMIT_LOCKS", "soft": 5, "hard": 6 },
            { "type": "RLIMIT_RSS", "soft": 7000, "hard": 8000 },
            { "type": "RLIMIT_DATA", "soft": 100_000_000, "hard": 200_000_000 },
            { "type": "RLIMIT_RTTIME", "soft": 9000, "hard": 9001 },
        ]);
    });
    let text = bundle.run().ok().out();
    for (name, soft, hard) in [
        ("Max open files", "64", "128"),
        ("Max core file size", "0", "0"),
        ("Max processes", "1000", "2000"),
        ("Max file size", "1000000", "2000000"),
        ("Max stack size", "4194304", "8388608"),
        ("Max address space", "1000000000", "2000000000"),
        ("Max locked memory", "4096", "8192"),
        ("Max cpu time", "100", "200"),
        ("Max pending signals", "11", "22"),
        ("Max msgqueue size", "1111", "2222"),
        ("Max file locks", "5", "6"),
        ("Max resident set", "7000", "8000"),
        ("Max data size", "100000000", "200000000"),
        ("Max realtime timeout", "9000", "9001"),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
        let values: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{name}");
    }
}

#[test]
fn a_hard_limit_above_the_callers_needs_the_right_to_raise_it() {
    let bundle = Bundle::busybox("rlimit_raise");
    bundle.sh("ulimit -Hn").config(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 512 }]);
    });
    let low = ["/bin/sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"];
    let output = bundle.run_command().by(low).run();
    if may_raise_limits() {
        output.ok().stdout("512");
    } else {
        output.fails();
        bundle.assert_clean();
    }
}

#[test]
fn a_bad_limit_is_refused() {
    let bundle = Bundle::busybox("rlimit_bad");
    for bad in [
        json!([{ "type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1 }]),
        json!([{ "type": "RLIMIT_NOFILE", "soft": 2, "hard": 1 }]),
    ] {
        bundle.config(|config| config["process"]["rlimits"] = bad);
        bundle.run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn a_limit_that_is_named_twice_is_refused() {
    only_for_myrt!(RLIMIT_TWICE);
    let bundle = Bundle::busybox("rlimit_twice");
    bundle.config(|config| {
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 });
        config["process"]["rlimits"] = json!([limit, limit]);
    });
    bundle.run().fails().err_has("process.rlimits");
}

#[test]
fn the_oom_score_is_adjusted() {
    let bundle = Bundle::busybox("oom");
    bundle.args(["cat", "/proc/self/oom_score_adj"]);
    bundle.config(|config| config["process"]["oomScoreAdj"] = json!(500)).run().ok().stdout("500");
    bundle.config(|config| config["process"]["oomScoreAdj"] = Value::Null);
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    bundle.run().ok().stdout(&own);
    bundle.config(|config| config["process"]["oomScoreAdj"] = json!(-500));
    let lowered = bundle.run();
    if may_raise_limits() {
        lowered.ok().stdout("-500");
    } else {
        lowered.fails();
        bundle.assert_clean();
    }
}

#[test]
fn the_working_folder_is_entered_and_made_if_missing() {
    let bundle = Bundle::busybox("cwd");
    bundle.args(["pwd"]).config(|config| config["process"]["cwd"] = json!("/tmp")).run().ok().stdout("/tmp");
    bundle.config(|config| config["process"]["cwd"] = json!("/not/yet/there")).run().ok().stdout("/not/yet/there");
    assert!(bundle.rootfs("not/yet/there").is_dir());
    bundle.config(|config| {
        config["process"]["cwd"] = json!("/missing/below/a/read-only/root");
        config["root"]["readonly"] = json!(true);
    });
    bundle.run().ok().stdout("/missing/below/a/read-only/root");
    bundle.config(|config| config["root"]["readonly"] = json!(false));
    bundle.config(|config| config["process"]["cwd"] = json!("relative")).run().fails();
    bundle.config(|config| config["process"]["cwd"] = json!("/etc/passwd")).run().fails();
    bundle.config(|config| config["process"]["cwd"] = json!("")).run().fails();
    bundle.assert_clean();
}

#[test]
fn home_is_that_of_the_user_unless_config_json_says_it() {
    let bundle = Bundle::busybox("home");
    bundle.sh("echo $HOME");
    bundle.run().ok().stdout("/root");
    bundle
        .config(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }))
        .run()
        .ok()
        .stdout("/home/guest");
    bundle.config(|config| config["process"]["user"] = json!({ "uid": 4321, "gid": 1 })).run().ok().stdout("/");
    bundle.config(|config| config["process"]["env"].as_array_mut().unwrap().push(json!("HOME=/own")));
    bundle.run().ok().stdout("/own");
}

#[test]
fn an_empty_home_is_as_good_as_none() {
    only_for_myrt!(EMPTY_HOME);
    let bundle = Bundle::busybox("home_empty");
    bundle.sh("echo $HOME; env | grep -c ^HOME=");
    for env in [json!(["PATH=/bin", "HOME="]), json!(["HOME=/own", "HOME=", "PATH=/bin"])] {
        bundle.config(|config| config["process"]["env"] = env).run().ok().stdout("/root\n1");
    }
}

#[test]
fn the_environment_is_that_of_config_json_and_the_last_of_a_name_counts() {
    let bundle = Bundle::busybox("env");
    bundle.args(["env"]).config(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=first", "EMPTY=", "SPACES=a b  c", "EQUALS=a=b=c", "A=last"]);
    });
    let output = bundle.run_command().env("OF_THE_CALLER", "secret").run();
    output.ok().out_has("A=last\n").out_has("EMPTY=\n").out_has("SPACES=a b  c\n").out_has("EQUALS=a=b=c\n");
    output.out_lacks("OF_THE_CALLER").out_lacks("A=first");
}

#[test]
fn the_program_is_found_by_the_path_of_config_json() {
    let bundle = Bundle::busybox("path");
    bundle.program("tmp/here", "#!/bin/sh\necho found\n").args(["here"]);
    bundle.run().fails().err_has("executable file not found in $PATH");
    bundle.config(|config| config["process"]["env"] = json!(["PATH=/nowhere:/tmp:/bin"])).run().ok().stdout("found");
    bundle.config(|config| config["process"]["cwd"] = json!("/tmp")).args(["./here"]).run().ok().stdout("found");
}

#[test]
fn arguments_pass_unchanged() {
    let bundle = Bundle::busybox("args");
    bundle.args(["printf", "[%s]", "", "a b", "ü", "$HOME", "--flag", "tab\there", "line\nbreak", "'\""]);
    assert_eq!(bundle.run().ok().out(), "[][a b][ü][$HOME][--flag][tab\there][line\nbreak]['\"]");
    bundle.args([] as [&str; 0]).run().fails().err_has("args");
    bundle.config(|config| config["process"].as_object_mut().unwrap().remove("args").map_or((), drop));
    bundle.run().fails().err_has("args");
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    let bundle = Bundle::busybox("sigmask");
    let mask = |status: &str, field: &str| u64::from_str_radix(&status_of(status, field), 16).unwrap();
    // What whoever started the tests ignores is inherited by all, as by nohup(1); SIGPIPE is the tests' own.
    let inherited = mask(&std::fs::read_to_string("/proc/self/status").unwrap(), "SigIgn") & !(1 << (13 - 1));
    let none = |output: &crate::util::command::Output| {
        for field in ["SigBlk", "SigIgn"] {
            // Signals 1 to 31: those above belong to the C library of whoever started the tests.
            let own = mask(&output.ok().out(), field) & 0x7fff_ffff & !inherited;
            assert_eq!(own, 0, "{field}: {output}");
        }
    };
    bundle.args(["cat", "/proc/self/status"]);
    none(&bundle.run());
    bundle.sleeps().run_detached();
    none(&bundle.exec(["cat", "/proc/self/status"]));
}

#[test]
fn the_program_leads_its_own_session() {
    let bundle = Bundle::busybox("session");
    // Fields 5 and 6 of /proc/PID/stat: process group and session.
    bundle.sh("cut -d ' ' -f 5,6 < /proc/1/stat");
    bundle.run().ok().stdout("1 1");
}

#[test]
fn the_scheduler_is_set() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("scheduler");
    bundle.with_probe().args(["probe", "sched"]);
    // Policy, nice, priority as sched_getattr(2) gives them.
    for (scheduler, expected) in [
        (json!({ "policy": "SCHED_BATCH", "nice": 5 }), "3 5 0 0"),
        (json!({ "policy": "SCHED_OTHER", "nice": 7 }), "0 7 0 0"),
        (json!({ "policy": "SCHED_IDLE" }), "5 0 0 0"),
        (json!({ "policy": "SCHED_FIFO", "priority": 10 }), "1 0 10 0"),
        (json!({ "policy": "SCHED_RR", "priority": 20, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }), "2 0 20 1"),
    ] {
        bundle.config(|config| config["process"]["scheduler"] = scheduler.clone());
        let output = bundle.run();
        if output.exit_code() != 0 && scheduler["priority"].is_number() && realtime_needs_a_share() {
            continue;
        }
        assert!(output.ok().out().starts_with(expected), "{scheduler}: {output}");
    }
    bundle.config(|config| config["process"]["scheduler"] = json!({ "policy": "SCHED_NONSENSE" }));
    bundle.run().fails().err_has("process.scheduler");
}

/// With RT_GROUP_SCHED a v1 cpu cgroup has no realtime share until somebody gives it one.
fn realtime_needs_a_share() -> bool {
    fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap()
}

#[test]
fn the_io_priority_is_set() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("ioprio");
    bundle.with_probe().args(["probe", "ioprio"]);
    for (class, priority, expected) in
        [("IOPRIO_CLASS_BE", 6, "2 6"), ("IOPRIO_CLASS_IDLE", 0, "3 0"), ("IOPRIO_CLASS_RT", 3, "1 3")]
    {
        bundle.config(|config| config["process"]["ioPriority"] = json!({ "class": class, "priority": priority }));
        bundle.run().ok().stdout(expected);
    }
    bundle.config(|config| config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_X", "priority": 1 }));
    bundle.run().fails().err_has("process.ioPriority");
}

#[test]
fn exec_is_bound_to_the_cpus_that_config_json_names() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("affinity");
    bundle.sleeps().config(|config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    });
    bundle.run_detached();
    bundle.exec(["grep", "Cpus_allowed_list", "/proc/self/status"]).ok().stdout("Cpus_allowed_list:\t0");
    let whole = bundle.exec(["grep", "Cpus_allowed_list", "/proc/1/status"]).ok().out();
    if rustix::thread::sched_getaffinity(None).unwrap().count() > 1 {
        assert!(!whole.ends_with("\t0\n"), "the container itself is not bound: {whole}");
    }
    bundle.delete_force().ok();
    bundle.config(|config| config["process"]["execCPUAffinity"] = json!({ "initial": "nonsense" }));
    bundle.create().fails().err_has("execCPUAffinity");
}

#[test]
fn the_callers_cpus_are_not_the_containers() {
    only_for_myrt!(CALLERS_CPUS);
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    if all.count() < 2 {
        return;
    }
    let bundle = Bundle::busybox("callers_cpus");
    let first = (0..).find(|cpu| all.is_set(*cpu)).unwrap().to_string();
    let bound = |command: crate::util::TestCommand| command.by(["taskset", "--cpu-list", &first]).run();
    let grep = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    bound(bundle.args(grep).run_command()).ok().stdout(own);
    bundle.sleeps().run_detached();
    bound(bundle.exec_command(grep)).ok().stdout(own);
}

#[test]
fn the_personality_is_set() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("personality");
    bundle.with_probe().sh("probe personality; uname -m").config(|config| {
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    let output = bundle.run();
    assert_eq!(output.ok().lines()[0], "8");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(output.lines()[1], "i686");
    }
    bundle.config(|config| config["linux"]["personality"] = json!({ "domain": "LINUX" }));
    assert_eq!(bundle.run().ok().lines()[0], "0");
    bundle.config(|config| config["linux"]["personality"] = json!({ "domain": "NONSENSE" }));
    bundle.run().fails().err_has("personality");
}

#[test]
fn the_memory_policy_is_set() {
    only_for_myrt!(SPEC_1_3);
    let bundle = Bundle::busybox("mempolicy");
    let host = crate::util::TestCommand::new([crate::util::assets::probe().to_str().unwrap(), "mempolicy"]).run();
    bundle.with_probe().args(["probe", "mempolicy"]);
    bundle.config(|config| config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" }));
    let output = bundle.run();
    if host.err().contains("get_mempolicy") {
        // A kernel without NUMA: refused in words.
        output.fails().err_has("memoryPolicy");
    } else {
        output.ok().stdout("2 1");
        bundle.sleeps().run_detached();
        bundle.exec(["probe", "mempolicy"]).ok().stdout("2 1");
        bundle.delete_force().ok();
        bundle.args(["probe", "mempolicy"]);
    }
    bundle.config(|config| config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_NONSENSE" }));
    bundle.run().fails().err_has("memoryPolicy");
}

#[test]
fn labels_without_their_security_module_are_refused_in_words() {
    let bundle = Bundle::busybox("labels");
    if !fs::exists("/sys/kernel/security/apparmor").unwrap_or(false) && crate::util::is_myrt() {
        bundle.config(|config| config["process"]["apparmorProfile"] = json!("some-profile"));
        bundle.run().fails().err_has("apparmor");
        bundle.config(|config| config["process"]["apparmorProfile"] = json!(""));
    }
    if !fs::exists("/sys/fs/selinux/enforce").unwrap_or(false) {
        bundle.config(|config| config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0"));
        bundle.run().fails().err_has("selinux");
    }
    bundle.assert_clean();
}

#[test]
fn the_callers_groups_stay_where_the_annotation_asks_for_it() {
    only_for_myrt!(KEEP_GROUPS);
    let bundle = Bundle::busybox("keep_groups");
    let with_group = |command: crate::util::TestCommand| command.by(["setpriv", "--groups", "4242"]).run();
    bundle.args(["id", "-G"]).config(|config| config["process"]["user"]["additionalGids"] = json!([77]));
    with_group(bundle.run_command()).ok().stdout("0 77");
    bundle.config(|config| config["annotations"] = json!({ "run.oci.keep_original_groups": "1" }));
    with_group(bundle.run_command()).ok().stdout("0 4242");
    bundle.sleeps().run_detached();
    with_group(bundle.exec_command(["id", "-G"])).ok().stdout("0 4242");
}
