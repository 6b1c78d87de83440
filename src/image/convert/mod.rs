//! The configuration of an image as config.json, by the conversion rules of the OCI image specification 1.1
//! (conversion.md); what the rules leave open is as Docker has it, so that an image finds what it was tried with.

mod user;

use std::collections::BTreeMap;
use std::path::Path;

use super::spec::Config;
use crate::error::Result;
use crate::plan::default_seccomp;
use crate::plan::example::example;
use crate::plan::spec::{Capabilities, IdMapping, Mount, Namespace, Process, Resources, Root, Spec};
use crate::sys::beneath::Beneath;
pub use user::Found;

/// What a container may do as root: Docker's default set.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Masked besides those of [`example`]: what tells of the host's power and interrupts, which leaks secrets by timing.
const MASKED: [&str; 2] = ["/proc/interrupts", "/sys/devices/virtual/powercap"];

/// Annotations with these beginnings tell a runtime what to do: groups to keep, properties of the unit, hooks. That is for
/// whoever runs a container to say, not for its image.
const ORDERS: [&str; 2] = ["run.oci.", "org.systemd.property."];

/// Where programs are looked for in an image that does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of a config.json is not the image's own.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The program and its arguments, in place of the image's `Cmd`.
    pub command: Vec<String>,
    /// Whether the program gets a terminal.
    pub terminal: bool,
    /// The container's host name.
    pub hostname: String,
    /// Whether the host has one cgroup tree; then the container sees its own part of it.
    pub cgroup_v2: bool,
    /// Whether the container shares the host's network.
    pub host_network: bool,
    /// The id maps of an ordinary user; empty for root, who needs no user namespace.
    pub maps: Maps,
}

/// The id maps of a container's user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// User ids: inside, outside, count.
    pub uids: Vec<(u32, u32, u32)>,
    /// Group ids.
    pub gids: Vec<(u32, u32, u32)>,
}

impl Maps {
    /// Whether there is one id alone: then whoever the image wants to be is the caller.
    pub fn is_single(&self) -> bool {
        matches!(self.uids[..], [(_, _, 1)])
    }
}

