//! Podman and Buildah: images are built with the runtime, and what is thrown away is gone.

use std::fs;

use crate::calls;
use crate::podman::{Machine, machine};

/// Makes a folder with a Dockerfile.
fn context(name: &str, file: &str) -> String {
    let folder = machine().path(name);
    fs::create_dir(&folder).unwrap();
    fs::write(format!("{folder}/Dockerfile"), file).unwrap();
    folder
}

#[test]
fn a_build_runs_its_steps() {
    let file = "FROM box\nRUN echo built > /file && id -u\nRUN --mount=type=tmpfs,target=/t touch /t/x && ls /t\n\
                USER guest\nWORKDIR /home/w\nRUN id -u; pwd\nENTRYPOINT [\"cat\", \"/file\"]\n";
    let folder = context("context", file);
    let build = machine().podman(["build", "--network", "none", "-t", "image-built", &folder]).run();
    build.ok().out_has("\n0\n").out_has("\nx\n").out_has("\n1000\n/home/w\n");
    machine().podman(["run", "--rm", "--network", "none", "image-built"]).run().ok().stdout("built");
}

#[test]
fn a_build_has_limits_and_a_network() {
    let folder = context(
        "limited",
        "FROM box\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ls /sys/class/net\n",
    );
    let build = machine().podman(["build", "--memory", "64m", &folder]).run();
    build.ok().out_has("eth0");
}

#[test]
fn a_step_that_fails_fails_the_build_with_its_code() {
    let folder = context("failing", "FROM box\nRUN exit 9\n");
    machine().podman(["build", "--network", "none", &folder]).run().fails().err_has("exit status 9");
    let folder = context("no-program", "FROM box\nRUN [\"no-such-program\"]\n");
    let build = machine().podman(["build", "--network", "none", &folder]).run();
    build.fails().err_has("executable file not found in $PATH");
}

#[test]
fn buildah_runs_commands_in_its_containers() {
    let buildah = |args: &[&str]| machine().inside(["buildah"]).args(args).run();
    let runtime = machine().path("myrt");
    buildah(&["from", "--name", "working", "localhost/box"]).ok();
    let run = |args: &[&str]| buildah(&[&["run", "--runtime", &runtime, "--network", "none"], args].concat());
    run(&["working", "--", "sh", "-c", "echo ran; touch /made"]).ok().stdout("ran");
    run(&["working", "--", "ls", "/made"]).ok().stdout("/made");
    run(&["--user", "guest", "--cap-drop", "all", "working", "--", "id", "-u"]).ok().stdout("1000");
    run(&["working", "--", "sh", "-c", "exit 6"]).code(6);
    run(&["-v", "/tmp:/host:ro", "working", "--", "touch", "/host/x"]).fails().err_has("Read-only file system");
    buildah(&["rm", "working"]).ok();
}

#[test]
fn rm_and_prune_leave_nothing() {
    let own = Machine::new(None);
    let container = own.start("gone", &[], "trap '' TERM; sleep 1000");
    own.start("ended", &[], "true").until_state("exited");
    own.podman(["system", "df"]).run().ok().out_has("Containers");
    own.podman(["rm", "-f", "-t", "0", "gone"]).run().ok();
    drop(container);
    own.podman(["system", "prune", "-f", "-a", "--volumes"]).run().ok();
    own.podman(["ps", "-aq"]).run().ok().stdout("");
    own.podman(["images", "-q"]).run().ok().stdout("");
    let overlays = own.inside(["cat", "/proc/self/mountinfo"]).run().ok().out();
    assert!(!overlays.contains("/merged"), "{overlays}");
    let processes = own.inside(["ps", "-e", "-o", "comm="]).run().ok().out();
    assert!(!processes.contains("conmon") && !processes.contains("sleep"), "{processes}");
    let folder = own.folder.clone();
    drop(own);
    assert!(!folder.exists());
    assert_eq!(
        crate::util::leftovers::cgroups(folder.file_name().unwrap().to_str().unwrap()),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn podman_calls_the_runtime_as_the_contract_says() {
    let own = Machine::new(None);
    let container = own.start("called", &["--memory", "64m"], "sleep 1000");
    container.exec(["true"]).run().ok();
    own.podman(["pause", "called"]).run().ok();
    own.podman(["unpause", "called"]).run().ok();
    own.podman(["update", "--memory", "32m", "called"]).run().ok();
    own.podman(["kill", "called"]).run().ok();
    container.until_state("exited");
    own.podman(["container", "checkpoint", "called"]).run().fails();
    drop(container);
    let folder = std::env::var_os("MYRT_CALLS").map_or_else(|| own.folder.clone(), Into::into);
    let calls = calls::read(&folder);
    for pattern in [
        &["create", "--bundle", "--pid-file"][..],
        &["start"],
        &["exec", "--pid-file", "--process", "--detach"],
        &["pause"],
        &["resume"],
        &["update", "--resources="],
        &["kill"],
        &["delete", "--force"],
        &["--log-format=json", "--log", "create"],
    ] {
        let is_it = |call: &&String| {
            call.starts_with("podman\t") && pattern.iter().all(|word| call.contains(&format!("'{word}")))
        };
        assert!(calls.iter().any(|call| is_it(&call)), "no call with {pattern:?} in {calls:#?}");
    }
}
