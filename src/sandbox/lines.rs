//! Two texts, line by line: which lines went, which came, in hunks with some lines around.
//!
//! Myers' shortest way from one to the other, found from both ends at once, so that memory grows with the lines alone. Time
//! is bounded: what is far apart is cut where the way came farthest, and in the end told as replaced. The result is right
//! in either case, only longer than it had to be.

use std::collections::HashMap;
use std::ops::Range;

/// How many steps from both ends are tried before a way is cut.
const FAR: usize = 1024;
/// How many steps are taken in all, before the rest counts as replaced.
const STEPS: usize = 1 << 26;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Both have it.
    Same,
    /// The old one has it.
    Removed,
    /// The new one has it.
    Added,
}

/// Lines that changed, with some around.
#[derive(Debug)]
pub struct Hunk<'a> {
    /// Its lines of the old text, counted from 0.
    pub old: Range<usize>,
    /// Its lines of the new text.
    pub new: Range<usize>,
    /// All of them, with their ends.
    pub lines: Vec<(Mark, &'a [u8])>,
}

/// What differs, with `around` lines before and after.
pub fn hunks<'a>(old: &'a [u8], new: &'a [u8], around: usize) -> Vec<Hunk<'a>> {
    compared(old, new, around, FAR, STEPS)
}

fn compared<'a>(old: &'a [u8], new: &'a [u8], around: usize, far: usize, steps: usize) -> Vec<Hunk<'a>> {
    let split = |text: &'a [u8]| text.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
    let (old, new) = (split(old), split(new));
    let mut numbers = HashMap::new();
    let mut number = |lines: &[&'a [u8]]| -> Vec<u32> {
        let mut next = |line: &&'a [u8]| {
            let next = numbers.len() as u32;
            *numbers.entry(*line).or_insert(next)
        };
        lines.iter().map(&mut next).collect()
    };
    let (a, b) = (number(&old), number(&new));
    let mut search = Search {
        old: &a,
        new: &b,
        removed: vec![false; a.len()],
        added: vec![false; b.len()],
        ahead: Vec::new(),
        back: Vec::new(),
        far,
        steps,
    };
    search.all();
    gather(&old, &new, &search.removed, &search.added, around)
}

struct Search<'a> {
    /// Lines as numbers: equal where they are equal.
    old: &'a [u32],
    new: &'a [u32],
    removed: Vec<bool>,
    added: Vec<bool>,
    /// The farthest line of the old text on each diagonal, from the beginning and from the end.
    ahead: Vec<usize>,
    back: Vec<usize>,
    far: usize,
    /// How many are left.
    steps: usize,
}

impl Search<'_> {
    fn all(&mut self) {
        let mut pending = vec![(0..self.old.len(), 0..self.new.len())];
        while let Some((mut old, mut new)) = pending.pop() {
            while !old.is_empty() && !new.is_empty() && self.old[old.start] == self.new[new.start] {
                (old.start, new.start) = (old.start + 1, new.start + 1);
            }
            while !old.is_empty() && !new.is_empty() && self.old[old.end - 1] == self.new[new.end - 1] {
                (old.end, new.end) = (old.end - 1, new.end - 1);
            }
            let middle = if old.is_empty() || new.is_empty() { None } else { self.middle(&old, &new) };
            match middle {
                Some((x, y)) => {
                    let (x, y) = (old.start + x, new.start + y);
                    pending.extend([(x..old.end, y..new.end), (old.start..x, new.start..y)]);
                }
                None => {
                    self.removed[old].fill(true);
                    self.added[new].fill(true);
                }
            }
        }
    }

    /// A point on the way between two parts that begin and end with different lines, neither their beginning nor their end.
    /// `None`: no steps are left.
    fn middle(&mut self, old: &Range<usize>, new: &Range<usize>) -> Option<(usize, usize)> {
        let (a, b) = (&self.old[old.clone()], &self.new[new.clone()]);
        let (n, m) = (a.len() as isize, b.len() as isize);
        let skew = n - m;
        let last = (((n + m + 1) / 2) as usize).min(self.far) as isize;
        // Diagonals reach from -last-1 to last+1.
        let slot = |diagonal: isize| (diagonal + last + 1) as usize;
        let room = 2 * last as usize + 3;
        self.ahead.clear();
        self.ahead.resize(room, 0);
        self.back.clear();
        self.back.resize(room, 0);
        let mut best = (0, 0);
        for d in 0..=last {
            // A diagonal beyond either text leads nowhere.
            let diagonals = |d: isize| (-(d - 2 * (d - m).max(0))..=d - 2 * (d - n).max(0)).step_by(2);
            for k in diagonals(d) {
                let x = start(&self.ahead, slot, d, k);
                let (mut x, mut y) = (x as isize, x as isize - k);
                let before = (x, y);
                while x < n && y < m && a[x as usize] == b[y as usize] {
                    (x, y) = (x + 1, y + 1);
                }
                self.steps = self.steps.checked_sub((x - before.0) as usize + 1)?;
                self.ahead[slot(k)] = x as usize;
                let met = skew - k;
                if skew % 2 != 0 && met.abs() < d && x + self.back[slot(met)] as isize >= n {
                    return Some((before.0 as usize, before.1 as usize));
                }
                if x <= n && y <= m && x + y > best.0 + best.1 {
                    best = (x, y);
                }
            }
            for k in diagonals(d) {
                let x = start(&self.back, slot, d, k);
                let (mut x, mut y) = (x as isize, x as isize - k);
                let from = x;
                while x < n && y < m && a[(n - 1 - x) as usize] == b[(m - 1 - y) as usize] {
                    (x, y) = (x + 1, y + 1);
                }
                self.steps = self.steps.checked_sub((x - from) as usize + 1)?;
                self.back[slot(k)] = x as usize;
                let met = skew - k;
                if skew % 2 == 0 && met.abs() <= d && x + self.ahead[slot(met)] as isize >= n {
                    return Some(((n - x) as usize, (m - y) as usize));
                }
            }
        }
        Some((best.0 as usize, best.1 as usize))
    }
}

