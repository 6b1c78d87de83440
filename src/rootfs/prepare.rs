//! What only the host's rights can open, opened by the parent.
//!
//! The root of a user namespace may not search the folders that lead to its own rootfs or to a volume, and never may it
//! make an idmapped mount of a host's filesystem, or an overlay that keeps the owners of all files. So the parent makes
//! these trees; the child attaches them. In the plain case, no user namespace, no id mapping and no overlay, there is
//! nothing to do and nothing is done.

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::overlay;
use crate::error::{Context, Error, Result};
use crate::plan::{IdMap, IdmappedMount, Mount, MountKind, NamespaceKind, Plan};
use crate::sys::mount::Tree;
use crate::sys::userns;

/// Trees that the child finds open, or gets.
#[derive(Debug, Default)]
pub struct Prepared {
    root: Option<Tree>,
    binds: Vec<Prebound>,
}

/// The source of one bind mount.
#[derive(Debug)]
struct Prebound {
    /// [`Mount::index`]
    index: usize,
    tree: Tree,
    /// Whether the ids are mapped, so that no other clone will do.
    mapped: bool,
}

impl Prepared {
    /// The rootfs, where the child may be unable to reach it.
    pub(super) fn root(&self) -> Option<&Tree> {
        self.root.as_ref()
    }

    /// The idmapped source of a mount.
    pub(super) fn mapped(&self, mount: &Mount) -> Option<&Tree> {
        self.binds.iter().find(|bind| bind.index == mount.index && bind.mapped).map(|bind| &bind.tree)
    }

    /// The source of a mount, for a child that may not reach it.
    pub(super) fn source(&self, mount: &Mount) -> Option<&Tree> {
        self.binds.iter().find(|bind| bind.index == mount.index).map(|bind| &bind.tree)
    }
}

/// Opens what the child cannot. All descriptors are CLOEXEC.
///
/// # Errors
/// Where an idmapped mount cannot be made. What merely could not be opened here is left for the child to try, since
/// whoever runs without rights has no more of them here.
pub fn prepare(plan: &Plan) -> Result<Prepared> {
    let user_namespace = plan.namespaces.separate(NamespaceKind::User);
    let mut prepared = Prepared::default();
    let mut namespaces = Namespaces { plan, made: Vec::new() };
    if let Some(overlay) = &plan.rootfs.overlay {
        prepared.root = overlay::make(overlay).context(|| "the root")?;
    } else if user_namespace {
        prepared.root = Tree::open(&plan.rootfs.path, true).ok();
    }
    for mount in &plan.rootfs.mounts {
        let (source, recursive) = match &mount.kind {
            MountKind::Bind { source, recursive } => (source, recursive),
            MountKind::Overlay(overlay) => {
                let tree = overlay::make(overlay).context(|| format!("mounts[{}]", mount.index))?;
                prepared.binds.extend(tree.map(|tree| Prebound { index: mount.index, tree, mapped: false }));
                continue;
            }
            MountKind::Cgroup | MountKind::Filesystem { .. } | MountKind::Remount => continue,
        };
        let bind = match &mount.idmap {
            Some(idmap) => Some(mapped(source, *recursive, idmap, &mut namespaces))
                .transpose()
                .context(|| format!("mounts[{}]: map the ids of {source:?}", mount.index))?,
            None if user_namespace => Tree::open(source, *recursive).ok(),
            None => None,
        };
        prepared.binds.extend(bind.map(|tree| Prebound { index: mount.index, tree, mapped: mount.idmap.is_some() }));
    }
    Ok(prepared)
}

fn mapped(source: &Path, recursive: bool, idmap: &IdmappedMount, namespaces: &mut Namespaces<'_>) -> Result<Tree> {
    let tree = Tree::open(source, recursive).context(|| format!("open_tree {source:?}")).map_err(refusal)?;
    let namespace = namespaces.of(idmap)?;
    tree.map_ids(namespace.as_fd(), idmap.recursive).context(|| "mount_setattr").map_err(refusal)?;
    Ok(tree)
}

fn refusal(error: Error) -> Error {
    let hint = match error.errno() {
        Some(Errno::NOSYS) => "idmapped mounts need Linux 5.12",
        Some(Errno::INVAL) => "the filesystem of the source cannot map ids with this kernel",
        Some(Errno::PERM) => "only root of the user namespace that mounted the filesystem may map its ids",
        _ => return error,
    };
    error.hint(hint)
}

/// User namespaces that carry a mapping; mounts with the same mapping share one.
struct Namespaces<'a> {
    plan: &'a Plan,
    made: Vec<(String, String, OwnedFd)>,
}

impl Namespaces<'_> {
    fn of(&mut self, idmap: &IdmappedMount) -> Result<&OwnedFd> {
        let own = &self.plan.namespaces;
        let (uid, gid, joined) = match idmap.uid_map.is_empty() {
            false => (lines(&idmap.uid_map), lines(&idmap.gid_map), None),
            // The container's own namespace does not exist yet, unless it is one to be joined; an equal one will do.
            true => {
                let joined = own.join.iter().find(|(kind, _)| *kind == NamespaceKind::User);
                (lines(&own.uid_map), lines(&own.gid_map), joined)
            }
        };
        let place = self.made.iter().position(|(made_uid, made_gid, _)| (made_uid, made_gid) == (&uid, &gid));
        let place = match place {
            Some(place) => place,
            None => {
                let fd = match joined {
                    Some((_, path)) => rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                        .context(|| format!("open {path:?}"))?,
                    None => userns::mapping(&uid, &gid)?,
                };
                self.made.push((uid, gid, fd));
                self.made.len() - 1
            }
        };
        self.made.get(place).map(|(_, _, fd)| fd).ok_or_else(|| Error::new("no user namespace to map by"))
    }
}

/// The format of /proc/PID/uid_map.
fn lines(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
        text
    })
}
