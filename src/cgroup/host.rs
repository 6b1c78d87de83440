//! What this host offers: for `check`, which tells a person, and for an ordinary user with limits; no start of a container
//! comes here.

use std::path::{Path, PathBuf};

use super::layout::{Kind, Layout};
use super::path::{join, parent};
use super::record::Driver;
use super::{file, systemd};
use crate::error::Result;

/// The host's cgroups, as far as the caller is concerned.
#[derive(Debug)]
pub struct Host {
    /// The way of the host, or why there is none.
    pub kind: Result<Kind>,
    /// Each hierarchy: controllers as in /proc/self/cgroup (empty for v2), and where it is mounted.
    pub mounts: Vec<(String, PathBuf)>,
    /// All controllers that containers could use, by their own names.
    pub controllers: Vec<String>,
    /// Controllers of the v2 tree that the caller may give to cgroups that it makes: all of them for root; for an ordinary
    /// user those that were delegated, none where it may not make any.
    pub delegated: Vec<String>,
    /// Where an ordinary user's containers go on v2, and whether it may make cgroups there.
    pub place: Option<(PathBuf, bool)>,
    /// The version of the systemd manager that `--systemd-cgroup` would ask, or why it cannot be reached.
    pub systemd: Result<String>,
}

/// Looks at the host. `rootless` as in [`super::Request`].
pub fn host(rootless: bool) -> Host {
    let layout = Layout::detect(true);
    let systemd = systemd::reachable(rootless);
    let (kind, hierarchies) = match layout {
        Ok(layout) => (Ok(layout.kind), layout.hierarchies),
        Err(error) => (Err(error), Vec::new()),
    };
    let mut host =
        Host { kind, mounts: Vec::new(), controllers: Vec::new(), delegated: Vec::new(), place: None, systemd };
    for hierarchy in hierarchies {
        if hierarchy.controllers.is_empty() {
            let offered = words(&hierarchy.mount, "cgroup.controllers");
            host.controllers.extend(offered.iter().cloned());
            let top = hierarchy.mount.to_string_lossy().into_owned();
            let place = PathBuf::from(if rootless { join(&top, parent(&hierarchy.own)) } else { top });
            let may = file::writable(&place);
            host.delegated = match (rootless, may) {
                (false, _) => offered,
                (true, true) => words(&place, "cgroup.controllers"),
                (true, false) => Vec::new(),
            };
            host.place = Some((place, may));
        } else if !hierarchy.controllers.starts_with("name=") {
            host.controllers.extend(hierarchy.controllers.split(',').map(str::to_owned));
        }
        host.mounts.push((hierarchy.controllers, hierarchy.mount));
    }
    host.controllers.sort_unstable();
    host
}

/// Who makes an ordinary user's cgroup for limits: the user's own systemd manager where there is one on v2, since what the
/// user makes in a slice loses its controllers when that manager looks at it again; else the user.
pub fn driver_of_user() -> Driver {
    let is_v2 = Layout::detect(true).is_ok_and(|layout| layout.kind == Kind::V2);
    if is_v2 && systemd::reachable(true).is_ok() { Driver::Systemd } else { Driver::Cgroupfs }
}

fn words(folder: &Path, name: &str) -> Vec<String> {
    file::read(folder, name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
