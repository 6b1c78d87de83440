//! Making a container's cgroups: folders, and on v2 the controllers on the way down.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::file;
use super::record::{Record, Tree};
use super::tree;
use crate::bail;
use crate::error::{Context, Error, Result};

/// What was made so far; removed again, last first, unless it is kept.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// All went well: nothing is removed.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // The error that led here says more than one about a folder that could not be removed.
            let _ = rustix::fs::rmdir(folder);
        }
    }
}

/// How often a parent may vanish. Boxes that come and go share one.
const ATTEMPTS: u32 = 64;

/// Makes the cgroup of one hierarchy. One that is there already is taken over when it is empty.
///
/// # Errors
/// Where it may not be made, or processes live in it.
pub(super) fn folder(tree: &Tree, made: &mut Made) -> Result<()> {
    let leaf = tree.folder();
    // Somebody who removes an empty parent at the same moment makes this fail once, not for ever.
    for _ in 0..ATTEMPTS {
        match rustix::fs::mkdir(&leaf, Mode::from(0o755)) {
            Ok(()) => {
                made.0.push(leaf.clone());
                // From here on nobody removes a parent.
                if tree.has("cpuset") {
                    inherit_cpuset(&leaf, true)?;
                }
                return Ok(());
            }
            Err(Errno::EXIST) => return take_over(tree, &leaf),
            Err(Errno::NOENT | Errno::NODEV) => match parents(tree, made) {
                Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => {}
                other => other?,
            },
            Err(errno) => return Err(errno).context(|| format!("make the cgroup {}", leaf.display())),
        }
    }
    Err(Error::call(format!("make the cgroup {}", leaf.display()), Errno::NOENT))
}

/// Makes the folders above the leaf.
fn parents(tree: &Tree, made: &mut Made) -> Result<()> {
    let mut folder = tree.mount.clone();
    let mut names = tree.path.split('/').skip(1).peekable();
    while let Some(name) = names.next() {
        folder.push(name);
        if names.peek().is_none() {
            break;
        }
        match rustix::fs::mkdir(&folder, Mode::from(0o755)) {
            Ok(()) => made.0.push(folder.clone()),
            Err(Errno::EXIST) => continue,
            Err(errno) => return Err(errno).context(|| format!("make the cgroup {}", folder.display())),
        }
        if tree.has("cpuset") {
            inherit_cpuset(&folder, true)?;
        }
    }
    Ok(())
}

/// Checks a cgroup that is there already: a leftover, or one prepared for us.
fn take_over(tree: &Tree, leaf: &Path) -> Result<()> {
    let pids = tree::pids(leaf).context(|| format!("read the processes of the cgroup {}", leaf.display()))?;
    if !pids.is_empty() {
        return Err(Error::new(format!(
            "the container's cgroup is not empty: {} process(es) live in {}",
            pids.len(),
            leaf.display(),
        ))
        .hint("another container uses it: choose another linux.cgroupsPath, or end those processes"));
    }
    // What enters a frozen cgroup never runs, and whoever froze it has had a reason.
    if is_frozen(tree, leaf) {
        return Err(Error::new(format!("the container's cgroup unexpectedly frozen: {}", leaf.display()))
            .hint("thaw it, or remove it: it is empty"));
    }
    if tree.has("cpuset") {
        inherit_cpuset(leaf, false)?;
    }
    Ok(())
}

/// Whether a cgroup is frozen. The file is missing only where there is no freezer either.
fn is_frozen(tree: &Tree, leaf: &Path) -> bool {
    let (name, thawed) = if tree.is_v2() { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
    (tree.is_v2() || tree.has("freezer")) && file::read_line(leaf, name).is_ok_and(|state| state != thawed)
}

/// Gives a v1 cpuset without CPUs or memory nodes what the one above has: nothing can enter it so. A new one starts like
/// this, which needs no look, and whoever made the folders above may have left them so as well.
fn inherit_cpuset(folder: &Path, new: bool) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let what = |folder: &Path| format!("linux.resources.cpu: copy {name} to {}", folder.display());
        let mut empty = Vec::from_iter(new.then_some(folder));
        let mut value = String::new();
        for above in folder.ancestors().skip(empty.len()) {
            value = match file::read_line(above, name) {
                Ok(value) => value,
                // Above the hierarchy's root.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno).context(|| what(above)),
            };
            if !value.is_empty() {
                break;
            }
            empty.push(above);
        }
        for below in empty.iter().rev() {
            file::write(below, name, &value).context(|| what(below))?;
        }
    }
    Ok(())
}

