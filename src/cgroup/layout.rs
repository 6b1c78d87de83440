//! How this host mounts its cgroups, found out cheaply: one statfs(2) on a v2 host, one file of /proc otherwise.
//!
//! A hierarchy is looked for where every host has it, below /sys/fs/cgroup. The mount table, which grows with the number of
//! containers, is read only when a v1 hierarchy is not there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use crate::error::{Context, Error, Result};

/// Where the hierarchies are mounted.
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// Where a hybrid host mounts its v2 tree.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// CGROUP2_SUPER_MAGIC of the kernel's magic.h.
const CGROUP2_MAGIC: u64 = libc::CGROUP2_SUPER_MAGIC as u64;
/// CGROUP_SUPER_MAGIC.
const CGROUP_MAGIC: u64 = libc::CGROUP_SUPER_MAGIC as u64;

/// The three ways of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One tree with everything, at /sys/fs/cgroup.
    V2,
    /// One tree for each controller, or for several that go together.
    V1,
    /// Trees for controllers, and a v2 tree at /sys/fs/cgroup/unified.
    Hybrid,
}

/// One mounted tree of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// As /proc/self/cgroup has it: `cpu,cpuacct`, `name=systemd`; empty for v2.
    pub(super) controllers: String,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The caller's own cgroup below the mount point.
    pub(super) own: String,
}

/// A host's hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Finds the host's hierarchies. `own` says whether the caller's own cgroup is needed; without it a v2 host costs one
    /// system call.
    ///
    /// # Errors
    /// Where no cgroup filesystem is mounted.
    pub(super) fn detect(own: bool) -> Result<Self> {
        if file::filesystem(Path::new(ROOT)) == CGROUP2_MAGIC {
            let own = if own { own_v2(&own_cgroups()?) } else { String::new() };
            let only = Hierarchy { controllers: String::new(), mount: ROOT.into(), own };
            return Ok(Self { kind: Kind::V2, hierarchies: vec![only] });
        }
        Self::by_controller(&own_cgroups()?)
    }

    fn by_controller(own: &str) -> Result<Self> {
        let mut table = None;
        let mut hierarchies = Vec::new();
        let mut kind = Kind::V1;
        for (controllers, path) in own.lines().filter_map(parse_line) {
            let mount = if controllers.is_empty() {
                Some(PathBuf::from(UNIFIED)).filter(|path| file::filesystem(path) == CGROUP2_MAGIC)
            } else {
                let usual = Path::new(ROOT).join(controllers.trim_start_matches("name="));
                if file::exists(&usual.join("tasks")) {
                    Some(usual)
                } else {
                    let table = table.get_or_insert_with(|| file::read_path(Path::new("/proc/self/mountinfo")));
                    table.as_ref().ok().and_then(|table| mount_of(table, controllers))
                }
            };
            let Some(mount) = mount else { continue };
            if controllers.is_empty() {
                kind = Kind::Hybrid;
            }
            hierarchies.push(Hierarchy { controllers: controllers.to_owned(), mount, own: path.to_owned() });
        }
        if hierarchies.is_empty() {
            return Err(Error::new("no cgroup filesystem is mounted below /sys/fs/cgroup")
                .hint("mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        }
        Ok(Self { kind, hierarchies })
    }
}

/// The text of /proc/self/cgroup (cgroups(7)).
fn own_cgroups() -> Result<String> {
    file::read_path(Path::new("/proc/self/cgroup")).context(|| "read /proc/self/cgroup")
}

/// The v2 path in the text of a /proc/PID/cgroup.
pub(super) fn own_v2(text: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned()
}

/// Splits `4:memory:/path` into the controllers and the path.
pub(super) fn parse_line(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// The mount point of a v1 hierarchy in the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)): all of its controllers are
/// among the options of the superblock, in whatever order.
fn mount_of(table: &str, controllers: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        if filesystem.next() != Some("cgroup") {
            return None;
        }
        let options = filesystem.nth(1)?;
        let all = controllers.split(',').all(|name| options.split(',').any(|option| option == name));
        let point = PathBuf::from(mount.split(' ').nth(4)?);
        (all && file::filesystem(&point) == CGROUP_MAGIC).then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        assert_eq!(parse_line("4:memory:/a/b"), Some(("memory", "/a/b")));
        assert_eq!(parse_line("1:cpu,cpuacct:/x:y"), Some(("cpu,cpuacct", "/x:y")));
        assert_eq!(parse_line("0::/"), Some(("", "/")));
        assert_eq!(parse_line("nonsense"), None);
        assert_eq!(own_v2("9:pids:/\n0::/user.slice\n"), "/user.slice");
    }

    #[test]
    fn this_host_has_some_layout() {
        let layout = Layout::detect(true).unwrap();
        assert!(layout.hierarchies.iter().all(|hierarchy| hierarchy.mount.is_dir() && hierarchy.own.starts_with('/')));
    }
}
