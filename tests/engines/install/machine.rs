//! The installation on a machine, as a person does it, and what the engines say to it. The machine is this one with
//! `/etc`, `/usr/local` and `/var/lib` covered by overlays in a mount namespace, so that nothing of it stays.

use std::fs;

use rustix::process::Signal;

use super::{ENGINES, Root, script};
use crate::util::command::{Output, Running};
use crate::util::{TestCommand, Value, json, until};

const COVER: &str = "for name in etc usr/local var/lib; do
    mkdir -p \"$1/up/$name\" \"$1/work/$name\"
    mount -t overlay overlay -o \"lowerdir=/$name,upperdir=$1/up/$name,workdir=$1/work/$name\" \"/$name\"
done
echo covered
exec sleep 3600";

struct Machine {
    holder: Running,
    scratch: Root,
}

impl Machine {
    fn new() -> Self {
        let scratch = Root::new();
        let cover = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", COVER, "sh"];
        let mut holder = TestCommand::new(cover).arg(scratch.path.display()).spawn();
        holder.until_stdout("covered");
        Self { holder, scratch }
    }

    /// A command on that machine. It is the process itself that enters: a signal to it reaches the command.
    fn command<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> TestCommand {
        let pid = self.holder.pid().as_raw_nonzero().to_string();
        TestCommand::new(argv).by(["nsenter", "--mount", "--target", &pid, "--"])
    }

    fn run<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> Output {
        self.command(argv).run()
    }

    fn install(&self, args: &[&str]) -> Output {
        self.run([script("install.sh")].into_iter().chain(args.iter().map(|arg| (*arg).to_owned())))
    }

    /// A folder of the test, which the machine sees as well.
    fn folder(&self, name: &str) -> String {
        let folder = self.scratch.path.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder.display().to_string()
    }

    /// The engines' configuration: each file with its content.
    fn configuration(&self) -> Vec<String> {
        let each = "find /etc/docker /etc/containers /etc/containerd /etc/crio -type f -exec sha256sum {} + 2>/dev/null | sort -k 2";
        self.run(["sh", "-c", each]).lines()
    }

    /// `podman` with storage of its own.
    fn podman(&self, args: &[&str]) -> TestCommand {
        let (root, run, tmp) = (self.folder("podman"), self.folder("podman-run"), self.folder("podman-tmp"));
        let own = ["podman", "--root", &root, "--runroot", &run, "--tmpdir", &tmp, "--storage-driver", "vfs"];
        self.command([&own[..], args].concat())
    }

    /// The runtime that `podman info` names.
    fn podmans_runtime(&self, flags: &[&str]) -> String {
        let info = self.podman(flags).args(["info", "--format", "json"]).run().json();
        info["host"]["ociRuntime"]["name"].as_str().unwrap().to_owned()
    }

    /// Starts dockerd with the machine's daemon.json.
    fn dockerd(&self) -> Daemon {
        let (data, exec) = (self.folder("docker"), self.folder("docker-exec"));
        let host = self.docker_host();
        let pid = format!("{exec}/pid");
        let private = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"];
        let argv = ["dockerd", "--data-root", &data, "--exec-root", &exec, "--pidfile", &pid, "--host", &host];
        let daemon = Daemon(self.command(argv).args(private).arg("--storage-driver=vfs").spawn());
        until("dockerd answers", || (self.run(["docker", "--host", &host, "info"]).exit_code() == 0).then_some(()));
        daemon
    }

    fn docker_host(&self) -> String {
        format!("unix://{}/docker-exec/socket", self.scratch.path.display())
    }

    fn docker_info(&self) -> Value {
        self.run(["docker", "--host", &self.docker_host(), "info", "--format", "{{json .}}"]).json()
    }

    /// Starts containerd with the machine's config.toml; returns the daemon and its socket.
    fn containerd(&self) -> (Daemon, String) {
        let (root, state) = (self.folder("containerd"), self.folder("containerd-state"));
        let socket = format!("{state}/socket");
        let argv = ["containerd", "--root", &root, "--state", &state, "--address", &socket];
        let daemon = Daemon(self.command(argv).spawn());
        until("containerd answers", || {
            (self.run(["ctr", "--address", &socket, "version"]).exit_code() == 0).then_some(())
        });
        (daemon, socket)
    }
}

/// A daemon that is asked to end, so that it takes its children with it.
struct Daemon(Running);

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.0.ended() {
            self.0.signal(Signal::TERM);
            until("the daemon has ended", || self.0.ended().then_some(()));
        }
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_myrt");

