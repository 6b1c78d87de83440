//! `root` and `mounts`: kinds, options, propagation, masks, read-only paths, idmapped mounts.

use std::fs;

use crate::only_for_myrt;
use crate::util::command::write_executable;
use crate::util::config::Edit as _;
use crate::util::{Bundle, Value, json, until};

/// Shell: the mount options of $1, those of the mount first, then those of its filesystem.
const OPTIONS: &str = "o() { while read a b c d e f g; do [ \"$e\" = \"$1\" ] && l=\"$f ${g#* - }\"; done \
                       < /proc/self/mountinfo; echo \"$l\"; }; ";

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(destination: &str, source: impl serde::Serialize, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// The words of a line that `OPTIONS` printed.
fn words(line: &str) -> Vec<&str> {
    line.split([' ', ',']).collect()
}

#[test]
fn the_root_is_the_bundles_and_writable_unless_it_is_said_otherwise() {
    let bundle = Bundle::busybox("root");
    bundle.sh("echo x > /file && cat /file").run().ok().stdout("x");
    assert_eq!(fs::read_to_string(bundle.rootfs("file")).unwrap(), "x\n");
    bundle.config(|config| config["root"]["readonly"] = json!(true));
    bundle.sh("echo y > /file || echo refused; echo > /dev/shm/ok && echo ok").run().ok().stdout("refused\nok");
    assert_eq!(fs::read_to_string(bundle.rootfs("file")).unwrap(), "x\n");
}

#[test]
fn an_absolute_or_linked_root_path_works() {
    let bundle = Bundle::busybox("root_path");
    bundle.args(["hostname"]);
    bundle.config(|config| config["root"]["path"] = json!(bundle.rootfs(""))).run().ok().stdout("box");
    bundle.config(|config| config["root"]["path"] = json!("./rootfs/../rootfs/")).run().ok().stdout("box");
    if crate::util::is_myrt() {
        // runc 1.1 refuses this one; it resolves to a plain folder of the caller's, which config.json may name.
        std::os::unix::fs::symlink("rootfs", bundle.outside("link")).unwrap();
        bundle.config(|config| config["root"]["path"] = json!("link")).run().ok().stdout("box");
    }
}

#[test]
fn nothing_of_the_old_root_is_left() {
    let bundle = Bundle::busybox("old_root");
    let secret = bundle.outside("secret");
    fs::write(&secret, "secret").unwrap();
    bundle.sh(&format!(
        "cat {0} /proc/1/root{0} /../../../..{0}; cut -d ' ' -f 5 /proc/self/mountinfo",
        secret.display()
    ));
    let output = bundle.run();
    output.ok().out_lacks("secret").out_lacks("/tmp/myrt").out_has("/proc");
}

#[test]
fn each_flag_is_set_on_the_mount() {
    let bundle = Bundle::busybox("mount_flags");
    for (option, expected) in [
        ("ro", "ro"),
        ("nosuid", "nosuid"),
        ("nodev", "nodev"),
        ("noexec", "noexec"),
        ("noatime", "noatime"),
        ("nodiratime", "nodiratime"),
        ("relatime", "relatime"),
        ("sync", "sync"),
        ("dirsync", "dirsync"),
        ("size=4m", "size=4096k"),
        ("mode=0750", "mode=750"),
        ("uid=7", "uid=7"),
        ("nr_inodes=99", "nr_inodes=99"),
    ] {
        bundle.sh(&format!("{OPTIONS} o /mnt")).config(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt");
            config.mount(tmpfs("/mnt", &[option]));
        });
        let output = bundle.run();
        assert!(words(output.ok().out().trim()).contains(&expected), "{option}: {output}");
    }
}

#[test]
fn a_later_option_undoes_an_earlier_one() {
    let bundle = Bundle::busybox("mount_undo");
    for (options, absent) in [
        (["ro", "rw"], "ro"),
        (["nosuid", "suid"], "nosuid"),
        (["nodev", "dev"], "nodev"),
        (["noexec", "exec"], "noexec"),
        (["noatime", "atime"], "noatime"),
        (["sync", "async"], "sync"),
    ] {
        bundle.sh(&format!("{OPTIONS} o /mnt")).config(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt");
            config.mount(tmpfs("/mnt", &options));
        });
        let output = bundle.run();
        assert!(!words(output.ok().out().trim()).contains(&absent), "{options:?}: {output}");
    }
}

