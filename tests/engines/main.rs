//! myrt under the engines that people use: each test drives a real engine, as its users do, and looks at what they see.
//!
//! | file | subject |
//! |---|---|
//! | `calls.rs` | the runtime as an engine finds it: a wrapper that writes down each call |
//! | `contracts.rs` | the table of who calls what, held against what was called |
//! | `containerd.rs`, `containerd_daemon.rs` | containerd by `ctr`; a daemon in namespaces of its own |
//! | `cri.rs`, `cri.py` | pods, as a kubelet asks containerd for them; the client |
//! | `swarm.rs` | three dockerds as a swarm, set up by `scripts/swarm.sh` |
//! | `differences.rs` | where another runtime differs under an engine, and why |
//! | `docker/` | Docker, with a dockerd of its own (`dockerd.sh`) |
//! | `podman.rs` | Podman on a machine of its own, which the files below share |
//! | `podman_build.rs` | images are built, and what is thrown away is gone |
//! | `podman_life.rs` | from run to rm: exit codes, logs, states, restarts, exec |
//! | `podman_limits.rs` | limits and cgroups |
//! | `podman_net.rs` | networks, pods, pods of Kubernetes |
//! | `podman_places.rs` | mounts, volumes, secrets, shared namespaces |
//! | `podman_rights.rs` | capabilities, seccomp, users, devices |
//! | `podman_rootless.rs` | an ordinary user's Podman |
//! | `podman_terminal.rs` | terminals of run, exec and attach |
//! | `release.rs` | the program as it is installed, which begins ahead of libc |
//! | `install.rs` | `scripts/install.sh`: what it writes, leaves and takes back, and what the engines say to it |
//!
//! All need root and the engine's Debian package; `scripts/test.sh engines` installs them. Every daemon has data, sockets
//! and, where it makes bridges, a network namespace of its own, so that the machine's own engines never notice.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod calls;
mod containerd;
mod containerd_daemon;
mod contracts;
mod cri;
mod differences;
mod docker;
mod install;
mod podman;
mod podman_build;
mod podman_life;
mod podman_limits;
mod podman_net;
mod podman_places;
mod podman_rights;
mod podman_rootless;
mod podman_terminal;
mod release;
mod swarm;
#[allow(dead_code, unused_imports, reason = "shared with the black-box suite, which uses the rest")]
#[path = "../util/mod.rs"]
mod util;

/// A script for a container with little memory: takes more than there is once `/go` is there, and ends once that is gone.
///
/// An engine watches for such an end only after the runtime has answered `start`; a program that is killed before that is
/// one that its engine was never told of, with any runtime.
const HUNGRY: &str = "while [ ! -e /go ]; do usleep 10000; done; tail /dev/zero; code=$?;
    while [ -e /go ]; do usleep 10000; done; exit $code";
