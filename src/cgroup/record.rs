//! What a container's state file remembers of its cgroups: enough to find, update and remove them.
//!
//! Planned before anything is made, so that whatever is killed in between can still be taken down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use super::layout::{Hierarchy, Kind, Layout};
use super::path::{Place, UnitPath, join, parent};
use super::systemd::annotations;
use super::systemd::identity::outer_uid;
use crate::error::{Error, Result};

/// Who makes a container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// This program, by mkdir(2).
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus for a transient scope.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// What a container asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// `linux.cgroupsPath`.
    pub path: Option<&'a str>,
    /// The driver.
    pub driver: Driver,
    /// `annotations`; those named `org.systemd.property.*` become properties of the unit.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether an ordinary user goes without what was not delegated, instead of being refused.
    pub rootless: bool,
}

/// A container's cgroups, as the state file keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub(super) driver: Driver,
    pub(super) trees: Vec<Tree>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) rootless: bool,
    /// Whether an ordinary user's config.json names a cgroup, and is to be told when there can be none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) named: bool,
}

/// The container's cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// `cpu,cpuacct`, `name=systemd`; empty for v2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub controllers: String,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The cgroup's path below the mount point, with a leading slash.
    pub path: String,
    /// How many of the names in `path` were there already; the rest is the container's to remove.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept: usize,
}

/// A transient scope of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    /// Such as `docker-ID.scope`.
    pub(super) name: String,
    /// Such as `system.slice`.
    pub(super) slice: String,
    /// Whether the user's own manager is asked, not the system's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) user: bool,
    /// Further properties, from annotations: name and value in GVariant's text form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<(String, String)>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Tree {
    /// The folder of the container's cgroup.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(join(&self.mount.to_string_lossy(), &self.path))
    }

    /// Whether this is the v2 tree.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether this v1 hierarchy has the controller.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    fn new(hierarchy: Hierarchy, path: String) -> Self {
        let mut tree = Self { controllers: hierarchy.controllers, mount: hierarchy.mount, path, kept: 0 };
        // Most paths have one name, and then nothing has to be looked up.
        let names: Vec<&str> = tree.path.split('/').skip(1).collect();
        let mut folder = tree.mount.clone();
        tree.kept = names[..names.len() - 1]
            .iter()
            .take_while(|name| {
                folder.push(name);
                **name != OF_BOXES && file::exists(&folder)
            })
            .count();
        tree
    }
}

/// The folder that holds the cgroups of all boxes, and nothing else: whichever of them goes last removes it.
pub const OF_BOXES: &str = "myrt-sandbox";

impl Record {
    /// Decides where the container's cgroups will be. Looks at the host, touches nothing.
    ///
    /// # Errors
    /// Where the path is of the wrong form for the driver, or the host mounts no cgroup filesystem.
    pub fn plan(request: &Request<'_>) -> Result<Self> {
        let named = request.rootless && request.path.is_some();
        let base = Self { driver: request.driver, rootless: request.rootless, named, ..Self::default() };
        match request.driver {
            Driver::Disabled => Ok(base),
            Driver::Cgroupfs => Self::plan_folders(request, base),
            Driver::Systemd => Self::plan_unit(request, base),
        }
    }

    fn plan_folders(request: &Request<'_>, base: Self) -> Result<Self> {
        let place = Place::of(request.path, request.id, request.rootless)?;
        let layout = match Layout::detect(matches!(place, Place::Own(_))) {
            Ok(layout) => layout,
            // An ordinary user is not stopped by a host without cgroups.
            Err(_) if request.rootless => return Ok(Self { driver: Driver::Disabled, ..base }),
            Err(error) => return Err(error),
        };
        let trees = layout.hierarchies.into_iter().map(|hierarchy| {
            let path = match &place {
                Place::Root(path) => path.clone(),
                Place::Own(path) => join(&own_base(&hierarchy, request.rootless), path),
            };
            Tree::new(hierarchy, path)
        });
        Ok(Self { trees: trees.collect(), ..base })
    }

    fn plan_unit(request: &Request<'_>, base: Self) -> Result<Self> {
        // The machine's own manager refuses everybody but root.
        let user = request.rootless || !rustix::process::geteuid().is_root();
        let unit = UnitPath::of(request.path, request.id, user)?;
        let below = unit.cgroup()?;
        let layout = Layout::detect(user)?;
        let trees = layout.hierarchies.into_iter().map(|hierarchy| {
            let manager = if user { manager_of(&hierarchy.own) } else { String::from("/") };
            Tree::new(hierarchy, join(&manager, &below))
        });
        let trees = trees.collect();
        let properties = annotations::from_annotations(request.annotations)?;
        let unit = Unit { name: unit.name, slice: unit.slice, user, properties };
        Ok(Self { trees, unit: Some(unit), ..base })
    }

