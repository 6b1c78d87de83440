//! myrt, a lightweight container runtime on Linux namespaces.
//!
//! `cli → commands → container → {rootfs, namespaces, cgroup, security, net} → sys`: an arrow means "may use", to the
//! right only. `plan` (pure data), `error` and `log` are open to all. ARCHITECTURE.md tells a container start in five
//! steps and says where a new line goes.

pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod container;
pub mod error;
pub mod image;
pub mod log;
pub mod namespaces;
pub mod net;
pub mod plan;
pub mod rootfs;
pub mod sandbox;
pub mod security;
pub mod sys;
pub mod time;
pub mod trace;
