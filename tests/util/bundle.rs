//! A bundle with everything around it: its own state root, its own cgroup, an id of its own, and a clean-up that looks.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::command::{Output, Running, TestCommand, copy_executable, set_mode, write_executable};
use rustix::process::geteuid;

use super::config::Edit as _;
use super::driver::Driver;
use super::user::Ordinary;
use super::{assets, config, leftovers, runtime, until};

/// A bundle and the container made from it. Dropping it deletes the container and asserts that nothing is left.
pub struct Bundle {
    /// The container's id, unique on this machine.
    pub id: String,
    /// The bundle's folder: config.json and rootfs.
    pub dir: PathBuf,
    config: RefCell<Value>,
    place: Rc<Place>,
}

/// What bundles of one test share.
struct Place {
    /// The folder of all the test's files.
    dir: PathBuf,
    /// The state root, on a tmpfs.
    root: PathBuf,
    /// A variable in the environment of every process of the test.
    marker: String,
    /// The runtime.
    runtime: RefCell<String>,
    /// What stands before the runtime in each command, such as nsenter.
    prefix: RefCell<Vec<String>>,
    /// A process that holds a mount namespace, and the end of the pipe that it waits on.
    holder: RefCell<Option<(Running, OwnedFd)>>,
    /// The containers, by which their cgroups and units are found.
    ids: RefCell<Vec<String>>,
    /// Who makes the cgroups.
    driver: Cell<Driver>,
    /// Whether Drop asserts.
    strict: Cell<bool>,
}

impl Bundle {
    /// A bundle of busybox. `name` tells whose it is when something goes wrong.
    pub fn busybox(name: &str) -> Self {
        assert!(
            geteuid().is_root(),
            "these tests need root; as an ordinary user run those of rootless.rs: cargo test --test integration rootless"
        );
        Self::at(Place::new(name), name)
    }

