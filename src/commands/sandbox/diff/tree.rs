//! Changes as a tree that fits on a few screens: folders with too much in them are counted, those with least in them are
//! shown first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::listing::{self, Counts};
use super::paint::Paint;
use crate::sandbox::changes::Change;
use crate::sandbox::text;

/// How deep it goes; what lies deeper is counted.
const DEPTH: usize = 64;

/// The changes, which are sorted by path, in at most `lines` lines, and how many there are.
pub(super) fn tree(changes: &[Change], lines: usize, paint: Paint) -> String {
    let mut text = String::new();
    if !changes.is_empty() {
        let mut tree = Tree::of(changes);
        tree.open(lines);
        tree.write(&mut text, paint);
    }
    text + &listing::count(changes) + "\n"
}

struct Tree<'a> {
    changes: &'a [Change],
    /// The first is `/`.
    nodes: Vec<Node<'a>>,
}

/// A path that has changed, or that leads to one.
#[derive(Default)]
struct Node<'a> {
    name: &'a OsStr,
    /// Its place among the changes.
    change: Option<usize>,
    inner: Vec<usize>,
    /// What has changed below.
    below: Counts,
    depth: usize,
    /// Whether what is in it is shown.
    open: bool,
}

impl<'a> Tree<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let root = Node { name: OsStr::new("/"), ..Node::default() };
        let mut tree = Self { changes, nodes: vec![root] };
        // The nodes from the root to the last change.
        let mut trail = vec![0];
        for (place, change) in changes.iter().enumerate() {
            let names: Vec<&OsStr> = change.path.iter().skip(1).collect();
            let common = trail.iter().skip(1).zip(&names).take_while(|(node, name)| tree.nodes[**node].name == **name);
            let common = common.count();
            trail.truncate(common + 1);
            for name in &names[common..] {
                let around = *trail.last().unwrap_or(&0);
                let depth = tree.nodes[around].depth + 1;
                tree.nodes.push(Node { name, depth, ..Node::default() });
                let new = tree.nodes.len() - 1;
                tree.nodes[around].inner.push(new);
                trail.push(new);
            }
            if let Some((last, around)) = trail.split_last() {
                tree.nodes[*last].change = Some(place);
                around.iter().for_each(|node| tree.nodes[*node].below.add(change));
            }
        }
        tree
    }

    /// The last of a chain of folders of which nothing but the next one has changed: they share a line.
    fn end_of(&self, mut node: usize) -> usize {
        while let (None, [only]) = (self.nodes[node].change, self.nodes[node].inner.as_slice()) {
            node = *only;
        }
        node
    }

    /// Opens the folders with the fewest entries first, as long as the lines suffice.
    fn open(&mut self, lines: usize) {
        let mut used = 1;
        let mut next = BinaryHeap::from([Reverse((self.nodes[self.end_of(0)].inner.len(), 0))]);
        while let Some(Reverse((more, node))) = next.pop() {
            if used + more > lines {
                break;
            }
            let end = self.end_of(node);
            used += self.nodes[end].inner.len();
            self.nodes[end].open = true;
            for inner in self.nodes[end].inner.clone() {
                let end = self.end_of(inner);
                let inside = self.nodes[end].inner.len();
                if inside > 0 && self.nodes[end].depth < DEPTH {
                    next.push(Reverse((inside, inner)));
                }
            }
        }
    }

    fn write(&self, text: &mut String, paint: Paint) {
        // A node with what stands before its line, and before what is in it.
        let mut pending = vec![(0, String::new(), String::new())];
        while let Some((node, before, around)) = pending.pop() {
            let end = self.end_of(node);
            text.push_str(&before);
            text.push_str(&self.line(node, end, paint));
            text.push('\n');
            if !self.nodes[end].open {
                continue;
            }
            let inner = &self.nodes[end].inner;
            for (index, node) in inner.iter().enumerate().rev() {
                let (before, inside) = paint.branch(index + 1 == inner.len());
                pending.push((*node, format!("{around}{before}"), format!("{around}{inside}")));
            }
        }
    }

    fn line(&self, from: usize, end: usize, paint: Paint) -> String {
        let mut name = PathBuf::from(self.nodes[from].name);
        let mut node = from;
        while node != end {
            node = self.nodes[node].inner[0];
            name.push(self.nodes[node].name);
        }
        let Node { change, inner, below, open, .. } = &self.nodes[end];
        let closed =
            if *open || inner.is_empty() { String::new() } else { format!("  {} {}", paint.more(), below.told()) };
        let line = match change {
            Some(place) => listing::line(&self.changes[*place], &name, paint),
            None => paint.folder(&folder(&name)),
        };
        line + &closed
    }
}

fn folder(name: &Path) -> String {
    let text = text::shown(name);
    if text.ends_with('/') { text } else { text + "/" }
}
