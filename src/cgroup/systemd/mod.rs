//! The systemd driver: a container is a transient scope, which systemd makes around its first process.
//!
//! `properties` turns limits into the unit's properties, `annotations` reads further ones, both purely; `bus` talks, as whom
//! `identity` says. What systemd has no property for is written into the scope's cgroup afterwards, and so is everything
//! else, for the exact values: systemd rounds some.

pub(super) mod annotations;
mod bus;
pub(super) mod identity;
mod private;
mod properties;

use std::path::Path;

use super::file;
use super::layout::{own_v2, parse_line};
use super::record::{Record, Tree, Unit};
use crate::error::{Context, Error, Result};
use crate::plan::spec::Resources;

/// Checks, before anything is made, that the unit's properties can be said.
pub(super) fn check(record: &Record, resources: &Resources) -> Result<()> {
    let pure_v2 = is_pure_v2(record);
    record.unit.as_ref().map_or(Ok(()), |unit| properties::of_new_unit(unit, resources, pure_v2, 1).map(drop))
}

/// Whether systemd manages controllers the v2 way.
fn is_pure_v2(record: &Record) -> bool {
    record.kind() == Some(super::layout::Kind::V2)
}

/// Makes the unit around a process and waits until that process is inside. Corrects the paths of the record by where
/// systemd really put it.
pub(super) fn start(record: &mut Record, resources: &Resources, pid: i32) -> Result<()> {
    let Some(unit) = &record.unit else { return Ok(()) };
    let pid = u32::try_from(pid).map_err(|_| Error::new(format!("{pid} is no process id")))?;
    let all = properties::of_new_unit(unit, resources, is_pure_v2(record), pid)?;
    bus::Manager::connect(unit.user)?.start(&unit.name, &all)?;
    let text = file::read_path(Path::new(&format!("/proc/{pid}/cgroup")))
        .context(|| format!("read /proc/{pid}/cgroup after systemd made {}", unit.name))?;
    let name = unit.name.clone();
    for tree in &mut record.trees {
        if let Some(path) = placed(&text, tree).filter(|path| path.ends_with(&format!("/{name}"))) {
            tree.path = path;
        }
    }
    Ok(())
}

/// Where the text of /proc/PID/cgroup has a process in this hierarchy.
fn placed(text: &str, tree: &Tree) -> Option<String> {
    if tree.is_v2() {
        return Some(own_v2(text));
    }
    text.lines().filter_map(parse_line).find(|(names, _)| *names == tree.controllers).map(|(_, path)| path.to_owned())
}

/// Moves a further process into the unit.
pub(super) fn attach(unit: &Unit, pid: u32) -> Result<()> {
    bus::Manager::connect(unit.user)?.attach(&unit.name, pid)
}

/// Changes the limits of the unit.
pub(super) fn update(record: &Record, resources: &Resources) -> Result<()> {
    let Some(unit) = &record.unit else { return Ok(()) };
    let all = properties::of_limits(resources, is_pure_v2(record))?;
    if all.is_empty() {
        return Ok(());
    }
    bus::Manager::connect(unit.user)?.set(&unit.name, &all)
}

/// Ends the unit. One that is gone is fine; so is a systemd that cannot be reached, as long as the folders are gone
/// afterwards, which the caller sees to.
pub(super) fn stop(unit: &Unit) -> Result<()> {
    bus::Manager::connect(unit.user)?.stop(&unit.name)
}

/// Whether the manager can be reached: which bus, and its version or why not.
pub(super) fn reachable(user: bool) -> Result<String> {
    bus::Manager::connect(user)?.version()
}