#[test]
fn a_bind_shows_the_hosts_files_and_takes_flags() {
    let bundle = Bundle::busybox("bind");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "of the host\n").unwrap();
    bundle.config(|config| config.mount(bind("/mnt", &source, &["bind"])));
    bundle.sh("cat /mnt/file; echo inside > /mnt/new").run().ok().stdout("of the host");
    assert_eq!(fs::read_to_string(source.join("new")).unwrap(), "inside\n");
    bundle.config(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config.mount(bind("/mnt", &source, &["bind", "ro", "nosuid", "nodev", "noexec"]));
    });
    let output = bundle.sh(&format!("{OPTIONS} o /mnt; echo > /mnt/new || echo refused")).run();
    output.ok().out_has("refused");
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(words(&output.lines()[0]).contains(&flag), "{output}");
    }
}

#[test]
fn a_file_is_bound_on_a_file_that_is_made() {
    let bundle = Bundle::busybox("bind_file");
    fs::write(bundle.outside("source"), "content\n").unwrap();
    bundle.config(|config| config.mount(bind("/new/folder/file", bundle.outside("source"), &["rbind", "ro"])));
    bundle.args(["cat", "/new/folder/file"]).run().ok().stdout("content");
    assert!(bundle.rootfs("new/folder/file").is_file());
}

#[test]
fn a_relative_bind_source_is_below_the_bundle() {
    let bundle = Bundle::busybox("bind_relative");
    fs::write(bundle.outside("source"), "content\n").unwrap();
    bundle.config(|config| config.mount(bind("/mnt/file", "source", &["bind"])));
    bundle.args(["cat", "/mnt/file"]).run().ok().stdout("content");
}

#[test]
fn a_bind_option_makes_a_bind_whatever_the_type() {
    let bundle = Bundle::busybox("bind_type");
    fs::write(bundle.outside("source"), "content\n").unwrap();
    for kind in [json!("none"), json!(""), Value::Null, json!("bind")] {
        bundle.args(["cat", "/mnt/file"]).config(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt/file");
            let mut mount = bind("/mnt/file", bundle.outside("source"), &["rbind", "ro"]);
            mount["type"] = kind.clone();
            config.mount(mount);
        });
        bundle.run().ok().stdout("content");
    }
}

#[test]
fn a_recursive_bind_brings_what_is_mounted_below() {
    let bundle = Bundle::busybox("rbind");
    bundle.config(|config| {
        // /dev/shm of the container stands for a tree of mounts that needs nothing of the host.
        config.mount(json!({ "destination": "/tree", "type": "tmpfs", "source": "tmpfs", "options": [] }));
    });
    let source = bundle.outside("source");
    fs::create_dir_all(source.join("below")).unwrap();
    // A private namespace around the runtime, so that the host sees no mount.
    bundle.config(|config| {
        config.mount(bind("/once", &source, &["bind"]));
        config.mount(bind("/all", &source, &["rbind"]));
        config.mount(bind("/allro", &source, &["rbind", "ro"]));
    });
    bundle.sh(
        "ls /once/below; echo -; ls /all/below; echo > /allro/x || echo refused; echo > /allro/below/x && echo written",
    );
    let script = "mount -t tmpfs tmpfs \"$1/below\"; : > \"$1/below/file\"; shift; exec \"$@\"";
    let output = bundle.run_command().by(["unshare", "-m", "sh", "-ec", script, "sh", source.to_str().unwrap()]).run();
    output.ok().stdout("-\nfile\nrefused\nwritten");
}

#[test]
fn recursive_attributes_reach_what_is_mounted_below() {
    only_for_myrt!(RECURSIVE_ATTRIBUTES);
    let bundle = Bundle::busybox("rro");
    let source = bundle.outside("source");
    fs::create_dir_all(source.join("below")).unwrap();
    bundle.config(|config| {
        config.mount(bind("/ro", &source, &["rbind", "rro"]));
        config.mount(bind("/flags", &source, &["rbind", "rnosuid", "rnodev", "rnoexec", "rnoatime"]));
        config.mount(bind("/rw", &source, &["rbind", "rro", "rrw"]));
    });
    bundle.sh(&format!(
        "{OPTIONS} echo > /ro/x || echo refused; echo > /ro/below/x || echo refused; o /flags/below; echo > /rw/below/x && echo written"
    ));
    let script = "mount -t tmpfs tmpfs \"$1/below\"; shift; exec \"$@\"";
    let output = bundle.run_command().by(["unshare", "-m", "sh", "-ec", script, "sh", source.to_str().unwrap()]).run();
    let lines = output.ok().lines();
    assert_eq!((&*lines[0], &*lines[1], &*lines[3]), ("refused", "refused", "written"), "{output}");
    for flag in ["nosuid", "nodev", "noexec", "noatime"] {
        assert!(words(&lines[2]).contains(&flag), "{flag}: {output}");
    }
}

