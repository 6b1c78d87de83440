//! `myrt sandbox`, as a person uses it: each test runs real programs in a box on a folder of the host that is its own, and
//! looks at the host afterwards.
//!
//! | file | subject |
//! |---|---|
//! | `place.rs` | a store and a folder of the host for one test |
//! | `run.rs` | what a program in a box sees and leaves: files, streams, user, exit code, signals, terminal |
//! | `changes.rs` | `diff`: every kind of change, odd names |
//! | `diffs.rs` | `diff` as it is read: renamings, tree, patterns, expectations |
//! | `commits.rs` | `commit`, `undo`: what comes over, conflicts, failures |
//! | `kills.rs` | a commit and an undo killed at any moment |
//! | `killed_runs.rs` | a run killed at any moment: the runtime, its first process, its program |
//! | `hosts.rs` | a host that changes below a box |
//! | `large.rs` | many files, deep trees |
//! | `filesystems.rs` | filesystems that share blocks: btrfs, xfs |
//! | `full.rs` | a disk that is full |
//! | `power.rs` | the power goes in the middle of both |
//! | `boxes.rs` | names, `list`, `discard`, boxes in use, runs that were killed |
//! | `mounts.rs` | hosts with mounts below `/`, each kind |
//! | `confined.rs` | what a hostile program tries |
//! | `races.rs` | what somebody on the host does during a commit |
//! | `rules.rs` | `--hide` and its kin |
//! | `limits.rs` | `--memory`, `--cpus`, `--pids`, `--seccomp` |
//! | `network.rs`, `lab.rs` | `--net private`, in network namespaces that play the host and the internet |
//! | `profiles.rs` | `--profile` and the examples |
//! | `moves.rs` | commits that move files instead of copying them |
//! | `snapshots.rs` | `snapshot` and `clone`: what is kept, copies killed at any moment |
//! | `export.rs` | `export`, read by tar, Python and `myrt image` |
//! | `prune.rs` | `prune`: what goes and what stays |
//! | `tables.rs` | completions and manual pages |
//! | `report.rs` | what is told at the end: what was denied, what was not kept apart |
//! | `packages.rs` | installers: dpkg and apt, useradd, make, pip |
//! | `rootless.rs` | the same as an ordinary user |
//! | `rootless_network.rs` | `--net private` of an ordinary user, by pasta and by slirp4netns |
//!
//! All but the last two need root; run by root, `rootless.rs` becomes the user `myrt-test`.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod boxes;
mod changes;
mod commits;
mod confined;
mod diffs;
mod export;
mod filesystems;
mod full;
mod hosts;
mod killed_runs;
mod kills;
mod lab;
mod large;
mod limits;
mod mounts;
mod moves;
mod network;
mod packages;
mod place;
mod power;
mod profiles;
mod prune;
mod races;
mod report;
mod rootless;
mod rootless_network;
mod rules;
mod run;
mod snapshots;
mod tables;
#[allow(dead_code, unused_imports, reason = "shared with the black-box suite, which uses the rest")]
#[path = "../util/mod.rs"]
mod util;
