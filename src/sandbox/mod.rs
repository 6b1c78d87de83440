//! The sandbox: a program sees the host as it is, and the host stays as it was.
//!
//! A *box* is a folder of the store with what its programs changed: one overlay's upper layer for each filesystem of the
//! host ([`store`]). A run ([`run()`]) looks at the host's mounts ([`host`]), makes a [`crate::plan::Plan`] whose root is
//! an overlay of `/` ([`plan`]), and starts it as the engine starts any container. [`changes`] reads the layers
//! afterwards, [`base`] notes what the host had there, and [`commit`] takes changes over to it. [`snapshots`], `clone` and
//! [`export()`] copy what a box has, [`prune`] removes what nobody has asked to keep.
//!
//! What a box wrote is hostile: no name in it is joined to a path, nothing in it is executed, and its layers are read
//! through mounts of their own that nothing can be written through.

mod base;
pub mod changes;
mod clone;
pub mod commit;
mod companion;
mod copy;
mod disk;
mod duplicate;
pub mod expect;
mod export;
mod host;
mod layers;
mod lent;
mod limits;
pub mod lines;
mod name;
mod network;
mod ordinary;
mod pattern;
mod plan;
mod prune;
mod remove;
mod report;
mod rights;
mod roots;
mod rules;
mod run;
mod seccomp;
pub mod snapshots;
mod store;
mod streams;
mod team;
pub mod text;
mod tops;
mod tree;
mod usage;
mod watch;

pub use export::export;
pub use limits::{Cpus, Limits};
pub use name::BoxName;
pub use pattern::{Pattern, select};
pub use plan::Network;
pub use prune::{Leftover, What};
pub use report::{Denied, Report};
pub use rules::Rules;
pub use run::{Ended, RunRequest, run};
pub use seccomp::Seccomp;
pub use store::{Box, Listed, Record, Run as BoxRun, Store};
