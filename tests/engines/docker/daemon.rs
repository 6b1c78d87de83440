//! A dockerd of the tests' own. `dockerd.sh` makes its world; this starts it, waits for it, and names its containers.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use crate::calls;
use crate::util::command::Running;
use crate::util::{TestCommand, Value, assets, until};

/// Debian's; another one may stand before it in the PATH, and not speak to a daemon of this age.
const CLIENT: &str = "/usr/bin/docker";

/// A running dockerd with the image `box`, which is busybox. Dropping it takes down all that it made.
pub struct Daemon {
    folder: PathBuf,
    /// The cgroup of all its containers, without a slash at its beginning.
    pub cgroup: String,
    /// Its world lives as long as this end of a pipe is open.
    control: Option<Mutex<File>>,
    world: Option<Running>,
}

impl Daemon {
    /// The one that most tests share. Nobody drops it: the end of this process is the end of its world.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Daemon> = LazyLock::new(|| Daemon::start(&[]));
        &SHARED
    }

    /// Starts one with further arguments and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts one with further arguments and a variable or two in its environment.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        let name = format!("myrt-docker-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(folder.join("buildkit")).unwrap();
        let runtime = calls::wrapper(&folder, "docker");
        fs::rename(calls::wrapper(&folder.join("buildkit"), "buildkit"), folder.join("buildkit/runc")).unwrap();

        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/dockerd.sh");
        let command = TestCommand::new(["setsid", "/bin/bash", script, folder.to_str().unwrap(), &name]);
        let command = command.arg(runtime.display()).args(args);
        let command = env.iter().fold(command, |command, (name, value)| command.env(name, value));
        let world = command.spawn_on(reader.into());
        let control = Some(Mutex::new(File::from(writer)));
        let mut daemon = Self { folder, cgroup: name, control, world: Some(world) };
        daemon.until_it_answers();
        daemon.import_box();
        daemon
    }

    fn until_it_answers(&mut self) {
        until("dockerd answers", || {
            let world = self.world.as_mut().unwrap();
            assert!(!world.ended(), "the world of dockerd ended: {}{}", world.stderr(), self.log());
            self.docker("version").run().exit_code().eq(&0).then_some(())
        });
    }

    /// What dockerd has said, for the message of a failure.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("dockerd.log")).unwrap_or_default();
        text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    fn import_box(&self) {
        let rootfs = self.folder.join("box");
        assets::busybox_rootfs(&rootfs);
        std::os::unix::fs::symlink("busybox", rootfs.join("bin/httpd")).unwrap();
        std::os::unix::fs::symlink("busybox", rootfs.join("bin/wget")).unwrap();
        let tar = self.path("box.tar");
        TestCommand::new(["tar", "-C", rootfs.to_str().unwrap(), "-cf", &tar, "."]).run().ok();
        self.docker("import --change").args([r#"CMD ["sh"]"#, &tar, "box"]).run().ok();
        fs::remove_dir_all(rootfs).unwrap();
    }

    /// `docker WORDS…`; words that hold spaces follow by `arg`.
    pub fn docker(&self, words: &str) -> TestCommand {
        let host = self.host();
        TestCommand::new([CLIENT])
            .env("DOCKER_HOST", host)
            .env("DOCKER_CONFIG", self.path("client"))
            .args(words.split_whitespace())
    }

    /// The value of DOCKER_HOST.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock"))
    }

    /// A path below the daemon's folder, which is the same inside and outside of its world.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// A command that runs in its world: among its mounts, processes and interfaces.
    pub fn within<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> TestCommand {
        let pid = fs::read_to_string(self.folder.join("pid")).unwrap();
        TestCommand::new(["nsenter", "--target", pid.trim(), "--mount", "--net", "--pid"]).args(argv)
    }

    /// Starts `docker run --detach OPTIONS box sh -c SCRIPT`.
    pub fn detached(&self, options: &str, script: &str) -> Container<'_> {
        let container = self.container();
        self.docker(&format!("run --detach --name {} {options} box sh -c", container.name)).arg(script).run().ok();
        container
    }

    /// A name that no other container has; what gets it is removed by `Drop`.
    pub fn container(&self) -> Container<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Container { daemon: self, name: format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// Stops dockerd; containers and containerd stay.
    pub fn stop_dockerd(&self) {
        self.tell("stop");
    }

    /// Starts it again, and waits until it answers.
    pub fn start_dockerd(&mut self) {
        self.tell("start");
        self.until_it_answers();
    }

    fn tell(&self, word: &str) {
        let done = || fs::read_to_string(self.folder.join("done")).unwrap_or_default().lines().count();
        let before = done();
        writeln!(self.control.as_ref().unwrap().lock().unwrap(), "{word}").unwrap();
        until("the world has obeyed", || (done() > before).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.control.take());
        let ended = self.world.take().unwrap().wait();
        if !std::thread::panicking() {
            ended.ok();
            assert_eq!((ended.out(), ended.err()), (String::new(), String::new()), "what the world complained of");
            assert!(!self.folder.exists() && crate::util::leftovers::cgroups(&self.cgroup).is_empty());
        }
    }
}

/// A container by its name; removed by force when this is dropped, unless the test failed: where dockerd does not answer, a
/// second panic would end all tests. What is left goes with the daemon's world.
pub struct Container<'a> {
    daemon: &'a Daemon,
    /// Its name.
    pub name: String,
}

impl Container<'_> {
    /// `docker exec NAME WORDS…`
    pub fn exec(&self, words: &str) -> TestCommand {
        self.daemon.docker(&format!("exec {} {words}", self.name))
    }

    /// `docker exec NAME sh -c SCRIPT`
    pub fn exec_sh(&self, script: &str) -> TestCommand {
        self.exec("sh -c").arg(script)
    }

    /// `docker VERB NAME`; the verb may bring options.
    pub fn is_told(&self, verb: &str) -> TestCommand {
        self.daemon.docker(&format!("{verb} {}", self.name))
    }

    /// What `docker inspect` says of it.
    pub fn inspect(&self) -> Value {
        self.is_told("inspect").run().json()[0].clone()
    }

    /// What it has written to stdout.
    pub fn logs(&self) -> String {
        self.is_told("logs").run().ok().out()
    }

    /// Waits until `text` stands in what it has written.
    #[track_caller]
    pub fn until_logs(&self, text: &str) {
        until(&format!("{} writes {text:?}", self.name), || self.logs().contains(text).then_some(()));
    }

    /// Waits until it is in `status`, such as `exited`.
    #[track_caller]
    pub fn until_status(&self, status: &str) {
        until(&format!("{} is {status}", self.name), || (self.inspect()["State"]["Status"] == *status).then_some(()));
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let removed = self.is_told("rm --force --volumes").run();
            assert!(removed.exit_code() == 0 || removed.err().contains("No such container"), "{removed}");
        }
    }
}
