//! The plan of a run: a container whose root is the host's, and whose program is the caller's own.
//!
//! What keeps it in: a user namespace in which every id means itself, so that files keep their owners while no right
//! reaches beyond the container's own namespaces; no CAP_SYS_ADMIN in it and no user namespace below it, so that nothing
//! is mounted or unmounted, and what is hidden or read-only stays so; overlays without device nodes. Whoever is root
//! inside still owns the kernel's files that belong to root: what of /proc is no process's own is read-only or hidden,
//! and devices of the host are mounted read-only, which leaves them their use and keeps their modes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::{Rules, network, rights};
use crate::bail;
use crate::error::{Context, Result};
use crate::plan::{
    Capabilities, IdMap, Mount, MountKind, NamespaceKind, Namespaces, Overlay, Plan, capability, example, spec,
};
use crate::sys::exec::own_environment;

/// What of the network is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A loopback device of its own.
    #[default]
    None,
    /// One of its own, with outbound connections by NAT.
    Private,
    /// The host's.
    Host,
}

impl Network {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Private => "private",
            Self::Host => "host",
        }
    }
}

/// Everything of a run that is not the caller's own.
pub(super) struct Outline<'a> {
    /// Program and arguments.
    pub(super) command: &'a [OsString],
    /// What of the network is there.
    pub(super) network: Network,
    /// What [`namespaces`] gives for it.
    pub(super) namespaces: &'a Namespaces,
    /// What is made of a network of its own.
    pub(super) connection: &'a network::Prepared,
    /// Whether it gets a terminal of its own.
    pub(super) terminal: bool,
    /// Files and folders that are bound read-only.
    pub(super) binds: Vec<PathBuf>,
    /// Where an overlay stands, with its layer; the first is `/`.
    pub(super) overlays: Vec<(PathBuf, Overlay)>,
    /// Folders that are empty inside.
    pub(super) hidden: &'a [PathBuf],
    /// Sockets of the host that the program may connect to.
    pub(super) sockets: &'a [PathBuf],
    /// What is different from the host; true paths.
    pub(super) rules: &'a Rules,
}

/// Files of /proc, beside those that every container hides, that tell root about the whole machine's memory.
const HIDDEN: [&str; 5] = ["/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/vmcore"];

/// Files of /proc, beside those that every container may not write to, that an ordinary user has no use for. In root's boxes
/// they are read-only with the rest.
const READ_ONLY: [&str; 4] = ["/proc/driver", "/proc/dynamic_debug", "/proc/mtrr", "/proc/pressure"];