#[test]
fn nosymfollow_is_set() {
    let bundle = Bundle::busybox("nosymfollow");
    bundle.config(|config| config.mount(tmpfs("/mnt", &["nosymfollow"])));
    bundle.sh("echo x > /mnt/file; ln -s file /mnt/link; cat /mnt/file; cat /mnt/link || echo refused");
    bundle.run().ok().stdout("x\nrefused");
}

#[test]
fn mounts_are_made_in_order_and_later_ones_may_lie_in_earlier_ones() {
    let bundle = Bundle::busybox("mount_order");
    fs::write(bundle.outside("source"), "content\n").unwrap();
    bundle.config(|config| {
        config.mount(tmpfs("/mnt", &[]));
        config.mount(tmpfs("/mnt/a/b", &["size=64k"]));
        config.mount(bind("/mnt/a/b/file", bundle.outside("source"), &["bind"]));
    });
    bundle
        .sh("cat /mnt/a/b/file; df -k /mnt/a/b | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2")
        .run()
        .ok()
        .stdout("content\n64");
    assert!(!bundle.rootfs("mnt/a").exists(), "what lies in a mount is not made in the root filesystem");
}

#[test]
fn a_read_only_tmpfs_still_gets_its_mount_points() {
    let bundle = Bundle::busybox("ro_tmpfs");
    fs::write(bundle.outside("source"), "content\n").unwrap();
    bundle.config(|config| {
        config.mount(tmpfs("/mnt", &["ro"]));
        config.mount(bind("/mnt/sub/file", bundle.outside("source"), &["bind", "ro"]));
    });
    let output = bundle.sh("cat /mnt/sub/file; echo > /mnt/x || echo refused").run();
    if crate::util::is_myrt() {
        output.ok().stdout("content\nrefused");
    }
}

#[test]
fn tmpcopyup_brings_what_lay_below() {
    let bundle = Bundle::busybox("tmpcopyup");
    bundle.file("etc/sub/file", "below\n");
    bundle.config(|config| config.mount(tmpfs("/etc", &["tmpcopyup"])));
    bundle
        .sh("cat /etc/sub/file; head -n 1 /etc/passwd; echo new > /etc/new")
        .run()
        .ok()
        .stdout("below\nroot:x:0:0::/root:/bin/sh");
    assert!(!bundle.rootfs("etc/new").exists(), "the copy is written, not the original");
}

#[test]
fn an_option_that_nobody_knows_goes_to_the_filesystem_which_refuses_it() {
    let bundle = Bundle::busybox("mount_unknown");
    bundle.config(|config| config.mount(tmpfs("/mnt", &["nonsense=1"])));
    bundle.run().fails().err_has("/mnt").err_has("invalid argument");
    bundle.assert_clean();
}

#[test]
fn a_missing_source_or_bad_destination_is_refused_with_its_path() {
    let bundle = Bundle::busybox("mount_missing");
    bundle.config(|config| config.mount(bind("/mnt", "/no/such/source", &["bind"])));
    bundle.run().fails().err_has("/no/such/source").err_has("no such file or directory");
    bundle.assert_clean();
    bundle.config(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config.mount(json!({ "destination": "/mnt", "type": "no-such-filesystem", "source": "x" }));
    });
    bundle.run().fails().err_has("no such device");
    bundle.assert_clean();
}

#[test]
fn a_destination_with_a_relative_path_is_below_the_root() {
    let bundle = Bundle::busybox("mount_relative");
    bundle.config(|config| config.mount(tmpfs("mnt", &[])));
    let output = bundle.args(["grep", " /mnt ", "/proc/self/mountinfo"]).run();
    // The specification asks for an absolute one and lets runtimes be lenient.
    if output.exit_code() != 0 {
        output.fails().err_has("mnt");
    }
}

#[test]
fn masked_files_are_empty_and_masked_folders_too() {
    let bundle = Bundle::busybox("masked");
    bundle.file("etc/secret/file", "secret\n").file("etc/secret2", "secret\n");
    bundle.config(|config| {
        config["linux"]["maskedPaths"] = json!(["/etc/secret", "/etc/secret2", "/proc/kcore", "/no/such/path"]);
    });
    bundle.sh(
        "cat /etc/secret2; ls -A /etc/secret; head -c 10 /proc/kcore | wc -c; echo > /etc/secret/x || echo refused",
    );
    bundle.run().ok().stdout("0\nrefused");
}

