//! The plan: everything that config.json asks for, resolved and checked, before anything privileged happens.
//!
//! Pure data. [`load()`] reads a bundle's config.json into a [`spec::Spec`]; [`Plan::new`] checks it and resolves every
//! default; after that door nothing looks at the JSON again. Each refusal names the JSON field. The one part of the
//! specification that lives on is [`spec::Resources`], where "not said" is a value of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::mount::{MountFlags, MountPropagationFlags};

pub mod capability;
mod check;
mod cpulist;
pub mod default_seccomp;
pub mod example;
mod filter;
pub mod hooks;
pub mod id;
mod json_path;
mod limits;
pub mod load;
pub mod memory;
pub mod mounts;
mod namespaces;
mod net;
pub mod process;
mod program;
mod rdt;
pub mod rootfs;
mod schedule;
pub mod seccomp;
pub mod spec;
pub mod syscalls;
mod sysctl;

pub use filter::{Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompOp, SeccompRule};
pub use id::ContainerId;
pub use load::{load, parse, parse_process, parse_resources, parse_seccomp, read, read_file};
pub use program::{Capabilities, MemoryPolicy, Process, Rlimit, Scheduler};
pub use sysctl::holder as sysctl_holder;

/// A container, as it is going to be.
#[derive(Debug)]
pub struct Plan {
    /// `ociVersion`, as the bundle says it.
    pub oci_version: String,
    /// The bundle: absolute, without symlinks.
    pub bundle: PathBuf,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `hostname`; refused without a new UTS namespace or one joined by path.
    pub hostname: Option<String>,
    /// `domainname`, likewise.
    pub domainname: Option<String>,
    /// `process`.
    pub process: Process,
    /// `linux.namespaces` and what goes with them.
    pub namespaces: Namespaces,
    /// `root`, `mounts`, `linux.devices` and what else makes the filesystem.
    pub rootfs: Rootfs,
    /// `linux.sysctl`, keys as paths below /proc/sys (`net/ipv4/ip_forward`).
    pub sysctl: Vec<(String, String)>,
    /// `linux.netDevices`.
    pub net_devices: Vec<NetDevice>,
    /// `linux.cgroupsPath`, as the bundle says it.
    pub cgroups_path: Option<String>,
    /// `linux.resources`.
    pub resources: spec::Resources,
    /// `linux.intelRdt`.
    pub intel_rdt: Option<spec::IntelRdt>,
    /// `linux.seccomp`.
    pub seccomp: Option<Seccomp>,
    /// `linux.personality`: the argument of personality(2).
    pub personality: Option<u64>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
    /// `hooks`.
    pub hooks: spec::Hooks,
    /// Whether the first process of the pid namespace is one of the runtime's own, and the program another one. Never said by
    /// a config.json.
    pub own_first_process: bool,
    /// Whether the caller itself connects the network namespace before the program starts. Never said by a config.json.
    pub connected: bool,
    /// What was tolerated and is worth a line in the log, the process's included.
    pub warnings: Vec<String>,
}

/// The eight kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespaceKind {
    /// `user`
    User,
    /// `pid`
    Pid,
    /// `mount`
    Mount,
    /// `network`
    Network,
    /// `uts`
    Uts,
    /// `ipc`
    Ipc,
    /// `cgroup`
    Cgroup,
    /// `time`
    Time,
}

impl NamespaceKind {
    /// All kinds, in the order in which they are joined: the user namespace first, since it gives the rights to the rest.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Ipc, Self::Uts, Self::Network, Self::Pid, Self::Time, Self::Cgroup, Self::Mount];

    /// The name in config.json.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The name below /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        self.row().1
    }

    /// The CLONE_NEW* bit of clone(2), which also is setns(2)'s.
    pub fn flag(self) -> u64 {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, u64) {
        let (name, proc_name, flag) = match self {
            Self::User => ("user", "user", libc::CLONE_NEWUSER),
            Self::Pid => ("pid", "pid", libc::CLONE_NEWPID),
            Self::Mount => ("mount", "mnt", libc::CLONE_NEWNS),
            Self::Network => ("network", "net", libc::CLONE_NEWNET),
            Self::Uts => ("uts", "uts", libc::CLONE_NEWUTS),
            Self::Ipc => ("ipc", "ipc", libc::CLONE_NEWIPC),
            Self::Cgroup => ("cgroup", "cgroup", libc::CLONE_NEWCGROUP),
            Self::Time => ("time", "time", libc::CLONE_NEWTIME),
        };
        (name, proc_name, flag as u64)
    }
}

/// `linux.namespaces`: a kind that is in neither list is shared with the caller.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Kinds to create.
    pub new: Vec<NamespaceKind>,
    /// Kinds to join, with the path of each, in the order of [`NamespaceKind::ALL`].
    pub join: Vec<(NamespaceKind, PathBuf)>,
    /// `linux.uidMappings`; never empty when a user namespace is created.
    pub uid_map: Vec<IdMap>,
    /// `linux.gidMappings`.
    pub gid_map: Vec<IdMap>,
    /// `linux.timeOffsets`: clock name (`monotonic`, `boottime`), seconds, nanoseconds.
    pub time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    /// Whether a new namespace of this kind is created.
    pub fn creates(&self, kind: NamespaceKind) -> bool {
        self.new.contains(&kind)
    }

    /// Whether the container has a namespace of this kind of its own or a named one, so not the caller's by silence.
    pub fn separate(&self, kind: NamespaceKind) -> bool {
        self.creates(kind) || self.join.iter().any(|(joined, _)| *joined == kind)
    }

    /// The uid and gid outside of root of the new user namespace; absent where nobody is root there.
    pub fn root_outside(&self) -> Option<(u32, u32)> {
        let root = |map: &[IdMap]| map.iter().find(|line| line.inside == 0).map(|line| line.outside);
        root(&self.uid_map).zip(root(&self.gid_map))
    }
}

