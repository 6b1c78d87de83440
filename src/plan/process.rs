//! `process`: checks every field and resolves every name. The same door serves config.json and `exec --process`.
//!
//! The tables of names stand beside it: [`super::capability`], limits, schedule, cpulist.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::bail;
use crate::error::Result;

use super::{Capabilities, Process, capability, limits, schedule, spec};

/// The annotation by which the caller's supplementary groups stay.
pub const KEEPS_GROUPS: &str = "run.oci.keep_original_groups";

/// Whether the caller's supplementary groups stay: crun's annotation, by which Podman asks for it (`--group-add
/// keep-groups`). It is for files that a user may read by a group which cannot be mapped into a user namespace.
pub fn keeps_groups(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(KEEPS_GROUPS).is_some_and(|value| value == "1")
}

impl Process {
    /// Resolves `spec`; `field` is its path in the file at hand, `process` in config.json.
    ///
    /// # Errors
    /// For each value that no kernel could take; the message starts with the field.
    pub fn new(spec: &spec::Process, field: &str) -> Result<Self> {
        let mut warnings = Vec::new();
        if spec.args.is_empty() {
            bail!("{field}.args: there is no program to run");
        }
        if spec.args[0].is_empty() {
            bail!("{field}.args[0]: an empty string names no program");
        }
        no_zero_byte(&spec.args, field, "args")?;
        no_zero_byte(&spec.env, field, "env")?;
        if !spec.cwd.starts_with('/') {
            bail!("{field}.cwd: {:?} is not an absolute path", spec.cwd);
        }
        let umask = spec.user.umask;
        if umask.is_some_and(|umask| umask > 0o777) {
            bail!("{field}.user.umask: {:o} has more than permission bits", umask.unwrap_or_default());
        }
        for (name, id) in [("uid", spec.user.uid), ("gid", spec.user.gid)] {
            if id == u32::MAX {
                bail!("{field}.user.{name}: {id} stands for \"unchanged\" in Linux and is nobody's id");
            }
        }
        let oom_score_adj = spec.oom_score_adj;
        if oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            bail!("{field}.oomScoreAdj: {} is not within -1000 and 1000", oom_score_adj.unwrap_or_default());
        }
        let affinity = spec.exec_cpu_affinity.as_ref();
        Ok(Self {
            terminal: spec.terminal,
            console_size: spec
                .console_size
                .as_ref()
                .filter(|size| spec.terminal && (size.height, size.width) != (0, 0))
                .map(|size| (size.height, size.width)),
            uid: spec.user.uid,
            gid: spec.user.gid,
            umask,
            additional_gids: spec.user.additional_gids.clone(),
            keep_groups: false,
            args: spec.args.iter().map(OsString::from).collect(),
            env: environment(&spec.env, field, &mut warnings),
            cwd: PathBuf::from(&spec.cwd),
            capabilities: capabilities(spec.capabilities.as_ref(), field, &mut warnings)?,
            rlimits: limits::resolve(&spec.rlimits, field)?,
            no_new_privileges: spec.no_new_privileges,
            apparmor_profile: said(spec.apparmor_profile.as_ref()),
            selinux_label: said(spec.selinux_label.as_ref()),
            oom_score_adj,
            scheduler: spec.scheduler.as_ref().map(|it| schedule::scheduler(it, field)).transpose()?,
            io_priority: spec.io_priority.as_ref().map(|it| schedule::io_priority(it, field)).transpose()?,
            affinity_initial: affinity
                .map(|it| schedule::affinity(&it.initial, field, "initial"))
                .transpose()?
                .flatten(),
            affinity_final: affinity.map(|it| schedule::affinity(&it.r#final, field, "final")).transpose()?.flatten(),
            warnings,
        })
    }
}

/// An empty string says nothing.
fn said(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn no_zero_byte(strings: &[String], field: &str, name: &str) -> Result<()> {
    match strings.iter().position(|string| string.contains('\0')) {
        Some(index) => bail!("{field}.{name}[{index}]: it has a zero byte, which execve(2) cannot pass on"),
        None => Ok(()),
    }
}

/// Each name once: execve(2) would pass on both, libc's getenv(3) finds the first, but callers that append an override
/// mean the last.
fn environment(env: &[String], field: &str, warnings: &mut Vec<String>) -> Vec<OsString> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<OsString> = Vec::with_capacity(env.len());
    for (index, entry) in env.iter().enumerate().rev() {
        let name = match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() => name,
            _ => {
                warnings.push(format!("{field}.env[{index}]: {entry:?} is not of the form NAME=value"));
                entry
            }
        };
        if seen.insert(name) {
            kept.push(entry.into());
        }
    }
    kept.reverse();
    kept
}