/// Passes on, from the root of a v2 tree down to the container's cgroup, every controller that there is: callers read
/// statistics of them all, and a container that runs containers needs them too. Best effort: the limits that need a
/// controller find out whether it is there.
pub(super) fn controllers(tree: &Tree) {
    let words = |folder: &Path, name: &str| -> BTreeSet<String> {
        let text = file::read_line(folder, name).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let leaf = tree.folder();
    let all = words(&tree.mount, "cgroup.controllers");
    // The normal case, from the second container on.
    if all.is_empty() || all.is_subset(&words(&leaf, "cgroup.controllers")) {
        return;
    }
    let mut folder = tree.mount.clone();
    for name in tree.path.split('/').skip(1) {
        let here = words(&folder, "cgroup.controllers");
        let missing: Vec<String> =
            here.difference(&words(&folder, "cgroup.subtree_control")).map(|name| format!("+{name}")).collect();
        if !missing.is_empty() {
            match file::write(&folder, "cgroup.subtree_control", &missing.join(" ")) {
                // Not ours to change; or a cgroup with processes of its own, which would become a threaded one if it were
                // given some controllers and not others.
                Ok(()) | Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::BUSY) => {}
                // One that cannot be had (cpu while realtime processes run, for instance) does not stop the others.
                Err(_) => missing.iter().for_each(|name| {
                    let _ = file::write(&folder, "cgroup.subtree_control", name);
                }),
            }
        }
        folder.push(name);
    }
}

/// Waits until whoever is passing controllers on to this cgroup has done so: the kernel lets one write at a time to any
/// cgroup.subtree_control, and what stands there already changes nothing.
pub(super) fn wait_for_controllers(tree: &Tree) {
    for folder in tree.folder().ancestors().skip(1).take_while(|folder| folder.starts_with(&tree.mount)) {
        let there = file::read_line(folder, "cgroup.subtree_control").unwrap_or_default();
        let same: Vec<String> = there.split_whitespace().map(|name| format!("+{name}")).collect();
        let _ = file::write(folder, "cgroup.subtree_control", &same.join(" "));
    }
}

/// Says why a process cannot enter a v2 cgroup, after the kernel refused with EOPNOTSUPP or EBUSY.
pub(super) fn explain_refusal(tree: &Tree, errno: Errno) -> Error {
    let leaf = tree.folder();
    let error = Error::call(format!("enter the cgroup {}", leaf.display()), errno);
    match (errno, file::read(&leaf, "cgroup.type").unwrap_or_default().trim()) {
        (Errno::OPNOTSUPP, kind @ ("domain invalid" | "threaded" | "domain threaded")) => error.hint(format!(
            "its type is {kind:?}, because a cgroup above it is threaded: choose another linux.cgroupsPath"
        )),
        (Errno::BUSY, _) => {
            error.hint("it passes controllers on to cgroups below, so it can hold no processes of its own")
        }
        (Errno::ACCESS | Errno::PERM, _) => error.hint(
            "moving a process needs write access to the nearest cgroup above both places: start from a session \
                        inside, for instance by `systemd-run --user --scope`",
        ),
        _ => error,
    }
}

/// Says why a process cannot enter a v1 cgroup.
pub(super) fn explain_v1_refusal(folder: &Path, errno: Errno) -> Error {
    let error = Error::call(format!("enter the cgroup {}", folder.display()), errno);
    match errno {
        Errno::NOSPC => error.hint("its cpuset.cpus or cpuset.mems is empty: write the CPUs and memory nodes there"),
        _ => error,
    }
}

/// What an ordinary user is told whose container gets no cgroup at all; `lost` is a limit that was asked for.
pub(super) fn run_without(lost: Option<String>, refused: &Error) -> String {
    let limits = lost.map_or_else(|| "limits".to_owned(), |field| format!("limits ({field})"));
    format!(
        "the container runs without a cgroup of its own, so without {limits}, statistics and pause: {refused} ({})",
        super::limits::NOT_DELEGATED
    )
}

/// Refuses limits for a container that has no cgroup at all.
pub(super) fn refuse_limit(field: Option<String>, record: &Record) -> Result<()> {
    match field {
        Some(field) if record.rootless => {
            Err(Error::new(format!("{field}: this user may not make a cgroup, so there is nothing to limit"))
                .hint(super::limits::NOT_DELEGATED))
        }
        Some(field) => bail!("{field}: cgroups are disabled for this container"),
        None => Ok(()),
    }
}
