//! A store and a folder of the host for one test, gone with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

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
        print(name, oct(s.st_mode), s.st_uid, s.st_gid, s.st_size if s.st_mode & 0o170000 != 0o040000 else 0, s.st_mtime_ns, first.setdefault(s.st_ino, name), attributes, content,
              (s.st_ctime_ns, s.st_ino) if sys.argv[1] == 'true' else '')
";

/// Where a test happens.
pub struct Place {
    top: PathBuf,
}

impl Place {
    /// A new one, with an empty folder `host` that stands for the host's files, and no box.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("myrt-sandbox-{}-{number}", std::process::id()));
        std::fs::create_dir_all(top.join("host")).unwrap();
        Self { top }
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
        let store = self.store().to_str().unwrap().to_owned();
        TestCommand::new([runtime(), "sandbox".into(), command.into(), "--store".into(), store])
            .args(words)
            .cwd(self.host())
    }

    /// A shell script in the box `b`.
    pub fn script(&self, script: &str) -> TestCommand {
        self.sandbox("run", ["--name", "b", "sh", "-ec", script])
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
        command.by([runtime(), "sandbox".into(), "run".into(), "--store".into(), store, "--name".into(), "b".into()])
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
        let gone = std::fs::remove_dir_all(&self.top);
        if !std::thread::panicking() {
            gone.unwrap();
        }
    }
}
