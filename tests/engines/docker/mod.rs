//! Docker: a real dockerd with myrt as its default runtime, driven by the real command line.
//!
//! | file | subject |
//! |---|---|
//! | `daemon.rs` | a dockerd of the tests' own, one for most of them |
//! | `run.rs` | run, detach, logs, exit codes, errors, restart policies, fifty at once |
//! | `control.rs` | exec, stop, kill, pause, update, stats, top, inspect, health checks |
//! | `terminal.rs` | run -it and exec -it |
//! | `isolation.rs` | user, capabilities, seccomp, limits, devices, cgroups |
//! | `filesystems.rs` | read-only roots, tmpfs, volumes, propagation |
//! | `sharing.rs` | namespaces of the host and of other containers |
//! | `network.rs` | none, host, bridge, published ports, names, compose |
//! | `build.rs` | import, build with both builders |
//! | `images.rs` | what it builds, as a bundle: the same files as by umoci, and a container by one command |
//! | `daemons.rs` | what wants a daemon of its own: userns-remap, live-restore |

mod build;
mod control;
mod daemon;
mod daemons;
mod filesystems;
mod images;
mod isolation;
mod network;
mod run;
mod sharing;
mod terminal;

use daemon::{Container, Daemon};

use crate::util::TestCommand;

/// `docker WORDS…` with the daemon that most tests share; words that hold spaces follow by `arg`.
fn docker(words: &str) -> TestCommand {
    Daemon::shared().docker(words)
}

/// `docker run --rm OPTIONS box sh -c SCRIPT`
fn sh(options: &str, script: &str) -> TestCommand {
    docker(&format!("run --rm {options} box sh -c")).arg(script)
}

/// A container that lives until it is dropped.
fn sleeper(options: &str) -> Container<'static> {
    Daemon::shared().detached(options, "while :; do sleep 1; done")
}
