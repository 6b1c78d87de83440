//! A store and a folder of the host for one test, gone with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::util::command::copy_executable;
use crate::util::user::Ordinary;
use crate::util::{TestCommand, Value, runtime};

/// Prints everything about the folder in which it runs; with `true`, inode numbers and times of change as well.
pub const LOOK: &str = r"
import hashlib, os, sys
first = {}
for folder, folders, files in sorted(os.walk(b'.')):
    for name in [folder] + [os.path.join(folder, name) for name in sorted(files + folders)]:
        s = os.lstat(name)
        attributes = [(x, os.getxattr(name, x, follow_symlinks=False)) for x in sorted(os.listxattr(name, follow_symlinks=False))]
        content = b''
        if s.st_mode & 0o170000 == 0o100000: content = hashlib.sha256(open(name, 'rb').read()).hexdigest()
        if s.st_mode & 0o170000 == 0o120000: content = os.readlink(name)
        print(name, oct(s.st_mode), s.st_uid, s.st_gid, s.st_size if s.st_mode & 0o170000 != 0o040000 else 0, s.st_mtime_ns, first.setdefault((s.st_dev, s.st_ino), name), attributes, content,
              (s.st_ctime_ns, s.st_ino) if sys.argv[1] == 'true' else '')
";

/// Where a test happens.
pub struct Place {
    top: PathBuf,
    /// The program, where the one who runs it can reach it.
    myrt: String,
    /// Who runs it.
    pub user: Option<Ordinary>,
    /// Whether the store is a mount of its own for each command.
    apart: bool,
}

