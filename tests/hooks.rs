//! `hooks`: six kinds, where each runs, in which order, what it reads, what its failure or delay does.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::only_for_myrt;
use crate::util::command::write_executable;
use crate::util::{Bundle, Value, is_myrt, json};

const KINDS: &[&str] = &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A host script that appends a line to `log` of the bundle and keeps what it read.
fn recorder(bundle: &Bundle, kind: &str) -> Value {
    let script = bundle.outside(&format!("{kind}.sh"));
    let dir = bundle.dir.display();
    // Redirections by a descriptor opened outside do not exist here: createContainer sees the same files, since it
    // runs before the pivot.
    let text = format!(
        "#!/bin/sh\ncat > {dir}/{kind}.state\nfor n in mnt pid net uts; do readlink /proc/self/ns/$n; done > {dir}/{kind}.ns\n\
         echo \"$0 $*\" > {dir}/{kind}.args\nenv > {dir}/{kind}.env\necho {kind} >> {dir}/log\n"
    );
    write_executable(&script, text);
    json!([{ "path": script, "args": ["argv0", "one", "two words"], "env": ["PATH=/usr/bin:/bin", "KEY=value"] }])
}

/// All six; startContainer's lies inside, since it runs there.
fn recorded(name: &str) -> Bundle {
    let bundle = Bundle::busybox(name);
    bundle.config(|config| {
        config["hooks"] = json!({});
        for kind in KINDS.iter().filter(|kind| **kind != "startContainer") {
            config["hooks"][kind] = recorder(&bundle, kind);
        }
        config["hooks"]["startContainer"] =
            json!([{ "path": "/hook", "args": ["hook"], "env": ["PATH=/bin", "KEY=value"] }]);
    });
    bundle.program(
        "hook",
        "#!/bin/sh\ncat > /startContainer.state\nfor n in mnt pid net uts; do readlink /proc/self/ns/$n; done > /startContainer.ns\n\
         hostname > /startContainer.hostname\n",
    );
    bundle
}

