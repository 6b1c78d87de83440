//! The whole life cycle as an ordinary user. Run by root these tests become the user `myrt-test` (made by useradd, with
//! subordinate ids); run by an ordinary user they are that user's own.

use std::fs;

use crate::util::config::Edit as _;
use crate::util::tty::{FdSocket, Terminal};
use crate::util::user::Ordinary;
use crate::util::{Bundle, json};
use crate::{only_for_cgroupfs, only_for_myrt};

/// Whether user namespaces may be made by an ordinary user here.
fn user_or_say() -> Option<Ordinary> {
    let user = Ordinary::get();
    let probe = crate::util::TestCommand::new(user.prefix.iter()).args(["unshare", "--user", "true"]).run();
    if probe.exit_code() != 0 {
        println!("not run: this host lets no ordinary user make a user namespace");
        return None;
    }
    Some(user)
}

fn with_range_or_say() -> Option<Ordinary> {
    let user = user_or_say()?;
    if user.range.is_none() {
        println!("not run: the user has no range of 65536 ids in /etc/subuid and /etc/subgid, or newuidmap is missing");
        return None;
    }
    Some(user)
}

/// create, start, exec, kill and delete of one bundle.
fn life_cycle(bundle: &Bundle) {
    bundle.sleeps().create().ok();
    assert_eq!(bundle.status(), "created");
    bundle.start().ok();
    assert_eq!(bundle.status(), "running");
    bundle.exec(["hostname"]).ok().stdout("box");
    bundle.exec(["sh", "-c", "exit 9"]).code(9);
    bundle.command(["list", "-q"]).run().ok().stdout(&bundle.id);
    bundle.kill("TERM").ok();
    bundle.until_status("stopped");
    bundle.delete().ok();
    bundle.command(["state", &bundle.id]).run().fails();
    bundle.assert_clean();
}

#[test]
fn the_whole_life_cycle_with_one_id_mapped() {
    let Some(user) = user_or_say() else { return };
    life_cycle(&Bundle::rootless("rl_one", &user, false));
}

#[test]
fn the_whole_life_cycle_with_a_range_mapped() {
    let Some(user) = with_range_or_say() else { return };
    life_cycle(&Bundle::rootless("rl_range", &user, true));
}

#[test]
fn one_that_is_created_is_entered_only_once_it_is_started() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_created", &user, false);
    bundle.sleeps().create().ok();
    bundle.exec(["true"]).fails().err_has("once it has been started");
    bundle.start().ok();
    bundle.exec(["true"]).ok();
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn inside_the_user_is_root_and_outside_it_is_not() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_root", &user, false);
    bundle.sh("id -u; id -g; tr -s ' ' < /proc/self/uid_map; echo > /made; stat -c %u /made");
    bundle.run().ok().stdout(&format!("0\n0\n 0 {} 1\n0", user.uid));
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(fs::metadata(bundle.rootfs("made")).unwrap().uid(), user.uid);
}

#[test]
fn with_a_range_other_users_exist() {
    let Some(user) = with_range_or_say() else { return };
    let bundle = Bundle::rootless("rl_users", &user, true);
    bundle.sh("id -u; su guest -c 'id -u' ; cat /proc/self/setgroups").run().ok().stdout("0\n1000\nallow");
    bundle.sh("id -u; touch /tmp/mine; stat -c %u /tmp/mine").config(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    bundle.open_to_all();
    bundle.run().ok().stdout("1000\n1000");
}

#[test]
fn with_a_range_additional_groups_can_be_given() {
    only_for_myrt!(ROOTLESS_GROUPS);
    let Some(user) = with_range_or_say() else { return };
    let bundle = Bundle::rootless("rl_more_groups", &user, true);
    bundle.args(["id", "-G"]);
    bundle.config(|config| config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [5, 100] }));
    bundle.run().ok().stdout("0 5 100");
}

#[test]
fn groups_cannot_be_given_with_one_id() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_groups", &user, false);
    bundle.config(|config| config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [5] }));
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_missing_cgroup_right_is_one_warning_and_no_obstacle() {
    only_for_myrt!(ROOTLESS_CGROUP);
    only_for_cgroupfs!(NO_RIGHT);
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_cgroup", &user, false);
    bundle.args(["echo", "ran"]).config(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("/myrt-test/{}", bundle.id));
        config["linux"]["resources"] = json!({ "pids": { "limit": 100 } });
    });
    let output = bundle.run();
    output.ok().stdout("ran");
    assert_eq!(output.err().lines().filter(|line| line.contains("cgroup")).count(), 1, "{output}");
    assert_eq!(output.err().lines().count(), 1, "{output}");
}

