//! `scripts/install.sh` against temporary roots: what it puts there, that it puts nothing there twice, and that it takes
//! away what it put there and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::util::TestCommand;
use crate::util::command::Output;

mod interrupted;
mod json;
mod machine;
mod toml;

const ENGINES: [&str; 4] = ["--docker", "--podman", "--containerd", "--crio"];
const DAEMON_JSON: &str = "etc/docker/daemon.json";
const CONFIG_TOML: &str = "etc/containerd/config.toml";
const PODMAN_DROP_IN: &str = "etc/containers/containers.conf.d/50-myrt.conf";
const CRIO_DROP_IN: &str = "etc/crio/crio.conf.d/50-myrt.conf";

/// The path of a script of this checkout.
fn script(name: &str) -> String {
    format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A folder that stands for `/`; removed when dropped.
struct Root {
    path: PathBuf,
}

impl Root {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("myrt-install-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    fn with(file: &str, text: &str) -> Self {
        let root = Self::new();
        root.write(file, text);
        root
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// `install.sh --destdir ROOT` with more arguments.
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).run()
    }

    fn command(&self, args: &[&str]) -> TestCommand {
        TestCommand::new([script("install.sh")]).arg("--destdir").arg(self.path.display()).args(args)
    }

    /// The same with the binary under test.
    fn install(&self, args: &[&str]) -> Output {
        self.run(&[&["--binary", env!("CARGO_BIN_EXE_myrt")], args].concat())
    }

    /// All that lies below: by path its mode, owner and content, or where a link leads.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.path, &self.path, &mut found);
        found
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let metadata = entry.metadata().unwrap();
        let content = if metadata.is_symlink() {
            format!("to {}", fs::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            walk(top, &path, found);
            String::new()
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        };
        let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
        let name = path.strip_prefix(top).unwrap().display().to_string();
        found.insert(name, format!("{:o} {owner} {content}", metadata.permissions().mode()));
    }
}

/// Asserts that a command changes nothing below a root and fails with `words`.
#[track_caller]
fn refused(root: &Root, args: &[&str], words: &[&str]) {
    let before = root.tree();
    let output = root.install(args);
    output.fails();
    for word in words {
        output.err_has(word);
    }
    assert_same(&before, &root.tree());
}

#[track_caller]
fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let differs = |(path, content): &(&String, &String)| after.get(*path) != Some(*content);
    let gone: Vec<_> = before.iter().filter(differs).collect();
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(gone.is_empty() && new.is_empty(), "changed or gone: {gone:?}\nnew: {new:?}");
}

#[test]
fn the_files_are_installed_and_go_again() {
    let root = Root::with("usr/share/doc/other", "stays");
    let before = root.tree();
    root.install(&["--prefix", "/usr"]).ok();
    for file in [
        "usr/share/man/man1/myrt.1",
        "usr/share/man/man1/myrt-run.1",
        "usr/share/bash-completion/completions/myrt",
        "usr/share/zsh/vendor-completions/_myrt",
        "usr/share/fish/vendor_completions.d/myrt.fish",
    ] {
        assert!(root.read(file).contains("myrt"), "{file}");
        assert_eq!(fs::metadata(root.path.join(file)).unwrap().permissions().mode() & 0o777, 0o644, "{file}");
    }
    TestCommand::new([root.path.join("usr/bin/myrt").display()]).arg("--version").run().ok().out_has("myrt ");
    let once = root.tree();
    root.install(&["--prefix", "/usr"]).ok();
    assert_same(&once, &root.tree());
    root.run(&["--uninstall"]).ok();
    assert_same_but(&before, &root, &["var", "var/lib"]);
}

/// As `assert_same`, but for folders that every system has and the temporary root did not.
#[track_caller]
fn assert_same_but(before: &BTreeMap<String, String>, root: &Root, folders: &[&str]) {
    let mut after = root.tree();
    after.retain(|path, _| before.contains_key(path) || !folders.contains(&path.as_str()));
    assert_same(before, &after);
}

#[test]
fn all_engines_twice_and_back() {
    let root = Root::new();
    fs::create_dir_all(root.path.join("var/lib")).unwrap();
    let before = root.tree();
    root.install(&ENGINES).ok();
    for file in [DAEMON_JSON, CONFIG_TOML, PODMAN_DROP_IN, CRIO_DROP_IN] {
        assert!(root.read(file).contains("/usr/local/bin/myrt"), "{file}");
    }
    let once = root.tree();
    root.install(&ENGINES).ok();
    assert_same(&once, &root.tree());
    root.run(&["--uninstall"]).ok();
    assert_same(&before, &root.tree());
    root.run(&["--uninstall"]).ok();
    assert_same(&before, &root.tree());
}

#[test]
fn an_engine_by_name_is_taken_out_alone() {
    let root = Root::new();
    root.install(&["--docker", "--crio"]).ok();
    root.run(&["--uninstall", "--docker"]).ok().err_has_line("systemctl restart docker");
    assert!(!root.path.join(DAEMON_JSON).exists());
    assert!(root.read(CRIO_DROP_IN).contains("myrt"));
    assert!(root.path.join("usr/local/bin/myrt").exists());
}

#[test]
fn another_prefix_is_followed_by_the_engines() {
    let root = Root::new();
    let before = root.tree();
    root.install(&ENGINES).ok();
    root.install(&[&ENGINES[..], &["--prefix", "/opt/my rt"]].concat()).ok();
    for file in [DAEMON_JSON, CONFIG_TOML, PODMAN_DROP_IN, CRIO_DROP_IN] {
        let text = root.read(file);
        assert!(text.contains("\"/opt/my rt/bin/myrt\"") && !text.contains("/usr/local"), "{file}: {text}");
    }
    root.run(&["--uninstall"]).ok();
    assert_same_but(&before, &root, &["var", "var/lib"]);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let root = Root::new();
    refused(&root, &["--prefix", "relative"], &["absolute path"]);
    refused(&root, &["--docker", "--restart"], &["exclude each other"]);
    refused(&root, &["--default"], &["--default needs an engine"]);
    refused(&root, &["--dokcer"], &["unknown argument --dokcer"]);
    refused(&root, &["--prefix"], &["--prefix needs a value"]);
    refused(&root, &["--binary", "/bin/true", "--docker"], &["/true is not myrt"]);
    refused(&root, &["--containerd", "--docker", "--default"], &["--default is not for containerd"]);
    root.run(&["--help"]).ok().out_has("--containerd").out_has("--uninstall");
}

trait ErrHasLine {
    fn err_has_line(&self, words: &str) -> &Self;
}

impl ErrHasLine for Output {
    #[track_caller]
    fn err_has_line(&self, words: &str) -> &Self {
        assert!(self.err().lines().any(|line| line.ends_with(words)), "no line ends with {words:?}: {self}");
        self
    }
}
