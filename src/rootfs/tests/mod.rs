//! The filesystem room against a real kernel, as root, each test in namespaces of its own.
//!
//! A test runs itself again under unshare(1): there it is a single-threaded process that may mount and change its root.
//! The index: `story` is the whole way of ordinary bundles, `hostile` is what an image may try, `kinds` are kinds and
//! options of mounts, `users` is id mappings and user namespaces.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Inside, NewRoot, Prepared, build, prepare};
use crate::cgroup::{Kind, View, ViewTree};
use crate::error::Result;
use crate::plan::{Plan, spec};
use crate::sys::procfs::ProcFs;

mod hostile;
mod kinds;
mod story;
mod users;

/// Set in the second run of a test.
const INSIDE: &str = "MYRT_TEST_IN_NAMESPACES";

/// Runs `body` in new mount, pid, ipc and network namespaces. `name` is the test's own path below this module.
#[track_caller]
fn in_namespaces(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("{name}: left out, mounting takes root");
        return;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--ipc", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1", &format!("rootfs::tests::{name}")])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{said}");
}

/// A bundle on a tmpfs, which goes with the mount namespace.
struct Bundle {
    path: PathBuf,
    mounts: Vec<String>,
    root: String,
    linux: String,
}

impl Bundle {
    fn new() -> Self {
        let path = PathBuf::from("/mnt");
        rustix::mount::mount("tmpfs", &path, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        fs::create_dir_all(path.join("rootfs")).unwrap();
        fs::create_dir_all(path.join("host")).unwrap();
        Self { path, mounts: Vec::new(), root: r#""readonly":false"#.into(), linux: String::new() }
    }

    /// One entry of `mounts`.
    fn mount(mut self, json: &str) -> Self {
        self.mounts.push(json.into());
        self
    }

    /// Further fields of `linux`.
    fn linux(mut self, json: &str) -> Self {
        self.linux = format!(",{json}");
        self
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.path.join("rootfs").join(path.trim_start_matches('/'))
    }

    fn host(&self, path: &str) -> PathBuf {
        self.path.join("host").join(path)
    }

    fn plan(&self, namespaces: &[&str]) -> Plan {
        let kinds: Vec<_> = namespaces.iter().map(|kind| format!(r#"{{"type":"{kind}"}}"#)).collect();
        let json = format!(
            r#"{{"ociVersion":"1.2.0","root":{{"path":"rootfs",{}}},"process":{{"cwd":"/","args":["x"]}},
                "mounts":[{}],"linux":{{"namespaces":[{}]{}}}}}"#,
            self.root,
            self.mounts.join(","),
            kinds.join(","),
            self.linux
        );
        let spec: spec::Spec = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        Plan::new(spec, &self.path).unwrap()
    }

    fn build(&self) -> Result<NewRoot> {
        let plan = self.plan(&["mount", "pid", "ipc", "network"]);
        build(&plan, &prepare(&plan)?, &no_cgroups(), &ProcFs::open()?)
    }

    /// All steps.
    fn enter(&self) -> Result<Inside> {
        let plan = self.plan(&["mount", "pid", "ipc", "network"]);
        let proc = ProcFs::open()?;
        let root = build(&plan, &prepare(&plan)?, &no_cgroups(), &proc)?;
        let inside = root.pivot(false, &proc)?;
        inside.finish(&plan, &proc)?;
        Ok(inside)
    }

    #[track_caller]
    fn refused(&self, expected: &str) {
        let error = self.build().unwrap_err();
        let message = format!("{error}\n{}", error.remedy().unwrap_or_default());
        assert!(message.contains(expected), "{message}");
    }
}

fn no_cgroups() -> View {
    View { kind: Kind::V1, trees: Vec::new(), links: Vec::new() }
}

/// The lines of mountinfo, without those of an outer mount namespace.
fn mountinfo() -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect()
}

/// The per-mount options of the uppermost mount at a path.
#[track_caller]
fn options(path: &str) -> String {
    let lines = mountinfo();
    let line = lines.iter().rev().find(|line| line.split(' ').nth(4) == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is no mount: {lines:#?}"));
    line.split(' ').nth(5).unwrap().to_owned()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
