//! What a container must not get from the host: descriptors, variables, mounts, names.

use std::fs;
use std::os::fd::AsRawFd as _;

use crate::util::{Bundle, json};

/// Lists the descriptors of the shell, not those of ls; what follows keeps the shell from becoming ls.
const FDS: &str = "ls /proc/$$/fd; true";

/// Its output when nothing has leaked.
const NONE: &str = "0\n1\n2";

/// Runs the command with three more descriptors open, one of them a folder of the host, as a careless caller would.
fn careless(command: crate::util::TestCommand) -> crate::util::TestCommand {
    command.by(["/bin/sh", "-c", "exec \"$@\" 3</ 7</etc/passwd 9</", "sh"])
}

#[test]
fn no_descriptor_but_the_three_standard_ones_is_open() {
    let bundle = Bundle::busybox("fds");
    bundle.sh(FDS).run().ok().stdout(NONE);
    careless(bundle.run_command()).run().ok().stdout(NONE);
    bundle.sleeps().run_detached();
    bundle.exec(["sh", "-c", FDS]).ok().stdout(NONE);
    careless(bundle.exec_command(["sh", "-c", FDS])).run().ok().stdout(NONE);
}

#[test]
fn a_stream_that_the_caller_has_closed_leads_nowhere() {
    let bundle = Bundle::busybox("fds_closed");
    bundle.sh("readlink /proc/$$/fd/0; readlink /proc/$$/fd/2; true");
    let closed = bundle.run_command().by(["/bin/sh", "-c", "exec \"$@\" <&- 2>&-", "sh"]);
    closed.run().ok().stdout("/dev/null\n/dev/null");
}

#[test]
fn nor_in_a_container_that_was_created_and_started() {
    let bundle = Bundle::busybox("fds_create");
    bundle.sh(&format!("({FDS}) > /tmp/fds; echo done >> /tmp/fds"));
    careless(bundle.create_command()).run().ok();
    bundle.start().ok();
    let file = bundle.rootfs("tmp/fds");
    crate::util::until("it has looked", || {
        fs::read_to_string(&file).unwrap_or_default().contains("done").then_some(())
    });
    assert_eq!(fs::read_to_string(&file).unwrap(), "0\n1\n2\ndone\n");
}

#[test]
fn nor_in_one_with_a_user_namespace() {
    let bundle = Bundle::busybox("fds_userns");
    bundle.sh(FDS).config(|config| crate::util::config::Edit::user_namespace(config, 100_000, 65_536));
    bundle.open_to_all();
    careless(bundle.run_command()).run().ok().stdout(NONE);
}

#[test]
fn while_it_waits_for_its_start_the_first_process_holds_no_folder_of_the_host() {
    let bundle = Bundle::busybox("fds_gate");
    bundle.sleeps().create().ok();
    let pid = bundle.pid();
    // Below its own root it may hold what it likes: that is all it will see.
    let own = fs::metadata(bundle.rootfs("")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let Ok(target) = fs::metadata(entry.path()) else { continue };
        let is_host_folder = target.is_dir() && target.dev() == own.dev() && target.ino() != own.ino();
        assert!(!is_host_folder, "{:?} is {:?}", entry.file_name(), fs::read_link(entry.path()));
    }
}

#[test]
fn the_environment_of_the_runtime_stays_outside() {
    let bundle = Bundle::busybox("env_leak");
    bundle
        .sh("tr '\\0' '\\n' < /proc/1/environ; true")
        .config(|config| config["process"]["env"] = json!(["PATH=/bin", "ONLY=this"]));
    let output =
        bundle.run_command().env("SECRET", "of the host").env("LISTEN_PID", "1").env("NOTIFY_SOCKET", "").run();
    output.ok().out_lacks("SECRET").out_has("ONLY=this");
    let names: Vec<_> = output.lines().iter().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert!(names.iter().all(|name| matches!(name.as_str(), "PATH" | "ONLY" | "HOME")), "{names:?}");
}

#[test]
fn nor_does_exec_bring_it_in() {
    let bundle = Bundle::busybox("env_exec");
    bundle.sleeps().config(|config| config["process"]["env"] = json!(["PATH=/bin", "ONLY=this"]));
    bundle.lenient().run_detached();
    let output = bundle.exec_command(["env"]).env("SECRET", "of the host").run();
    output.ok().out_lacks("SECRET").out_has("ONLY=this");
    bundle.delete_force().ok();
}

#[test]
fn the_mount_table_names_nothing_of_the_state() {
    let bundle = Bundle::busybox("mounts_leak");
    bundle.args(["cat", "/proc/self/mountinfo"]);
    let output = bundle.run();
    output.ok().out_lacks(bundle.root().to_str().unwrap());
    let points: Vec<_> = output.lines().iter().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    for point in &points {
        let known = ["/", "/proc", "/dev", "/sys"]
            .iter()
            .any(|known| point == known || point.starts_with(&format!("{known}/")));
        assert!(known, "{point} in {points:?}");
    }
}

#[test]
fn the_runtimes_own_binary_is_not_what_the_program_runs_from() {
    let bundle = Bundle::busybox("exe_leak");
    bundle.sh("readlink /proc/1/exe; cat /proc/1/cmdline | tr '\\0' ' '");
    bundle.run().ok().out_has("/bin/busybox").out_lacks("runc").out_lacks("target/");
}

#[test]
fn the_callers_working_folder_is_not_reachable() {
    let bundle = Bundle::busybox("cwd_leak");
    fs::write(bundle.outside("secret"), "secret").unwrap();
    bundle.sh("cat secret /proc/self/cwd/secret /proc/1/cwd/../secret; ls /proc/1/cwd");
    bundle.run_command().cwd(&bundle.dir).run().ok().out_lacks("secret").out_has("proc");
}

#[test]
fn standard_input_that_is_a_folder_does_not_open_the_host() {
    let bundle = Bundle::busybox("stdin_folder");
    bundle.sh("ls /proc/self/fd/0/etc/shadow /proc/self/fd/0/../etc/shadow 2> /dev/null; echo done");
    let host = fs::File::open("/").unwrap();
    assert!(host.as_raw_fd() > 2);
    // The caller hands it over on purpose; the runtime may refuse or pass it, but must not stumble.
    let run = bundle.run_command().spawn_on(host.into());
    run.wait();
}
