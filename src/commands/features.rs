//! `myrt features`: what this runtime can do, as callers ask before they rely on it (runtime-spec, features.md).
//!
//! Everything comes from the tables that the plan checks with, so the answer cannot drift from what is done.

use serde_json::{Value, json};

use super::output;
use crate::cli::{Command, Group};
use crate::plan::{NamespaceKind, capability, example, hooks, memory, mounts, process, seccomp};

/// The row.
pub const COMMAND: Command = Command {
    name: "features",
    group: Group::Host,
    about: "Print what this runtime can do, as JSON",
    words: "",
    details: "
It tells what myrt knows, whatever this host can do, but for the seccomp flags of this kernel; for
the host there is `myrt check`.

Example:
  myrt features | jq .linux.namespaces",
    flags: &[],
    run: |_, _| {
        output::json_indented(&features())?;
        Ok(0)
    },
};

/// Annotations that change what happens on the host or which of its rights the program keeps; a caller who lets strangers
/// write annotations must filter these. One that ends in a dot stands for all that begin with it.
const UNSAFE_ANNOTATIONS: [&str; 2] = ["org.systemd.property.", process::KEEPS_GROUPS];

fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": example::VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": mounts::mount_option_names(),
        "linux": {
            "namespaces": sorted(NamespaceKind::ALL.map(NamespaceKind::name)),
            "capabilities": capability::NAMES.map(|name| format!("CAP_{name}")).to_vec(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": sorted(seccomp::ACTIONS.map(|(name, _)| name)),
                "operators": sorted(seccomp::OPERATORS.map(|(name, _)| name)),
                "archs": sorted(seccomp::ARCHITECTURES),
                "knownFlags": seccomp::FLAGS.map(|(name, _)| name),
                "supportedFlags": crate::security::seccomp::supported_flags(),
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": memory::MODES.map(|(name, ..)| name),
                "flags": memory::MODE_FLAGS.map(|(name, _)| name),
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": {
            "myrt.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

fn sorted<const N: usize>(mut names: [&'static str; N]) -> Vec<&'static str> {
    names.sort_unstable();
    names.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_looks_for_is_there() {
        let features = features();
        let has = |pointer: &str, name: &str| {
            features.pointer(pointer).and_then(Value::as_array).is_some_and(|list| list.iter().any(|item| item == name))
        };
        assert!(has("/linux/namespaces", "user") && has("/linux/namespaces", "time"));
        assert!(has("/mountOptions", "rro") && has("/mountOptions", "tmpcopyup"));
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"));
        assert!(has("/linux/capabilities", "CAP_CHECKPOINT_RESTORE"));
        assert!(has("/hooks", "startContainer"));
        assert!(has("/potentiallyUnsafeConfigAnnotations", "run.oci.keep_original_groups"));
        assert_eq!(features.pointer("/linux/mountExtensions/idmap/enabled"), Some(&Value::Bool(true)));
    }
}
