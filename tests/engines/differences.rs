//! Where another runtime differs under an engine, and why; `tests/differences.rs` is the same for the black-box suite.

crate::differences! {
    UNGRANTED: "runc 1.1 refuses a privileged container where runc itself lacks a capability; the specification wants a warning",
    PARENT_CGROUP: "runc leaves the empty cgroup that it made above a container's own",
    CHECKPOINT: "runc 1.1 calls CRIU; myrt says that it does not yet",
    NO_CGROUPS: "runc 1.1 cannot run a container without cgroups, so Podman's --cgroups disabled is crun's and myrt's",
    NO_PATH: "runc 1.1 looks in no folder where process.env has no PATH; crun and myrt look in the usual ones",
    IDMAP: "runc 1.1 has no idmapped mounts but those of the container's own user namespace",
}