impl Place {
    /// A new one, with an empty folder `host` that stands for the host's files, and no box.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("myrt-sandbox-{}-{number}", std::process::id()));
        std::fs::create_dir_all(top.join("host")).unwrap();
        Self { top, myrt: runtime(), user: None, apart: false }
    }

    /// Likewise, with a store from which no file can be moved to the host: it has to be copied.
    pub fn apart() -> Self {
        let mut place = Self::new();
        place.apart = true;
        std::fs::create_dir(place.store()).unwrap();
        std::fs::set_permissions(place.store(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        place
    }

    /// One of an ordinary user, whose are the folders; where user namespaces are not for such ones, the test says so.
    pub fn ordinary() -> Option<Self> {
        Self::of(Ordinary::get())
    }

    /// Likewise, of this user.
    pub fn of(user: Ordinary) -> Option<Self> {
        let probe = TestCommand::new(user.prefix.iter()).args(["unshare", "--user", "true"]).run();
        if probe.exit_code() != 0 {
            println!("not run: this host lets no ordinary user make a user namespace");
            return None;
        }
        let mut place = Self::new();
        let programs = place.top.join("bin");
        std::fs::create_dir(&programs).unwrap();
        for program in ["myrt", "myrt-sandbox"] {
            copy_executable(&Path::new(&runtime()).with_file_name(program), &programs.join(program));
        }
        std::fs::create_dir(place.home()).unwrap();
        for folder in [&place.top, &place.host(), &place.home()] {
            std::os::unix::fs::chown(folder, Some(user.uid), Some(user.gid)).unwrap();
        }
        place.myrt = programs.join("myrt").display().to_string();
        place.user = Some(user);
        Some(place)
    }

    /// The program.
    pub fn myrt(&self) -> &str {
        &self.myrt
    }

    /// The home of an ordinary user.
    pub fn home(&self) -> PathBuf {
        self.top.join("home")
    }

    /// A command of whoever runs the boxes.
    pub fn by_caller(&self, command: TestCommand) -> TestCommand {
        match &self.user {
            Some(user) => command.env("HOME", self.home().display()).by(&user.prefix),
            None => command,
        }
    }

    /// The folder with all of it.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The folder of the host.
    pub fn host(&self) -> PathBuf {
        self.top.join("host")
    }

    /// A path below it, as text.
    pub fn path(&self, name: &str) -> String {
        self.host().join(name).to_str().unwrap().to_owned()
    }

    /// Where the boxes are.
    pub fn store(&self) -> PathBuf {
        self.top.join("store")
    }

    /// `myrt sandbox WORDS…` in this store, in the host's folder.
    pub fn sandbox<S: ToString>(&self, command: &str, words: impl IntoIterator<Item = S>) -> TestCommand {
        let command = self.by_caller(TestCommand::new(self.words(command, words)).cwd(self.host()));
        if !self.apart {
            return command;
        }
        let store = self.store().display().to_string();
        command.by(["unshare", "-m", "sh", "-ec", "mount --bind \"$0\" \"$0\"; exec \"$@\"", &store])
    }

    /// The words of that, for another user to say.
    pub fn words<S: ToString>(&self, command: &str, words: impl IntoIterator<Item = S>) -> Vec<String> {
        let ours = [&self.myrt, "sandbox", command, "--store", self.store().to_str().unwrap()].map(str::to_owned);
        ours.into_iter().chain(words.into_iter().map(|word| word.to_string())).collect()
    }

    /// A shell script in the box `b`.
    pub fn script(&self, script: &str) -> TestCommand {
        self.sandbox("run", ["--name", "b", "sh", "-ec", script])
    }

    /// A shell script in the box `b`, which then waits until the host has done something, and is ended.
    pub fn script_beside(&self, script: &str, host: impl FnOnce()) {
        let waiting = format!("{script}; echo ready; read line");
        let mut running = self.script(&waiting).spawn_on(std::process::Stdio::piped());
        running.until_stdout("ready");
        host();
        running.signal(rustix::process::Signal::TERM);
        running.wait();
    }

    /// A Python program in the box `b`.
    pub fn python(&self, program: &str) -> TestCommand {
        self.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program])
    }

    /// The changes of the box `b` below the host's folder: `path: change what,what`.
    #[track_caller]
    pub fn changes(&self) -> Vec<String> {
        let host = self.host();
        let document = self.sandbox("diff", ["--format", "json", "b"]).run().json();
        let line = |change: &Value| {
            let path = Path::new(change["path"].as_str()?).strip_prefix(&host).ok()?.display().to_string();
            let words: Vec<&str> = change["what"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            Some(format!("{path}: {} {}", change["change"].as_str()?, words.join(",")).trim_end().to_owned())
        };
        document["changes"].as_array().unwrap().iter().filter_map(line).collect()
    }

    /// What [`Place::picture`] shows that a copy has as well: all but inode numbers and times of change.
    pub fn content(&self) -> String {
        self.shown(false)
    }

    /// Everything about the host's folder that a program could change: names, kinds, modes, owners, times, attributes,
    /// contents.
    pub fn picture(&self) -> String {
        self.shown(true)
    }

    /// [`Place::content`], by a command that is changed first, such as to run in a box.
    pub fn content_by(&self, change: impl FnOnce(TestCommand) -> TestCommand) -> String {
        change(self.look(false)).run().ok().out()
    }

    /// The same command in the box `b`.
    pub fn wrap(&self, command: TestCommand) -> TestCommand {
        let store = self.store().to_str().unwrap().to_owned();
        let words = ["sandbox", "run", "--store", &store, "--name", "b"];
        self.by_caller(command.by([self.myrt.as_str()].iter().chain(&words)))
    }

    fn shown(&self, all: bool) -> String {
        self.look(all).run().ok().out()
    }

    fn look(&self, all: bool) -> TestCommand {
        TestCommand::new(["/usr/bin/python3", "-c", LOOK, &all.to_string()]).cwd(self.host())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !rustix::process::geteuid().is_root() {
            // The kernel leaves folders in a layer that forbid even their owner to look inside.
            TestCommand::new(["chmod", "-R", "u+rwx"]).arg(self.top.display()).run();
        }
        let gone = std::fs::remove_dir_all(&self.top);
        if !std::thread::panicking() {
            gone.unwrap();
        }
    }
}