#[test]
fn without_a_word_about_cgroups_there_is_no_warning() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_quiet", &user, false);
    let output = bundle.run();
    output.ok();
    assert_eq!(output.err(), "", "{output}");
}

#[test]
fn the_config_that_spec_writes_for_rootless_runs() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_spec", &user, false);
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.command(["spec", "--rootless", "--bundle", bundle.dir.to_str().unwrap()]).run().ok();
    let path = bundle.dir.join("config.json");
    let mut config: crate::util::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], user.uid);
    assert_eq!(config["linux"]["gidMappings"][0]["hostID"], user.gid);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["id", "-u"]);
    fs::write(&path, config.to_string()).unwrap();
    bundle.run().ok().stdout("0");
}

#[test]
fn a_terminal_works() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_tty", &user, false);
    bundle.sh("tty; read line; echo got $line").config(|config| config["process"]["terminal"] = json!(true));
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    crate::util::command::set_mode(&socket, 0o777);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = Terminal::from(listener.receive().1.remove(0));
    create.wait().ok();
    bundle.start().ok();
    terminal.until_seen("/dev/pts/0");
    terminal.type_in("a line\n");
    terminal.until_seen("got a line");
}

#[test]
fn the_default_devices_are_there() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_devices", &user, false);
    bundle.sh(
        "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; stat -c '%t:%T' /dev/full",
    );
    bundle.run().ok().stdout("3\n5\n1:7");
}

#[test]
fn binds_masks_and_read_only_paths_work() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_mounts", &user, false);
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content\n").unwrap();
    bundle.config(|config| {
        config.mount(
            json!({ "destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid"] }),
        );
        config["root"]["readonly"] = json!(true);
    });
    bundle.sh("cat /mnt/file; echo > /mnt/x || echo refused; echo > /x || echo refused; echo > /proc/sys/net/x || echo refused; \
               wc -c < /proc/keys");
    bundle.run().ok().stdout("content\nrefused\nrefused\nrefused\n0");
}

#[test]
fn ids_that_are_not_the_users_are_refused() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_foreign", &user, false);
    bundle.config(|config| config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn without_a_user_namespace_it_says_what_to_do() {
    only_for_myrt!(ROOTLESS_HINT);
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_no_userns", &user, false);
    bundle.config(|config| {
        config.share("user");
        config["linux"].as_object_mut().unwrap().remove("uidMappings");
        config["linux"].as_object_mut().unwrap().remove("gidMappings");
    });
    bundle.run().fails().err_has("hint").err_has("\"user\"");
    bundle.assert_clean();
}

#[test]
fn the_state_root_is_found_without_a_flag() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_xdg", &user, false);
    let runtime_dir = bundle.outside("xdg");
    fs::create_dir(&runtime_dir).unwrap();
    if !user.prefix.is_empty() {
        std::os::unix::fs::chown(&runtime_dir, Some(user.uid), Some(user.gid)).unwrap();
    }
    bundle.sleeps();
    let command = |args: &[&str]| {
        let words = user.prefix.iter().cloned().chain([bundle.runtime()]).chain(args.iter().map(ToString::to_string));
        crate::util::TestCommand::new(words).without_env().env("XDG_RUNTIME_DIR", runtime_dir.display())
    };
    // setpriv is found by PATH; the runtime itself gets no more than this one variable.
    let with_path = |args: &[&str]| command(args).env("PATH", "/usr/bin:/bin");
    with_path(&["create", "-b", bundle.dir.to_str().unwrap(), &bundle.id]).run().ok();
    assert!(fs::read_dir(&runtime_dir).unwrap().count() > 0, "the state lies below XDG_RUNTIME_DIR");
    with_path(&["kill", &bundle.id, "KILL"]).run().ok();
    with_path(&["delete", "--force", &bundle.id]).run().ok();
    bundle.assert_clean();
}

#[test]
fn exec_with_flags_works() {
    let Some(user) = user_or_say() else { return };
    let bundle = Bundle::rootless("rl_exec", &user, false);
    bundle.sleeps().run_detached();
    bundle
        .command(["exec", "--cwd", "/tmp", "-e", "K=v", &bundle.id, "sh", "-c", "pwd; echo $K; id -u"])
        .run()
        .ok()
        .stdout("/tmp\nv\n0");
    let pid = bundle.outside("pid");
    bundle.command(["exec", "-d", "--pid-file", pid.to_str().unwrap(), &bundle.id, "sleep", "1000"]).run().ok();
    assert!(fs::read_to_string(pid).unwrap().parse::<u32>().is_ok());
}
