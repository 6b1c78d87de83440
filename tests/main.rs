//! The black-box tests of myrt as an OCI runtime: they run the binary, on a real kernel, as its callers do.
//!
//! | file | subject |
//! |---|---|
//! | `lifecycle.rs` | create, start, state, kill, delete: order, exit codes, wordings, who wins a race |
//! | `run.rs` | run in the foreground and detached: forms of the command line, exit codes, signals, keep |
//! | `terminal.rs` | pseudo-terminals: console socket, a terminal in the foreground, sizes |
//! | `exec.rs` | exec: process.json, flags, exit codes, what it inherits and what not |
//! | `formats.rs` | list, ps, events, update, pause, resume, features, spec, version: what callers parse |
//! | `logs.rs` | `--log`, its formats, error texts that callers match |
//! | `namespaces.rs` | the eight kinds, new, joined and shared; id maps, names, clocks |
//! | `mounts.rs` | `mounts` and `root`: options, propagation, masks, idmaps |
//! | `devices.rs` | `linux.devices`, the default devices and links |
//! | `process.rs` | `process`: user, groups, capabilities, limits, scheduling, working folder |
//! | `seccomp.rs` | `linux.seccomp` |
//! | `sysctl.rs` | `linux.sysctl` |
//! | `cgroups_v1.rs`, `cgroups_v2.rs` | limits, paths, devices, freezer, removal |
//! | `net.rs` | loopback and `linux.netDevices` |
//! | `hooks.rs` | `hooks`: six kinds |
//! | `faults.rs` | broken bundles, hostile root filesystems, full disks, corrupted states |
//! | `kills.rs` | the runtime killed at any moment |
//! | `leaks.rs` | what a container must not see: descriptors, environment |
//! | `escapes.rs` | one replay for each published escape of a peer |
//! | `rootless.rs` | the whole life cycle as an ordinary user |
//! | `vm/` | what needs a virtual machine: all controllers of cgroup v2, systemd, AppArmor |
//! | `differences.rs` | where another runtime differs, and why |
//! | `util/` | helpers: bundles, commands with deadlines, leftovers, terminals, cgroups, an ordinary user |
//!
//! `MYRT_UNDER_TEST=/usr/sbin/runc cargo test --test integration` runs the same against another runtime. All but
//! `rootless.rs` need root; those of `vm/` need `scripts/vm.sh test`, and `--skip vm::` leaves them out. A test says in its name what holds, waits by polling with a deadline and never by sleeping,
//! and leaves nothing behind: the bundle's `Drop` deletes the container and asserts that the host is as it was.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod cgroups_v1;
mod cgroups_v2;
mod devices;
mod differences;
mod escapes;
mod exec;
mod faults;
mod formats;
mod hooks;
mod kills;
mod leaks;
mod lifecycle;
mod logs;
mod mounts;
mod namespaces;
mod net;
mod process;
mod rootless;
mod run;
mod seccomp;
mod sysctl;
mod terminal;
mod util;
mod vm;
