//! Podman on a machine of its own: namespaces, storage, configuration, an image. [`Machine`] is where to begin.
//!
//! One machine serves all tests that only look at containers of their own; its end, and with it every trace of it, comes
//! when the test process ends, however that happens (`podman_machine.sh`).

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::calls;
use crate::util::assets::busybox_rootfs;
use crate::util::command::{Output, Running, copy_executable, set_mode};
use crate::util::tty::Terminal;
use crate::util::user::Ordinary;
use crate::util::{TestCommand, runtime, until};

/// A machine with Podman, and who works on it.
pub struct Machine {
    /// Holds everything that Podman writes; on the host and inside at the same path.
    pub folder: PathBuf,
    /// Runs a command inside, as the user of this machine.
    enter: Vec<String>,
    /// Variables of every command.
    env: Vec<(&'static str, String)>,
    /// What runs the machine until `hold` is closed.
    keeper: Option<Running>,
    hold: Option<File>,
}

static ROOT: LazyLock<Machine> = LazyLock::new(|| Machine::new(None));
static ROOTLESS: LazyLock<Machine> = LazyLock::new(|| Machine::new(Some(Ordinary::get())));

/// The machine of root that the tests share.
pub fn machine() -> &'static Machine {
    &ROOT
}

/// The machine of an ordinary user that the tests share.
pub fn rootless() -> &'static Machine {
    &ROOTLESS
}

impl Machine {
    /// A new one with the image `box`, which is busybox; for root, or for an ordinary user.
    pub fn new(user: Option<Ordinary>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let caller = if user.is_some() { "podman-rootless" } else { "podman" };
        let name = format!("myrt-{caller}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // Not CARGO_TARGET_TMPDIR: the path of a socket has room for 108 bytes, and an ordinary user has to get here.
        let folder = std::env::temp_dir().join(&name);
        for part in ["", "calls", "home", "networks", "tmp"] {
            fs::create_dir(folder.join(part)).unwrap();
        }
        configure(&folder, caller, user.is_some());

        let (end, hold) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/podman_machine.sh");
        let mut keeper = TestCommand::new(["setsid", "/bin/bash", script]).args([folder.to_str().unwrap(), &name]);
        if let Some(calls) = std::env::var_os("MYRT_CALLS") {
            keeper = keeper.env("MYRT_CALLS", calls.display());
        }
        let mut keeper = keeper.spawn_on(Stdio::from(end));
        keeper.until_stdout("\n");
        let pid = keeper.stdout().trim().to_owned();

        let mut enter = vec!["/bin/bash".to_owned(), "-c".to_owned(), ENTER.to_owned(), pid, name.clone()];
        let mut env = vec![("CONTAINERS_CONF", folder.join("containers.conf").display().to_string())];
        env.push(("CONTAINERS_STORAGE_CONF", folder.join("storage.conf").display().to_string()));
        env.push(("HOME", folder.join("home").display().to_string()));
        env.push(("TMPDIR", folder.join("tmp").display().to_string()));
        let mut machine = Self { folder, enter, env, keeper: Some(keeper), hold: Some(hold.into()) };
        if let Some(user) = user {
            let runtime_dir = format!("/run/user/{}", user.uid);
            let owner = format!("{}:{}", user.uid, user.gid);
            let own = [runtime_dir.clone(), machine.path("home"), machine.path("tmp")];
            machine.inside(["mkdir", "-p", &runtime_dir]).run().ok();
            machine.inside(["chown", &owner]).args(own).run().ok();
            machine.env.push(("XDG_RUNTIME_DIR", runtime_dir));
            enter = std::mem::take(&mut machine.enter);
            enter.extend(user.prefix);
            machine.enter = enter;
        }
        let rootfs = machine.folder.join("rootfs");
        busybox_rootfs(&rootfs);
        for applet in ["httpd", "nslookup", "wget"] {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        set_mode(rootfs.join("tmp"), 0o1777);
        machine.inside(["tar", "-C", rootfs.to_str().unwrap(), "-cf", &machine.path("tmp/box.tar"), "."]).run().ok();
        let path = "ENV PATH=/usr/bin:/bin";
        machine.podman(["import", "--quiet", "--change", path, &machine.path("tmp/box.tar"), "box"]).run().ok();
        machine
    }

    /// A path below its folder.
    pub fn path(&self, below: &str) -> String {
        self.folder.join(below).display().to_string()
    }

    /// A command inside.
    pub fn inside<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> TestCommand {
        let mut command = TestCommand::new(argv).by(&self.enter).cwd(&self.folder);
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        command
    }

    /// `podman ARGS`
    pub fn podman<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> TestCommand {
        self.inside(["podman"]).args(args)
    }

    /// `podman run --rm --network none OPTIONS box sh -ec SCRIPT`
    pub fn sh(&self, options: &[&str], script: &str) -> Output {
        let command = self.podman(["run", "--rm", "--network", "none"]).args(options);
        command.args(["box", "sh", "-ec", script]).run()
    }

    /// Starts a container of this name in the background, from `box`, without a network; it is removed on drop.
    pub fn start(&self, name: &str, options: &[&str], script: &str) -> Container<'_> {
        self.start_with(name, &[&["--network", "none"], options].concat(), &["box", "sh", "-c", script])
    }

    /// Starts a container of this name in the background; it is removed on drop.
    pub fn start_with(&self, name: &str, options: &[&str], image_and_args: &[&str]) -> Container<'_> {
        let container = Container { machine: self, name: name.to_owned() };
        self.podman(["run", "-d", "--name", name]).args(options).args(image_and_args).run().ok();
        container
    }

