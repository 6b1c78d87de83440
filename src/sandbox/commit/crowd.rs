//! Many files come to the host: by several threads, since no file depends on another one and the kernel copies on each CPU,
//! and moves them there as well.
//!
//! Each folder is one thread's alone, and so is the name in it under which a file is written. Folders of two layers may be one
//! folder of the host, which is mounted twice: one layer comes after the other.

use std::ffi::CStr;

use super::journal::{Act, Step};
use super::moves;
use super::steps::Site;
use crate::error::{Context, Error, Result};
use crate::sandbox::base::Seen;
use crate::sandbox::copy::{self, Side};
use crate::sandbox::roots::{self, Roots};
use crate::sandbox::store::Box;
use crate::sandbox::team;
use crate::sandbox::tree::Place;

/// A step that puts a file in place, with its place in the journal.
type Put<'a> = (usize, &'a Step);

/// How they are done.
#[derive(Clone, Copy)]
struct How<'a> {
    /// The name of a file that is being written.
    next: &'a CStr,
    again: bool,
}

/// What such steps have put there.
type Made = Vec<(usize, Seen)>;

/// Does all steps that put a file of a layer in place; `again`: some may be done.
///
/// # Errors
/// Where one of them fails; others may have been done.
pub(super) fn put(held: &Box, site: &Site<'_>, again: bool) -> Result<Made> {
    let (journal, how) = (site.journal, How { next: &site.next, again });
    let puts = journal.steps.iter().enumerate().filter(|(_, step)| matches!(step.act, Act::Put | Act::Move(_)));
    let mut puts: Vec<Put<'_>> = puts.collect();
    puts.sort_by_key(|(_, step)| (step.layer, step.path.parent()));
    let mut made = Vec::with_capacity(puts.len());
    let folders = site.roots.folders()?;
    for layer in puts.chunk_by(|one, other| one.1.layer == other.1.layer) {
        let chunks: Vec<_> = layer.chunk_by(|one, other| one.1.path.parent() == other.1.path.parent()).collect();
        // Open roots remember the folder that was used last: each thread has its own.
        let anew = || {
            let roots = roots::of(held)?;
            roots.require(&journal.layers(), Some(&folders)).map(|()| roots)
        };
        let each = |roots: &Roots, puts: &&[Put<'_>], _: &mut Vec<_>, made: &mut Made| folder(roots, puts, how, made);
        made.append(&mut team::all_with(chunks, layer.len() >= team::WORTH, site.roots, anew, each)?);
    }
    Ok(made)
}

/// The files of one folder.
fn folder(roots: &Roots, puts: &[Put<'_>], how: How<'_>, made: &mut Made) -> Result<()> {
    for (number, step) in puts {
        let file = one(roots, step, how).context(|| format!("{:?}", roots.shown(step.layer, &step.path)))?;
        made.push((*number, file));
    }
    Ok(())
}

fn one(roots: &Roots, step: &Step, how: How<'_>) -> Result<Seen> {
    let root = roots.of(step.layer)?;
    if let Act::Move(moved) = &step.act {
        return moves::over(root, step, moved, how.again);
    }
    let upper = root.upper.as_ref().ok_or_else(|| Error::new("the layer is gone"))?;
    let (own, place) = (Place::open(upper, &step.path)?, Place::open(&root.host, &step.path)?);
    copy::put(&own, Side::Layer(root.notes), &place, how.next).map(|file| Seen::file(&file))
}