    /// A bundle whose commands see cgroup v2 alone, whatever the host's layout is.
    pub fn on_v2(name: &str) -> Self {
        let bundle = Self::busybox(name);
        if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            let script = "mount -t cgroup2 cgroup2 /sys/fs/cgroup && echo ready && read forever";
            let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let mut holder = TestCommand::new(["unshare", "--mount", "/bin/sh", "-c", script]).spawn_on(reader.into());
            holder.until_stdout("ready");
            let namespace = format!("--mount=/proc/{}/ns/mnt", holder.pid());
            *bundle.place.prefix.borrow_mut() = vec!["nsenter".to_owned(), namespace];
            // The writer stays open as long as the test: its end is the holder's.
            *bundle.place.holder.borrow_mut() = Some((holder, writer));
        }
        bundle
    }

    /// A bundle that an ordinary user runs, with a user namespace of its own: that user is its root, and with `range`
    /// 65,536 subordinate ids lie above. Works for root, who becomes that user for each command, and for that user.
    pub fn rootless(name: &str, user: &Ordinary, range: bool) -> Self {
        let place = Place::new(name);
        place.driver.set(Driver { uid: user.uid, ..place.driver.get() });
        let bundle = Self::at(place.clone(), name);
        bundle.config(|config| {
            config.namespace("user");
            let mut uids = vec![json!({ "containerID": 0, "hostID": user.uid, "size": 1 })];
            let mut gids = vec![json!({ "containerID": 0, "hostID": user.gid, "size": 1 })];
            if range {
                let start = user.range.expect("the user has a range of subordinate ids");
                uids.push(json!({ "containerID": 1, "hostID": start, "size": 65_535 }));
                gids.push(json!({ "containerID": 1, "hostID": start, "size": 65_535 }));
            }
            config["linux"]["uidMappings"] = uids.into();
            config["linux"]["gidMappings"] = gids.into();
            if !place.driver.get().systemd {
                config["linux"]["cgroupsPath"] = Value::Null;
            }
            config["linux"]["resources"] = Value::Null;
            // Group 5, the usual one of terminals, is not mapped with one id alone.
            for mount in config["mounts"].as_array_mut().unwrap() {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
        });
        if !user.prefix.is_empty() {
            fs::create_dir(bundle.root()).unwrap();
            let folders = [bundle.root(), &bundle.place.dir];
            let owner = format!("{}:{}", user.uid, user.gid);
            TestCommand::new(["chown", "--recursive", "--no-dereference", &owner])
                .args(folders.map(Path::display))
                .run()
                .ok();
            // The runtime may lie where only root can go.
            let binary = bundle.place.dir.join("runtime");
            copy_executable(Path::new(&runtime()), &binary);
            *bundle.place.runtime.borrow_mut() = binary.to_str().unwrap().to_owned();
            *bundle.place.prefix.borrow_mut() = user.prefix.clone();
        }
        bundle
    }

    /// Runs a copy of the runtime, for a test that tries to overwrite it, and gives its path.
    pub fn runs_a_copy(&self) -> PathBuf {
        let binary = self.place.dir.join("runtime");
        copy_executable(Path::new(&runtime()), &binary);
        *self.place.runtime.borrow_mut() = binary.to_str().unwrap().to_owned();
        binary
    }

    fn at(place: Rc<Place>, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = place.dir.join(&id);
        fs::create_dir(&dir).unwrap();
        assets::busybox_rootfs(&dir.join("rootfs"));
        place.ids.borrow_mut().push(id.clone());
        let config = RefCell::new(config::default(&place.driver.get().cgroups_path(&id), &place.marker));
        let bundle = Self { id, dir, config, place };
        bundle.write_config();
        bundle
    }

    /// A second bundle with the same state root.
    pub fn another(&self, name: &str) -> Self {
        Self::at(self.place.clone(), name)
    }

    /// Edits config.json.
    pub fn config(&self, edit: impl FnOnce(&mut Value)) -> &Self {
        edit(&mut self.config.borrow_mut());
        self.write_config();
        self
    }

    fn write_config(&self) {
        fs::write(self.dir.join("config.json"), self.config.borrow().to_string()).unwrap();
    }

    /// What the container runs.
    pub fn args<S: Into<Value>>(&self, args: impl IntoIterator<Item = S>) -> &Self {
        self.config(|config| config["process"]["args"] = args.into_iter().map(Into::into).collect())
    }

    /// The container runs a shell script.
    pub fn sh(&self, script: &str) -> &Self {
        self.args(["sh", "-c", script])
    }

    /// A program that runs until it is told to end by any signal with a default action.
    pub fn sleeps(&self) -> &Self {
        // A shell that is process 1 would ignore a signal without a handler.
        self.sh("trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done")
    }

    /// The path of `inside` as the host sees it.
    pub fn rootfs(&self, inside: &str) -> PathBuf {
        self.dir.join("rootfs").join(inside.trim_start_matches('/'))
    }

    /// A path beside the rootfs, outside the container.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file below the rootfs.
    pub fn file(&self, inside: &str, content: &str) -> &Self {
        let path = self.rootfs(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Writes an executable below the rootfs.
    pub fn program(&self, inside: &str, content: &str) -> &Self {
        write_executable(self.rootfs(inside), content);
        self
    }

    /// Puts the probe at /bin/probe.
    pub fn with_probe(&self) -> &Self {
        copy_executable(assets::probe(), &self.rootfs("bin/probe"));
        self
    }

    /// Lets other users walk to the rootfs, as a container with a user namespace must.
    pub fn open_to_all(&self) -> &Self {
        for folder in [&self.place.dir, &self.dir, &self.rootfs("")] {
            set_mode(folder, 0o755);
        }
        set_mode(self.rootfs("tmp"), 0o1777);
        self
    }

    /// The state root.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The path of the runtime.
    pub fn runtime(&self) -> String {
        self.place.runtime.borrow().clone()
    }

    /// Switches off the assertions of the clean-up, for a test that breaks things on purpose and looks itself.
    pub fn lenient(&self) -> &Self {
        self.place.strict.set(false);
        self
    }

    /// A command of the runtime: global flags first, then `args`.
    pub fn command<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> TestCommand {
        let args: Vec<String> = args.into_iter().map(|arg| arg.to_string()).collect();
        self.globals(&[] as &[&str], args)
    }

    /// The same with more global flags.
    pub fn globals<S: ToString, T: ToString>(
        &self,
        globals: impl IntoIterator<Item = S>,
        args: impl IntoIterator<Item = T>,
    ) -> TestCommand {
        let (name, value) = self.place.marker.split_once('=').unwrap();
        TestCommand::new(self.place.prefix.borrow().iter())
            .arg(self.place.runtime.borrow())
            .args(["--root", self.place.root.to_str().unwrap()])
            .args(self.place.driver.get().flags())
            .args(globals)
            .args(args)
            .env(name, value)
    }

    /// `run`, in the foreground.
    pub fn run_command(&self) -> TestCommand {
        self.command(["run", "--bundle", self.dir.to_str().unwrap(), &self.id])
    }

    /// Runs the container to its end in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_command().run()
    }

    /// `run --detach`, asserted to succeed.
    #[track_caller]
    pub fn run_detached(&self) -> Output {
        let output = self.command(["run", "--detach", "--bundle", self.dir.to_str().unwrap(), &self.id]).run();
        output.ok();
        output
    }

    /// `create`, not yet run.
    pub fn create_command(&self) -> TestCommand {
        self.command(["create", "--bundle", self.dir.to_str().unwrap(), &self.id])
    }

    /// `create` with more flags.
    pub fn create_command_with<S: ToString>(&self, flags: impl IntoIterator<Item = S>) -> TestCommand {
        self.command(["create", "--bundle", self.dir.to_str().unwrap()]).args(flags).arg(&self.id)
    }

    /// `create`
    #[track_caller]
    pub fn create(&self) -> Output {
        self.create_command().run()
    }

    /// `start`
    #[track_caller]
    pub fn start(&self) -> Output {
        self.command(["start", &self.id]).run()
    }

    /// `kill ID SIGNAL`
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.command(["kill", &self.id, signal]).run()
    }

    /// `delete`
    #[track_caller]
    pub fn delete(&self) -> Output {
        self.command(["delete", &self.id]).run()
    }

    /// `delete --force`
    #[track_caller]
    pub fn delete_force(&self) -> Output {
        self.command(["delete", "--force", &self.id]).run()
    }

    /// `exec`, not yet run.
    pub fn exec_command<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> TestCommand {
        self.command(["exec", &self.id]).args(args)
    }

    /// `exec ID ARGS`
    #[track_caller]
    pub fn exec<S: ToString>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.exec_command(args).run()
    }

    /// `state`, parsed.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.command(["state", &self.id]).run().json()
    }

    /// The status word of `state`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Whether it runs; an id that is not known yet does not.
    pub fn runs(&self) -> bool {
        self.command(["state", &self.id]).run().out().contains("\"running\"")
    }

    /// Waits for a status word.
    #[track_caller]
    pub fn until_status(&self, status: &str) {
        until(&format!("{} is {status}", self.id), || (self.status() == status).then_some(()));
    }

    /// Process 1 of the container, as the host numbers it.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Makes the container a scope of systemd, and those of further bundles beside it, whatever the suite asks for.
    pub fn in_scope(self) -> Self {
        self.place.driver.set(Driver { systemd: true, ..self.place.driver.get() });
        self.config(|config| config["linux"]["cgroupsPath"] = self.place.driver.get().cgroups_path(&self.id).into());
        self
    }

    /// Has another program run each command of the runtime from now on, such as `unshare`; before those that do already.
    pub fn behind<S: ToString>(&self, argv: impl IntoIterator<Item = S>) -> &Self {
        self.place.prefix.borrow_mut().splice(0..0, argv.into_iter().map(|arg| arg.to_string()));
        self
    }

    /// The path of the container's cgroup, below the root of a hierarchy.
    pub fn cgroup(&self) -> String {
        self.place.driver.get().cgroup(&self.id)
    }

    /// The folders of the container's cgroup, in every hierarchy that has one.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        leftovers::cgroups(&self.cgroup())
    }

    /// Asserts that nothing of this test is left on the host but its bundles.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.place.assert_clean();
    }
}

