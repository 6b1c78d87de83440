//! What a process may do: identity, capabilities, limits, labels, scheduling, and the seccomp filter.
//!
//! Every function here is a step of a container's init, or of exec; `container` decides when. The names in config.json
//! were resolved by `plan`, so that each step is a few system calls.

pub mod capabilities;
pub mod keyring;
pub mod labels;
pub mod notify;
pub mod oom;
pub mod rdt;
pub mod rlimits;
pub mod schedule;
pub mod seccomp;
pub mod user;
