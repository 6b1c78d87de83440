//! What is remembered of a container between two commands, and what the world is told of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::error::Result;
use crate::namespaces::id_helpers::user_name;
use crate::plan::{NamespaceKind, Plan, spec};
use crate::security::rdt;

/// The state file. Everything that a delete needs stands here before it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `ociVersion` of the bundle.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root filesystem, absolute.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The user id that made it.
    pub owner: u32,
    /// `annotations` of the bundle.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The container's first process; absent until it has been cloned.
    #[serde(default)]
    pub init: Option<Process>,
    /// Its cgroup.
    pub cgroup: cgroup::Record,
    /// Its resctrl group, where it has one.
    #[serde(default)]
    pub rdt: Option<rdt::Group>,
    /// Whether its pid namespace is its own: then all of it ends with its first process.
    pub own_pid_namespace: bool,
    /// Hooks that a delete runs.
    #[serde(default)]
    pub poststop: Vec<spec::Hook>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number in the namespace of the caller.
    pub pid: i32,
    /// Clock ticks from boot to its start: field 22 of /proc/PID/stat (proc_pid_stat(5)).
    pub started: u64,
}

/// `status` of the specification, and `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A create or run is at work.
    Creating,
    /// It waits for `start`.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended, or was never born.
    Stopped,
}

impl Status {
    /// The word that callers read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The state as the specification has it (runtime.md, "State"), with runc's additions.
#[allow(missing_docs, reason = "the names are the specification's")]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub oci_version: String,
    pub id: String,
    /// 0 once stopped.
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339.
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user that made it; the number where it has none.
    pub owner: String,
}

impl State {
    /// The first state of a container: nothing of it exists yet.
    ///
    /// # Errors
    /// Where the id cannot be the name of a resctrl group.
    pub fn new(id: &str, plan: &Plan, cgroup: cgroup::Record) -> Result<Self> {
        Ok(Self {
            oci_version: plan.oci_version.clone(),
            id: id.to_owned(),
            bundle: plan.bundle.clone(),
            rootfs: plan.rootfs.path.clone(),
            created: crate::time::now(),
            owner: rustix::process::getuid().as_raw(),
            annotations: plan.annotations.clone(),
            init: None,
            cgroup,
            rdt: plan.intel_rdt.as_ref().map(|rdt| rdt::Group::new(rdt, id)).transpose()?,
            own_pid_namespace: plan.namespaces.creates(NamespaceKind::Pid),
            poststop: plan.hooks.poststop.clone(),
        })
    }

    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The state that the world sees.
    pub fn report(&self, status: Status) -> Report {
        Report {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            pid: self.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid),
            status,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
            owner: user_name(self.owner),
        }
    }

    /// The JSON that hooks get on their standard input.
    pub fn hook_json(&self, status: Status) -> Vec<u8> {
        serde_json::to_vec(&self.report(status)).unwrap_or_default()
    }
}

impl Process {
    /// Finds out when a living process started.
    ///
    /// `None` where there is no such process, or it has ended and only its parent has not looked yet.
    pub fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero().get();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, format!("/proc/{pid}/stat"), flags, Mode::empty()).ok()?;
        // One line of numbers and a name of at most 64 bytes: it comes whole with one read.
        let mut stat = [0; 1024];
        let length = rustix::io::read(&file, &mut stat).ok()?;
        let (state, started) = parse_stat(&stat[..length])?;
        (state != b'Z' && state != b'X').then_some(Self { pid, started })
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        Pid::from_raw(self.pid).and_then(Self::of).is_some_and(|now| now.started == self.started)
    }
}

/// State letter and start time out of /proc/PID/stat. The name stands in parentheses and may itself hold any character,
/// so the fields are counted from its last one.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // Field 3 was the state; field 22 is the start time.
    Some((state, fields.nth(22 - 4)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) Z 1) (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77 20 21";
        assert_eq!(parse_stat(stat), Some((b'S', 77)));
    }

    #[test]
    fn this_process_is_alive_and_no_other_with_its_number() {
        let this = Process::of(rustix::process::getpid()).unwrap();
        assert!(this.is_alive());
        assert!(!Process { started: this.started + 1, ..this }.is_alive());
    }
}
