//! Podman: mounts, volumes, secrets, and the namespaces that a container shares.

use std::fs;

use crate::only_for_myrt;
use crate::podman::machine;

#[test]
fn volumes_keep_what_is_written() {
    machine().podman(["volume", "create", "kept"]).run().ok();
    machine().sh(&["-v", "kept:/v"], "echo content > /v/file").ok();
    machine().sh(&["-v", "kept:/v:ro"], "cat /v/file; touch /v/other").fails().stdout("content");
    machine().podman(["volume", "rm", "kept"]).run().ok();
    // A new volume takes over what the image has there.
    machine()
        .sh(&["-v", "/etc"], "cat /etc/group; grep -q ' /etc ' /proc/self/mountinfo")
        .ok()
        .out_has("guest:x:1000:");
}

#[test]
fn binds_have_their_options_and_propagation() {
    let folder = machine().path("bound");
    fs::create_dir_all(format!("{folder}/sub")).unwrap();
    let line = |propagation: &str| {
        let mount = format!("type=bind,src={folder},dst=/b,bind-propagation={propagation}");
        machine().sh(&["--mount", &mount], "grep ' /b ' /proc/self/mountinfo").ok().out()
    };
    assert!(line("rshared").contains(" shared:"));
    assert!(line("rslave").contains(" master:"));
    let private = line("rprivate");
    assert!(!private.contains(" shared:") && !private.contains(" master:"), "{private}");
    let options = format!("{folder}:/b:noexec,nodev,ro");
    let output = machine().sh(&["-v", &options], "grep ' /b ' /proc/self/mountinfo; touch /b/x");
    output.fails().out_has("ro,").out_has("noexec").err_has("Read-only file system");
}

#[test]
fn a_mount_on_the_host_arrives_in_a_slave() {
    let folder = machine().path("arrives");
    fs::create_dir_all(format!("{folder}/sub")).unwrap();
    let mount = format!("type=bind,src={folder},dst=/b,bind-propagation=rslave");
    let container = machine().start("slave", &["--mount", &mount], "sleep 1000");
    machine().inside(["mount", "-t", "tmpfs", "arrived", &format!("{folder}/sub")]).run().ok();
    container.exec(["grep", "-q", " /b/sub .* arrived ", "/proc/self/mountinfo"]).run().ok();
    machine().inside(["umount", &format!("{folder}/sub")]).run().ok();
    container.exec(["grep", "-q", " /b/sub ", "/proc/self/mountinfo"]).run().fails();
}

#[test]
fn tmpfs_and_shm_have_their_sizes() {
    let script = "df -k /t | tail -1; stat -c %a /t; df -k /dev/shm | tail -1; touch /t/x";
    let output = machine().sh(&["--tmpfs", "/t:size=1m,mode=1770", "--shm-size", "2m"], script);
    output.ok().out_has(" 1024 ").out_has("1770").out_has(" 2048 ");
    machine().sh(&["--tmpfs", "/t:ro"], "touch /t/x").fails().err_has("Read-only file system");
}

#[test]
fn secrets_are_a_file_or_a_variable() {
    let file = machine().path("word");
    fs::write(&file, "xyzzy").unwrap();
    machine().podman(["secret", "create", "word", &file]).run().ok();
    let options = ["--secret", "word", "--secret", "word,type=env,target=WORD"];
    machine()
        .sh(&options, "cat /run/secrets/word; echo $WORD; stat -c %a /run/secrets/word")
        .ok()
        .stdout("xyzzyxyzzy\n444");
    machine().podman(["secret", "rm", "word"]).run().ok();
}

#[test]
fn process_namespaces_are_the_hosts_anothers_or_own() {
    machine().sh(&[], "echo $$").ok().stdout("1");
    let comm = machine().inside(["cat", "/proc/1/comm"]).run().ok().out();
    machine().sh(&["--pid", "host"], "cat /proc/1/comm").ok().stdout(&comm);
    let container = machine().start("shared-pid", &[], "exec sleep 4321");
    machine().sh(&["--pid", "container:shared-pid"], "tr '\\0' ' ' < /proc/1/cmdline").ok().stdout("sleep 4321");
    // The end of one that joined does not touch the other.
    container.exec(["true"]).run().ok();
}

#[test]
fn ipc_and_names_are_shared_as_asked() {
    let container = machine().start("ipc", &["--ipc", "shareable", "--hostname", "called"], "sleep 1000");
    let theirs = container.exec(["readlink", "/proc/self/ns/ipc"]).run().ok().out();
    machine().sh(&["--ipc", "container:ipc"], "readlink /proc/self/ns/ipc").ok().stdout(&theirs);
    assert_ne!(machine().sh(&[], "readlink /proc/self/ns/ipc").ok().out(), theirs);
    container.exec(["hostname"]).run().ok().stdout("called");
    machine().sh(&["--uts", "host"], "hostname").ok().stdout("machine");
    let hosts = machine().inside(["readlink", "/proc/self/ns/ipc"]).run().ok().out();
    machine().sh(&["--ipc", "host"], "readlink /proc/self/ns/ipc").ok().stdout(&hosts);
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let options = ["--sysctl", "kernel.msgmax=9999", "--sysctl", "net.ipv4.ip_default_ttl=9"];
    let read = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl";
    machine().sh(&options, read).ok().stdout("9999\n9");
    let ours = machine().inside(["cat", "/proc/sys/kernel/msgmax"]).run().ok().out();
    assert_ne!(ours.trim(), "9999");
}

#[test]
fn the_working_folder_is_made_or_refused() {
    machine().sh(&["-w", "/tmp"], "pwd").ok().stdout("/tmp");
    machine().sh(&["-w", "/no/such/folder"], "pwd").fails();
}

#[test]
fn a_volume_is_idmapped() {
    only_for_myrt!(IDMAP);
    let folder = machine().path("idmapped");
    fs::create_dir(&folder).unwrap();
    let options = ["--uidmap", "0:100000:65536", "-v", &format!("{folder}:/b:idmap")];
    machine().sh(&options, "stat -c %u /b; touch /b/made").ok().stdout("0");
    machine().inside(["stat", "-c", "%u", &format!("{folder}/made")]).run().ok().stdout("0");
}

#[test]
fn a_folder_of_the_host_is_a_root() {
    let rootfs = machine().path("rootfs");
    machine()
        .podman(["run", "--rm", "--network", "none", "--rootfs", &rootfs, "cat", "/etc/group"])
        .run()
        .ok()
        .out_has("guest");
}
