//! Where another runtime differs from what these tests ask, and why. One list, so that it can be read and doubted: a
//! test that only myrt passes is suspect until it is explained here. Debian 12's runc 1.1.5 is what was compared.

/// Declares each reason as a constant that `only_for_myrt!` names; one that no test names any more is a warning.
macro_rules! differences {
    ($($name:ident: $why:literal,)*) => {
        $(pub const $name: &str = $why;)*

        #[test]
        fn are_listed() {
            println!("differences of runc 1.1.5, each with its reason:");
            for (name, why) in [$((stringify!($name), $why)),*] {
                assert!(why.len() > 20, "{name} has no reason");
                println!("  {name}: {why}");
            }
        }
    };
}

differences! {
    RACE_OF_CREATES: "runc 1.1 looks whether the state folder exists and makes it later, so that two creates can win",
    RUN_BUNDLE: "`run BUNDLE [ID]` is a form of myrt's own",
    EXEC_UMASK: "runc 1.1 reads user.umask of config.json, but not that of process.json",
    EXEC_BIG_UID: "runc 1.1 cuts a user id to 32 bits: 4294967296 is taken for root",
    CRUN_FLAGS: "`--log-level`, `--cgroup-manager` and `run --config` are crun's, and the value auto of --rootless too",
    LIST_EMPTY: "runc 1.1 prints null for an empty list; callers and later versions want []",
    SPEC_1_3: "runc 1.1 knows version 1.0.2 of the runtime specification; myrt knows 1.3",
    OWN_COMMANDS: "`check` and `completion` are commands of myrt's own",
    RLIMIT_TWICE: "runc 1.1 sets a limit twice where the specification asks for an error",
    JOIN_USER: "runc 1.1 wants uidMappings beside the path of a user namespace; later versions read the maps from it",
    CALLERS_UMASK: "runc 1.1 makes missing mount points with the umask of its caller",
    RECURSIVE_ATTRIBUTES: "runc 1.1 has the recursive attributes, but gives them up where the new mount API refuses a whole tree",
    IDMAP: "runc 1.1 has no idmapped mounts but those of the container's own user namespace",
    ROOT_PROPAGATION: "runc 1.1.5 sets linux.rootfsPropagation before the pivot, so that it does not hold for the new root",
    SMALL_MEMORY: "runc 1.1 needs 2 MiB and more for its own init: such a limit now and then refuses the start",
    FROZEN_OUTSIDE: "runc 1.1 now and then waits for ever for a v1 freezer that is on its way",
    POSTSTART: "runc 1.1 runs poststart hooks at the end of create, before the program is started",
    POSTSTOP: "runc 1.1 runs no further poststop hook after one that failed",
    ORPHANS_V2: "runc 1.1 leaves a v2 cgroup whose first process ended before the others, even by delete --force",
    FIELD_NAMED: "runc 1.1 prints the parser's message, which names a Go type and not always the field",
    WHY_NOT_RUN: "runc 1.1 prints the bare errno of execve: no such file, permission denied, exec format error",
    CORRUPTED_STATE: "runc 1.1 lists no container whose state cannot be read, and cannot delete it",
    KILLED_CREATE: "runc 1.1 writes its state last: what a killed create leaves is neither listed nor deleted",
    ROOTLESS_CGROUP: "runc 1.1 fails where a rootless container names a cgroup path that it may not make",
    ROOTLESS_HINT: "runc 1.1 says that rootless containers require user namespaces, without a word on what to do",
    ROOTLESS_GROUPS: "runc 1.1 refuses additional groups of every rootless container, also of one with a range",
    CVE_FIXED_LATER: "runc 1.1.5 is older than the fix of this one; that the replay succeeds against it shows that it works",
    BUSY_BINARY: "runc 1.1 runs from a read-only mount, where a refused request to write still makes the file busy for a moment",
    STATE_OWNER: "runc believes a state whoever wrote it: its state root is its callers' to guard",
    CHROOT: "runc makes the container, and its exec enters the root outside the chroot",
    CHECKPOINT: "runc 1.1 calls CRIU; myrt says that it does not yet",
}