fn log(bundle: &Bundle) -> Vec<String> {
    fs::read_to_string(bundle.outside("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn state(bundle: &Bundle, kind: &str) -> Value {
    let file = if kind == "startContainer" {
        bundle.rootfs("startContainer.state")
    } else {
        bundle.outside(&format!("{kind}.state"))
    };
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{kind} left no {}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text:?}"))
}

fn namespaces(bundle: &Bundle, kind: &str) -> Vec<String> {
    let file = if kind == "startContainer" {
        bundle.rootfs("startContainer.ns")
    } else {
        bundle.outside(&format!("{kind}.ns"))
    };
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_runs_once_at_its_time_and_in_order() {
    only_for_myrt!(POSTSTART);
    let bundle = recorded("hook_order");
    bundle.sleeps().create().ok();
    assert_eq!(log(&bundle), ["prestart", "createRuntime", "createContainer"], "create ends after these");
    assert!(!bundle.rootfs("startContainer.state").exists());
    bundle.start().ok();
    assert_eq!(log(&bundle), ["prestart", "createRuntime", "createContainer", "poststart"]);
    assert!(bundle.rootfs("startContainer.state").exists());
    bundle.kill("KILL").ok();
    bundle.until_status("stopped");
    assert_eq!(log(&bundle).len(), 4, "poststop waits for delete");
    bundle.delete().ok();
    assert_eq!(log(&bundle).last().unwrap(), "poststop");
    assert_eq!(log(&bundle).len(), 5);
}

#[test]
fn run_runs_them_all() {
    let bundle = recorded("hook_run");
    bundle.run().ok();
    assert_eq!(log(&bundle), ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    assert!(bundle.rootfs("startContainer.state").exists());
}

#[test]
fn each_reads_the_state_of_the_container() {
    let bundle = recorded("hook_state");
    bundle.config(|config| config["annotations"] = json!({ "org.example": "note" }));
    bundle.sleeps().create().ok();
    let pid = bundle.pid();
    bundle.start().ok();
    bundle.delete_force().ok();
    for kind in KINDS {
        let state = state(&bundle, kind);
        assert_eq!(state["id"], bundle.id, "{kind}");
        assert_eq!(state["bundle"], bundle.dir.to_str().unwrap(), "{kind}");
        assert_eq!(state["annotations"]["org.example"], "note", "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
    }
    for (kind, statuses) in [
        ("prestart", &["creating", "created"][..]),
        ("createRuntime", &["creating", "created"]),
        ("createContainer", &["creating", "created"]),
        ("startContainer", &["created"]),
        ("poststart", if is_myrt() { &["running"] } else { &["created"] }),
        ("poststop", &["stopped"]),
    ] {
        let status = state(&bundle, kind)["status"].as_str().unwrap().to_owned();
        assert!(statuses.contains(&status.as_str()), "{kind}: {status}");
    }
    for kind in ["prestart", "createRuntime", "poststart"] {
        assert_eq!(state(&bundle, kind)["pid"], pid, "{kind}: the pid as the host numbers it");
    }
}

#[test]
fn each_runs_in_its_documented_namespaces() {
    let bundle = recorded("hook_ns");
    bundle.sleeps().create().ok();
    let of = |pid: &str| -> Vec<String> {
        let names = ["mnt", "pid", "net", "uts"];
        names
            .iter()
            .map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string())
            .collect()
    };
    let (host, inside) = (of("self"), of(&bundle.pid().to_string()));
    bundle.start().ok();
    bundle.delete_force().ok();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        assert_eq!(namespaces(&bundle, kind), host, "{kind}");
    }
    for kind in ["createContainer", "startContainer"] {
        assert_eq!(namespaces(&bundle, kind), inside, "{kind}");
    }
}

#[test]
fn create_container_hooks_see_the_hosts_files_and_start_container_hooks_the_containers() {
    let bundle = recorded("hook_root");
    bundle.run().ok();
    // It is a script of the host and wrote to the bundle: before the pivot the host's paths hold.
    assert!(bundle.outside("createContainer.state").exists());
    assert_eq!(fs::read_to_string(bundle.rootfs("startContainer.hostname")).unwrap(), "box\n");
}

#[test]
fn arguments_and_environment_are_those_of_config_json() {
    let bundle = recorded("hook_args");
    bundle.run_command().env("OF_THE_CALLER", "secret").run().ok();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let args = fs::read_to_string(bundle.outside(&format!("{kind}.args"))).unwrap();
        assert!(args.trim().ends_with("one two words"), "{kind}: {args}");
        let env = fs::read_to_string(bundle.outside(&format!("{kind}.env"))).unwrap();
        assert!(env.contains("KEY=value\n"), "{kind}: {env}");
        assert!(!env.contains("OF_THE_CALLER"), "{kind}: {env}");
    }
}

#[test]
fn a_hook_that_names_no_environment_finds_one() {
    only_for_myrt!(HOOK_ENV);
    let bundle = Bundle::busybox("hook_env");
    let said = |kind: &str| bundle.outside(&format!("{kind}.said"));
    bundle.program("hook", "#!/bin/sh\necho $OF_CONFIG$OF_THE_CALLER $HOME > /startContainer.said\n").config(
        |config| {
            config["process"]["env"].as_array_mut().unwrap().push(json!("OF_CONFIG=config"));
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                let script = bundle.outside(&format!("{kind}.sh"));
                write_executable(
                    &script,
                    format!("#!/bin/sh\necho $OF_CONFIG$OF_THE_CALLER > {}\n", said(kind).display()),
                );
                config["hooks"][kind] = json!([{ "path": script }]);
            }
            config["hooks"]["startContainer"] = json!([{ "path": "/hook" }]);
        },
    );
    bundle.run_command().env("OF_THE_CALLER", "caller").run().ok();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        assert_eq!(fs::read_to_string(said(kind)).unwrap(), "caller\n", "{kind}");
    }
    assert_eq!(fs::read_to_string(bundle.rootfs("startContainer.said")).unwrap(), "config /root\n");
}

