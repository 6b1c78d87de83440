//! The config.json that `myrt spec` writes: runc's defaults, so that what was written for the one runs under the other.

use super::spec::{
    Capabilities, DeviceRule, IdMapping, Mount, Namespace, Process, Resources, Rlimit, Root, Spec, User,
};

/// The specification that this runtime implements.
pub const VERSION: &str = "1.3.0";

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const ENVIRONMENT: [&str; 2] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"];

/// Destination, type, source, options.
const MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
    "/sys/devices/virtual/tpm",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Without the cgroup namespace: that is for v2 hosts.
const NAMESPACES: [&str; 5] = ["pid", "network", "ipc", "uts", "mount"];

/// A shell in a terminal, as root with three capabilities, in the bundle's folder `rootfs`.
///
/// `cgroup_v2` says whether the host has a single cgroup tree; then the container gets a view of its own part.
pub fn example(cgroup_v2: bool) -> Spec {
    let mut spec = Spec {
        oci_version: VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root { path: "rootfs".to_owned(), readonly: true }),
        hostname: Some("myrt".to_owned()),
        mounts: MOUNTS.map(mount).to_vec(),
        ..Spec::default()
    };
    let linux = &mut spec.linux;
    let cgroup = cgroup_v2.then_some("cgroup");
    linux.namespaces = NAMESPACES.into_iter().chain(cgroup).map(namespace).collect();
    linux.masked_paths = strings(&MASKED);
    linux.readonly_paths = strings(&READ_ONLY);
    let nothing = DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() };
    linux.resources.devices = vec![nothing];
    spec
}

/// The same for an ordinary user: root inside is that user outside, the network is the host's, and what only root could
/// do is left out.
pub fn rootless_example(cgroup_v2: bool, uid: u32, gid: u32) -> Spec {
    let mut spec = example(cgroup_v2);
    for mount in &mut spec.mounts {
        if mount.destination == "/sys" {
            // A new sysfs needs rights over the network namespace, which stays the host's.
            mount.r#type = Some("none".to_owned());
            mount.source = Some("/sys".to_owned());
            mount.options = strings(&["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        // No other id than the one own is mapped.
        mount.options.retain(|option| !option.starts_with("uid=") && !option.starts_with("gid="));
    }
    let linux = &mut spec.linux;
    linux.namespaces.retain(|namespace| namespace.r#type != "network");
    linux.namespaces.push(namespace("user"));
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    linux.resources = Resources::default();
    spec
}

fn process() -> Process {
    let capabilities = strings(&CAPABILITIES);
    Process {
        terminal: true,
        user: User::default(),
        args: strings(&["sh"]),
        env: strings(&ENVIRONMENT),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            ..Capabilities::default()
        }),
        rlimits: vec![Rlimit { r#type: "RLIMIT_NOFILE".to_owned(), hard: 1024, soft: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mount((destination, kind, source, options): (&str, &str, &str, &[&str])) -> Mount {
    Mount {
        destination: destination.to_owned(),
        r#type: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: strings(options),
        ..Mount::default()
    }
}

fn namespace(kind: &str) -> Namespace {
    Namespace { r#type: kind.to_owned(), path: None }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NamespaceKind, Plan, parse};
    use std::path::Path;

    /// Writes, reads back and checks, in a bundle that has a rootfs.
    fn plan(mut spec: Spec) -> Plan {
        let text = serde_json::to_vec(&spec).unwrap();
        assert_eq!(parse(&text, Path::new("config.json")).unwrap(), spec);
        spec.root = Some(Root { path: "/usr".to_owned(), readonly: true });
        Plan::new(spec, Path::new("/")).unwrap()
    }

    #[test]
    fn both_are_plans_without_warnings() {
        let plan_of_root = plan(example(true));
        assert!(plan_of_root.warnings.is_empty(), "{:?}", plan_of_root.warnings);
        assert!(plan_of_root.namespaces.creates(NamespaceKind::Cgroup));
        assert!(!plan(example(false)).namespaces.creates(NamespaceKind::Cgroup));
        let plan = plan(rootless_example(true, 1000, 100));
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
        assert!(plan.namespaces.creates(NamespaceKind::User) && !plan.namespaces.creates(NamespaceKind::Network));
        assert_eq!(plan.namespaces.gid_map[0].outside, 100);
    }
}