impl Place {
    fn new(name: &str) -> Rc<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("myrt-test-{unique}"));
        fs::create_dir(&dir).unwrap();
        // A tmpfs: what is measured is the runtime, not the disk.
        let root = PathBuf::from(format!("/dev/shm/myrt-test-{unique}"));
        Rc::new(Self {
            // The kernel shows resolved paths in mountinfo.
            dir: dir.canonicalize().unwrap(),
            root,
            marker: format!("MYRT_TEST={unique}"),
            runtime: RefCell::new(runtime()),
            prefix: RefCell::default(),
            holder: RefCell::default(),
            ids: RefCell::default(),
            driver: Cell::new(Driver::of_the_suite()),
            strict: Cell::new(true),
        })
    }

    fn command<'a>(&'a self, args: impl IntoIterator<Item = &'a str>) -> TestCommand {
        let root = self.root.to_str().unwrap();
        TestCommand::new(self.prefix.borrow().iter())
            .arg(self.runtime.borrow())
            .args(["--root", root])
            .args(self.driver.get().flags())
            .args(args)
    }

    /// Deletes whatever container there is; a runtime lists one state folder for each.
    fn delete_all(&self) {
        if let Ok(entries) = fs::read_dir(&self.root) {
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                self.command(["delete", "--force", entry.file_name().to_str().unwrap()]).run();
            }
        }
    }

    #[track_caller]
    fn assert_clean(&self) {
        let states: Vec<_> =
            fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let states: Vec<_> = states.into_iter().filter(|path| path.is_dir()).collect();
        assert!(states.is_empty(), "state left behind: {states:?}");
        for id in self.ids.borrow().iter() {
            let cgroups = leftovers::cgroups(&self.driver.get().cgroup(id));
            assert!(cgroups.is_empty(), "cgroups left behind: {cgroups:?}");
            if self.driver.get().systemd {
                // systemd forgets a unit that is gone when it finds the time.
                let file = self.driver.get().unit_file(id);
                until(&format!("systemd forgets {}", file.display()), || (!file.exists()).then_some(()));
            }
        }
        let mounts = leftovers::mounts_below(&self.dir);
        assert!(mounts.is_empty(), "mounts left behind: {mounts:?}");
        let mut left = Vec::new();
        // A killed process is gone only after the kernel and its parent have seen to it.
        for _ in 0..1000 {
            left = leftovers::processes(&self.marker);
            if left.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        assert!(left.is_empty(), "processes left behind: {left:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if !failed {
            self.delete_all();
            if self.strict.get() {
                // The files go even when this fails: only then does the next run begin clean.
                let clean = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.assert_clean()));
                self.sweep();
                if let Err(found) = clean {
                    std::panic::resume_unwind(found);
                }
                return;
            }
        }
        self.sweep();
    }
}

impl Place {
    fn sweep(&self) {
        self.holder.take();
        for id in self.ids.borrow().iter() {
            leftovers::sweep(&self.marker, &self.driver.get().cgroup(id), &self.dir);
        }
        if leftovers::mounts_below(&self.dir).is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}