/// One line of an id map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The container's filesystem.
#[derive(Debug)]
pub struct Rootfs {
    /// `root.path`: absolute, joined to the bundle.
    pub path: PathBuf,
    /// Made in place of `path`, for a root that changes nothing below it. Never said by a config.json.
    pub overlay: Option<Overlay>,
    /// `root.readonly`.
    pub readonly: bool,
    /// `linux.rootfsPropagation`; private recursive when the bundle says nothing.
    pub propagation: MountPropagationFlags,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// `linux.devices` and the specification's default devices.
    pub devices: Vec<Device>,
    /// `linux.maskedPaths`.
    pub masked_paths: Vec<PathBuf>,
    /// `linux.readonlyPaths`.
    pub readonly_paths: Vec<PathBuf>,
    /// What can only be read, with all that is mounted below; those around others first. Never said by a config.json, whose
    /// `linux.readonlyPaths` leaves mounts below as they are.
    pub read_only_trees: Vec<ReadOnlyTree>,
    /// Whether what of /proc is no process's own, and matters, can only be read. Never said by a config.json.
    pub machine_read_only: bool,
    /// `linux.mountLabel`.
    pub mount_label: Option<String>,
}

/// A file, or a folder with all that is mounted below, that can only be read. The paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnlyTree {
    /// Where.
    pub path: PathBuf,
    /// Mounts below that stay as they are.
    pub except: Vec<PathBuf>,
}

/// One mount, every option of it resolved.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its place in `mounts`, for messages.
    pub index: usize,
    /// Where, as seen inside.
    pub destination: PathBuf,
    /// What.
    pub kind: MountKind,
    /// MS_* bits that an option set.
    pub flags: MountFlags,
    /// MS_* bits that an option cleared (`rw`, `suid`, `dev`, …).
    pub cleared: MountFlags,
    /// MOUNT_ATTR_* bits to set on the whole tree (`rro`, `rnosuid`, …), mount_setattr(2).
    pub recursive_set: u64,
    /// MOUNT_ATTR_* bits to clear on the whole tree (`rrw`, `rsuid`, …).
    pub recursive_clear: u64,
    /// Propagation changes, in order.
    pub propagation: Vec<MountPropagationFlags>,
    /// What no table row knew: the filesystem's own options, joined by commas.
    pub data: String,
    /// `tmpcopyup`: what lies below the tmpfs is copied into it.
    pub copy_up: bool,
    /// `idmap`, `ridmap`.
    pub idmap: Option<IdmappedMount>,
}

/// What a mount brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A file or folder of the host: absolute source.
    Bind {
        /// Absolute, or relative to the bundle and then already joined to it.
        source: PathBuf,
        /// `rbind`
        recursive: bool,
    },
    /// The container's cgroup: type `cgroup` or `cgroup2`, shaped by the host's hierarchy.
    Cgroup,
    /// A filesystem of its own.
    Filesystem {
        /// Such as `tmpfs`.
        kind: String,
        /// Such as `tmpfs` or `/dev/loop0`.
        source: String,
    },
    /// `remount` of what is there.
    Remount,
    /// An overlay; never said by a config.json.
    Overlay(Overlay),
}

/// An overlay filesystem: what is below `lower` is seen, and what is written goes elsewhere. The paths are the host's and
/// trusted; mounts below `lower` are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// What is there. A folder.
    pub lower: PathBuf,
    /// Where changes go.
    pub above: Above,
    /// Whether the kernel keeps its notes in `user.` attributes of the layers, as it must where the mounter's user
    /// namespace is not the first one. Linux 5.11.
    pub user_notes: bool,
    /// MOUNT_ATTR_* bits.
    pub attributes: u64,
    /// Where the kernel does not take `lower` for an overlay, it is bound read-only, with a warning.
    pub or_read_only: bool,
}

/// Where the changes of an overlay go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Above {
    /// Into a layer.
    Layer {
        /// What is changed. A folder.
        upper: PathBuf,
        /// The kernel's workshop: an empty folder of the same filesystem as `upper`.
        work: PathBuf,
    },
    /// Nowhere: nothing can be written.
    Nothing {
        /// An empty folder, since the kernel wants two layers.
        empty: PathBuf,
    },
}

/// An idmapped mount (mount_setattr(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdmappedMount {
    /// `ridmap`: the whole tree.
    pub recursive: bool,
    /// Empty: the container's own user namespace is used.
    pub uid_map: Vec<IdMap>,
    /// Likewise.
    pub gid_map: Vec<IdMap>,
}

/// One device node to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where, as seen inside.
    pub path: PathBuf,
    /// What.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as seen inside.
    pub uid: u32,
    /// Group, as seen inside.
    pub gid: u32,
}

/// `c`, `u`, `b` and `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c` and `u`
    Char,
    /// `b`
    Block,
    /// `p`
    Fifo,
}

/// A network device of the host that moves into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host_name: String,
    /// Its name inside.
    pub name: String,
}