#[test]
fn a_hook_that_names_an_empty_environment_gets_that() {
    let bundle = Bundle::busybox("hook_no_env");
    let (script, said) = (bundle.outside("hook.sh"), bundle.outside("said"));
    write_executable(&script, format!("#!/bin/sh\necho ${{OF_THE_CALLER-nothing}} > {}\n", said.display()));
    bundle.config(|config| config["hooks"] = json!({ "createRuntime": [{ "path": script, "env": [] }] }));
    bundle.run_command().env("OF_THE_CALLER", "caller").run().ok();
    assert_eq!(fs::read_to_string(said).unwrap(), "nothing\n");
}

#[test]
fn a_start_container_hook_lives_under_the_programs_filter_and_rights() {
    let bundle = Bundle::busybox("hook_filter");
    bundle
        .program("hook", "#!/bin/sh\nmkdir /made 2>/said\ngrep -E '^(Seccomp|CapEff):' /proc/self/status >>/said\n")
        .args(["cat", "/said"]);
    for (no_new_privileges, action) in
        [(true, "SCMP_ACT_ERRNO"), (false, "SCMP_ACT_ERRNO"), (true, "SCMP_ACT_NOTIFY"), (false, "SCMP_ACT_NOTIFY")]
    {
        if action == "SCMP_ACT_NOTIFY" && !is_myrt() {
            // Elsewhere the call waits for who listens, and nobody does here.
            continue;
        }
        // Whoever listens to the program hears nothing of hooks: to them the call does not exist.
        let listener = UnixListener::bind(bundle.outside("notify.sock")).unwrap();
        bundle.config(|config| {
            config["hooks"]["startContainer"] = json!([{ "path": "/hook" }]);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["capabilities"] = json!({});
            let calls = ["mkdir", "mkdirat"];
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": bundle.outside("notify.sock"),
                "syscalls": [{ "names": calls, "action": action }],
            });
        });
        let why = if action == "SCMP_ACT_ERRNO" { "Operation not permitted" } else { "Function not implemented" };
        let said = format!("mkdir: can't create directory '/made': {why}\nCapEff:\t0000000000000000\nSeccomp:\t2");
        bundle.run().ok().stdout(&said);
        drop(listener);
        fs::remove_file(bundle.outside("notify.sock")).unwrap();
    }
}

#[test]
fn hooks_of_the_create_begin_in_the_bundle() {
    let bundle = Bundle::busybox("hook_cwd");
    let script = bundle.outside("hook.sh");
    write_executable(&script, "#!/bin/sh\ntest -d rootfs && echo here >> log\n");
    bundle.config(|config| {
        config["hooks"] = json!({ "prestart": [{ "path": script }], "createRuntime": [{ "path": script }] });
    });
    bundle.run_command().cwd("/").run().ok();
    assert_eq!(log(&bundle), ["here", "here"]);
}

#[test]
fn several_of_a_kind_run_in_order() {
    let bundle = Bundle::busybox("hook_several");
    let log = bundle.outside("log");
    let hooks: Vec<Value> = (1..=3)
        .map(|n| {
            let script = bundle.outside(&format!("{n}.sh"));
            write_executable(&script, format!("#!/bin/sh\necho {n} >> {}\n", log.display()));
            json!({ "path": script })
        })
        .collect();
    bundle.config(|config| config["hooks"] = json!({ "createRuntime": hooks }));
    bundle.run().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "1\n2\n3\n");
}

#[test]
fn a_failure_before_the_start_ends_the_container_and_says_which() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bundle = Bundle::busybox("hook_fails");
        let script = if kind == "startContainer" { bundle.rootfs("fails") } else { bundle.outside("fails") };
        write_executable(&script, "#!/bin/sh\necho its last words >&2\nexit 7\n");
        let path = if kind == "startContainer" { json!("/fails") } else { json!(script) };
        bundle.sh("echo > /tmp/ran").config(|config| config["hooks"] = json!({ kind: [{ "path": path }] }));
        let output = bundle.run();
        output.fails().err_has("hook");
        if is_myrt() {
            output.err_has(kind).err_has("7").err_has("its last words");
        }
        assert!(!bundle.rootfs("tmp/ran").exists(), "{kind}: the program must not run");
        bundle.assert_clean();
    }
}

