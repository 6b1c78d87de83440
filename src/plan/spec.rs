//! What config.json says, as it stands in the OCI runtime specification 1.3 (config.md and config-linux.md).
//!
//! Owns the names and shapes of the JSON fields, nothing else: no default is resolved and nothing is checked here.
//! Unknown fields are skipped, as the specification asks. Numbers keep the width that the specification gives them,
//! so that a value that does not fit is refused by the parser, with its field.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// Declares structs whose JSON keys are camelCase, whose absent fields are defaults and whose empty fields are not
/// written; those behind a `+` always are, because readers expect them.
macro_rules! json {
    ($(
        $(#[$meta:meta])*
        $name:ident
        { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
        $(+ { $($(#[$always_meta:meta])* $always:ident: $always_type:ty,)* })?
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                #[allow(missing_docs, reason = "the field's meaning is the specification's, under the same name")]
                #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
                $(#[$field_meta])*
                pub $field: $type,
            )*
            $($(
                #[allow(missing_docs, reason = "the field's meaning is the specification's, under the same name")]
                #[serde(deserialize_with = "or_default")]
                $(#[$always_meta])*
                pub $always: $always_type,
            )*)?
        }
    )*};
}

/// Whether a field may be left out of the JSON that is written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads `null` as an absent field, as callers written in Go do: their empty lists become `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

json! {
    /// The whole of config.json.
    Spec {
        oci_version: String,
        process: Option<Process>,
        root: Option<Root>,
        hostname: Option<String>,
        domainname: Option<String>,
        mounts: Vec<Mount>,
        hooks: Hooks,
        annotations: BTreeMap<String, String>,
        linux: Linux,
    }

    /// `root`.
    Root { path: String, readonly: bool, }

    /// One entry of `mounts`.
    Mount {
        destination: String,
        r#type: Option<String>,
        source: Option<String>,
        options: Vec<String>,
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
    }

    /// `process`; also the file that `exec --process` reads.
    Process {
        terminal: bool,
        console_size: Option<ConsoleSize>,
        args: Vec<String>,
        env: Vec<String>,
        cwd: String,
        capabilities: Option<Capabilities>,
        rlimits: Vec<Rlimit>,
        no_new_privileges: bool,
        apparmor_profile: Option<String>,
        oom_score_adj: Option<i32>,
        scheduler: Option<Scheduler>,
        selinux_label: Option<String>,
        io_priority: Option<IoPriority>,
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<ExecCpuAffinity>,
    }
        + { user: User, }

    /// `process.consoleSize`, in characters.
    ConsoleSize { height: u16, width: u16, }

    /// `process.user`.
    User { umask: Option<u32>, additional_gids: Vec<u32>, } + { uid: u32, gid: u32, }

    /// `process.capabilities`: five sets of names such as `CAP_CHOWN`.
    Capabilities {
        bounding: Vec<String>,
        effective: Vec<String>,
        inheritable: Vec<String>,
        permitted: Vec<String>,
        ambient: Vec<String>,
    }

    /// One entry of `process.rlimits`.
    Rlimit {} + { r#type: String, hard: u64, soft: u64, }

    /// `process.scheduler`, the arguments of sched_setattr(2).
    Scheduler {
        policy: String,
        nice: i32,
        priority: i32,
        flags: Vec<String>,
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    /// `process.ioPriority`, the arguments of ioprio_set(2).
    IoPriority { class: String, priority: i32, }

    /// `process.execCPUAffinity`: CPU lists such as `0-3,7`.
    ExecCpuAffinity { initial: String, r#final: String, }

    /// `hooks`.
    Hooks {
        prestart: Vec<Hook>,
        create_runtime: Vec<Hook>,
        create_container: Vec<Hook>,
        start_container: Vec<Hook>,
        poststart: Vec<Hook>,
        poststop: Vec<Hook>,
    }

    /// One hook; `timeout` is in seconds. An absent environment is not an empty one.
    Hook { path: String, args: Vec<String>, env: Option<Vec<String>>, timeout: Option<i64>, }

    /// `linux`.
    Linux {
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
        sysctl: BTreeMap<String, String>,
        resources: Resources,
        cgroups_path: Option<String>,
        namespaces: Vec<Namespace>,
        devices: Vec<Device>,
        net_devices: BTreeMap<String, NetDevice>,
        seccomp: Option<Seccomp>,
        rootfs_propagation: Option<String>,
        masked_paths: Vec<String>,
        readonly_paths: Vec<String>,
        mount_label: Option<String>,
        intel_rdt: Option<IntelRdt>,
        personality: Option<Personality>,
        time_offsets: BTreeMap<String, TimeOffset>,
        memory_policy: Option<MemoryPolicy>,
    }

    /// One line of a user namespace's id map.
    IdMapping {} + {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
        size: u32,
    }

    /// One entry of `linux.namespaces`; an empty or absent path asks for a new one.
    Namespace { r#type: String, path: Option<String>, }

    /// One entry of `linux.devices`.
    Device {
        path: String,
        r#type: String,
        major: Option<i64>,
        minor: Option<i64>,
        file_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    }

    /// A value of `linux.netDevices`: the name inside, or empty to keep the host's.
    NetDevice { name: String, }

    /// `linux.timeOffsets.monotonic` and `.boottime`.
    TimeOffset { secs: i64, nanosecs: u32, }

    /// `linux.personality`.
    Personality { domain: String, flags: Vec<String>, }

    /// `linux.memoryPolicy`, the arguments of set_mempolicy(2).
    MemoryPolicy { mode: String, nodes: String, flags: Vec<String>, }

    /// `linux.intelRdt`.
    IntelRdt {
        #[serde(rename = "closID")]
        clos_id: Option<String>,
        schemata: Option<Vec<String>>,
        l3_cache_schema: Option<String>,
        mem_bw_schema: Option<String>,
        enable_monitoring: bool,
    }

    /// `linux.seccomp`.
    Seccomp {
        default_action: String,
        default_errno_ret: Option<u32>,
        architectures: Vec<String>,
        flags: Option<Vec<String>>,
        listener_path: Option<String>,
        listener_metadata: Option<String>,
        syscalls: Vec<SeccompRule>,
    }

    /// One entry of `linux.seccomp.syscalls`.
    SeccompRule { names: Vec<String>, action: String, errno_ret: Option<u32>, args: Vec<SeccompArg>, }

    /// One condition on an argument of a system call.
    SeccompArg { index: u32, value: u64, value_two: u64, op: String, }

    /// `linux.resources`; also the file that `update --resources` reads.
    Resources {
        devices: Vec<DeviceRule>,
        memory: Option<Memory>,
        cpu: Option<Cpu>,
        pids: Option<Pids>,
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIo>,
        hugepage_limits: Vec<HugepageLimit>,
        network: Option<Network>,
        rdma: BTreeMap<String, Rdma>,
        unified: BTreeMap<String, String>,
    }

    /// One entry of `linux.resources.devices`; an absent type, number or access means all.
    DeviceRule { r#type: Option<String>, major: Option<i64>, minor: Option<i64>, access: Option<String>, }
        + { allow: bool, }

    /// `linux.resources.memory`, in bytes; -1 is unlimited.
    Memory {
        limit: Option<i64>,
        reservation: Option<i64>,
        swap: Option<i64>,
        kernel: Option<i64>,
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        use_hierarchy: Option<bool>,
        check_before_update: Option<bool>,
    }

    /// `linux.resources.cpu`, times in microseconds.
    Cpu {
        shares: Option<u64>,
        quota: Option<i64>,
        burst: Option<u64>,
        period: Option<u64>,
        realtime_runtime: Option<i64>,
        realtime_period: Option<u64>,
        cpus: Option<String>,
        mems: Option<String>,
        idle: Option<i64>,
    }

    /// `linux.resources.pids`; 0 and below is unlimited: engines write 0 where nobody asked for a limit.
    Pids { limit: Option<i64>, }

    /// `linux.resources.blockIO`; rates in bytes or operations a second.
    BlockIo {
        weight: Option<u16>,
        leaf_weight: Option<u16>,
        weight_device: Vec<WeightDevice>,
        throttle_read_bps_device: Vec<ThrottleDevice>,
        throttle_write_bps_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: Vec<ThrottleDevice>,
    }

    /// One entry of `blockIO.weightDevice`.
    WeightDevice { major: i64, minor: i64, weight: Option<u16>, leaf_weight: Option<u16>, }

    /// One entry of the four throttle lists.
    ThrottleDevice { major: i64, minor: i64, rate: u64, }

    /// One entry of `hugepageLimits`, such as 2MB, with a limit in bytes.
    HugepageLimit { page_size: String, limit: u64, }

    /// `linux.resources.network` (cgroup v1 net_cls and net_prio).
    Network {
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        priorities: Vec<NetworkPriority>,
    }

    /// One entry of `network.priorities`.
    NetworkPriority { name: String, priority: u32, }

    /// A value of `rdma`, by device.
    Rdma { hca_handles: Option<u32>, hca_objects: Option<u32>, }
}