#[test]
fn as_a_person_does_it() {
    let machine = Machine::new();
    let asked = machine.folder("asked") + "/systemctl";
    machine.run(["mkdir", "-p", "/etc/crio"]).ok();
    let systemctl = format!(
        "printf '#!/bin/sh\necho \"$@\" >>{asked}\n' >/usr/local/sbin/systemctl; chmod +x /usr/local/sbin/systemctl"
    );
    machine.run(["sh", "-ec", &systemctl]).ok();
    let before = machine.configuration();

    machine
        .install(&[&["--binary", BINARY], &ENGINES[..]].concat())
        .ok()
        .err_has("next, when it suits you: systemctl reload docker");
    assert!(!std::path::Path::new(&asked).exists(), "engines were restarted without --restart");
    machine.install(&["--uninstall"]).ok();
    machine.install(&[&["--binary", BINARY, "--restart"], &ENGINES[..]].concat()).ok();
    assert_eq!(fs::read_to_string(&asked).unwrap(), "reload docker\nrestart containerd\nrestart crio\n");

    machine.run(["myrt", "--version"]).ok().out_has("myrt ");
    machine.run(["test", "-e", "/usr/local/share/man/man1/myrt-run.1"]).ok();
    let completion = ". /usr/local/share/bash-completion/completions/myrt; complete -p myrt";
    machine.run(["bash", "-ec", completion]).ok();

    machine.install(&["--uninstall"]).ok();
    assert_eq!(machine.configuration(), before);
    machine.run(["test", "-e", "/usr/local/bin/myrt"]).fails();
    machine.run(["test", "-e", "/var/lib/myrt-install"]).fails();
}

#[test]
fn podman_takes_the_drop_in() {
    let machine = Machine::new();
    let usual = machine.podmans_runtime(&[]);
    assert_ne!(usual, "myrt");
    machine.install(&["--binary", BINARY, "--podman"]).ok();
    assert_eq!(machine.podmans_runtime(&[]), usual);
    assert_eq!(machine.podmans_runtime(&["--runtime", "myrt"]), "myrt");
    let rootfs = machine.folder("rootfs");
    crate::util::assets::busybox_rootfs(std::path::Path::new(&rootfs));
    // Podman asks for more open files and processes than the tests may give.
    let without_cgroups = ["--runtime", "myrt", "run", "--rm", "--network=none", "--cgroups=disabled"];
    let limits = ["--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000"];
    machine.podman(&without_cgroups).args(limits).args(["--rootfs", &rootfs, "echo", "ran"]).run().ok().stdout("ran");
    machine.install(&["--binary", BINARY, "--podman", "--default"]).ok();
    assert_eq!(machine.podmans_runtime(&[]), "myrt");
    machine.install(&["--uninstall", "--podman"]).ok();
    assert_eq!(machine.podmans_runtime(&[]), usual);
}

#[test]
fn docker_takes_the_runtime_by_a_reload_and_forgets_it_by_a_restart() {
    let machine = Machine::new();
    machine.run(["sh", "-ec", "mkdir -p /etc/docker; echo '{\"log-level\": \"warn\"}' >/etc/docker/daemon.json"]).ok();
    let daemon = machine.dockerd();
    assert!(machine.docker_info()["Runtimes"]["myrt"].is_null());
    machine.install(&["--binary", BINARY, "--docker", "--default"]).ok();
    daemon.0.signal(Signal::HUP);
    until("dockerd knows the runtime", || {
        (machine.docker_info()["Runtimes"]["myrt"] == json!({"path": "/usr/local/bin/myrt"})).then_some(())
    });
    assert_eq!(machine.docker_info()["DefaultRuntime"], "myrt");
    drop(daemon);
    let daemon = machine.dockerd();
    assert_eq!(machine.docker_info()["DefaultRuntime"], "myrt");
    machine.install(&["--uninstall", "--docker"]).ok();
    drop(daemon);
    let _daemon = machine.dockerd();
    let info = machine.docker_info();
    assert!(info["Runtimes"]["myrt"].is_null() && info["DefaultRuntime"] == "runc", "{}", info["Runtimes"]);
}

#[test]
fn containerd_takes_the_runtime() {
    let defaults = "mkdir -p /etc/containerd; containerd config default >/etc/containerd/config.toml";
    for (case, set_up) in [
        ("no file", "rm -f /etc/containerd/config.toml"),
        ("Debian's or none", ":"),
        ("all defaults written out", defaults),
    ] {
        let machine = Machine::new();
        machine.run(["sh", "-ec", set_up]).ok();
        let without = machine.run(["containerd", "config", "dump"]).lines();
        machine.install(&["--binary", BINARY, "--containerd"]).ok();
        let dump = machine.run(["containerd", "config", "dump"]);
        dump.ok().out_has(".containerd.runtimes.myrt.options]").out_has("BinaryName = \"/usr/local/bin/myrt\"");
        // Options that say nothing are left out once a runtime is declared in the file.
        let says = |line: &&String| ![" = \"\"", " = 0", " = false"].iter().any(|empty| line.ends_with(empty));
        let now = dump.lines();
        let lost: Vec<_> = without.iter().filter(says).filter(|line| !now.contains(line)).collect();
        assert!(lost.is_empty(), "{case}: {lost:?}");
        let (daemon, socket) = machine.containerd();
        let plugins = machine.run(["ctr", "--address", &socket, "plugins", "ls"]);
        let cri = plugins.lines().into_iter().find(|line| line.contains(" cri "));
        assert!(
            cri.as_ref().is_some_and(|line| line.trim_end().ends_with("ok")),
            "{case}: {cri:?}: {}",
            daemon.0.stderr()
        );
        machine.install(&["--uninstall", "--containerd"]).ok();
        assert_eq!(machine.run(["containerd", "config", "dump"]).lines(), without, "{case}");
    }
}