    /// A command inside on a terminal of its own, as a person would have it.
    pub fn on_terminal<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> (Terminal, Running) {
        let (terminal, slave) = Terminal::open();
        let ends = || Stdio::from(slave.try_clone().unwrap());
        let command = self.podman(args).by(["setsid", "--ctty", "--wait"]).env("TERM", "xterm");
        let running = command.spawn_with(ends(), ends(), ends(), None);
        (terminal, running)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.hold.take());
        if let Some(keeper) = self.keeper.take() {
            keeper.wait().ok();
        }
    }
}

/// Goes to the machine's cgroups and then into its namespaces. `$0` is the pid, `$1` the cgroup.
const ENTER: &str = r#"
shopt -s nullglob
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo $$ >"/sys/fs/cgroup/$1/init/cgroup.procs"
else for procs in /sys/fs/cgroup/*/"$1"/cgroup.procs; do echo $$ >"$procs"; done
fi
shift
exec nsenter --target "$0" --mount --pid --net --ipc --uts --cgroup --wd="$PWD" -- "$@"
"#;

/// Writes containers.conf, storage.conf and the runtime's wrapper.
fn configure(folder: &Path, caller: &str, rootless: bool) {
    let wrapper = calls::wrapper(folder, caller);
    if rootless {
        // An ordinary user can reach neither a runtime in somebody's checkout nor root's folder of calls; the latter is
        // bound to one inside.
        copy_executable(Path::new(&runtime()), &folder.join("runtime"));
        let name = format!("{caller}-{}.calls", std::process::id());
        let log = std::env::var_os("MYRT_CALLS").map_or_else(|| folder.join("calls"), PathBuf::from).join(&name);
        File::options().create(true).append(true).open(&log).unwrap();
        set_mode(&log, 0o666);
        let script = format!(
            "#!/bin/bash\nprintf '%s\\t%s\\n' {caller} \"${{*@Q}}\" >>{0}/calls/{name}\nexec {0}/runtime \"$@\"\n",
            folder.display()
        );
        crate::util::command::write_executable(&wrapper, script);
    }
    let mut storage = File::create(folder.join("storage.conf")).unwrap();
    writeln!(storage, "[storage]\ndriver = \"overlay\"").unwrap();
    if !rootless {
        writeln!(storage, "runroot = \"/run/storage\"\ngraphroot = \"{}/storage\"", folder.display()).unwrap();
    }
    let network = format!("network_config_dir = \"{}/networks\"", folder.display());
    let places = format!("tmp_dir = \"/run/libpod\"\nvolume_path = \"{}/volumes\"", folder.display());
    let (network, places) = if rootless { ("", "") } else { (&*network, &*places) };
    // The lists are those of the drop-in that an installation writes; without them Podman reads no JSON errors.
    let text = format!(
        r#"
[containers]
log_driver = "k8s-file"
[network]
network_backend = "netavark"
{network}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "myrt"
runtime_supports_json = ["crun", "runc", "myrt"]
runtime_supports_nocgroup = ["crun", "krun", "myrt"]
{places}
[engine.runtimes]
myrt = ["{}"]
"#,
        wrapper.display()
    );
    fs::write(folder.join("containers.conf"), text).unwrap();
}

/// A container in the background; removed on drop.
pub struct Container<'a> {
    machine: &'a Machine,
    /// Its name.
    pub name: String,
}

impl Container<'_> {
    /// `podman exec CONTAINER ARGS`
    pub fn exec<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> TestCommand {
        self.machine.podman(["exec", &self.name]).args(args)
    }

    /// `podman inspect --format FORMAT CONTAINER`
    pub fn inspect(&self, format: &str) -> String {
        self.machine.podman(["inspect", "--format", format, &self.name]).run().ok().out().trim().to_owned()
    }

    /// Waits until its log contains `text`.
    pub fn until_logged(&self, text: &str) {
        until(&format!("{text:?} is in the log of {}", self.name), || {
            self.machine.podman(["logs", &self.name]).run().out().contains(text).then_some(())
        });
    }

    /// Waits until Podman calls its state so.
    pub fn until_state(&self, state: &str) {
        until(&format!("{} is {state}", self.name), || (self.inspect("{{.State.Status}}") == state).then_some(()));
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // A second panic would end all tests; what is left goes with the machine.
        if !std::thread::panicking() {
            self.machine.podman(["rm", "-f", "-t", "0", "-v", &self.name]).run().ok();
        }
    }
}