    /// Refuses a unit in which somebody lives already. Asked before anything is saved: taking down a container whose state
    /// names a unit stops that unit, whosever it is.
    ///
    /// # Errors
    /// Where processes live in it.
    pub fn check_free(&self) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        for tree in &self.trees {
            if super::tree::pids(&tree.folder()).is_ok_and(|pids| !pids.is_empty()) {
                return Err(Error::new(format!("the unit {} runs already", unit.name))
                    .hint("another container uses it: choose another linux.cgroupsPath, or end that one"));
            }
        }
        Ok(())
    }

    /// The container's cgroup in each hierarchy.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The driver that made it.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// The way of the host that this container was made on, as far as it has cgroups.
    pub fn kind(&self) -> Option<Kind> {
        match (self.trees.iter().any(Tree::is_v2), self.trees.len()) {
            (_, 0) => None,
            (true, 1) => Some(Kind::V2),
            (true, _) => Some(Kind::Hybrid),
            (false, _) => Some(Kind::V1),
        }
    }

    /// The v2 tree, on v2 and hybrid hosts.
    pub(super) fn v2(&self) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.is_v2())
    }

    /// The v1 hierarchy that has this controller.
    pub(super) fn v1(&self, controller: &str) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.has(controller))
    }
}

/// What a relative path counts from. On v1 it is the caller's own cgroup. A v2 cgroup with processes of its own, as the
/// caller's always is, cannot give controllers to its children; so there it is the one above, unless an ordinary user may
/// write only to the own one.
fn own_base(hierarchy: &Hierarchy, rootless: bool) -> String {
    // A cgroup outside the caller's cgroup namespace shows as `/..`; nothing can be made there.
    let own = if hierarchy.own.starts_with("/..") { "/" } else { hierarchy.own.as_str() };
    if !hierarchy.controllers.is_empty() {
        return own.to_owned();
    }
    let above = parent(own);
    let may = |path: &str| file::writable(Path::new(&join(&hierarchy.mount.to_string_lossy(), path)));
    if rootless && !may(above) && may(own) { own.to_owned() } else { above.to_owned() }
}

/// The cgroup of the user's own service manager, guessed from where the caller is; corrected once systemd has made the unit.
fn manager_of(own: &str) -> String {
    if let Some(start) = own.find("/user@") {
        let end = own[start + 1..].find('/').map_or(own.len(), |length| start + 1 + length);
        return own[..end].to_owned();
    }
    let uid = outer_uid();
    format!("/user.slice/user-{uid}.slice/user@{uid}.service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_manager() {
        let own = "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope";
        assert_eq!(manager_of(own), "/user.slice/user-1000.slice/user@1000.service");
        assert!(manager_of("/user.slice/user-5.slice/session-1.scope").contains("/user@"));
    }

    #[test]
    fn a_record_survives_the_state_file() {
        let annotations = BTreeMap::new();
        let request = Request {
            id: "c1",
            path: Some("/myrt-record/c1"),
            driver: Driver::Cgroupfs,
            annotations: &annotations,
            rootless: false,
        };
        let record = Record::plan(&request).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(record.trees().iter().all(|tree| tree.path == "/myrt-record/c1" && tree.kept == 0));
    }

    #[test]
    fn the_folder_of_boxes_goes_with_the_last_of_them() {
        let mount = std::env::temp_dir().join(format!("myrt-record-{}", std::process::id()));
        for folder in [OF_BOXES, "theirs"] {
            std::fs::create_dir_all(mount.join(folder)).unwrap();
        }
        let kept = |path: &str| {
            let hierarchy = Hierarchy { controllers: String::new(), mount: mount.clone(), own: "/".to_owned() };
            Tree::new(hierarchy, path.to_owned()).kept
        };
        let all = [kept("/theirs/c1"), kept(&format!("/{OF_BOXES}/c1")), kept(&format!("/theirs/{OF_BOXES}/c1"))];
        std::fs::remove_dir_all(&mount).unwrap();
        assert_eq!(all, [1, 0, 1]);
    }

    #[test]
    fn disabled_has_nothing() {
        let annotations = BTreeMap::new();
        let request =
            Request { id: "c1", path: None, driver: Driver::Disabled, annotations: &annotations, rootless: false };
        let record = Record::plan(&request).unwrap();
        assert_eq!((record.kind(), record.trees().len()), (None, 0));
    }
}