#[test]
fn read_only_paths_cannot_be_written() {
    let bundle = Bundle::busybox("readonly_paths");
    bundle.file("data/sub/file", "old\n");
    bundle.config(|config| config["linux"]["readonlyPaths"] = json!(["/data", "/proc/sys", "/no/such/path"]));
    bundle.sh("echo > /data/sub/file || echo refused; echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused; cat /data/sub/file");
    bundle.run().ok().stdout("refused\nrefused\nold");
}

#[test]
fn the_default_of_propagation_is_private() {
    let bundle = Bundle::busybox("private");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    bundle.sleeps().config(|config| config.mount(bind("/mnt", &source, &["rbind"])));
    bundle.config(|config| {
        config["process"]["capabilities"] = json!({
        "bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"] })
    });
    bundle.run_detached();
    bundle.exec(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).ok();
    let seen = crate::util::leftovers::mounts_below(&source);
    assert!(seen.is_empty(), "a mount of the container reached the host: {seen:?}");
}

#[test]
fn propagation_options_are_seen_in_mountinfo() {
    let bundle = Bundle::busybox("propagation");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    for (option, expected) in
        [("shared", "shared:"), ("rshared", "shared:"), ("private", ""), ("unbindable", "unbindable")]
    {
        bundle.args(["grep", " /mnt ", "/proc/self/mountinfo"]).config(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/mnt");
            config.mount(bind("/mnt", &source, &["bind", option]));
        });
        let output = bundle.run();
        let line = output.ok().out();
        let tags = line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
        assert!(if expected.is_empty() { tags.is_empty() } else { tags.starts_with(expected) }, "{option}: {output}");
    }
}

#[test]
fn a_slave_sees_what_the_host_mounts_later() {
    let bundle = Bundle::busybox("slave");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    bundle.sleeps().config(|config| {
        config["linux"]["rootfsPropagation"] = json!("rslave");
        config.mount(bind("/mnt", &source, &["rbind", "rslave"]));
    });
    // A shared mount in a namespace of the test's own; its holder mounts when told to.
    let script = "mount --bind \"$1\" \"$1\"; mount --make-shared \"$1\"; mkdir \"$1/later\"; d=\"$1\"; shift; \"$@\"; \
                  mount -t tmpfs tmpfs \"$d/later\"; : > \"$d/later/file\"; touch \"$d/../done\"; read wait";
    let dir = bundle.dir.to_str().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let command = bundle.command(["run", "-d", "-b", dir, &bundle.id]);
    let holder =
        command.by(["unshare", "-m", "sh", "-ec", script, "sh", source.to_str().unwrap()]).spawn_on(reader.into());
    until("the host has mounted", || bundle.outside("done").exists().then_some(()));
    bundle.exec(["ls", "/mnt/later"]).ok().stdout("file");
    drop(writer);
    holder.wait();
}

#[test]
fn rootfs_propagation_is_that_of_the_root() {
    only_for_myrt!(ROOT_PROPAGATION);
    let bundle = Bundle::busybox("root_propagation");
    for (value, expected) in [("shared", "shared:"), ("rprivate", ""), ("unbindable", "unbindable")] {
        bundle
            .sh("while read a b c d e f g; do [ \"$e\" = / ] && echo \"$g\"; done < /proc/self/mountinfo | tail -n 1");
        bundle.config(|config| config["linux"]["rootfsPropagation"] = json!(value));
        let output = bundle.run();
        let line = output.ok().out();
        assert!(
            if expected.is_empty() { line.starts_with("- ") } else { line.starts_with(expected) },
            "{value}: {output}"
        );
    }
    bundle.config(|config| config["linux"]["rootfsPropagation"] = json!("nonsense"));
    bundle.run().fails();
}

#[test]
fn an_idmapped_mount_shows_shifted_owners() {
    only_for_myrt!(IDMAP);
    let bundle = Bundle::busybox("idmap");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(1000), Some(1001)).unwrap();
    bundle.args(["stat", "-c", "%u %g", "/mnt/file"]).config(|config| {
        let mut mount = bind("/mnt", &source, &["bind", "idmap"]);
        mount["uidMappings"] = json!([{ "containerID": 1000, "hostID": 5000, "size": 10 }]);
        mount["gidMappings"] = json!([{ "containerID": 1001, "hostID": 6000, "size": 10 }]);
        config.mount(mount);
    });
    bundle.run().ok().stdout("5000 6000");
    // The specification's shape of a volume in a user namespace: the container's own map.
    bundle.config(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config.user_namespace(100_000, 65_536);
        let mut mount = bind("/mnt", &source, &["rbind", "ridmap"]);
        mount["uidMappings"] = config["linux"]["uidMappings"].clone();
        mount["gidMappings"] = config["linux"]["gidMappings"].clone();
        config.mount(mount);
    });
    bundle.open_to_all();
    bundle.run().ok().stdout("1000 1001");
}

