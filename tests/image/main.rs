//! The black-box tests of `myrt image`: images, most of them made byte by byte here, and what becomes of them.
//!
//! | file | subject |
//! |---|---|
//! | `unpack.rs` | every kind of file and attribute arrives; the bundle runs; what is made and what is said |
//! | `tars.rs` | archives of GNU tar and of Python in all their dialects, sparse files among them |
//! | `attributes.rs` | what nobody inherits; access control lists; attributes that the kernel reads |
//! | `whiteouts.rs` | what upper layers hide, in any order, and hard links across layers |
//! | `hostile.rs` | layers that want to write, link or delete outside; bombs; blobs and documents that lie |
//! | `overlays.rs` | layers in the store that mean something to overlayfs, or are too many |
//! | `edges.rs` | sizes, maps, times, ends and windows that no honest archive has |
//! | `sources.rs` | the forms of a source, tags, platforms |
//! | `registry/` | images in a registry: a real one, and one that cuts, redirects and lies |
//! | `folders.rs` | `dir:` with a plain root filesystem |
//! | `durable.rs` | what reaches the disk before what; kills between any two steps |
//! | `run.rs` | `image run`: nothing stays, whatever ends it |
//! | `store.rs` | the store: layers once, names, prune, bundles over it, races |
//! | `merged.rs` | a bundle over the store shows what unpacking into one folder gives |
//! | `compare.rs` | the same image unpacked by umoci: the same tree |
//! | `rootless.rs` | as an ordinary user, with one id and with a range |
//! | `make.rs` | the images |
//!
//! All need root. `scripts/test.sh images` installs what they compare with.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod attributes;
mod compare;
mod durable;
mod edges;
mod folders;
mod hostile;
mod make;
mod merged;
mod overlays;
mod registry;
mod rootless;
mod run;
mod sources;
mod store;
mod tars;
mod unpack;
#[allow(dead_code, unused_imports, reason = "shared with the black-box suite, which uses the rest")]
#[path = "../util/mod.rs"]
mod util;
mod whiteouts;