#[test]
fn a_failure_of_create_leaves_nothing() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = Bundle::busybox("hook_create_fails");
        bundle.sleeps().config(|config| config["hooks"] = json!({ kind: [{ "path": "/bin/false" }] }));
        bundle.create().fails();
        bundle.command(["state", &bundle.id]).run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn a_failure_after_the_start_is_fatal_too() {
    only_for_myrt!(POSTSTART);
    let bundle = Bundle::busybox("hook_poststart");
    bundle.sleeps().config(|config| config["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] }));
    bundle.create().ok();
    bundle.start().fails();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.assert_clean();
}

#[test]
fn a_failure_after_the_end_is_told_and_the_rest_still_runs() {
    only_for_myrt!(POSTSTOP);
    let bundle = Bundle::busybox("hook_poststop");
    let done = bundle.outside("done");
    bundle.config(|config| {
        config["hooks"] = json!({ "poststop": [
            { "path": "/bin/false" }, { "path": "/bin/touch", "args": ["touch", done] },
        ] });
    });
    bundle.run();
    assert!(done.exists(), "the next hook runs all the same");
    bundle.assert_clean();
}

#[test]
fn one_that_takes_too_long_is_killed_and_counts_as_failed() {
    let bundle = Bundle::busybox("hook_timeout");
    let script = bundle.outside("slow");
    write_executable(&script, format!("#!/bin/sh\necho $$ > {}/slow.pid\nexec sleep 1000\n", bundle.dir.display()));
    bundle.config(|config| config["hooks"] = json!({ "createRuntime": [{ "path": script, "timeout": 1 }] }));
    bundle.run().fails().err_has("hook");
    let pid = fs::read_to_string(bundle.outside("slow.pid")).unwrap();
    crate::util::until("the hook is dead", || (!fs::exists(format!("/proc/{}", pid.trim())).unwrap()).then_some(()));
    bundle.assert_clean();
}

#[test]
fn a_hook_that_is_missing_or_relative_is_refused_by_its_path() {
    let bundle = Bundle::busybox("hook_missing");
    bundle.config(|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/no/such/hook" }] }));
    bundle.run().fails().err_has("/no/such/hook");
    bundle.assert_clean();
    if is_myrt() {
        bundle.config(|config| config["hooks"] = json!({ "createRuntime": [{ "path": "relative" }] }));
        bundle.run().fails().err_has("hooks.createRuntime[0]");
        bundle.config(|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true", "timeout": 0 }] }));
        bundle.run().fails().err_has("timeout");
    }
}

#[test]
fn one_that_does_not_read_its_input_does_no_harm() {
    let bundle = Bundle::busybox("hook_deaf");
    bundle.config(|config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }], "poststart": [{ "path": "/bin/true" }] });
        // More than a pipe holds.
        config["annotations"] = json!({ "long": "x".repeat(200_000) });
    });
    bundle.run().ok();
}

#[test]
fn a_hook_can_put_a_device_into_the_containers_network() {
    let bundle = Bundle::busybox("hook_network");
    let script = bundle.outside("net.sh");
    write_executable(
        &script,
        "#!/bin/sh\nset -e\npid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')\nip link add myrt-t0 type veth peer name myrt-t1\n\
         ip link set myrt-t0 netns $pid name eth7\n",
    );
    bundle.args(["ip", "link"]).config(|config| {
        config["hooks"] =
            json!({ "createRuntime": [{ "path": script, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }] });
    });
    let own_network = ["unshare", "--net", "/bin/sh", "-c", "\"$@\"", "sh"];
    bundle.run_command().by(own_network).run().ok().out_has("eth7");
}