#[test]
fn id_mappings_on_what_is_no_bind_are_refused() {
    only_for_myrt!(IDMAP);
    let bundle = Bundle::busybox("idmap_bad");
    bundle.config(|config| {
        let mut mount = bind("/mnt", bundle.outside(""), &["bind", "idmap"]);
        mount["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        config.mount(mount);
    });
    bundle.run().fails().err_has("mounts[");
    bundle.assert_clean();
}

#[test]
fn sysfs_and_proc_are_the_containers_own() {
    let bundle = Bundle::busybox("sysfs");
    bundle.sh("ls /sys/class/net; ls /proc | grep -c '^[0-9]*$'; echo > /sys/kernel/uevent_seqnum || echo refused");
    let output = bundle.run();
    assert_eq!(output.ok().lines()[0], "lo", "{output}");
    output.out_has("refused");
}

#[test]
fn the_cgroup_mount_shows_the_containers_own_cgroup() {
    let bundle = Bundle::busybox("cgroup_mount");
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] });
    bundle.config(|config| config.mount(mount));
    bundle.sh("find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | head -n 1 | xargs cat; find /sys/fs/cgroup -name 'myrt-test'; \
               mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x || echo refused");
    // On a pure v2 host a container without a cgroup namespace sees the host's tree, as with the other runtimes: the paths of
    // /proc/self/cgroup lead into it, and callers who leave the namespace out (--cgroupns=host) want just that.
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for with_namespace in [false, true] {
        if with_namespace {
            bundle.config(|config| config.namespace("cgroup"));
        }
        let output = bundle.run();
        if unified && !with_namespace {
            output.ok().out_has("/sys/fs/cgroup/myrt-test").out_has("refused");
            continue;
        }
        assert_eq!(output.ok().lines()[0], "1", "the container's own processes are listed: {output}");
        output.out_lacks("myrt-test").out_has("refused");
    }
}

#[test]
fn the_mount_point_of_a_mount_may_be_a_link_inside_the_root() {
    let bundle = Bundle::busybox("mount_link");
    fs::create_dir_all(bundle.rootfs("run/real")).unwrap();
    std::os::unix::fs::symlink("/run/real", bundle.rootfs("var/link")).unwrap();
    bundle.config(|config| config.mount(tmpfs("/var/link", &["size=64k"])));
    bundle.args(["grep", " /run/real ", "/proc/self/mountinfo"]).run().ok();
}

#[test]
fn overlay_is_mounted_as_any_other_filesystem() {
    let bundle = Bundle::busybox("overlay");
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(bundle.outside(folder)).unwrap();
    }
    fs::write(bundle.outside("lower").join("file"), "lower\n").unwrap();
    let dir = bundle.dir.display();
    let layers = [format!("lowerdir={dir}/lower"), format!("upperdir={dir}/upper"), format!("workdir={dir}/work")];
    bundle.config(|config| {
        config.mount(json!({ "destination": "/mnt", "type": "overlay", "source": "overlay", "options": layers }));
    });
    bundle.sh("cat /mnt/file; echo x > /mnt/new").run().ok().stdout("lower");
    assert!(bundle.outside("upper/new").exists());
}

#[test]
fn a_hook_made_mount_point_below_a_read_only_root_is_found() {
    // A root that is its own mount point and read-only: mounts go where folders exist already.
    let bundle = Bundle::busybox("ro_root");
    bundle.config(|config| {
        config["root"]["readonly"] = json!(true);
        config.mount(tmpfs("/mnt", &[]));
    });
    bundle.sh("echo x > /mnt/x && cat /mnt/x; echo > /y || echo refused").run().ok().stdout("x\nrefused");
}

#[test]
fn a_program_on_a_noexec_mount_is_refused() {
    let bundle = Bundle::busybox("noexec");
    let source = bundle.outside("source");
    fs::create_dir(&source).unwrap();
    write_executable(source.join("program"), "#!/bin/sh\necho ran\n");
    bundle.config(|config| config.mount(bind("/mnt", &source, &["bind", "noexec"])));
    bundle.args(["/mnt/program"]).run().fails().err_has("permission denied");
    bundle.assert_clean();
}