/// Makes config.json for an image whose files are in `rootfs`.
///
/// # Errors
/// Where the image names a user or group that it does not have.
pub fn convert(config: &Config, rootfs: &Beneath, wishes: &Wishes) -> Result<Spec> {
    let image = &config.config;
    let mut spec = example(wishes.cgroup_v2);
    spec.root = Some(Root { path: "rootfs".to_owned(), readonly: false });
    spec.hostname = Some(wishes.hostname.clone());
    spec.annotations = annotations(config);
    let user = user::find(rootfs, &image.user)?;
    spec.process = Some(Process {
        terminal: wishes.terminal,
        args: arguments(&image.entrypoint, &image.cmd, &wishes.command),
        env: environment(&image.env, wishes.terminal),
        cwd: working_folder(&image.working_dir),
        capabilities: Some(capabilities(user.uid)),
        no_new_privileges: false,
        user: user.as_process(wishes.maps.is_single()),
        ..Process::default()
    });
    spec.mounts.extend(image.volumes.keys().map(|path| volume(path)));
    let linux = &mut spec.linux;
    linux.masked_paths.extend(MASKED.map(str::to_owned));
    linux.seccomp = Some(default_seccomp::profile());
    if wishes.host_network {
        linux.namespaces.retain(|namespace| namespace.r#type != "network");
        share_network(&mut spec);
    }
    if !wishes.maps.uids.is_empty() {
        user_namespace(&mut spec, &wishes.maps, &user);
    }
    Ok(spec)
}

/// `Entrypoint`, then what the caller wants in place of `Cmd`; a shell where nobody says anything.
fn arguments(entrypoint: &[String], image: &[String], wanted: &[String]) -> Vec<String> {
    let command = if wanted.is_empty() { image } else { wanted };
    let arguments = [entrypoint, command].concat();
    if arguments.is_empty() { vec!["sh".to_owned()] } else { arguments }
}

fn environment(image: &[String], terminal: bool) -> Vec<String> {
    let has = |name: &str| image.iter().any(|variable| variable.starts_with(name));
    let path = (!has("PATH=")).then(|| PATH.to_owned());
    let term = (terminal && !has("TERM=")).then(|| "TERM=xterm".to_owned());
    path.into_iter().chain(term).chain(image.iter().cloned()).collect()
}

/// An image may say a path that is relative to the root.
fn working_folder(image: &str) -> String {
    if image.starts_with('/') { image.to_owned() } else { format!("/{image}") }
}

/// Root gets them all. Another user can only get them by a program that has them, within these bounds.
fn capabilities(uid: u32) -> Capabilities {
    let all = CAPABILITIES.map(str::to_owned).to_vec();
    let held = if uid == 0 { all.clone() } else { Vec::new() };
    Capabilities { bounding: all, effective: held.clone(), permitted: held, ..Capabilities::default() }
}

/// A volume that nobody provides is memory that begins with what the image has there.
fn volume(path: &str) -> Mount {
    Mount {
        destination: format!("/{}", path.trim_start_matches('/')),
        r#type: Some("tmpfs".to_owned()),
        source: Some("tmpfs".to_owned()),
        options: ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec(),
        ..Mount::default()
    }
}

/// The annotations that the rules name; the image's labels go over them.
fn annotations(config: &Config) -> BTreeMap<String, String> {
    let image = &config.config;
    let ports: Vec<&str> = image.exposed_ports.keys().map(String::as_str).collect();
    let own = [
        ("os", Some(config.os.clone())),
        ("architecture", Some(config.architecture.clone())),
        ("variant", config.variant.clone()),
        ("os.version", config.os_version.clone()),
        ("os.features", Some(config.os_features.join(","))),
        ("author", config.author.clone()),
        ("created", config.created.clone()),
        ("stopSignal", Some(image.stop_signal.clone())),
        ("exposedPorts", Some(ports.join(","))),
    ];
    let own = own.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((format!("org.opencontainers.image.{name}"), value))
    });
    let labels = image.labels.iter().filter(|(name, _)| !ORDERS.iter().any(|order| name.starts_with(order)));
    own.chain(labels.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// A new sysfs shows the interfaces of the network namespace it is made in, and needs rights over that.
fn share_network(spec: &mut Spec) {
    let shared = |mount: &mut Mount, path: &str| {
        mount.r#type = Some("none".to_owned());
        mount.source = Some(path.to_owned());
        mount.options = ["rbind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    };
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == "/sys") {
        shared(mount, "/sys");
    }
    // Names are resolved as on the host.
    for path in ["/etc/resolv.conf", "/etc/hosts"].into_iter().filter(|path| Path::new(path).exists()) {
        let mut mount = Mount { destination: path.to_owned(), ..Mount::default() };
        shared(&mut mount, path);
        spec.mounts.push(mount);
    }
}

fn user_namespace(spec: &mut Spec, maps: &Maps, user: &Found) {
    let linux = &mut spec.linux;
    linux.namespaces.push(Namespace { r#type: "user".to_owned(), path: None });
    // With one id, the one that the image wants to be is the caller.
    let single = maps.is_single();
    let lines = |map: &[(u32, u32, u32)], wanted: u32| -> Vec<IdMapping> {
        let line = |(inside, outside, size): &(u32, u32, u32)| IdMapping {
            container_id: if single { wanted } else { *inside },
            host_id: *outside,
            size: *size,
        };
        map.iter().map(line).collect()
    };
    linux.uid_mappings = lines(&maps.uids, user.uid);
    linux.gid_mappings = lines(&maps.gids, user.gid);
    // What only the host's root could do.
    linux.resources = Resources::default();
    if single {
        for mount in &mut spec.mounts {
            mount.options.retain(|option| !option.starts_with("uid=") && !option.starts_with("gid="));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Plan;

    /// A root filesystem with users.
    struct Rootfs(std::path::PathBuf);

    impl Rootfs {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("myrt-convert-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("rootfs/etc")).unwrap();
            std::fs::write(path.join("rootfs/etc/passwd"), "root:x:0:0::/root:\nweb:x:33:34::/srv:\n").unwrap();
            std::fs::write(path.join("rootfs/etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:40:web,x\n").unwrap();
            Self(path)
        }
        fn convert(&self, config: serde_json::Value, wishes: &Wishes) -> Result<Spec> {
            let config: Config = serde_json::from_value(config).unwrap();
            let spec = convert(&config, &Beneath::open(&self.0.join("rootfs")).unwrap(), wishes)?;
            // Each is a plan of the runtime's, without a warning.
            let plan = Plan::new(spec.clone(), &self.0).unwrap();
            assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
            Ok(spec)
        }
    }

    impl Drop for Rootfs {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn image() -> serde_json::Value {
        json!({
            "created": "2026-01-02T03:04:05Z", "author": "somebody", "os": "linux", "architecture": "amd64",
            "config": {
                "User": "web", "Env": ["A=1"], "Entrypoint": ["/entry", "-x"], "Cmd": ["serve"],
                "WorkingDir": "srv", "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
                "Labels": { "org.opencontainers.image.author": "a label", "own": "1",
                            "run.oci.keep_original_groups": "1", "org.systemd.property.TasksMax": "uint64 9" }, "StopSignal": "SIGQUIT",
            },
        })
    }

    #[test]
    fn everything_that_the_rules_name_arrives() {
        let rootfs = Rootfs::new("rules");
        let spec = rootfs.convert(image(), &Wishes { hostname: "box".to_owned(), ..Wishes::default() }).unwrap();
        let process = spec.process.unwrap();
        assert_eq!(process.args, ["/entry", "-x", "serve"]);
        assert_eq!(process.env, [PATH, "A=1"]);
        assert_eq!(process.cwd, "/srv");
        assert_eq!((process.user.uid, process.user.gid, &process.user.additional_gids[..]), (33, 34, &[34, 40][..]));
        assert!(process.capabilities.unwrap().effective.is_empty());
        let annotation = |name: &str| spec.annotations.get(name).map(String::as_str);
        assert_eq!(annotation("org.opencontainers.image.author"), Some("a label"));
        assert_eq!(annotation("org.opencontainers.image.exposedPorts"), Some("53/udp,80/tcp"));
        assert_eq!(annotation("org.opencontainers.image.stopSignal"), Some("SIGQUIT"));
        assert_eq!(annotation("own"), Some("1"));
        let no_orders = ["run.oci.keep_original_groups", "org.systemd.property.TasksMax"];
        for absent in ["org.opencontainers.image.variant"].into_iter().chain(no_orders) {
            assert_eq!(annotation(absent), None, "{absent}");
        }
        assert!(spec.mounts.iter().any(|mount| mount.destination == "/data"));
        assert_eq!(spec.hostname.as_deref(), Some("box"));
    }

    #[test]
    fn the_caller_replaces_the_command_alone() {
        let rootfs = Rootfs::new("command");
        let wishes = Wishes { command: vec!["status".to_owned()], terminal: true, ..Wishes::default() };
        let process = rootfs.convert(image(), &wishes).unwrap().process.unwrap();
        assert_eq!(process.args, ["/entry", "-x", "status"]);
        assert!(process.terminal && process.env.contains(&"TERM=xterm".to_owned()));
        let process = rootfs.convert(json!({ "config": {} }), &Wishes::default()).unwrap().process.unwrap();
        assert_eq!(process.args, ["sh"]);
    }

    #[test]
    fn an_ordinary_user_gets_a_user_namespace() {
        let rootfs = Rootfs::new("maps");
        let maps =
            Maps { uids: vec![(0, 1000, 1), (1, 100_000, 65_536)], gids: vec![(0, 1000, 1), (1, 100_000, 65_536)] };
        let spec = rootfs.convert(image(), &Wishes { maps, ..Wishes::default() }).unwrap();
        assert_eq!((spec.linux.uid_mappings.len(), spec.linux.uid_mappings[1].container_id), (2, 1));
        let maps = Maps { uids: vec![(0, 1000, 1)], gids: vec![(0, 1001, 1)] };
        let spec = rootfs.convert(image(), &Wishes { maps, host_network: true, ..Wishes::default() }).unwrap();
        assert_eq!((spec.linux.uid_mappings[0].container_id, spec.linux.gid_mappings[0].container_id), (33, 34));
        assert!(spec.process.unwrap().user.additional_gids.is_empty());
        assert!(spec.mounts.iter().all(|mount| !mount.options.iter().any(|option| option.starts_with("gid="))));
    }

    #[test]
    fn root_has_the_capabilities() {
        let rootfs = Rootfs::new("root");
        let spec = rootfs.convert(json!({ "config": { "Cmd": ["sh"] } }), &Wishes::default()).unwrap();
        let process = spec.process.unwrap();
        assert_eq!((process.capabilities.unwrap().effective.len(), &*process.cwd), (14, "/"));
        assert_eq!(process.user.uid, 0);
    }
}