/// Makes the plan.
///
/// # Errors
/// Where something of the caller's own cannot be handed on.
pub(super) fn make(outline: Outline<'_>) -> Result<Plan> {
    let mut plan = Plan::new(spec(&outline)?, Path::new("/"))?;
    // What the caller may have in any bytes, and a config.json only as UTF-8.
    plan.process.args = outline.command.to_vec();
    plan.process.env = own_environment();
    plan.process.cwd = std::env::current_dir().context(|| "look up the working folder")?;
    plan.rootfs.masked_paths.extend(outline.hidden.iter().chain(&outline.rules.hide).cloned());
    plan.rootfs.read_only_trees = outline.rules.read_only_trees();
    // An ordinary user owns nothing there.
    plan.rootfs.machine_read_only = !rights::are_of_a_user();
    plan.own_first_process = true;
    plan.connected = outline.connection.connected;
    plan.process.capabilities = capabilities();
    // setgroups(2) is forbidden to an ordinary user: the groups stay, also those that the namespace has no number for.
    plan.process.keep_groups = rights::are_of_a_user();
    // In a user namespace of its own the program could mount what it likes, a cgroup hierarchy of root's among it.
    plan.sysctl.push(("user/max_user_namespaces".to_owned(), "0".to_owned()));
    let mut overlays = outline.overlays.into_iter();
    let Some((_, root)) = overlays.next().filter(|(path, _)| path == Path::new("/")) else {
        bail!("the host has no root that can be seen: /proc/self/mountinfo names none");
    };
    plan.rootfs.overlay = Some(root);
    let overlays = overlays.map(|(path, overlay)| (path, MountKind::Overlay(overlay)));
    let binds = outline.binds.into_iter().map(|path| {
        let kind = MountKind::Bind { source: path.clone(), recursive: false };
        (path, kind)
    });
    let through = outline.rules.through(outline.hidden).into_iter().map(|path| {
        // With what is mounted below, since this is the host's own.
        let kind = MountKind::Bind { source: path.clone(), recursive: true };
        (path, kind)
    });
    let empty = outline
        .rules
        .tmpfs
        .iter()
        .map(|path| (path.clone(), MountKind::Filesystem { kind: "tmpfs".to_owned(), source: "tmpfs".to_owned() }));
    let mut files: Vec<(PathBuf, MountKind)> = overlays.chain(binds).collect();
    // What is the host's own is no overlay, and neither is what is mounted in it.
    files.retain(|(path, _)| !outline.rules.write_through.iter().any(|through| path.starts_with(through)));
    // A folder before what is mounted in it.
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    let sockets =
        outline.sockets.iter().map(|path| (path.clone(), MountKind::Bind { source: path.clone(), recursive: false }));
    let resolver = outline.connection.resolver.iter().map(|(ours, hosts)| {
        let kind = MountKind::Bind { source: ours.clone(), recursive: false };
        (hosts.clone(), kind)
    });
    let fresh = std::mem::take(&mut plan.rootfs.mounts);
    let own = |(destination, kind): (PathBuf, MountKind)| mount(destination, kind);
    let no_devices = |mount| Mount { flags: MountFlags::NODEV, recursive_set: libc::MOUNT_ATTR_NODEV, ..mount };
    let through = through.map(own).map(no_devices);
    let empty = empty.map(own).map(|mount| Mount { flags: MountFlags::NODEV | MountFlags::NOSUID, ..mount });
    let files = files.into_iter().map(own).chain(through).chain(fresh);
    let all = files.chain(empty).chain(sockets.chain(resolver).map(own));
    plan.rootfs.mounts = all.enumerate().map(|(index, mount)| Mount { index, ..mount }).collect();
    Ok(plan)
}

fn mount(destination: PathBuf, kind: MountKind) -> Mount {
    let bind = matches!(kind, MountKind::Bind { .. });
    let flags = if bind { MountFlags::RDONLY | MountFlags::NODEV } else { MountFlags::empty() };
    let propagation: Vec<MountPropagationFlags> = Vec::new();
    Mount {
        index: 0,
        destination,
        kind,
        flags,
        cleared: MountFlags::empty(),
        recursive_set: 0,
        recursive_clear: 0,
        propagation,
        data: String::new(),
        copy_up: false,
        idmap: None,
    }
}

