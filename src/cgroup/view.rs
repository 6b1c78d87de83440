//! What a container's /sys/fs/cgroup is made of: the data, from which the filesystem room mounts.
//!
//! On a v2 host it is one mount. On the others it is a tmpfs with one folder for each hierarchy and links for the
//! controllers that share one (`cpu -> cpu,cpuacct`).

use std::path::{Path, PathBuf};

use super::layout::{Kind, Layout};
use super::record::Record;
use crate::error::Result;

/// The shape of /sys/fs/cgroup inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The host's way. With [`Kind::V2`], `trees` has exactly one entry, which goes to /sys/fs/cgroup itself; otherwise
    /// each goes to the folder of its name, inside a tmpfs.
    pub kind: Kind,
    /// The hierarchies.
    pub trees: Vec<ViewTree>,
    /// Links inside the tmpfs: name, and the folder beside it that it leads to.
    pub links: Vec<(String, String)>,
}

/// One hierarchy in a container's /sys/fs/cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewTree {
    /// The folder below /sys/fs/cgroup: `cpu,cpuacct`, `systemd`, `unified`; empty on a v2 host.
    pub name: String,
    /// The type for mount(2), `cgroup` or `cgroup2`: for a container with a cgroup namespace of its own.
    pub fstype: &'static str,
    /// The data for mount(2): `cpu,cpuacct`, `none,name=systemd`; empty for v2.
    pub options: String,
    /// Where the host has it mounted.
    pub mount: PathBuf,
    /// The container's own cgroup on the host, to be bound where there is no cgroup namespace. Absent for a container that
    /// has none: then the host's own mount is what can be bound, read-only.
    pub container: Option<PathBuf>,
}

impl View {
    /// The view of a container's record. Costs nothing unless the record has no cgroup; then the host is looked at.
    ///
    /// # Errors
    /// Where the host mounts no cgroup filesystem.
    pub fn of(record: &Record) -> Result<Self> {
        let rows: Vec<(String, PathBuf, Option<PathBuf>)> = if record.trees().is_empty() {
            let all = Layout::detect(false)?.hierarchies.into_iter();
            all.map(|hierarchy| (hierarchy.controllers, hierarchy.mount, None)).collect()
        } else {
            let all = record.trees().iter();
            all.map(|tree| (tree.controllers.clone(), tree.mount.clone(), Some(tree.folder()))).collect()
        };
        Ok(Self::from_rows(rows))
    }

    fn from_rows(rows: Vec<(String, PathBuf, Option<PathBuf>)>) -> Self {
        let kind = match rows.iter().any(|(controllers, ..)| controllers.is_empty()) {
            true if rows.len() == 1 && rows[0].1 == Path::new(super::layout::ROOT) => Kind::V2,
            true => Kind::Hybrid,
            false => Kind::V1,
        };
        let mut links = Vec::new();
        let trees = rows.into_iter().map(|(controllers, mount, container)| {
            let (fstype, name, options) = match controllers.strip_prefix("name=") {
                _ if controllers.is_empty() && kind == Kind::V2 => ("cgroup2", String::new(), String::new()),
                _ if controllers.is_empty() => ("cgroup2", "unified".to_owned(), String::new()),
                Some(name) => ("cgroup", name.to_owned(), format!("none,{controllers}")),
                None => ("cgroup", controllers.clone(), controllers.clone()),
            };
            if name.contains(',') {
                links.extend(name.split(',').map(|link| (link.to_owned(), name.clone())));
            }
            ViewTree { name, fstype, options, mount, container }
        });
        let trees = trees.collect();
        Self { kind, trees, links }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(controllers: &str, mount: &str) -> (String, PathBuf, Option<PathBuf>) {
        (controllers.into(), mount.into(), Some(Path::new(mount).join("c1")))
    }

    #[test]
    fn a_hybrid_host() {
        let view = View::from_rows(vec![
            row("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            row("name=systemd", "/sys/fs/cgroup/systemd"),
            row("", "/sys/fs/cgroup/unified"),
        ]);
        assert_eq!(view.kind, Kind::Hybrid);
        let names: Vec<_> =
            view.trees.iter().map(|tree| (tree.name.as_str(), tree.fstype, tree.options.as_str())).collect();
        let expected = [
            ("cpu,cpuacct", "cgroup", "cpu,cpuacct"),
            ("systemd", "cgroup", "none,name=systemd"),
            ("unified", "cgroup2", ""),
        ];
        assert_eq!(names, expected);
        assert_eq!(view.links, [("cpu".into(), "cpu,cpuacct".into()), ("cpuacct".into(), "cpu,cpuacct".into())]);
    }

    #[test]
    fn a_v2_host() {
        let view = View::from_rows(vec![row("", "/sys/fs/cgroup")]);
        assert_eq!((view.kind, view.trees.len(), view.trees[0].name.as_str()), (Kind::V2, 1, ""));
        assert_eq!(view.trees[0].container, Some("/sys/fs/cgroup/c1".into()));
    }
}
