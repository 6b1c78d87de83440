//! What a container sees of files: its own root, tmpfs, volumes, binds and how mounts travel through them.

use std::fs;

use super::{Daemon, docker, sh, sleeper};

#[test]
fn a_read_only_root_is_read_only_but_for_what_is_mounted() {
    let output = sh("--read-only --tmpfs /run --volume /data", "touch /run/x /data/x /dev/shm/x && touch /x").run();
    output.fails().err_has("/x: Read-only file system").out_lacks("/run/x");
}

#[test]
fn a_tmpfs_has_its_options() {
    let output =
        sh("--tmpfs /t:size=1m,mode=700,noexec", "df -k /t | tail -n 1; stat -c %a /t; grep ' /t ' /proc/mounts").run();
    output.ok().out_has(" 1024 ").out_has("\n700\n").out_has("noexec");
    let mount = "--mount type=tmpfs,destination=/t,tmpfs-size=2097152,tmpfs-mode=1777";
    sh(mount, "df -k /t | tail -n 1; stat -c %a /t").run().ok().out_has(" 2048 ").out_has("\n1777\n");
    sh("--shm-size 3m", "df -k /dev/shm | tail -n 1").run().ok().out_has(" 3072 ");
}

#[test]
fn volumes_outlive_containers_and_are_shared() {
    let name = format!("volume{}", std::process::id());
    let words = format!("--volume {name}:/v");
    sh(&words, "echo kept > /v/file").run().ok();
    sh(&words, "cat /v/file").run().ok().stdout("kept");
    sh(&format!("{words}:ro"), "cat /v/file; echo x > /v/file").run().fails().stdout("kept").err_has("Read-only");
    let container = sleeper(&words);
    sh(&format!("--volumes-from {}", container.name), "cat /v/file").run().ok().stdout("kept");
    docker(&format!("volume rm {name}")).run().fails().err_has("in use");
    drop(container);
    docker(&format!("volume rm {name}")).run().ok();
}

#[test]
fn a_folder_or_a_file_of_the_host_is_bound() {
    let folder = Daemon::shared().path("bound");
    fs::create_dir(&folder).unwrap();
    fs::write(format!("{folder}/file"), "outside").unwrap();
    sh(&format!("--volume {folder}:/b"), "cat /b/file; echo inside > /b/new").run().ok().stdout("outside");
    assert_eq!(fs::read_to_string(format!("{folder}/new")).unwrap(), "inside\n");
    let mount = format!("--mount type=bind,source={folder}/file,destination=/etc/one,readonly");
    sh(&mount, "cat /etc/one; echo x > /etc/one").run().fails().stdout("outside").err_has("Read-only");
    docker(&format!("run --rm --mount type=bind,source={folder}/none,destination=/x box true")).run().code(125);
}

/// Mounts something below a bound folder, in the daemon's world, while a container runs; gives what the container sees.
fn travels(propagation: &str) -> bool {
    let daemon = Daemon::shared();
    let folder = daemon.path(&format!("travels-{propagation}"));
    fs::create_dir_all(format!("{folder}/sub")).unwrap();
    let container =
        sleeper(&format!("--mount type=bind,source={folder},destination=/s,bind-propagation={propagation}"));
    daemon.within(["mount", "-t", "tmpfs", "tmpfs", &format!("{folder}/sub")]).run().ok();
    let seen = container.exec("grep -q /s/sub /proc/self/mountinfo").run().exit_code() == 0;
    daemon.within(["umount", &format!("{folder}/sub")]).run().ok();
    seen
}

#[test]
fn mounts_travel_into_a_slave_and_not_into_a_private_bind() {
    assert!(travels("rslave"));
    assert!(travels("rshared"));
    assert!(!travels("rprivate"));
}

#[test]
fn mounts_travel_out_of_a_shared_bind() {
    let daemon = Daemon::shared();
    let folder = daemon.path("out");
    fs::create_dir_all(format!("{folder}/sub")).unwrap();
    let mount = |propagation| {
        let options = format!("--cap-add SYS_ADMIN --volume {folder}:/s:{propagation}");
        let container = sleeper(&options);
        container.exec("mount -t tmpfs tmpfs /s/sub").run().ok();
        let seen = daemon.within(["mountpoint", "-q", &format!("{folder}/sub")]).run().exit_code() == 0;
        container.exec("umount /s/sub").run().ok();
        seen
    };
    assert!(mount("rshared"));
    assert!(!mount("rslave"));
}