fn spec(outline: &Outline<'_>) -> Result<spec::Spec> {
    let mut spec = example::example(true);
    spec.hostname = None;
    spec.root = Some(spec::Root { path: "/".to_owned(), readonly: false });
    let example = spec.process.take().unwrap_or_default();
    spec.process = Some(process(outline, example)?);
    for mount in &mut spec.mounts {
        // As large as the host's own: half of the memory.
        mount.options.retain(|option| mount.destination != "/dev/shm" || !option.starts_with("size="));
        if mount.destination == "/sys" && outline.network == Network::Host {
            // A new sysfs would need rights over the host's network.
            mount.r#type = Some("none".to_owned());
            mount.source = Some("/sys".to_owned());
            // An ordinary user cannot take it apart from what is mounted below.
            let bind: &[&str] =
                if rights::are_of_a_user() { &["rbind", "rro", "rnosuid", "rnodev"] } else { &["bind"] };
            mount.options.extend(bind.iter().map(|option| (*option).to_owned()));
        }
    }
    let linux = &mut spec.linux;
    linux.resources = spec::Resources::default();
    linux.masked_paths.extend(HIDDEN.map(str::to_owned));
    if rights::are_of_a_user() {
        linux.readonly_paths.extend(READ_ONLY.map(str::to_owned));
    } else {
        // They are, with the rest.
        linux.readonly_paths.retain(|path| !path.starts_with("/proc/"));
    }
    let namespace = |kind: &NamespaceKind| spec::Namespace { r#type: kind.name().to_owned(), path: None };
    linux.namespaces = outline.namespaces.new.iter().map(namespace).collect();
    let mapping = |map: &IdMap| spec::IdMapping { container_id: map.inside, host_id: map.outside, size: map.count };
    linux.uid_mappings = outline.namespaces.uid_map.iter().map(mapping).collect();
    linux.gid_mappings = outline.namespaces.gid_map.iter().map(mapping).collect();
    Ok(spec)
}

/// The namespaces of a run: all but those for time, and for the network where that is the host's.
///
/// # Errors
/// Where the caller's own ids cannot be read.
pub(super) fn namespaces(network: Network) -> Result<Namespaces> {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network as OfNetwork, Pid, User, Uts};
    let mut new = vec![User, Mount, Pid, Ipc, Uts, Cgroup];
    if network != Network::Host {
        new.push(OfNetwork);
    }
    let (uid_map, gid_map) = (identity("/proc/self/uid_map")?, identity("/proc/self/gid_map")?);
    Ok(Namespaces { new, uid_map, gid_map, ..Namespaces::default() })
}

/// Each id that the caller's own user namespace knows, as itself.
fn identity(file: &str) -> Result<Vec<IdMap>> {
    let text = std::fs::read_to_string(file).context(|| format!("read {file}"))?;
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
        let (first, count) = (numbers.next()??, numbers.nth(1)??);
        Some(IdMap { inside: first, outside: first, count })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The caller, as it is, but for the words that [`make`] hands on; those stay the example's.
fn process(outline: &Outline<'_>, example: spec::Process) -> Result<spec::Process> {
    let groups =
        if rights::are_of_a_user() { Vec::new() } else { rustix::process::getgroups().context(|| "getgroups")? };
    // There is no other way to ask; this process has one thread.
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    Ok(spec::Process {
        terminal: outline.terminal,
        user: spec::User {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            umask: Some(umask.as_raw_mode()),
            additional_gids: groups.into_iter().map(|group| group.as_raw()).collect(),
        },
        // A setuid program gives an ordinary user nothing inside: root is none of the ids that the namespace knows.
        no_new_privileges: outline.rules.no_new_privileges || rights::are_of_a_user(),
        args: example.args,
        cwd: example.cwd,
        ..spec::Process::default()
    })
}

/// Rights over a machine, which the program has over its own namespaces at most. Most of them mean nothing there; those
/// over mounts and the network would let it undo what is hidden, and reach parts of the kernel that no installer needs.
const WITHHELD: [&str; 15] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_TIME",
    "WAKE_ALARM",
];

/// What the caller may do, but for what is withheld. An ordinary user may do nothing that takes a capability.
fn capabilities() -> Capabilities {
    if rights::are_of_a_user() {
        return Capabilities::default();
    }
    let own = rustix::thread::capabilities(None).map_or(0, |own| own.permitted.bits());
    let withheld = WITHHELD.iter().filter_map(|name| capability::bit(name)).fold(0, |all, bit| all | bit);
    let (bounding, allowed) = (capability::ALL & !withheld, own & !withheld);
    Capabilities { bounding, effective: allowed, permitted: allowed, inheritable: 0, ambient: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_withheld_right_has_a_number() {
        assert!(WITHHELD.iter().all(|name| capability::bit(name).is_some()));
    }
}