/// The five sets, with what capset(2) and prctl(2) would refuse found out now.
fn capabilities(spec: Option<&spec::Capabilities>, field: &str, warnings: &mut Vec<String>) -> Result<Capabilities> {
    let Some(spec) = spec else { return Ok(Capabilities::default()) };
    let mut unknown = BTreeSet::new();
    let mut set = |names: &[String]| {
        let mut bits = 0;
        for name in names {
            match capability::bit(name) {
                Some(bit) => bits |= bit,
                None => drop(unknown.insert(name.clone())),
            }
        }
        bits
    };
    let mut sets = Capabilities {
        bounding: set(&spec.bounding),
        effective: set(&spec.effective),
        inheritable: set(&spec.inheritable),
        permitted: set(&spec.permitted),
        ambient: set(&spec.ambient),
    };
    for name in unknown {
        warnings.push(format!("{field}.capabilities: {name:?} is unknown and is left out"));
    }
    for (name, bits, of, allowed) in [
        ("effective", sets.effective, "permitted", sets.permitted),
        ("inheritable", sets.inheritable, "bounding", sets.bounding),
    ] {
        if bits & !allowed != 0 {
            let missing = capability::names(bits & !allowed);
            bail!("{field}.capabilities.{name}: {missing} must be in {of} as well (capabilities(7))");
        }
    }
    // PR_CAP_AMBIENT_RAISE refuses the others. Callers that cleared the inheritable set for CVE-2022-24769 leave some at
    // every start: a warning each time would be noise, and a second record for those who parse the log file as one object.
    sets.ambient &= sets.permitted & sets.inheritable;
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> serde_json::Value {
        serde_json::json!({"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"})
    }

    fn plan(patch: serde_json::Value) -> Result<Process> {
        let mut process = base();
        for (key, value) in patch.as_object().unwrap() {
            process[key] = value.clone();
        }
        Process::new(&serde_json::from_value(process).unwrap(), "process")
    }

    #[test]
    fn each_refusal_names_its_field() {
        let refused = [
            (serde_json::json!({"args": []}), "process.args:"),
            (serde_json::json!({"args": ["", "x"]}), "process.args[0]:"),
            (serde_json::json!({"args": ["a", "b\0"]}), "process.args[1]:"),
            (serde_json::json!({"env": ["A=\0"]}), "process.env[0]:"),
            (serde_json::json!({"cwd": "tmp"}), "process.cwd:"),
            (serde_json::json!({"cwd": ""}), "process.cwd:"),
            (serde_json::json!({"user": {"umask": 0o1000}}), "process.user.umask:"),
            (serde_json::json!({"user": {"uid": u32::MAX}}), "process.user.uid:"),
            (serde_json::json!({"oomScoreAdj": 1001}), "process.oomScoreAdj:"),
            (serde_json::json!({"rlimits": [{"type": "X", "soft": 1, "hard": 1}]}), "process.rlimits[0].type:"),
            (
                serde_json::json!({"rlimits": [
                    {"type": "RLIMIT_CPU", "soft": 1, "hard": 1},
                    {"type": "RLIMIT_CPU", "soft": 1, "hard": 1},
                ]}),
                "process.rlimits[1].type:",
            ),
            (serde_json::json!({"rlimits": [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}]}), "process.rlimits[0].soft:"),
            (serde_json::json!({"scheduler": {"policy": "X"}}), "process.scheduler.policy:"),
            (serde_json::json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}), "process.scheduler.nice:"),
            (serde_json::json!({"scheduler": {"policy": "SCHED_OTHER", "priority": 1}}), "process.scheduler.priority:"),
            (serde_json::json!({"scheduler": {"policy": "SCHED_FIFO"}}), "process.scheduler.priority:"),
            (serde_json::json!({"scheduler": {"policy": "SCHED_OTHER", "period": 1}}), "process.scheduler.period:"),
            (
                serde_json::json!({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}),
                "process.scheduler.flags[0]:",
            ),
            (serde_json::json!({"ioPriority": {"class": "X"}}), "process.ioPriority.class:"),
            (
                serde_json::json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}),
                "process.ioPriority.priority",
            ),
            (serde_json::json!({"execCPUAffinity": {"initial": "x"}}), "process.execCPUAffinity.initial:"),
            (serde_json::json!({"execCPUAffinity": {"final": "3-1"}}), "process.execCPUAffinity.final:"),
            (serde_json::json!({"capabilities": {"effective": ["CAP_KILL"]}}), "process.capabilities.effective:"),
            (serde_json::json!({"capabilities": {"inheritable": ["CAP_KILL"]}}), "process.capabilities.inheritable:"),
        ];
        for (patch, start) in refused {
            let error = plan(patch.clone()).expect_err(&patch.to_string()).to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn the_last_of_two_variables_wins() {
        let process = plan(serde_json::json!({"env": ["A=1", "B=2", "A=3", "=x", "bare"]})).unwrap();
        assert_eq!(process.env, ["B=2", "A=3", "=x", "bare"]);
        assert_eq!(process.warnings.len(), 2);
    }

    #[test]
    fn unknown_and_impossible_capabilities_are_left_out() {
        let process = plan(serde_json::json!({"capabilities": {
            "bounding": ["CAP_KILL", "CAP_FROM_THE_FUTURE"], "permitted": ["kill"], "ambient": ["CAP_KILL"],
        }}))
        .unwrap();
        assert_eq!(process.capabilities.bounding, 1 << 5);
        assert_eq!(process.capabilities.permitted, 1 << 5);
        assert_eq!(process.capabilities.ambient, 0);
        assert_eq!(process.warnings.len(), 1);
    }

    #[test]
    fn numbers_are_the_kernels() {
        let process = plan(serde_json::json!({
            "terminal": true, "consoleSize": {"height": 24, "width": 80},
            "scheduler": {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"],
                "runtime": 1, "deadline": 2, "period": 3},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7},
            "execCPUAffinity": {"initial": "0-1", "final": ""},
        }))
        .unwrap();
        assert_eq!(process.console_size, Some((24, 80)));
        assert_eq!(process.scheduler.unwrap().flags, 5);
        assert_eq!(process.io_priority, Some(3 << 13 | 7));
        assert_eq!(process.affinity_initial.as_deref(), Some(&[0, 1][..]));
        assert_eq!(process.affinity_final, None);
    }
}
