//! Many files come to the host: by several threads, since no file depends on another one and the kernel copies on each CPU,
//! and moves them there as well.
//!
//! Each folder is one thread's alone, and so is the name in it under which a file is written. Folders of two layers may be one
//! folder of the host, which is mounted twice: one layer comes after the other.

use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::journal::{Act, Step};
use super::moves;
use super::steps::Site;
use crate::error::{Context, Error, Result};
use crate::sandbox::base::{self, Roots, Seen};
use crate::sandbox::copy::{self, Side};
use crate::sandbox::store::Box;
use crate::sandbox::tree::Place;

/// How many files a thread is worth.
const WORTH: usize = 250;
/// How many threads at most: they write to one filesystem.
const MOST: usize = 4;

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
    for layer in puts.chunk_by(|one, other| one.1.layer == other.1.layer) {
        let parts = parts(layer, threads(layer.len()));
        match parts.as_slice() {
            [all] => made.append(&mut part(site.roots, all, how, &AtomicBool::new(false))?),
            several => made.append(&mut side_by_side(held, several, how)?),
        }
    }
    Ok(made)
}

fn threads(files: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    (files / WORTH).clamp(1, processors.min(MOST))
}

/// Cuts steps, which are sorted by folder, into about so many parts, between folders.
fn parts<'a, 'b>(puts: &'b [Put<'a>], count: usize) -> Vec<&'b [Put<'a>]> {
    let enough = puts.len().div_ceil(count);
    let mut parts = Vec::new();
    let mut rest = puts;
    while rest.len() > enough {
        let folder = |put: &Put<'a>| -> Option<&'a Path> { put.1.path.parent() };
        let last = folder(&rest[enough - 1]);
        let more = rest[enough..].iter().take_while(|put| folder(put) == last).count();
        let (part, after) = rest.split_at(enough + more);
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

fn side_by_side(held: &Box, parts: &[&[Put<'_>]], how: How<'_>) -> Result<Made> {
    let failed = AtomicBool::new(false);
    // Open roots remember the folder that was used last: each thread has its own.
    let work = |puts: &[Put<'_>]| {
        let made = base::roots(held).and_then(|roots| part(&roots, puts, how, &failed));
        failed.fetch_or(made.is_err(), Ordering::Relaxed);
        made
    };
    thread::scope(|scope| {
        let running: Vec<_> = parts.iter().map(|puts| scope.spawn(|| work(puts))).collect();
        let ended = running.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(Error::new("a thread broke off"))));
        // All of them, before anything is taken back.
        let ended: Vec<Result<Made>> = ended.collect();
        ended.into_iter().try_fold(Made::new(), |mut all, made| {
            all.append(&mut made?);
            Ok(all)
        })
    })
}

/// One thread's part. `failed`: whether another one's has failed, which makes this one useless.
fn part(roots: &Roots, puts: &[Put<'_>], how: How<'_>, failed: &AtomicBool) -> Result<Made> {
    let mut made = Vec::with_capacity(puts.len());
    for (number, step) in puts {
        if failed.load(Ordering::Relaxed) {
            break;
        }
        let file = one(roots, step, how).context(|| format!("{:?}", roots.shown(step.layer, &step.path)))?;
        made.push((*number, file));
    }
    Ok(made)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: &str) -> Step {
        Step { layer: 0, path: path.into(), act: Act::Put, old: None }
    }

    #[test]
    fn no_folder_is_cut() {
        let steps: Vec<Step> = ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2", "top"].map(step).into();
        let puts: Vec<Put<'_>> = steps.iter().enumerate().collect();
        for (count, lengths) in [(1, vec![7]), (2, vec![4, 3]), (3, vec![3, 3, 1]), (7, vec![3, 1, 2, 1])] {
            let lengths_now: Vec<usize> = parts(&puts, count).iter().map(|part| part.len()).collect();
            assert_eq!(lengths_now, lengths, "{count}");
        }
        assert!(parts(&[], 2).is_empty());
    }
}