/// Where the way onto a diagonal begins: from the neighbour that came farther.
fn start(reached: &[usize], slot: impl Fn(isize) -> usize, d: isize, k: isize) -> usize {
    match d {
        0 => 0,
        _ if k == -d || k != d && reached[slot(k - 1)] < reached[slot(k + 1)] => reached[slot(k + 1)],
        _ => reached[slot(k - 1)] + 1,
    }
}

/// Puts marked lines into hunks.
fn gather<'a>(old: &[&'a [u8]], new: &[&'a [u8]], removed: &[bool], added: &[bool], around: usize) -> Vec<Hunk<'a>> {
    let mut hunks: Vec<Hunk<'a>> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let gone = i < old.len() && removed[i];
        let came = j < new.len() && added[j];
        if !gone && !came {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // Up to here both are the same; what is not far from the last hunk belongs to it.
        match hunks.last_mut().filter(|last| i - last.old.end <= 2 * around) {
            Some(last) => {
                last.lines.extend(old[last.old.end..i].iter().map(|line| (Mark::Same, *line)));
                (last.old.end, last.new.end) = (i, j);
            }
            None => {
                let lead = around.min(i);
                let lines = old[i - lead..i].iter().map(|line| (Mark::Same, *line)).collect();
                hunks.push(Hunk { old: i - lead..i, new: j - lead..j, lines });
            }
        }
        if let Some(hunk) = hunks.last_mut() {
            while i < old.len() && removed[i] {
                hunk.lines.push((Mark::Removed, old[i]));
                i += 1;
            }
            while j < new.len() && added[j] {
                hunk.lines.push((Mark::Added, new[j]));
                j += 1;
            }
            (hunk.old.end, hunk.new.end) = (i, j);
        }
    }
    for hunk in &mut hunks {
        let tail = around.min(old.len() - hunk.old.end);
        hunk.lines.extend(old[hunk.old.end..hunk.old.end + tail].iter().map(|line| (Mark::Same, *line)));
        (hunk.old.end, hunk.new.end) = (hunk.old.end + tail, hunk.new.end + tail);
    }
    hunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What applying the hunks to the old text gives; checks that they are what they say.
    fn applied(old: &[u8], hunks: &[Hunk<'_>]) -> Vec<u8> {
        let lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
        let mut new: Vec<&[u8]> = Vec::new();
        let mut at = 0;
        for hunk in hunks {
            assert!(hunk.old.start >= at);
            new.extend(&lines[at..hunk.old.start]);
            assert_eq!(new.len(), hunk.new.start);
            at = hunk.old.start;
            for (mark, line) in &hunk.lines {
                if *mark != Mark::Added {
                    assert_eq!(lines[at], *line);
                    at += 1;
                }
                if *mark != Mark::Removed {
                    new.push(line);
                }
            }
            assert_eq!((at, new.len()), (hunk.old.end, hunk.new.end));
        }
        new.extend(&lines[at..]);
        new.concat()
    }

    fn edits(hunks: &[Hunk<'_>]) -> usize {
        hunks.iter().flat_map(|hunk| &hunk.lines).filter(|(mark, _)| *mark != Mark::Same).count()
    }

    /// The fewest lines that can differ, by the textbook's table.
    fn fewest(old: &[u8], new: &[u8]) -> usize {
        let split = |text| <[u8]>::split_inclusive(text, |byte| *byte == b'\n').collect::<Vec<_>>();
        let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (split(old), split(new));
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                table[i][j] = if a[i] == b[j] { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
            }
        }
        a.len() + b.len() - 2 * table[0][0]
    }

    proptest! {
        #[test]
        fn the_hunks_lead_from_one_text_to_the_other(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}", around in 0..4_usize) {
            let (old, new) = (old.as_bytes(), new.as_bytes());
            let hunks = hunks(old, new, around);
            prop_assert_eq!(applied(old, &hunks), new);
            prop_assert_eq!(edits(&hunks), fewest(old, new));
            for limits in [(1, STEPS), (2, STEPS), (FAR, 5), (FAR, 50)] {
                prop_assert_eq!(applied(old, &compared(old, new, around, limits.0, limits.1)), new);
            }
        }
    }

    #[test]
    fn hunks_that_are_near_are_one() {
        let text = |count: usize, odd: &[usize]| -> String {
            (0..count)
                .map(|line| if odd.contains(&line) { format!("odd {line}\n") } else { format!("{line}\n") })
                .collect()
        };
        let (old, near, far) = (text(40, &[]), text(40, &[10, 17]), text(40, &[10, 18]));
        assert_eq!(hunks(old.as_bytes(), near.as_bytes(), 3).len(), 1);
        let two = hunks(old.as_bytes(), far.as_bytes(), 3);
        assert_eq!(two.iter().map(|hunk| hunk.old.clone()).collect::<Vec<_>>(), [7..14, 15..22]);
        assert!(hunks(old.as_bytes(), old.as_bytes(), 3).is_empty());
    }

    #[test]
    fn texts_without_anything_in_common_end() {
        let lines = |from: usize| (from..from + 20_000).map(|line| format!("{line}\n")).collect::<String>();
        let (old, new) = (lines(0), lines(1_000_000));
        let hunks = hunks(old.as_bytes(), new.as_bytes(), 3);
        assert_eq!(applied(old.as_bytes(), &hunks), new.as_bytes());
    }
}
