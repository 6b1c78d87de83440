//! Images: from where they are to a bundle that the engine runs.
//!
//! `source → {layout, docker, dir, rootfs, registry} → {files, archive} → document → pipeline → {tar, layer} → tree → convert → {bundle, store}`. It knows nothing of containers
//! that run. It lives in a program of its own, `myrt-image`, which `myrt image` becomes: its codecs would cost each start of
//! a container memory and page faults. Unlike the engine it has threads.
//!
//! Everything that comes out of a source is hostile until a digest says otherwise, and what is in it stays hostile: names
//! and links are resolved beneath the descriptor of the new root, sizes and counts have caps.

mod archive;
pub mod bundle;
mod compression;
mod convert;
mod digest;
mod dir;
mod docker;
mod document;
mod durable;
mod files;
mod fresh;
#[cfg(test)]
mod fuzzing;
mod layer;
mod layout;
pub mod limits;
mod lost;
mod name;
mod pipeline;
pub mod platform;
pub mod progress;
pub mod registry;
mod remove;
mod rootfs;
pub mod rootless;
pub mod source;
mod spec;
pub mod store;
mod tar;
mod tree;

pub use convert::{Maps, Wishes};
