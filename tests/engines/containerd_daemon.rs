//! A containerd of a test's own, in namespaces of its own: network, mounts and processes.
//!
//! Whatever a test leaves, or a test program that is killed, goes with those namespaces: shims, containers, bridges, the
//! sockets of shims in /run/containerd. Only cgroups and files are of the host; `Drop` sees to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::calls;
use crate::util::command::{Output, Running, TestCommand};
use crate::util::{assets, leftovers, until};

/// The image that every daemon has.
pub const IMAGE: &str = "myrt.test/busybox:1";

/// Process 1 of the daemon's processes: adopts what shims leave, and starts a killed daemon again, as systemd does.
const INIT: &str = "ip link set lo up
    # Its data as well: on a busy disk its many fsyncs take long.
    for own in /run/containerd /run/netns /var/lib/cni ${1%/*}/root; do mkdir -p $own; mount -t tmpfs tmpfs $own; done
    echo made
    for life in 1 2 3; do containerd --config $1 & wait $! || true; done";

/// A running containerd with [`IMAGE`].
pub struct Containerd {
    /// The folder of all its files.
    pub dir: PathBuf,
    /// The wrapper of the runtime under test.
    pub runtime: PathBuf,
    /// containerd's own kind of namespace; the first part of the cgroup path of what `ctr` runs.
    pub namespace: String,
    prefix: Vec<String>,
    daemon: Option<Running>,
}

impl Containerd {
    /// Starts one. `name` tells whose it is; `config` goes to the end of its config.toml.
    pub fn start(name: &str, caller: &str, config: impl FnOnce(&Path) -> String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("myrt-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&namespace);
        fs::create_dir(&dir).unwrap();
        let runtime = calls::wrapper(&dir, caller);
        let own = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n[grpc]\naddress = \"{0}/sock\"\n{1}",
            dir.display(),
            config(&runtime)
        );
        fs::write(dir.join("config.toml"), own).unwrap();

        // A test that is killed takes unshare with it, that takes process 1 with it, and that all others.
        let unshare = ["unshare", "--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child=KILL"];
        let daemon = TestCommand::new(["setpriv", "--pdeathsig", "KILL"]).args(unshare);
        let daemon = daemon.args(["bash", "-ec", INIT, "init"]).arg(dir.join("config.toml").display());
        let mut daemon = daemon.env("MYRT_TEST", &namespace).spawn();
        daemon.until_stdout("made");
        let namespaces = format!("/proc/{}/ns", daemon.pid());
        let prefix = ["mount", "net", "pid"].into_iter().zip(["mnt", "net", "pid_for_children"]);
        let prefix = prefix.map(|(flag, file)| format!("--{flag}={namespaces}/{file}"));
        // nsenter makes a child to enter the namespace of processes; it ends with nsenter.
        let end = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned);
        let prefix = ["nsenter".to_owned()].into_iter().chain(prefix).chain(end).collect();

        let mut containerd = Self { dir, runtime, namespace, prefix, daemon: Some(daemon) };
        containerd.until_ready();
        containerd.import(&containerd.namespace, IMAGE, &["sh"]);
        containerd
    }

    /// Waits until it answers.
    #[track_caller]
    pub fn until_ready(&mut self) {
        until("containerd answers", || {
            let daemon = self.daemon.as_mut().unwrap();
            assert!(!daemon.ended(), "containerd ended: {}", daemon.stderr());
            (self.ctr(["version"]).run().exit_code() == 0).then_some(())
        });
    }

    /// Makes an image of busybox, in the format of `docker save`, and imports it into `namespace` of containerd as `name`.
    pub fn import(&self, namespace: &str, name: &str, command: &[&str]) {
        let image = self.dir.join("image");
        assets::busybox_rootfs(&image.join("rootfs"));
        let config = serde_json::json!({
            "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Cmd": command },
            "rootfs": { "type": "layers", "diff_ids": ["sha256:DIGEST"] },
        });
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
        fs::write(image.join("config.json"), config.to_string()).unwrap();
        fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
        let pack = "tar -C rootfs --owner=0 --group=0 --numeric-owner -cf layer.tar .
            digest=$(sha256sum layer.tar | cut -d ' ' -f 1)
            sed -i s/DIGEST/$digest/ config.json
            tar -cf ../image.tar manifest.json config.json layer.tar";
        TestCommand::shell(pack, [""]).cwd(&image).run().ok();
        fs::remove_dir_all(&image).unwrap();
        self.ctr_in(namespace, ["image", "import"]).arg(self.dir.join("image.tar").display()).run().ok();
    }

    /// A command in the namespaces of the daemon.
    pub fn inside<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> TestCommand {
        TestCommand::new(&self.prefix).args(argv)
    }

    /// `ctr` on this daemon.
    pub fn ctr<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> TestCommand {
        self.ctr_in(&self.namespace, args)
    }

    /// `ctr` in any of containerd's own namespaces.
    pub fn ctr_in<S: ToString>(&self, namespace: &str, args: impl IntoIterator<Item = S>) -> TestCommand {
        let socket = format!("{}/sock", self.dir.display());
        self.inside(["ctr", "--address", &socket, "--namespace", namespace]).args(args)
    }

    /// `ctr run FLAGS IMAGE ID ARGS`, with the runtime under test.
    pub fn run(&self, flags: &[&str], id: &str, args: &[&str]) -> TestCommand {
        let command = self.ctr(["run", "--runc-binary"]).arg(self.runtime.display()).args(flags);
        command.arg(IMAGE).arg(id).args(args)
    }

    /// Runs a container detached.
    #[track_caller]
    pub fn run_detached(&self, flags: &[&str], id: &str, args: &[&str]) -> Output {
        let output = self.run(&[&["--detach"], flags].concat(), id, args).run();
        output.ok();
        output
    }

    /// `ctr task exec` of one more process, with flags.
    pub fn exec(&self, flags: &[&str], id: &str, name: &str, args: &[&str]) -> TestCommand {
        self.ctr(["task", "exec"]).args(flags).args(["--exec-id", name, id]).args(args)
    }

    /// The word that `ctr task ls` has for a container: RUNNING, PAUSED, STOPPED.
    pub fn status(&self, id: &str) -> Option<String> {
        self.task(id).map(|(_, status)| status)
    }

    /// Process 1 of a container, as the daemon's own processes number it, and its status.
    pub fn task(&self, id: &str) -> Option<(String, String)> {
        let tasks = self.ctr(["task", "ls"]).run();
        tasks.ok().lines().iter().find_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next()? == id).then(|| Some((words.next()?, words.next()?))).flatten()
        })
    }

    /// Waits for a status.
    #[track_caller]
    pub fn until_status(&self, id: &str, status: &str) {
        until(&format!("{id} is {status}"), || (self.status(id).as_deref() == Some(status)).then_some(()));
    }

    /// The cgroup folders of a container that `ctr` runs, one a hierarchy.
    pub fn cgroups(&self, id: &str) -> Vec<PathBuf> {
        leftovers::cgroups(&format!("/{}/{id}", self.namespace))
    }

    /// Kills a container, waits for its end and deletes it.
    #[track_caller]
    pub fn remove(&self, id: &str) {
        self.ctr(["task", "kill", "--signal", "KILL", id]).run().ok();
        self.until_status(id, "STOPPED");
        self.delete_task(id, 137);
        self.ctr(["container", "delete", id]).run().ok();
    }

    /// Deletes a stopped task, which ended with this code.
    #[track_caller]
    pub fn delete_task(&self, id: &str, code: i32) {
        let output = self.ctr(["task", "delete", id]).run();
        output.ok().err_has(&format!("exit code {code}"));
    }

    /// Asserts that nothing of any container is left: task, state of the runtime, mount, cgroup, process.
    #[track_caller]
    pub fn assert_clean(&self) {
        let tasks = self.ctr(["task", "ls", "--quiet"]).run();
        tasks.ok().stdout("");
        let states = "for dir in /run/containerd/runc/*/*; do [ ! -e $dir ] || echo $dir; done";
        until("no state, no mount of a container and no process is left", || {
            let states = self.inside(["sh", "-c", states]).run().out();
            let mounts = self.inside(["cat", "/proc/self/mountinfo"]).run().out();
            let mounts = mounts.lines().filter(|line| line.contains(&format!("{}/state", self.dir.display())));
            let processes = self.inside(["ps", "-e", "-o", "args"]).run().out();
            let alien = processes.lines().skip(1).filter(|line| {
                !["bash -ec", "containerd --config", "ps -e", "python3"].iter().any(|own| line.starts_with(own))
                    && !line.contains("<defunct>")
            });
            (states.is_empty() && mounts.count() == 0 && alien.count() == 0).then_some(())
        });
        until("no cgroup is left", || {
            let below = |folder: &PathBuf| {
                fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.path().is_dir())
            };
            (!leftovers::cgroups(&format!("/{}", self.namespace)).iter().any(below)).then_some(())
        });
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let daemon = self.daemon.take().unwrap();
        if std::thread::panicking() {
            let log = daemon.stderr();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            println!("the last lines of containerd:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        drop(daemon);
        // Each container's own cgroup first: what is frozen there cannot die.
        let children = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let ids = leftovers::cgroups(&format!("/{}", self.namespace)).into_iter().flat_map(children);
        let ids: BTreeSet<_> = ids.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
        for id in ids.iter().map(|id| format!("/{}", id.display())).chain([String::new()]) {
            let cgroup = format!("/{}{id}", self.namespace);
            leftovers::sweep(&format!("MYRT_TEST={}", self.namespace), &cgroup, &self.dir);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
