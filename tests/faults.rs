//! What goes wrong: broken bundles, missing programs, hostile root filesystems, full disks, corrupted states. Each is a
//! clear error, leaves nothing, and does not touch another container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};

use crate::only_for_myrt;
use crate::util::command::write_executable;
use crate::util::config::Edit as _;
use crate::util::{Bundle, is_myrt, json};

#[test]
fn broken_json_is_refused_with_its_place() {
    let bundle = Bundle::busybox("broken_json");
    for broken in ["", "{", "{ \"process\": ", "[]", "null", "{\"ociVersion\": \"1.0.2\", \"process\": {\"cwd\": 5}}"] {
        fs::write(bundle.dir.join("config.json"), broken).unwrap();
        let output = bundle.run();
        output.fails();
        if is_myrt() {
            output.err_has("config.json");
        }
        bundle.assert_clean();
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    only_for_myrt!(FIELD_NAMED);
    let bundle = Bundle::busybox("wrong_type");
    type Edit = fn(&mut crate::util::Value);
    let edits: [(&str, Edit); 6] = [
        ("process.user.uid", |config| config["process"]["user"]["uid"] = json!("root")),
        ("process.args[1]", |config| config["process"]["args"] = json!(["a", 1])),
        ("mounts[1].options", |config| config["mounts"][1]["options"] = json!("ro")),
        ("linux.namespaces[0].type", |config| config["linux"]["namespaces"][0]["type"] = json!(7)),
        ("linux.resources.memory.limit", |config| config["linux"]["resources"]["memory"] = json!({ "limit": "1G" })),
        ("process.rlimits[0].soft", |config| {
            config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": -1, "hard": 5 }]);
        }),
    ];
    for (field, edit) in edits {
        let bundle = bundle.another("wrong_type");
        bundle.config(edit);
        bundle.run().fails().err_has(field);
    }
}

#[test]
fn what_is_missing_is_named() {
    let bundle = Bundle::busybox("missing");
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.run().fails().err_has("config.json");
    bundle.command(["create", "-b", "/no/such/bundle", "x"]).run().fails().err_has("/no/such/bundle");
    bundle.config(|config| config["root"]["path"] = json!("no-such-rootfs"));
    bundle.run().fails().err_has("no-such-rootfs");
    fs::write(bundle.outside("a-file"), "").unwrap();
    bundle.config(|config| config["root"]["path"] = json!("a-file"));
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn required_fields_are_asked_for() {
    let bundle = Bundle::busybox("required");
    for (object, key) in [("process", "args"), ("process", "cwd"), ("", "root")] {
        let bundle = bundle.another("required");
        bundle.config(|config| {
            let object = if object.is_empty() { config } else { &mut config[object] };
            object.as_object_mut().unwrap().remove(key);
        });
        let output = bundle.run();
        output.fails();
        if is_myrt() {
            output.err_has(key);
        }
    }
    bundle.assert_clean();
}

#[test]
fn unknown_fields_are_tolerated_and_a_newer_minor_version_too() {
    let bundle = Bundle::busybox("unknown_fields");
    bundle.config(|config| {
        config["fieldOfTheFuture"] = json!({ "a": [1, 2] });
        config["linux"]["anotherOne"] = json!(true);
        config["process"]["third"] = json!("x");
    });
    bundle.run().ok();
    bundle.config(|config| config["ociVersion"] = json!("1.99.0"));
    bundle.run().ok();
    if is_myrt() {
        bundle.config(|config| config["ociVersion"] = json!("2.0.0"));
        bundle.run().fails().err_has("ociVersion");
    }
}

#[test]
fn a_missing_program_is_named() {
    let bundle = Bundle::busybox("program_missing");
    bundle.args(["no-such-program"]);
    bundle.run().fails().err_has("no-such-program").err_has("executable file not found in $PATH");
    bundle.args(["/bin/no-such-program"]);
    bundle.run().fails().err_has("/bin/no-such-program").err_has("no such file or directory");
    bundle.args(["/etc/passwd"]);
    bundle.run().fails().err_has("/etc/passwd").err_has("permission denied");
    bundle.args(["/bin"]);
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn create_fails_already_where_the_program_is_missing() {
    let bundle = Bundle::busybox("create_missing");
    bundle.args(["no-such-program"]);
    bundle.create().fails().err_has("executable file not found in $PATH");
    bundle.assert_clean();
}

#[test]
fn why_a_program_that_is_there_does_not_run_is_said() {
    only_for_myrt!(WHY_NOT_RUN);
    let bundle = Bundle::busybox("why");
    bundle.program("bin/no-interpreter", "#!/no/such/interpreter\n").args(["no-interpreter"]);
    bundle.run().fails().err_has("no-interpreter").err_has("/no/such/interpreter");
    bundle.program("bin/windows", "#!/bin/sh\r\necho hello\r\n").args(["windows"]);
    let output = bundle.run();
    assert!(output.fails().err().contains("CR") || output.err().contains("\\r"), "{output}");
    bundle.file("bin/no-x", "#!/bin/sh\n").args(["/bin/no-x"]);
    bundle.run().fails().err_has("/bin/no-x").err_has("permission denied").err_has("chmod");
    bundle.file("bin/empty", "").args(["/bin/empty"]);
    crate::util::command::set_mode(bundle.rootfs("bin/empty"), 0o755);
    bundle.run().fails().err_has("/bin/empty");
    bundle.assert_clean();
    // A dynamic program of the host, without its loader inside.
    let host = ["/usr/bin/env", "/bin/true"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    fs::copy(host, bundle.rootfs("bin/dynamic")).unwrap();
    bundle.args(["/bin/dynamic"]);
    let output = bundle.run();
    output.fails().err_has("/bin/dynamic");
    assert!(output.err().contains("ld-linux") || output.err().contains("ld-musl"), "the loader is named: {output}");
    // A program for another machine: an ELF header that says so.
    let mut foreign = fs::read(bundle.rootfs("bin/busybox")).unwrap();
    foreign[18] = 0xf7;
    foreign[19] = 0x00;
    write_executable(bundle.rootfs("bin/foreign"), &foreign[..4096]);
    bundle.args(["/bin/foreign"]);
    bundle.run().fails().err_has("/bin/foreign").err_has("exec format error");
    bundle.assert_clean();
}

/// Folders of the host that a hostile link points to: nothing may be mounted on them, made in them or changed.
fn victim(bundle: &Bundle) -> std::path::PathBuf {
    let victim = bundle.outside("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    victim
}

#[track_caller]
fn assert_untouched(victim: &Path) {
    let names: Vec<_> = fs::read_dir(victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "something was made in the host's folder");
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "untouched");
    assert_eq!(crate::util::leftovers::mounts_below(victim), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_mount_target_that_links_out_of_the_root_stays_inside() {
    for target in ["proc", "sys", "mnt"] {
        for up in [false, true] {
            let bundle = Bundle::busybox("link_target");
            let victim = victim(&bundle);
            fs::remove_dir(bundle.rootfs(target)).unwrap();
            let link = if up {
                Path::new("../../../../../../..").join(victim.strip_prefix("/").unwrap())
            } else {
                victim.clone()
            };
            symlink(link, bundle.rootfs(target)).unwrap();
            bundle.config(|config| {
                config.mount(json!({ "destination": "/mnt/new", "type": "tmpfs", "source": "tmpfs" }))
            });
            let output = bundle.run();
            if output.exit_code() != 0 {
                output.fails();
            }
            assert_untouched(&victim);
            bundle.assert_clean();
        }
    }
}

#[test]
fn a_link_in_the_middle_of_a_mount_target_stays_inside() {
    let bundle = Bundle::busybox("link_middle");
    let victim = victim(&bundle);
    symlink(&victim, bundle.rootfs("var/lib")).unwrap();
    bundle.config(|config| {
        config.mount(json!({ "destination": "/var/lib/new/deep", "type": "tmpfs", "source": "tmpfs" }));
    });
    let output = bundle.sh("echo x > /var/lib/new/deep/x").run();
    assert_untouched(&victim);
    if output.exit_code() == 0 {
        assert!(bundle.rootfs(victim.to_str().unwrap()).join("new/deep").is_dir(), "the link is resolved inside");
    }
    bundle.assert_clean();
}

#[test]
fn a_file_to_bind_on_is_not_made_through_a_link_out_of_the_root() {
    let bundle = Bundle::busybox("link_file");
    let victim = victim(&bundle);
    fs::write(bundle.outside("source"), "content").unwrap();
    symlink(victim.join("made"), bundle.rootfs("var/file")).unwrap();
    bundle.config(|config| {
        let source = bundle.outside("source");
        config.mount(json!({ "destination": "/var/file", "type": "bind", "source": source, "options": ["bind"] }));
    });
    let output = bundle.run();
    if output.exit_code() != 0 {
        output.fails();
    }
    assert_untouched(&victim);
    bundle.assert_clean();
}

#[test]
fn devices_and_links_are_not_made_through_a_link_out_of_the_root() {
    let bundle = Bundle::busybox("link_dev");
    let victim = victim(&bundle);
    fs::create_dir(bundle.rootfs("devices")).unwrap();
    symlink(&victim, bundle.rootfs("devices/sub")).unwrap();
    bundle.config(|config| {
        // Without a tmpfs on /dev the nodes go into the root filesystem itself.
        config["mounts"].as_array_mut().unwrap().retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        config["linux"]["devices"] =
            json!([{ "path": "/devices/sub/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0 }]);
    });
    let output = bundle.run();
    if output.exit_code() != 0 {
        output.fails();
    }
    assert_untouched(&victim);
    for name in ["ptmx", "fd", "stdin", "null", "console"] {
        let _ = fs::remove_file(bundle.rootfs("dev").join(name));
        symlink(victim.join("file"), bundle.rootfs("dev").join(name)).unwrap();
    }
    let output = bundle.run();
    if output.exit_code() != 0 {
        output.fails();
    }
    assert_untouched(&victim);
    bundle.assert_clean();
}

#[test]
fn masked_and_read_only_paths_do_not_follow_links_out_of_the_root() {
    let bundle = Bundle::busybox("link_mask");
    let victim = victim(&bundle);
    symlink(&victim, bundle.rootfs("masked")).unwrap();
    symlink(&victim, bundle.rootfs("readonly")).unwrap();
    bundle.config(|config| {
        config["linux"]["maskedPaths"] = json!(["/masked", "/masked/file"]);
        config["linux"]["readonlyPaths"] = json!(["/readonly", "/readonly/file"]);
    });
    let output = bundle.run();
    if output.exit_code() != 0 {
        output.fails();
    }
    assert_untouched(&victim);
    fs::write(victim.join("file"), "untouched").unwrap();
}

#[test]
fn a_working_folder_that_links_out_of_the_root_stays_inside() {
    let bundle = Bundle::busybox("link_cwd");
    let victim = victim(&bundle);
    symlink(&victim, bundle.rootfs("work")).unwrap();
    bundle.args(["ls"]).config(|config| config["process"]["cwd"] = json!("/work"));
    let output = bundle.run();
    output.out_lacks("file");
    assert_untouched(&victim);
    bundle.config(|config| config["process"]["cwd"] = json!("/../../../../../../tmp"));
    bundle.args(["pwd"]).run().ok().stdout("/tmp");
    assert_untouched(&victim);
    bundle.assert_clean();
}

#[test]
fn a_container_whose_root_is_a_loop_of_links_is_refused() {
    let bundle = Bundle::busybox("link_loop");
    fs::remove_dir(bundle.rootfs("proc")).unwrap();
    symlink("/sysloop", bundle.rootfs("proc")).unwrap();
    symlink("/proc", bundle.rootfs("sysloop")).unwrap();
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_full_disk_under_the_state_folder_is_an_error_and_leaves_nothing() {
    let bundle = Bundle::busybox("full_disk");
    bundle.sleeps();
    // One page for the folder's own entries at most: the state finds no room.
    let script = "mkdir -p \"$1\"; mount -t tmpfs -o size=8k tmpfs \"$1\"; head -c 8192 /dev/zero > \"$1/full\" || :; \
                  root=$1; shift; \"$@\"; code=$?; ls \"$root\" >&2; exit $code";
    let root = bundle.root().to_str().unwrap();
    let output = bundle.create_command().by(["unshare", "-m", "sh", "-c", script, "sh", root]).run();
    output.fails();
    if is_myrt() {
        output.err_has("no space left on device");
    }
    assert!(!output.err().lines().any(|line| line == bundle.id), "a state folder is left: {output}");
    bundle.assert_clean();
}

#[test]
fn a_passwd_that_never_ends_stops_no_start() {
    let bundle = Bundle::busybox("passwd_fifo");
    bundle.program("hook", "#!/bin/sh\nexit 0\n");
    let _ = fs::remove_file(bundle.rootfs("etc/passwd"));
    rustix::fs::mknodat(CWD, bundle.rootfs("etc/passwd"), FileType::Fifo, Mode::from(0o644), 0).unwrap();
    bundle.sh("echo ran").run().ok().out_has("ran");
    bundle.config(|config| config["hooks"] = json!({ "startContainer": [{ "path": "/hook" }] }));
    bundle.run().ok().out_has("ran");
}

#[test]
fn the_state_of_another_user_is_not_believed() {
    only_for_myrt!(STATE_OWNER);
    // Its hooks would run with our rights: the state root may lie in a folder that everybody can write to.
    let bundle = Bundle::busybox("foreign_state");
    let mark = bundle.outside("hook-ran");
    bundle.config(|config| {
        config["hooks"] = json!({ "poststop": [{ "path": "/bin/touch", "args": ["touch", mark] }] });
    });
    bundle.sh("true");
    bundle.command(["run", "--keep", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).run().ok();
    let folder = bundle.root().join(&bundle.id);
    std::os::unix::fs::chown(&folder, Some(12_345), None).unwrap();
    for args in [vec!["state"], vec!["kill"], vec!["start"], vec!["delete"], vec!["delete", "--force"]] {
        bundle.command(args).arg(&bundle.id).run().fails().err_has("belongs to another user (12345)");
    }
    bundle.command(["list"]).run().ok();
    assert!(!mark.exists());
    std::os::unix::fs::chown(&folder, Some(0), None).unwrap();
    bundle.delete().ok();
    assert!(mark.exists());
}

#[test]
fn a_corrupted_state_stops_neither_list_nor_the_others() {
    only_for_myrt!(CORRUPTED_STATE);
    let bundle = Bundle::busybox("corrupted");
    bundle.sleeps().run_detached();
    for garbage in [&b""[..], b"{", b"{}", b"null", b"\0\xff\xfe garbage", b"{\"id\": 5}"] {
        let broken = bundle.another("broken");
        broken.sleeps().run_detached();
        let pid = broken.pid();
        let folder = broken.root().join(&broken.id);
        for entry in fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_file()) {
            fs::write(entry.path(), garbage).unwrap();
        }
        let list = bundle.command(["list", "-f", "json"]).run().json();
        assert!(list.as_array().unwrap().iter().any(|entry| entry["id"] == bundle.id), "{list}");
        bundle.command(["list", "-q"]).run().ok().out_has(&broken.id).out_has(&bundle.id);
        broken.command(["state", &broken.id]).run().fails().err_has(&broken.id);
        broken.create().fails();
        broken.delete_force().ok();
        bundle.command(["list", "-q"]).run().ok().out_lacks(&broken.id);
        // Whom a corrupted state no longer names, nobody can kill; but what it names is gone wholly.
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        assert_eq!(bundle.status(), "running");
        crate::util::leftovers::sweep("NO=MARKER", &broken.cgroup(), &broken.dir);
    }
}

#[test]
fn a_container_whose_state_is_lost_is_found_by_its_config() {
    only_for_myrt!(CORRUPTED_STATE);
    let bundle = Bundle::busybox("lost_state");
    bundle.sleeps().run_detached();
    let pid = rustix::process::Pid::from_raw(bundle.pid()).unwrap();
    fs::write(bundle.root().join(&bundle.id).join("state.json"), "{").unwrap();
    bundle.delete_force().ok();
    crate::util::until("its process ends", || rustix::process::test_kill_process(pid).err());
    bundle.assert_clean();
}

#[test]
fn strange_things_in_the_state_root_are_skipped() {
    let bundle = Bundle::busybox("strange");
    bundle.sleeps().run_detached();
    fs::write(bundle.root().join("a-file"), "").unwrap();
    symlink("/etc", bundle.root().join("a-link")).unwrap();
    let list = bundle.command(["list", "-q"]).run();
    list.ok().out_has(&bundle.id);
    fs::remove_file(bundle.root().join("a-file")).unwrap();
    fs::remove_file(bundle.root().join("a-link")).unwrap();
    assert!(fs::exists("/etc/passwd").unwrap());
}

#[test]
fn an_unwritable_state_root_says_so() {
    let bundle = Bundle::busybox("unwritable");
    bundle.lenient();
    let output = crate::util::TestCommand::new([
        &crate::util::runtime(),
        "--root",
        "/proc/no-such-root",
        "create",
        "-b",
        bundle.dir.to_str().unwrap(),
        &bundle.id,
    ])
    .run();
    output.fails().err_has("/proc/no-such-root");
}

#[test]
fn the_pid_file_that_cannot_be_written_undoes_the_create() {
    let bundle = Bundle::busybox("bad_pid_file");
    bundle.sleeps();
    bundle.create_command_with(["--pid-file", "/no/such/folder/pid"]).run().fails().err_has("/no/such/folder");
    bundle.command(["state", &bundle.id]).run().fails();
    bundle.assert_clean();
}

#[test]
fn a_hundred_mounts_are_no_trouble() {
    let bundle = Bundle::busybox("many_mounts");
    bundle.config(|config| {
        for n in 0..100 {
            config.mount(json!({ "destination": format!("/mnt/{n}"), "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"] }));
        }
    });
    bundle.sh("grep -c ' /mnt/' /proc/self/mountinfo").run().ok().stdout("100");
    bundle.assert_clean();
}

#[test]
fn a_large_config_is_no_trouble() {
    let bundle = Bundle::busybox("large");
    bundle.config(|config| {
        for n in 0..2000 {
            config["annotations"][format!("org.example.{n}")] = json!("x".repeat(200));
            config["process"]["env"].as_array_mut().unwrap().push(json!(format!("V{n}={}", "y".repeat(100))));
        }
    });
    bundle.sh("echo $V1999 | wc -c").run().ok().stdout("101");
}
