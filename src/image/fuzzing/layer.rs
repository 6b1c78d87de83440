//! Bytes as two layers, one above the other, packed or not.
//!
//! The first byte says how they are applied, the next two where the second one begins, in blocks.

use std::io::BufReader;

use super::world::{LIMITS, World};
use crate::error::Result;
use crate::image::compression::Decoder;
use crate::image::layer::{apply as apply_flat, apply_alone};
use crate::image::limits::Budget;
use crate::image::pipeline::{self, Packed};
use crate::image::tree::Tree;

/// Bits of the first byte.
pub(super) const ALONE: u8 = 1;
const OWNERS: u8 = 2;
const THREADS: u8 = 4;
const BLOCK: usize = 512;

/// Puts two layers together to an input.
pub(super) fn input(flags: u8, lower: &[u8], upper: &[u8]) -> Vec<u8> {
    let mut input = vec![flags | OWNERS];
    let mut lower = lower.to_vec();
    lower.resize(lower.len().next_multiple_of(BLOCK), 0);
    input.extend(((lower.len() / BLOCK) as u16).to_le_bytes());
    input.extend(&lower);
    input.extend(upper);
    input
}

/// Unpacks the layers; says whether they were taken. Panics where something must not happen.
pub fn layer(world: &World, input: &[u8]) -> bool {
    let [flags, low, high, bytes @ ..] = input else { return false };
    let border = usize::from(u16::from_le_bytes([*low, *high])) * BLOCK;
    let (lower, upper) = bytes.split_at(border.min(bytes.len()));
    let root = world.root();
    let budget = Budget::new(LIMITS);
    let apply = || -> Result<()> {
        let mut tree = Tree::open(&root, flags & OWNERS != 0)?;
        one(lower, *flags, &mut tree, true, &budget)?;
        one(upper, *flags, &mut tree, false, &budget)
    };
    let result = apply();
    assert!(budget.bytes_unpacked() <= LIMITS.bytes + (8 << 20), "more was unpacked than buffers hold");
    world.settle();
    result.is_ok()
}

fn one(bytes: &[u8], flags: u8, tree: &mut Tree, lowest: bool, budget: &Budget) -> Result<()> {
    if flags & THREADS != 0 {
        let packed = Packed { input: Box::new(bytes), size: None, digest: None, diff_id: None };
        return pipeline::unpack(packed, budget, |archive| apply(archive, flags, tree, lowest, budget));
    }
    apply(BufReader::new(Decoder::new(bytes)?), flags, tree, lowest, budget)
}

fn apply(archive: impl std::io::BufRead, flags: u8, tree: &mut Tree, lowest: bool, budget: &Budget) -> Result<()> {
    if flags & ALONE != 0 {
        apply_alone(archive, tree, budget).map(drop)
    } else {
        apply_flat(archive, tree, lowest, budget)
    }
}
